"""How well queries find what answers them: a look at validation queries, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from wellspring.config.vocabulary import Similarity
from wellspring.embeddings import Tokens
from wellspring.errors import WellspringError
from wellspring.randomness import shuffled
from wellspring.training.batches import padded
from wellspring.training.encoding import Encoding
from wellspring.training.examples import Examples
from wellspring.training.objectives import similarities

DEPTH = 10
QUERIES = 1000
"""Validation queries that are looked at, at most."""
TEXTS = 64
"""At once."""


@dataclass(frozen=True)
class Look:
    """How well validation queries find what answers them, among the passages that answer one."""

    encoding: Encoding
    """The model as it is when it is looked at."""
    held: Mapping[str, Examples]
    """The queries in every condition: see `wellspring.training.instructions`."""
    queries: Mapping[str, Sequence[np.ndarray]]
    """Their tokens."""
    passages: Sequence[np.ndarray]
    """Tokens of the passages, which are the same in every condition."""
    padding: int
    """The id to pad with."""
    similarity: Similarity

    def __call__(self) -> dict[str, float | None]:
        """MRR@10 in every condition."""
        passages = vectors(self.encoding, self.passages, self.padding)
        means: dict[str, float | None] = {}
        for condition, held in self.held.items():
            queries = vectors(self.encoding, self.queries[condition], self.padding)
            ranks = reciprocal_ranks(queries, passages, held.relevant, self.similarity)
            means[condition] = round(float(ranks.mean()), 4)
        return means


def held_out(samples: pl.DataFrame, seed: int) -> pl.DataFrame | None:
    """The validation samples of at most QUERIES queries, drawn from (seed, query id); None where
    there are none."""
    own = samples.filter(pl.col("split") == "validation")
    if own.is_empty():
        return None
    queries = shuffled(seed, own["query_id"].unique().to_list(), "validation queries")[:QUERIES]
    return own.filter(pl.col("query_id").is_in(queries))


def vectors(
    encoding: Encoding, tokens: Sequence[Tokens | np.ndarray], padding: int
) -> torch.Tensor:
    """[texts, hidden], on the processor; the model's mode is left as it was.

    Raises WellspringError for vectors that are no numbers.
    """
    training, device = encoding.training, next(encoding.parameters()).device
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    parts = []
    encoding.eval()
    with torch.no_grad():
        for start in range(0, len(order), TEXTS):
            batch = padded([tokens[row] for row in order[start : start + TEXTS]], padding)
            on_device = {name: each.to(device) for name, each in batch.items()}
            parts.append(encoding(on_device)["sentence_embedding"].float().cpu())
    encoding.train(training)
    whole = torch.cat(parts)[torch.argsort(torch.tensor(order))]
    if not bool(whole.isfinite().all()):
        raise WellspringError("the model gives vectors that are no numbers")
    return whole


def reciprocal_ranks(
    queries: torch.Tensor,
    passages: torch.Tensor,
    relevant: Sequence[frozenset[int]],
    similarity: Similarity,
) -> np.ndarray:
    """[queries]: 1 / rank of the best passage that answers the query, 0 beyond DEPTH.

    queries, passages: [n, hidden]. relevant: for every query, rows of `passages`. A passage with
    the same score stands before it.
    """
    scores = similarities(queries, passages, similarity).numpy()
    ranks = []
    for row, answers in zip(scores, relevant, strict=True):
        rows = sorted(answers)
        others = np.ones(len(row), bool)
        others[rows] = False
        ranks.append(1 + int((~(row[others] < row[rows].max())).sum()) if rows else DEPTH + 1)
    return np.array([1 / rank if rank <= DEPTH else 0.0 for rank in ranks])
