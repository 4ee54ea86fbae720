"""Exact search of a corpus of weighted words (`wellspring.sparse`), which is read once.

A score is the inner product of two texts' weights, in float32. The product is scipy's, of a batch
of queries with the inverted block: each word's documents. A document that shares no word with a
query is not found.

scipy's product with a selection of its own was faster than sparse_dot_topn, which selects while it
multiplies: most documents share a word with a query, and then its lists and heaps do not pay.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_array

from wellspring.errors import WellspringError
from wellspring.retrieval.best import Best
from wellspring.retrieval.ranking import Ranking

Block = tuple[np.ndarray, csr_array]
"""Positions in the corpus [rows], and weights [rows, vocabulary]."""

# Queries of one product, so that its scores stay near a processor's cache.
QUERIES = 64


def search(queries: csr_array, blocks: Iterable[Block], k: int) -> Ranking:
    """The best k documents of each query.

    queries: weights [queries, vocabulary]. blocks: those of the corpus, in any order, each position
    once; some ten thousand documents a block are fast. Memory holds one of them, and of a batch of
    queries the scores with it.

    Raises WellspringError for weights that are no numbers, and for another vocabulary.
    """
    queries = _sound(queries, "the weights of a query", "encode the queries anew")
    batches = [
        (start, queries[start : start + QUERIES]) for start in range(0, queries.shape[0], QUERIES)
    ]
    found = [Best(batch.shape[0], k) for _, batch in batches]
    for positions, weights in blocks:
        if weights.shape[1] != queries.shape[1]:
            raise WellspringError(
                f"the queries have a vocabulary of {queries.shape[1]} words, the passages one of "
                f"{weights.shape[1]}: search with the encoder of the passages"
            )
        weights = _sound(weights, "the weights of a passage", "encode the passages anew")
        inverted = csr_array(weights.T.tocsr())
        for (_, batch), best in zip(batches, found, strict=True):
            best.add(*_candidates(csr_array(batch @ inverted), np.asarray(positions), best, k))
    rankings = [best.ranking() for best in found]
    none = [Best(0, k).ranking()]
    return Ranking(
        np.concatenate([ranking.documents for ranking in rankings or none]),
        np.concatenate([ranking.scores for ranking in rankings or none]),
    )


def _candidates(
    scores: csr_array, positions: np.ndarray, best: Best, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, positions and scores of what may be among the best k of a row: of scores with a block,
    those that reach the row's present k-th score and the block's own."""
    floors = best.least.copy()
    for row, (start, stop) in enumerate(zip(scores.indptr, scores.indptr[1:], strict=False)):
        own = scores.data[start:stop]
        if len(own) > k:
            own = own[own >= floors[row]]
        if len(own) > k:
            floors[row] = np.partition(own, len(own) - k)[len(own) - k]
    rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    kept = np.flatnonzero(scores.data >= floors[rows])
    return rows[kept], positions[scores.indices[kept]], scores.data[kept]


def _sound(weights: csr_array, what: str, remedy: str) -> csr_array:
    """The weights as float32; WellspringError where one is no number."""
    if not np.isfinite(weights.data).all():
        raise WellspringError(f"{what} are no numbers: {remedy}")
    return csr_array(weights, dtype=np.float32)
