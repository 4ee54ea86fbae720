"""The best documents of queries while a corpus goes by: memory grows with what is kept alone."""

from __future__ import annotations

import numpy as np

from wellspring.retrieval.ranking import NOTHING, Ranking


class Best:
    """The best k documents so far of each of some queries, and candidates that may be better.

    What does not reach a query's present k-th score need not be added, so nearly nothing of a long
    corpus is sorted.
    """

    def __init__(self, queries: int, k: int) -> None:
        shape = (queries, k)
        self._best = Ranking(np.full(shape, NOTHING), np.full(shape, -np.inf, np.float32))
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._count = 0

    @property
    def least(self) -> np.ndarray:
        """float32 [queries]: the present k-th score, −inf where there are fewer documents.

        An equal score counts: its position may be lower.
        """
        return self._best.scores[:, -1]

    def add(self, queries: np.ndarray, documents: np.ndarray, scores: np.ndarray) -> None:
        """Candidates: rows of queries, positions in the corpus, scores; one array each."""
        self._waiting.append((queries, documents, scores))
        self._count += len(queries)
        if self._count > self._best.documents.size:
            self._sort()

    def _sort(self) -> None:
        """Put the candidates into their places, or drop them."""
        there = self._best.documents != NOTHING
        own = (there.nonzero()[0], self._best.documents[there], self._best.scores[there])
        query, documents, scores = map(np.concatenate, zip(own, *self._waiting, strict=True))
        order = _order(query, documents, scores)
        query, documents, scores = query[order], documents[order], scores[order]
        place = np.arange(len(query)) - np.searchsorted(query, np.arange(len(there)))[query]
        first = place < self._best.places
        where = query[first], place[first]
        # Scores that were there only get better, so every place of before is filled again.
        self._best.documents[where] = documents[first]
        self._best.scores[where] = scores[first]
        self._waiting, self._count = [], 0

    def ranking(self) -> Ranking:
        """The best of all that was added."""
        self._sort()
        return self._best


def _order(queries: np.ndarray, documents: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """As np.lexsort((documents, -scores, queries)), which takes three slow passes."""
    # A float's bits rise with it, those of negative ones fall. Adding 0 makes −0 equal to 0.
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)
    falling = np.where(bits >> 31, bits, ~(bits | np.uint32(1 << 31)))
    keys = queries.astype(np.uint64) << np.uint64(32) | falling
    order = np.argsort(keys)
    keys = keys[order]
    equal = np.concatenate([[False], keys[1:] == keys[:-1], [False]])
    tied = order[places := np.flatnonzero(equal[1:] | equal[:-1])]
    order[places] = tied[np.lexsort((documents[tied], keys[places]))]
    return order
