"""A teacher's scores, against numbers by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from wellspring.training.teaching import judge, of_samples, pairs

SAMPLES = pl.DataFrame(
    {
        "sample_id": ["a", "b"],
        "query_id": ["q1", "q0"],
        "positive_id": ["p2", "p0"],
        "negative_ids": [["p0", "p1"], ["p2", "p2"]],
    }
)
QUERIES = (["q0", "q1"], np.array([[1.0, 0.0], [3.0, 4.0]], np.float32))
PASSAGES = (["p0", "p1", "p2"], np.array([[2.0, 0.0], [0.0, 5.0], [6.0, 8.0]], np.float32))


@pytest.mark.parametrize(
    ("similarity", "scores"),
    [("dot", [[50, 6, 20], [2, 6, 6]]), ("cosine", [[1, 0.6, 0.8], [1, 0.6, 0.6]])],
)
def test_scores_are_of_the_positive_then_of_the_negatives(similarity, scores):
    judged = judge(SAMPLES, QUERIES, PASSAGES, similarity)
    assert judged["sample_id"].to_list() == ["a", "b"]
    np.testing.assert_allclose(judged["scores"].to_list(), scores, rtol=1e-6)


def test_pairs_are_judged_once_and_put_back_in_their_order():
    judged = {pair: float(number) for number, pair in enumerate(pairs(SAMPLES))}
    assert list(judged) == [
        *(("q1", "p2"), ("q1", "p0"), ("q1", "p1")),
        *(("q0", "p0"), ("q0", "p2")),
    ]
    assert of_samples(SAMPLES, judged).rows() == [("a", [0, 1, 2]), ("b", [3, 4, 4])]
    del judged["q0", "p2"]
    assert of_samples(SAMPLES, judged)["sample_id"].to_list() == ["a"]
