"""Rank correlation of scores, against scipy a text at a time."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from wellspring.errors import WellspringError
from wellspring.findings.agreement import AGREEMENT, agreement
from wellspring.randomness import generator


def ids(count: int, start: int = 0) -> list[str]:
    return [f"t{row}" for row in range(start, start + count)]


@settings(max_examples=40, deadline=None)
@given(levels=st.sampled_from([2, 5, 1000]), texts=st.integers(1, 6), seed=st.integers(0, 99))
def test_each_text_has_scipy_s_correlation(levels: int, texts: int, seed: int) -> None:
    rng = generator(seed, "agreement")
    a, b = rng.integers(0, levels, (2, texts, 12)).astype(np.float32)
    order = rng.permutation(texts)
    found = agreement(ids(texts), a, [f"t{row}" for row in order], b[order], seed)
    assert found.schema == AGREEMENT and found["text_id"].to_list() == ids(texts)
    for x, y, correlation in zip(a, b, found["correlation"], strict=True):
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            assert correlation is None
        else:
            assert correlation == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_shifted_is_the_correlation_with_the_next_text_of_one_circle() -> None:
    a, b = generator(1, "circle").random((2, 9, 30))
    found = agreement(ids(9), a, ids(9), b, 5)
    following = []
    for x, shifted in zip(a, found["shifted"], strict=True):
        every = np.array([spearmanr(x, y).statistic for y in b])
        following.append(int(np.abs(every - shifted).argmin()))
        assert every[following[-1]] == pytest.approx(shifted, abs=1e-12)
    visited, text = [], 0
    for _ in range(9):
        visited.append(text)
        text = following[text]
    assert sorted(visited) == list(range(9))
    assert not found["shifted"].equals(agreement(ids(9), a, ids(9), b, 6)["shifted"])


def test_the_order_of_texts_and_their_scale_change_nothing() -> None:
    rng = generator(2, "order")
    a, b = rng.random((2, 8, 20))
    found = agreement(ids(8), a, ids(8), b, 1)
    order = rng.permutation(8)
    mixed = [f"t{row}" for row in order]
    scaled = agreement(mixed, (a * np.arange(1, 9)[:, None])[order], ids(8), b**3, 1)
    assert found.equals(scaled.sort("text_id"))


def test_only_shared_texts_are_compared() -> None:
    a = generator(3, "shared").random((6, 10))
    found = agreement(ids(6), a, ids(6, start=4), a[[4, 5, 0, 1, 2, 3]], 1)
    assert found["text_id"].to_list() == ["t4", "t5"]
    assert found["correlation"].to_list() == pytest.approx([1, 1])
    assert found["shifted"].to_list() == pytest.approx([spearmanr(a[4], a[5]).statistic] * 2)


def test_alike_for_the_network_s_sake_or_for_the_text_s() -> None:
    """Planted: neurons of unequal weight in every text, and texts of their own in both models."""
    rng = generator(4, "planted")
    weights, own = rng.random(400), rng.random((30, 400))
    by_weight = [agreement(ids(30), weights * own, ids(30), weights * rng.random((30, 400)), 1)]
    by_text = [agreement(ids(30), own, ids(30), own + 0.1 * rng.random((30, 400)), 1)]
    for (found,), alike in ((by_weight, False), (by_text, True)):
        means = found.select(pl.col("correlation", "shifted").mean()).row(0)
        assert (means[0] - means[1] > 0.8) == alike
        assert means[0] > 0.4 and (abs(means[1]) < 0.05) == alike


def test_constant_scores_have_no_correlation() -> None:
    a = np.array([[1, 1, 1], [1, 2, 3]], np.float32)
    found = agreement(ids(2), a, ids(2), a, 1)
    assert found["correlation"].to_list() == [None, pytest.approx(1)]
    assert found["shifted"].to_list() == [None, None]


def test_one_text_has_no_other() -> None:
    a = np.array([[1.0, 2.0, 3.0]])
    assert agreement(["t"], a, ["t"], -a, 1).row(0) == ("t", pytest.approx(-1), None)


def test_sides_that_cannot_be_compared() -> None:
    a = np.ones((2, 3))
    with pytest.raises(WellspringError, match="one side has 3 neurons and the other 4"):
        agreement(ids(2), a, ids(2), np.ones((2, 4)), 1)
    with pytest.raises(WellspringError, match="share no text"):
        agreement(ids(2), a, ids(2, start=2), a, 1)
