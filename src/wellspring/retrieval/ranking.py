"""A ranking: the best documents of each query, with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NOTHING = -1
"""In the place of a document where a query found fewer than there are places."""


@dataclass(frozen=True)
class Ranking:
    """The best documents of each query: falling score, and among equal scores rising position.

    documents: int64 [queries, places], positions in the corpus. The corpus lies in the order of its
    ids, so a rising position is a rising id. NOTHING fills the places after the last document.
    scores: float32 [queries, places], −inf where there is no document.
    """

    documents: np.ndarray
    scores: np.ndarray

    @property
    def places(self) -> int:
        """How many documents a query has room for."""
        return self.documents.shape[1]


def ranked(documents: np.ndarray, scores: np.ndarray, k: int) -> Ranking:
    """The best k of candidates in any order: one ranking a row.

    documents: integers [queries, candidates], each at most once in a row, NOTHING where there is
    none. scores: floats [queries, candidates]. A document whose score is NaN or −inf is left out.
    """
    scores = np.asarray(scores, np.float32)
    there = (np.asarray(documents) >= 0) & (scores > -np.inf)
    scores = np.where(there, scores, np.float32(-np.inf))
    documents = np.where(there, documents, np.iinfo(np.int64).max)
    order = np.lexsort((documents, -scores), axis=1)[:, :k]
    scores = np.take_along_axis(scores, order, axis=1)
    documents = np.take_along_axis(documents, order, axis=1)
    return Ranking(np.where(np.isneginf(scores), NOTHING, documents), scores)


def merged(rankings: Sequence[Ranking], k: int) -> Ranking:
    """The best k of several parts of one corpus, whose documents are disjoint.

    It equals the ranking of the whole where each part holds the best k of its documents.
    """
    return ranked(
        np.concatenate([ranking.documents for ranking in rankings], axis=1),
        np.concatenate([ranking.scores for ranking in rankings], axis=1),
        k,
    )
