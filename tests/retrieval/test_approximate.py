"""Approximate search against exact search, on planted neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from wellspring.errors import WellspringError
from wellspring.retrieval import approximate
from wellspring.retrieval.approximate import Graph, Lists
from wellspring.retrieval.ranking import NOTHING, Ranking, ranked

GROUPS, EACH, HIDDEN = 40, 25, 32


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """A query a group, and the groups' documents around it; all of length 1."""
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((GROUPS, HIDDEN))
    documents = np.repeat(queries, EACH, 0) + 0.3 * rng.standard_normal((GROUPS * EACH, HIDDEN))
    return tuple(
        each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries, documents)
    )


def exact(queries: np.ndarray, documents: np.ndarray, k: int) -> Ranking:
    scores = queries.astype(np.float32) @ documents.astype(np.float32).T
    return ranked(np.tile(np.arange(len(documents)), (len(queries), 1)), scores, k)


@pytest.mark.parametrize("settings", [Graph(8, 40, 40), Lists(16, 4)])
def test_planted_neighbours_are_found(planted, settings):
    queries, documents = planted
    found = approximate.search(queries, documents, EACH, settings)
    assert (found.documents // EACH == np.arange(GROUPS)[:, None]).mean() > 0.97
    expected = exact(queries, documents, EACH)
    assert approximate.recall(found, expected).mean() > 0.97
    right = np.take_along_axis(queries @ documents.T, found.documents, 1)
    np.testing.assert_allclose(found.scores, right, atol=1e-5)


def test_all_lists_are_exact_and_few_are_not(planted):
    queries, documents = planted
    expected = exact(queries, documents, 100)
    shares = [
        approximate.recall(
            approximate.search(queries, documents, 100, Lists(16, probes)), expected
        ).mean()
        for probes in (1, 4, 16)
    ]
    assert shares[0] < shares[1] < shares[2] == 1


@pytest.mark.parametrize("settings", [Graph(4, 16, 16), Lists(16, 2)])
def test_a_seed_makes_one_index(planted, settings):
    import faiss

    _, documents = planted
    indexes = [
        faiss.serialize_index(approximate.build(documents, settings, seed)) for seed in (1, 1, 2)
    ]
    assert np.array_equal(indexes[0], indexes[1])
    assert not np.array_equal(indexes[0], indexes[2])


def test_threads_that_search_find_the_same(planted):
    queries, documents = planted
    index = approximate.build(documents, Graph(4, 16, 16))
    runs = []
    for threads in (1, 2):
        with approximate.threads(threads):
            runs.append(approximate.found(index, queries, 30))
    np.testing.assert_array_equal(runs[0].documents, runs[1].documents)
    np.testing.assert_array_equal(runs[0].scores, runs[1].scores)


def test_equal_documents_stand_by_position_and_missing_ones_at_the_end():
    documents = np.tile([[1.0, 0.0], [0.0, 1.0]], (3, 1))
    found = approximate.search(np.array([[2.0, 1.0]]), documents, 8, Lists(1, 1))
    assert found.documents.tolist() == [[0, 2, 4, 1, 3, 5, NOTHING, NOTHING]]
    assert found.scores[0, :6].tolist() == [2, 2, 2, 1, 1, 1]


def test_recall_by_hand():
    none = [-np.inf, -np.inf]
    # The fourth query's 7 has the score of the last one, up to rounding; the others have not.
    ours = Ranking(
        np.array([[4, 5], [1, 9], [2, 3], [1, 7]]),
        np.array([[2, 1], [2, 1.4], [2, 1], [2, 1.5 - 1e-6]], np.float32),
    )
    theirs = Ranking(
        np.array([[5, 4], [1, 8], [NOTHING, NOTHING], [1, 8]]),
        np.array([[2, 1], [2, 1.5], none, [2, 1.5]], np.float32),
    )
    np.testing.assert_array_equal(approximate.recall(ours, theirs), [1, 0.5, np.nan, 1])
    few = Ranking(np.array([[NOTHING, NOTHING]]), np.array([none], np.float32))
    some = Ranking(np.array([[3, NOTHING]]), np.array([[1, -np.inf]], np.float32))
    assert approximate.recall(few, some).tolist() == [0]


def test_what_cannot_be_built_is_refused(planted):
    _, documents = planted
    with pytest.raises(WellspringError, match="20 lists for 10 documents"):
        approximate.build(documents[:10], Lists(20, 1))
    for settings, name in (
        (Graph(m=1), "m: "),
        (Graph(ef_search=0), "ef_search: "),
        (Lists(4, 0), "probes: "),
    ):
        with pytest.raises(WellspringError, match=name):
            approximate.build(documents, settings)
    with pytest.raises(WellspringError, match="vector of a passage is not finite"):
        approximate.build(np.full((3, 2), np.nan), Lists(1, 1))
