"""What the texts of an attribution are ranked with: the vectors of the other texts of their
samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from wellspring import embeddings
from wellspring.budgets import TOKENS

if TYPE_CHECKING:
    from wellspring.models.load import Backbone
    from wellspring.specs import EncodingSpec

Loader = Callable[[], "Backbone"]


def tokenised(
    backbone: Backbone, texts: Sequence[str], encoding: EncodingSpec
) -> list[tuple[int, ...]]:
    """The tokens of texts, as the encoding writes and cuts them."""
    return embeddings.tokenise(
        backbone.tokenizer, texts, encoding.template, encoding.length, encoding.pooling
    )


def last_vectors(
    backbone: Backbone, texts: Sequence[str], encoding: EncodingSpec, budget: int
) -> torch.Tensor:
    """Vectors of the last layer [texts, hidden], float32, not normalised."""
    tokens = tokenised(backbone, texts, encoding)
    vectors = torch.empty(len(texts), backbone.hidden)
    for encoded in embeddings.encode(
        backbone, tokens, encoding.pooling, budget=budget, length=encoding.length
    ):
        vectors[encoded.rows] = torch.from_numpy(encoded.vectors[-1])
    return vectors


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
    load_own: Loader,
    load_other: Loader | None,
    texts: pl.DataFrame,
    encodings: tuple[EncodingSpec, EncodingSpec],
    tokens: int,
) -> tuple[Backbone, Ranked]:
    """The attributed model, and what its texts are ranked with.

    texts: as from `selection.with_samples`. encodings: of the attributed side, and of the other
    one. load_other: gives the other side's model; None where it is the same. Two models are never
    in memory at once.
    """
    own, theirs = encodings
    backbone = (load_other or load_own)()
    budget = tokens or TOKENS[backbone.device.type]
    partners = last_vectors(backbone, texts["partner_text"].to_list(), theirs, budget).numpy()
    if own.side == "query":
        negatives = _lists(backbone, texts["negative_texts"], theirs, budget)
    if load_other is not None:
        del backbone
        backbone = load_own()
    if own.side == "passage":
        negatives = _lists(backbone, texts["negative_texts"], own, budget)
    return backbone, Ranked(partners, negatives)


def _lists(
    backbone: Backbone, texts: pl.Series, encoding: EncodingSpec, budget: int
) -> list[np.ndarray]:
    """[others, hidden] of each list of texts."""
    flat = last_vectors(backbone, texts.explode().to_list(), encoding, budget).numpy()
    return np.split(flat, texts.list.len().cum_sum()[:-1].to_numpy())
