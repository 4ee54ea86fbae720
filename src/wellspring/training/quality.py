"""How well queries find what answers them: a look at validation queries, before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_array, vstack

from wellspring.config.vocabulary import Similarity
from wellspring.embeddings import Tokens
from wellspring.errors import WellspringError
from wellspring.randomness import shuffled
from wellspring.sparse import rows
from wellspring.training.batches import padded
from wellspring.training.encoding import Encoding
from wellspring.training.examples import Examples
from wellspring.training.objectives import similarities

DEPTH = 10
QUERIES = 1000
"""Validation queries that are looked at, at most."""
TEXTS = 64
"""At once."""
TERMS = ("query_terms", "passage_terms")
"""The facts that say how sparse vectors are."""


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
        facts: dict[str, float | None] = {}
        for condition, held in self.held.items():
            queries = vectors(self.encoding, self.queries[condition], self.padding)
            scores = similarities(queries, passages, self.similarity).numpy()
            facts[condition] = mean_reciprocal_rank(scores, held.relevant)
        return facts


@dataclass(frozen=True)
class SparseLook(Look):
    """The same of sparse vectors, as they are when a model is used."""

    top_terms: int | None
    """So many words of a text are kept; None: all."""

    def __call__(self) -> dict[str, float | None]:
        """MRR@10 in every condition, and TERMS: how many words have a weight, as means over the
        texts."""
        keep = self.padding, self.top_terms
        passages = sparse_vectors(self.encoding, self.passages, *keep)
        facts: dict[str, float | None] = {}
        terms: list[float] = []
        for condition, held in self.held.items():
            queries = sparse_vectors(self.encoding, self.queries[condition], *keep)
            scores = (queries @ passages.T).toarray()
            facts[condition] = mean_reciprocal_rank(scores, held.relevant)
            # Of queries as they are trained, which come first.
            terms = terms or [_terms(each) for each in (queries, passages)]
        return facts | dict(zip(TERMS, terms, strict=True))


def _terms(vectors: csr_array) -> float:
    return round(vectors.nnz / vectors.shape[0], 2)


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
    order = _by_length(tokens)
    parts = [part.float().cpu() for part in _parts(encoding, tokens, order, padding)]
    whole = torch.cat(parts)[torch.argsort(torch.tensor(order))]
    if not bool(whole.isfinite().all()):
        raise WellspringError("the model gives vectors that are no numbers")
    return whole


def sparse_vectors(
    encoding: Encoding, tokens: Sequence[Tokens | np.ndarray], padding: int, top_terms: int | None
) -> csr_array:
    """[texts, vocabulary], with `top_terms` of a text as they are when a model is used; otherwise
    as `vectors`."""
    order = _by_length(tokens)
    parts = [rows(part, top_terms) for part in _parts(encoding, tokens, order, padding)]
    return csr_array(vstack(parts, format="csr")[np.argsort(order)])


def _by_length(tokens: Sequence[Tokens | np.ndarray]) -> list[int]:
    return sorted(range(len(tokens)), key=lambda row: len(tokens[row]))


@torch.no_grad()
def _parts(
    encoding: Encoding, tokens: Sequence[Tokens | np.ndarray], order: Sequence[int], padding: int
) -> Iterator[torch.Tensor]:
    training, device = encoding.training, next(encoding.parameters()).device
    encoding.eval()
    for start in range(0, len(order), TEXTS):
        batch = padded([tokens[row] for row in order[start : start + TEXTS]], padding)
        on_device = {name: each.to(device) for name, each in batch.items()}
        yield encoding(on_device)["sentence_embedding"]
    encoding.train(training)


def mean_reciprocal_rank(scores: np.ndarray, relevant: Sequence[frozenset[int]]) -> float:
    """MRR@10: see `reciprocal_ranks`."""
    return round(float(reciprocal_ranks(scores, relevant).mean()), 4)


def reciprocal_ranks(scores: np.ndarray, relevant: Sequence[frozenset[int]]) -> np.ndarray:
    """[queries]: 1 / rank of the best passage that answers the query, 0 beyond DEPTH.

    scores: [queries, passages]. relevant: for every query, the passages that answer it. A passage
    with the same score stands before it.
    """
    ranks = []
    for row, answers in zip(scores, relevant, strict=True):
        rows = sorted(answers)
        others = np.ones(len(row), bool)
        others[rows] = False
        ranks.append(1 + int((~(row[others] < row[rows].max())).sum()) if rows else DEPTH + 1)
    return np.array([1 / rank if rank <= DEPTH else 0.0 for rank in ranks])
