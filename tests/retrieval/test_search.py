"""Exact search against a brute-force ranking, faiss and planted neighbours."""

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wellspring.errors import WellspringError
from wellspring.retrieval import search as module
from wellspring.retrieval.ranking import NOTHING, ranked
from wellspring.retrieval.search import search

WHOLE = st.integers(-3, 3)


def blocks(vectors, *cuts, order=None):
    """The corpus in blocks, its rows in an order of their own."""
    order = np.arange(len(vectors)) if order is None else order
    for rows in np.split(order, cuts):
        yield rows, {0: vectors[rows], 1: -vectors[rows]}


def brute(queries, vectors, k):
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return ranked(np.broadcast_to(np.arange(len(vectors)), scores.shape), scores, k)


@given(
    arrays(np.float16, (3, 4), elements=WHOLE),
    arrays(np.float16, (40, 4), elements=WHOLE),
    st.integers(1, 45),
    st.lists(st.integers(0, 40), max_size=4).map(sorted),
    st.permutations(range(40)),
)
def test_blocks_in_any_order_give_the_ranking_of_the_whole(queries, vectors, k, cuts, order):
    # Small whole numbers: products are exact, and many of them are equal.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TILE", 8)
        patch.setattr(module, "QUERIES", 2)
        given = blocks(vectors, *cuts, order=np.array(order))
        found = search({0: queries, 1: queries}, given, k)

    for layer, expected in ((0, brute(queries, vectors, k)), (1, brute(queries, -vectors, k))):
        places = min(k, 40)
        np.testing.assert_array_equal(found[layer].documents[:, :places], expected.documents)
        np.testing.assert_array_equal(found[layer].scores[:, :places], expected.scores)
        assert (found[layer].documents[:, places:] == NOTHING).all()


def test_it_finds_what_faiss_finds():
    draws = np.random.default_rng(0)
    vectors = draws.standard_normal((9_000, 32), np.float32)
    queries = draws.standard_normal((50, 32), np.float32)

    found = search({0: queries}, blocks(vectors, 5_000), 100)[0]

    scores, documents = faiss.knn(queries, vectors, 100, metric=faiss.METRIC_INNER_PRODUCT)
    np.testing.assert_array_equal(found.documents, documents)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)


def test_cosine_divides_both_sides_by_their_lengths():
    draws = np.random.default_rng(1)
    vectors = (draws.standard_normal((300, 8)) * draws.uniform(0.1, 9, (300, 1))).astype(np.float16)
    planted = np.arange(0, 300, 30)
    queries = vectors[planted].astype(np.float32) * 5

    found = search({0: queries}, blocks(vectors), 5, "cosine")[0]

    assert found.documents[:, 0].tolist() == planted.tolist()
    np.testing.assert_allclose(found.scores[:, 0], 1, rtol=1e-5)
    zero = search({0: queries}, [(np.array([0]), {0: np.zeros((1, 8), np.float16)})], 1, "cosine")
    assert (zero[0].scores == 0).all()


def test_equal_vectors_have_equal_scores_wherever_they_stand():
    draws = np.random.default_rng(2)
    vectors = draws.standard_normal((6_001, 384), np.float32).astype(np.float16)
    copies = np.array([0, 1, 17, 4_095, 4_096, 5_000, 6_000])
    vectors[copies] = vectors[0]

    found = search({0: vectors[:1].astype(np.float32)}, blocks(vectors, 4_097), 7)[0]

    assert found.documents.tolist() == [copies.tolist()]
    assert len(set(found.scores[0].tolist())) == 1


def test_an_empty_corpus_has_no_documents():
    found = search({0: np.ones((2, 3), np.float32)}, [], 4)[0]

    assert (found.documents == NOTHING).all()


@pytest.mark.parametrize("side", ["query", "passage"])
def test_a_vector_that_is_not_finite_is_refused(side):
    queries, vectors = np.ones((1, 3), np.float32), np.ones((4, 3), np.float16)
    (queries if side == "query" else vectors)[-1, 1] = np.nan

    with pytest.raises(WellspringError, match=f"{side}.*is not finite: embed"):
        search({0: queries}, blocks(vectors), 2)
