"""Exact search of a corpus of weighted words (`wellspring.sparse`), which is read once.

A score is the inner product of two texts' weights, in float32: each of a query's words adds to its
documents, in the order of the words. A document whose score is not above 0 is not found.

Adding up in a row of all documents of a block was faster than scipy's sparse product and than
sparse_dot_topn, where most documents share a word with a query. These keep lists of the documents
that do.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from wellspring.errors import WellspringError
from wellspring.retrieval.best import Best
from wellspring.retrieval.ranking import Ranking

Block = tuple[np.ndarray, csr_array]
"""Positions in the corpus [rows], and weights [rows, vocabulary]."""


def search(queries: csr_array, blocks: Iterable[Block], k: int) -> Ranking:
    """The best k documents of each query.

    queries: weights [queries, vocabulary]. blocks: those of the corpus, in any order, each position
    once. Memory holds one of them, and some 50,000 documents a block are fast.

    Raises WellspringError for weights that are no numbers, and for another vocabulary.
    """
    queries = _sound(queries, "the weights of a query", "encode the queries anew")
    best = Best(queries.shape[0], k)
    for positions, weights in blocks:
        if weights.shape[1] != queries.shape[1]:
            raise WellspringError(
                f"the queries have a vocabulary of {queries.shape[1]} words, the passages one of "
                f"{weights.shape[1]}: search with the encoder of the passages"
            )
        weights = _sound(weights, "the weights of a passage", "encode the passages anew")
        inverted = weights.T.tocsr()
        least = np.maximum(best.least, np.nextafter(np.float32(0), np.float32(1)))
        for query, (start, stop) in enumerate(pairwise(queries.indptr)):
            words = inverted[queries.indices[start:stop]]
            scores = words.T @ queries.data[start:stop]
            rows = _reaching(scores, least[query], k)
            best.add(np.full(len(rows), query), positions[rows], scores[rows])
    return best.ranking()


def _reaching(scores: np.ndarray, least: float, k: int) -> np.ndarray:
    """Places of the scores that may be among the best k: they reach `least`, and the k-th of
    these."""
    places = np.flatnonzero(scores >= least)
    if len(places) > k:
        kept = scores[places]
        places = places[kept >= np.partition(kept, len(kept) - k)[len(kept) - k]]
    return places


def _sound(weights: csr_array, what: str, remedy: str) -> csr_array:
    """The weights as float32; WellspringError where one is no number."""
    if not np.isfinite(weights.data).all():
        raise WellspringError(f"{what} are no numbers: {remedy}")
    return csr_array(weights, dtype=np.float32)
