"""What a run learns from, and its texts as tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from wellspring.budgets import WINDOW
from wellspring.config.recipes import written_with
from wellspring.embeddings import Tokens, tokenise
from wellspring.models.load import Backbone
from wellspring.sparse import SparseModel
from wellspring.specs import EncodingSpec


@dataclass(frozen=True)
class Material:
    """What is learned from, of all datasets as of one: see `wellspring.training.examples`."""

    texts: pl.DataFrame
    samples: pl.DataFrame
    scores: pl.DataFrame | None = None
    """A teacher's, where the objective follows one."""

    def tokens(
        self,
        model: Backbone | SparseModel,
        encoding: EncodingSpec,
        ids: Sequence[str],
        instructions: Sequence[str] = (),
    ) -> list[np.ndarray]:
        """The tokens of the texts of these ids, as their side writes them.

        instructions: for every id what its text is written with, where there are instructions.
        """
        own = self.texts.filter(pl.col("side") == encoding.side).select("text_id", "text")
        named = pl.DataFrame({"text_id": ids}, {"text_id": pl.String})
        texts = named.join(own, on="text_id", how="left", maintain_order="left")["text"]
        rows_of: dict[str, list[int]] = {}
        for row, instruction in enumerate(instructions or [""] * len(ids)):
            rows_of.setdefault(instruction, []).append(row)
        tokens: list[np.ndarray] = [np.empty(0, np.int32)] * len(ids)
        for instruction, rows in rows_of.items():
            write = _writer(model, encoding, written_with(encoding.template, instruction))
            for start in range(0, len(rows), WINDOW):
                window = rows[start : start + WINDOW]
                for row, each in zip(window, write(texts[window].to_list()), strict=True):
                    # A tuple of Python's numbers would take ten times the memory.
                    tokens[row] = np.array(each, np.int32)
        return tokens


def _writer(
    model: Backbone | SparseModel, encoding: EncodingSpec, template: str
) -> Callable[[Sequence[str]], Sequence[Tokens]]:
    """From texts to their tokens."""
    if isinstance(model, SparseModel):
        return partial(model.tokenise, template=template, length=encoding.length)
    return partial(
        tokenise,
        model.tokenizer,
        template=template,
        length=encoding.length,
        pooling=encoding.pooling,
    )
