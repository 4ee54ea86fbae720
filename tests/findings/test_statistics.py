"""Tests, intervals and effect sizes, against libraries, enumeration and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from wellspring.findings.statistics import (
    mcnemar,
    moments,
    published_test,
    sign_flip_max_t,
)
from wellspring.randomness import generator


def flip_all(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw and max-T p-values from every one of the 2^Q flips, with t spelt out."""

    def t(values: np.ndarray) -> np.ndarray:
        spread = values.std(0, ddof=1)
        mean = values.mean(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.abs(mean) / (spread / np.sqrt(len(values)))
        found = np.where((spread < 1e-12) & (np.abs(mean) > 1e-12), np.inf, found)
        return np.nan_to_num(found, nan=0.0, posinf=1e9)

    observed = t(differences)
    flips = [
        t(differences * np.array(s)[:, None]) for s in product((-1, 1), repeat=len(differences))
    ]
    alone = np.mean([flip >= observed - 1e-6 for flip in flips], 0)
    family = np.mean([flip.max() >= observed - 1e-6 for flip in flips], 0)
    return alone, family


def test_published_test_is_scipy_s_with_bonferroni_over_layers() -> None:
    rng = generator(1, "t-test")
    a, b = rng.random((60, 5)) < 0.6, rng.random((60, 5)) < [0.6, 0.5, 0.3, 0.2, 0.9]
    found = published_test(moments(a.astype(float)), moments(b.astype(float)))
    expected = stats.ttest_ind(a.astype(float), b.astype(float)).pvalue
    np.testing.assert_allclose(found.p_value, expected, rtol=1e-9)
    np.testing.assert_allclose(found.p_adjusted, np.minimum(1, 5 * expected), rtol=1e-9)


def test_published_test_of_a_constant_layer() -> None:
    same, other = np.full((20, 2), 0.5), np.full((20, 2), 0.5)
    other[:, 1] = 0.75
    found = published_test(moments(same), moments(other))
    assert found.p_value[0] == 1 and found.p_adjusted[0] == 1
    assert found.p_value[1] < 1e-6


def planted() -> np.ndarray:
    rng = generator(2, "enumerate")
    differences = rng.choice([-1, -0.5, 0, 0.5, 1], size=(9, 4)) + np.array([0, 0.2, 0.5, 0.9])
    return differences * rng.integers(1, 4, 9)[:, None]


def test_few_clusters_have_exact_p_values() -> None:
    alone, family = flip_all(planted())
    found = sign_flip_max_t(planted(), permutations=256, rng=generator(2))
    np.testing.assert_allclose(found.p_value, alone, atol=1e-12)
    np.testing.assert_allclose(found.p_adjusted, family, atol=1e-12)


def test_drawn_flips_agree_with_all_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than all 256, many times over."""
    alone, family = flip_all(planted())
    draws = [
        sign_flip_max_t(planted(), permutations=254, rng=generator(2, turn)) for turn in range(300)
    ]
    # The data count as one of the flips.
    for found, expected in ((0, alone), (1, family)):
        mean = np.mean([(draw.p_value, draw.p_adjusted)[found] for draw in draws], 0)
        np.testing.assert_allclose(mean, (1 + 254 * expected) / 255, atol=0.008)


def test_six_clusters_cannot_have_a_p_value_below_one_in_32() -> None:
    found = sign_flip_max_t(np.ones((6, 1)), permutations=10_000, rng=generator(0))
    assert found.p_value[0] == 2 / 64


def test_what_repetitions_add_makes_a_difference_less_sure() -> None:
    differences = generator(4, "reliability").normal(0.4, 1, (60, 1))

    def p_value(**known: float) -> float:
        rng = generator(1)
        return sign_flip_max_t(differences, permutations=2_000, rng=rng, **known).p_value[0]

    assert p_value(reliability=0.7) > 2 * p_value()
    # Of few repetitions one knows less surely how much they add.
    assert p_value(reliability=0.7, freedom=8.0) > 1.3 * p_value(reliability=0.7)
    assert p_value(reliability=0.7, freedom=1e9) == p_value(reliability=0.7)


def test_a_difference_in_every_cluster_is_significant_whatever_repetitions_add() -> None:
    found = sign_flip_max_t(
        np.ones((3_000, 1)), permutations=999, rng=generator(0), reliability=0.99
    )
    assert found.p_value[0] == 1 / 1000


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 1_000))
def test_sign_flip_p_values_are_in_order(queries: int, cells: int, seed: int) -> None:
    rng = generator(seed, "order")
    differences = rng.integers(-1, 2, (queries, cells)).astype(float)
    differences[:, 0] = 0
    found = sign_flip_max_t(differences, permutations=99, rng=rng)
    least = max(0.01, 0.5 ** (queries - 1))
    assert np.all((found.p_value >= least) & (found.p_value <= found.p_adjusted + 1e-12))
    assert np.all(found.p_adjusted <= 1)
    assert found.p_value[0] == found.p_adjusted[0] == 1


def test_sign_flips_hold_the_family_wise_error() -> None:
    """40 cells without an effect, alike as neighbouring layers are: few families err."""
    errors, naive = 0, 0
    for trial in range(200):
        rng = generator(3, "null", trial)
        shared = rng.normal(size=(50, 1))
        differences = np.round(0.7 * shared + rng.normal(size=(50, 40)), 1)
        found = sign_flip_max_t(differences, permutations=199, rng=rng)
        errors += bool((found.p_adjusted <= 0.05).any())
        naive += bool((found.p_value <= 0.05).any())
    # 5 % of 200 is 10, with a standard deviation of 3.1.
    assert errors <= 20
    assert naive >= 60


def test_sign_flips_find_a_planted_difference_and_only_that() -> None:
    rng = generator(4, "power")
    differences = rng.integers(-1, 2, (400, 28)).astype(float)
    differences[:, 5] = rng.choice([-1, 0, 1], p=[0.2, 0.4, 0.4], size=400)
    found = sign_flip_max_t(differences, permutations=2_000, rng=rng)
    assert found.p_adjusted[5] < 0.01
    assert np.delete(found.p_adjusted, 5).min() > 0.05


def test_sign_flips_see_through_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = generator(5, "chunks")
    differences = rng.normal(0.1, 1, (50, 3))
    whole = sign_flip_max_t(differences, permutations=4_000, rng=generator(5, "flips"))
    monkeypatch.setattr("wellspring.findings.statistics.BLOCK", 333)
    pieces = sign_flip_max_t(differences, permutations=4_000, rng=generator(5, "flips"))
    np.testing.assert_allclose(pieces.p_adjusted, whole.p_adjusted, atol=0.04)
    assert np.all(pieces.p_value >= 1 / 4_001)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_statsmodels_s(pairs: list[tuple[bool, bool]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    table = [[((a == i) & (b == j)).sum() for j in (1, 0)] for i in (1, 0)]
    if table[0][1] + table[1][0] == 0:
        assert mcnemar(a, b) == 1
    else:
        assert mcnemar(a, b) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_mcnemar_does_not_apply_to_shared_credit() -> None:
    assert mcnemar(np.array([1, 0, 0.5]), np.array([1, 1, 0])) is None
