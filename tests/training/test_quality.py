"""The quality of a model, against ir_measures."""

from __future__ import annotations

import numpy as np

from wellspring.training.quality import reciprocal_ranks


def test_reciprocal_ranks_by_hand():
    scores = np.array([[3, 2, 1], [0, 5, 1], [3, 7, 2]])
    relevant = [frozenset({1}), frozenset({0, 2}), frozenset({2})]
    ranks = reciprocal_ranks(scores, relevant)
    np.testing.assert_allclose(ranks, [1 / 2, 1 / 2, 1 / 3])


def test_a_tie_counts_against_the_query_and_ten_is_the_end():
    scores = np.zeros((1, 12))
    assert reciprocal_ranks(scores, [frozenset({0})]) == 0
    assert reciprocal_ranks(scores[:, :10], [frozenset({0})]) == 0.1
