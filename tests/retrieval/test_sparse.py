"""Sparse search against scipy's product, and its ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from wellspring.errors import WellspringError
from wellspring.retrieval import sparse
from wellspring.retrieval.best import Best
from wellspring.retrieval.ranking import NOTHING, ranked


def drawn(rows: int, words: int, density: float, seed: int) -> csr_array:
    rng = np.random.default_rng(seed)
    made = random_array((rows, words), density=density, rng=rng, format="csr", dtype=np.float32)
    return csr_array(made)


def in_blocks(corpus: csr_array, order: np.ndarray, size: int):
    for start in range(0, len(order), size):
        positions = order[start : start + size]
        yield positions, corpus[positions]


def oracle(queries: csr_array, corpus: csr_array, k: int):
    """All scores by scipy; a score of 0 is no find."""
    scores = (queries @ corpus.T).toarray()
    documents = np.where(scores > 0, np.arange(corpus.shape[0]), NOTHING)
    return ranked(documents, scores, k)


def same(found, expected) -> None:
    places = expected.places
    np.testing.assert_array_equal(found.documents[:, :places], expected.documents)
    np.testing.assert_array_equal(found.scores[:, :places], expected.scores)
    assert (found.documents[:, places:] == NOTHING).all()


def test_by_hand():
    corpus = csr_array(np.array([[0, 2, 0], [1, 0, 0], [0, 2, 0], [3, 1, 0]], np.float32))
    queries = csr_array(np.array([[1, 2, 5], [0, 0, 1], [0, 0, 0]], np.float32))
    found = sparse.search(
        queries, [(np.array([3, 2]), corpus[[3, 2]]), (np.arange(2), corpus[:2])], 3
    )
    assert found.documents.tolist() == [[3, 0, 2], [NOTHING] * 3, [NOTHING] * 3]
    assert found.scores[0].tolist() == [5, 4, 4]
    assert np.isneginf(found.scores[1:]).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 60),
    size=st.integers(1, 70),
    k=st.integers(1, 20),
    coarse=st.booleans(),
)
def test_it_equals_scipy_in_any_blocks(seed, rows, size, k, coarse):
    corpus, queries = drawn(rows, 12, 0.4, seed), drawn(5, 12, 0.5, seed + 1)
    if coarse:  # many equal scores
        for each in (corpus, queries):
            each.data = np.ceil(2 * each.data)
    order = np.random.default_rng(seed).permutation(rows)
    same(sparse.search(queries, in_blocks(corpus, order, size), k), oracle(queries, corpus, k))


def test_a_corpus_of_many_words_to_the_last_bit():
    corpus, queries = drawn(3000, 400, 0.1, 0), drawn(40, 400, 0.1, 1)
    found = sparse.search(queries, in_blocks(corpus, np.arange(3000), 700), 50)
    same(found, oracle(queries, corpus, 50))


def test_what_cannot_be_searched_is_refused():
    corpus, queries = drawn(4, 6, 0.9, 0), drawn(2, 6, 0.9, 1)
    with pytest.raises(WellspringError, match="vocabulary of 6 words, the passages one of 5"):
        sparse.search(queries, [(np.arange(4), drawn(4, 5, 0.9, 0))], 2)
    corpus.data[0] = np.nan
    with pytest.raises(WellspringError, match="weights of a passage are no numbers"):
        sparse.search(queries, [(np.arange(4), corpus)], 2)
    queries.data[0] = np.inf
    with pytest.raises(WellspringError, match="weights of a query are no numbers"):
        sparse.search(queries, [], 2)


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.5, 3.0, 1e30]), max_size=40),
    k=st.integers(1, 12),
    parts=st.integers(1, 5),
)
def test_the_best_so_far_are_the_best_of_all(scores, k, parts):
    scores, rng = np.array(scores, np.float32), np.random.default_rng(0)
    documents = rng.permutation(len(scores))
    best = Best(2, k)
    for part in np.array_split(np.arange(len(scores)), parts):
        for query in (1, 0):
            best.add(np.full(len(part), query), documents[part], scores[part] * (1 - 2 * query))
    rows = np.tile(documents, (2, 1)), np.stack([scores, -scores])
    expected = ranked(*rows, k)
    found = best.ranking()
    same(found, expected)
