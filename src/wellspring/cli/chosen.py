"""The texts that steps of attribution run on, and the other texts of their samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.cli.embeddings import TOKENS, load_backbone
from wellspring.cli.models import Described
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    import torch

    from wellspring.models.load import Backbone


def read_texts(path: Path) -> pl.DataFrame:
    """All texts of a dataset."""
    return pl.from_arrow(shards.read(path, ["text_id", "side", "text"], step="texts"))


def tokenised(
    backbone: Backbone, texts: Sequence[str], encoding: specs.EncodingSpec
) -> list[tuple[int, ...]]:
    """The tokens of texts, as the encoding writes and cuts them."""
    from wellspring import embeddings

    return embeddings.tokenise(
        backbone.tokenizer, texts, encoding.template, encoding.length, encoding.pooling
    )


def last_vectors(
    backbone: Backbone, texts: Sequence[str], encoding: specs.EncodingSpec, budget: int
) -> torch.Tensor:
    """Vectors of the last layer [texts, hidden], float32, not normalised."""
    import torch

    from wellspring import embeddings

    tokens = tokenised(backbone, texts, encoding)
    found = torch.empty(len(texts), backbone.hidden)
    for done in embeddings.encode(
        backbone, tokens, encoding.pooling, budget=budget, length=encoding.length
    ):
        found[done.rows] = torch.from_numpy(done.vectors[-1])
    return found


def chosen(
    texts: Path, judgements: Path, whole: specs.AttributionSpec, digests: Mapping[str, str]
) -> pl.DataFrame:
    """text_id and text of all texts, with partner_id and partner_text, and for the margin of a
    query with negative_texts."""
    from wellspring.attributions import selection

    everything, side = read_texts(texts), whole.encoding.side
    if whole.samples is None:
        expected = whole.judgements.model_dump(mode="json")
        graded = pl.from_arrow(shards.read(judgements, step="qrels", spec=expected, texts=digests))
        found = selection.select(everything, graded, side, whole.texts, whole.seed)
    else:
        samples = read_samples(judgements, whole.samples, digests)
        found = with_samples(everything, samples, side, whole.texts, whole.seed)
    return worded(found, everything, whole.text, texts)


def read_samples(path: Path, wanted: specs.SamplesSpec, digests: Mapping[str, str]) -> pl.DataFrame:
    """The samples of these texts, checked."""
    expected = wanted.model_dump(mode="json")
    return pl.from_arrow(shards.read(path, step="samples", spec=expected, texts=digests))


def with_samples(
    everything: pl.DataFrame,
    samples: pl.DataFrame,
    side: specs.Side,
    count: int | None,
    seed: int,
) -> pl.DataFrame:
    """The first `count` texts of a side that have a sample in the test split, as
    `selection.select` gives them, with the negative_texts of the sample that has their partner."""
    from wellspring.attributions import selection

    pairs = samples.select("split", "query_id", text_id="positive_id", grade=pl.lit(1))
    found = selection.select(everything, pairs, side, count, seed)
    ranked = selection.candidates(samples, everything, found, side)
    ranked = ranked.select("text_id", "negative_texts")
    return found.join(ranked, on="text_id", maintain_order="left")


def worded(found: pl.DataFrame, everything: pl.DataFrame, text: str, source: Path) -> pl.DataFrame:
    """The queries in the wording that is attributed, under their ids; those that have none are
    left out. Raises WellspringError where none has any."""
    from wellspring.attributions import selection

    if text == "original":
        return found
    worded = selection.paraphrased(found, everything)
    if worded.is_empty():
        raise WellspringError(
            f"{source}: no query has a paraphrase, which the attribution's text asks for: add "
            "paraphrases to the dataset's source, or attribute shortened texts (query_length, "
            "passage_length)"
        )
    return worded


@dataclass(frozen=True)
class Ranked:
    """The other texts of each text's sample, as vectors."""

    partners: np.ndarray
    """[texts, hidden]"""
    negatives: list[np.ndarray]
    """[others, hidden] of each text."""

    def at(self, text: int) -> Ranked:
        """The same of one text alone."""
        return Ranked(self.partners[text : text + 1], self.negatives[text : text + 1])


def ranked(
    described: Described,
    other: Described,
    found: pl.DataFrame,
    encodings: tuple[specs.EncodingSpec, specs.EncodingSpec],
    tokens: int,
    threads: int,
) -> tuple[Backbone, Ranked]:
    """The attributed model, and what its texts are ranked with.

    found: as from `with_samples`. encodings: of the attributed side, and of the other one, whose
    model is `other`. Two models are never in memory at once.
    """
    own, theirs = encodings
    backbone = load_backbone(other, theirs, threads)
    budget = tokens or TOKENS[backbone.device.type]
    partners = last_vectors(backbone, found["partner_text"].to_list(), theirs, budget).numpy()
    if own.side == "query":
        negatives = _lists(backbone, found["negative_texts"], theirs, budget)
    if other != described or theirs.dtype != own.dtype:
        del backbone
        backbone = load_backbone(described, own, threads)
    if own.side == "passage":
        negatives = _lists(backbone, found["negative_texts"], own, budget)
    return backbone, Ranked(partners, negatives)


def _lists(
    backbone: Backbone, texts: pl.Series, encoding: specs.EncodingSpec, budget: int
) -> list[np.ndarray]:
    """[others, hidden] of each list of texts."""
    flat = last_vectors(backbone, texts.explode().to_list(), encoding, budget).numpy()
    return np.split(flat, texts.list.len().cum_sum()[:-1])
