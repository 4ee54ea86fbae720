"""The quality of a model, against ir_measures."""

from __future__ import annotations

import numpy as np
import torch

from wellspring.training.quality import reciprocal_ranks


def test_reciprocal_ranks_by_hand():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    passages = torch.tensor([[3.0, 0.0], [2.0, 5.0], [1.0, 1.0]])
    # Products: [3, 2, 1], [0, 5, 1], [3, 7, 2].
    relevant = [frozenset({1}), frozenset({0, 2}), frozenset({2})]
    ranks = reciprocal_ranks(queries, passages, relevant, "dot")
    np.testing.assert_allclose(ranks, [1 / 2, 1 / 2, 1 / 3])


def test_a_tie_counts_against_the_query_and_ten_is_the_end():
    passages = torch.zeros(12, 2)
    queries = torch.zeros(1, 2)
    assert reciprocal_ranks(queries, passages, [frozenset({0})], "dot") == 0
    assert reciprocal_ranks(queries, passages[:10], [frozenset({0})], "dot") == 0.1
