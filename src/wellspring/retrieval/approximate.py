"""Approximate search by faiss: a graph (HNSW) or inverted lists (IVF), and what it misses, takes
and costs beside flat search, which looks at every document.

Scores are inner products, exact ones: only which documents are looked at is approximate. Vectors of
length 1 give the cosine. The index holds the corpus in float32, so it is for a corpus and a layer
that fit into memory.

One thread builds, so that settings and a seed make one index. faiss promises that of no other
number: threads that build a graph race for its links. Searching may use all threads, since each
query is searched by one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from wellspring.errors import WellspringError
from wellspring.retrieval.ranking import NOTHING, Ranking, ranked


@dataclass(frozen=True)
class Flat:
    """No structure: a query looks at every document."""


@dataclass(frozen=True)
class Graph:
    """HNSW (Malkov & Yashunin, 2016): documents are linked to near ones, on several levels."""

    m: int = 32
    """Links of a document on every level but the lowest, which has twice as many."""
    ef_construction: int = 200
    """Candidates that are kept while a document finds its links."""
    ef_search: int = 128
    """Candidates that are kept while a query searches; k where that is more."""


@dataclass(frozen=True)
class Lists:
    """IVF: k-means puts each document into the list of its centre."""

    lists: int = 256
    """Centres. The corpus needs at least as many documents."""
    probes: int = 16
    """Lists that a query looks into; all of them make the search exact."""


Settings = Flat | Graph | Lists
ROUNDING = 1e-5
"""Scores that differ by this share are equal: they were summed in another order."""


def search(
    queries: np.ndarray, corpus: np.ndarray, k: int, settings: Settings, seed: int = 0
) -> Ranking:
    """The best k documents that are found for each query.

    queries: [queries, hidden], corpus: [documents, hidden], any float type. seed: draws the levels
    of a graph, or where k-means starts and what it looks at. Raises WellspringError for vectors
    that are not finite and for settings that the corpus does not allow.
    """
    return found(build(corpus, settings, seed), queries, k)


def build(corpus: np.ndarray, settings: Settings, seed: int = 0) -> Any:
    """The faiss index of a corpus, by one thread."""
    import faiss

    # Its stubs lack some of its classes.
    library: Any = faiss
    vectors = _sound(corpus, "passage")
    documents, hidden = vectors.shape
    if isinstance(settings, Flat):
        index = faiss.IndexFlatIP(hidden)
    elif isinstance(settings, Graph):
        _positive(m=settings.m - 1, ef_construction=settings.ef_construction)
        index = library.IndexHNSWFlat(hidden, settings.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = settings.ef_construction
        index.hnsw.rng = library.RandomGenerator(seed)
    else:
        _positive(lists=settings.lists)
        if settings.lists > documents:
            raise WellspringError(
                f"{settings.lists} lists for {documents} documents: take at most as many lists"
            )
        quantizer = faiss.IndexFlatIP(hidden)
        index = faiss.IndexIVFFlat(quantizer, hidden, settings.lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = seed
        # It would print a warning where there are few documents a list.
        index.cp.min_points_per_centroid = 1
    adjust(index, settings)
    with threads(1):
        index.train(vectors)
        index.add(vectors)
    return index


def adjust(index: Any, settings: Settings) -> Any:
    """The same index, which looks at as many documents as the settings say."""
    if isinstance(settings, Graph):
        _positive(ef_search=settings.ef_search)
        index.hnsw.efSearch = settings.ef_search
    elif isinstance(settings, Lists):
        _positive(probes=settings.probes)
        index.nprobe = settings.probes
    return index


def found(index: Any, queries: np.ndarray, k: int) -> Ranking:
    """What an index finds for queries [queries, hidden]."""
    vectors = _sound(queries, "query")
    scores, documents = index.search(vectors, k, params=_wide(index, k))
    return ranked(documents, scores, k)


def milliseconds(
    index: Any,
    queries: np.ndarray,
    k: int,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray:
    """float64 [queries]: how long the search of each query takes, asked alone, by one thread.

    It is the median over repeats. All queries are asked once before, so that the index is warm, and
    once in each repeat, so that what disturbs one repeat disturbs no other. clock: seconds.
    """
    vectors, wide = _sound(queries, "query"), _wide(index, k)
    taken = np.empty((repeats + 1, len(vectors)))
    with threads(1):
        for repeat in taken:
            for query in range(len(vectors)):
                began = clock()
                index.search(vectors[query : query + 1], k, params=wide)
                repeat[query] = clock() - began
    return 1000 * np.median(taken[1:], axis=0)


def size(index: Any) -> int:
    """Bytes of the index as faiss writes it to a file. It is not held a second time."""
    import faiss

    library: Any = faiss
    written = 0

    def count(part: bytes) -> None:
        nonlocal written
        written += len(part)

    library.write_index(index, library.PyCallbackIOWriter(count))
    return written


def _wide(index: Any, k: int) -> Any:
    """A graph keeps at least the k candidates that it is asked for."""
    import faiss

    library: Any = faiss
    if not hasattr(index, "hnsw"):
        return None
    return library.SearchParametersHNSW(efSearch=max(k, index.hnsw.efSearch))


def recall(approximate: Ranking, exact: Ranking) -> np.ndarray:
    """float64 [queries]: the share of exact search's documents that approximate search found.

    NaN where exact search found nothing. Which of several documents with the score of the last
    place stands there is arbitrary, so each of them counts.
    """
    shares = np.full(len(exact.documents), np.nan)
    for query, documents in enumerate(exact.documents):
        there = documents[documents != NOTHING]
        if len(there):
            last = exact.scores[query, len(there) - 1]
            equal = approximate.scores[query] >= last - ROUNDING * abs(last)
            right = np.isin(approximate.documents[query], there) | equal
            shares[query] = right.sum() / len(there)
    return shares


def _sound(vectors: np.ndarray, what: str) -> np.ndarray:
    """float32 in C order; WellspringError where a number is not finite."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        raise WellspringError(f"the vector of a {what} is not finite: embed the texts anew")
    return vectors


def _positive(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            least = 2 if name == "m" else 1
            raise WellspringError(f"{name}: takes at least {least}")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of faiss for a while."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
