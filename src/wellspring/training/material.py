"""What a run learns from, and its texts as tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.budgets import WINDOW
from wellspring.embeddings import tokenise
from wellspring.models.load import Backbone
from wellspring.specs import EncodingSpec


@dataclass(frozen=True)
class Material:
    """What is learned from, of all datasets as of one: see `wellspring.training.examples`."""

    texts: pl.DataFrame
    samples: pl.DataFrame
    scores: pl.DataFrame | None = None
    """A teacher's, where the objective follows one."""

    def tokens(
        self, backbone: Backbone, encoding: EncodingSpec, ids: Sequence[str]
    ) -> list[np.ndarray]:
        """The tokens of the texts of these ids, as their side writes them."""
        return list(self._tokens(backbone, encoding, ids))

    def _tokens(
        self, backbone: Backbone, encoding: EncodingSpec, ids: Sequence[str]
    ) -> Iterator[np.ndarray]:
        own = self.texts.filter(pl.col("side") == encoding.side).select("text_id", "text")
        named = pl.DataFrame({"text_id": ids}, {"text_id": pl.String})
        written = named.join(own, on="text_id", how="left", maintain_order="left")["text"]
        cut = (encoding.template, encoding.length, encoding.pooling)
        for start in range(0, len(written), WINDOW):
            window = written[start : start + WINDOW].to_list()
            for row in tokenise(backbone.tokenizer, window, *cut):
                # A tuple of Python's numbers would take ten times the memory.
                yield np.array(row, np.int32)
