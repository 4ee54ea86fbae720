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
    bootstrap,
    cohen_d_z,
    draw_resamples,
    mcnemar,
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
    found = published_test(a.astype(float), b.astype(float))
    expected = stats.ttest_ind(a.astype(float), b.astype(float)).pvalue
    np.testing.assert_allclose(found.p_value, expected, rtol=1e-9)
    np.testing.assert_allclose(found.p_adjusted, np.minimum(1, 5 * expected), rtol=1e-9)


def test_published_test_of_a_constant_layer() -> None:
    same, other = np.full((20, 2), 0.5), np.full((20, 2), 0.5)
    other[:, 1] = 0.75
    found = published_test(same, other)
    assert found.p_value[0] == 1 and found.p_adjusted[0] == 1
    assert found.p_value[1] < 1e-6


@pytest.mark.parametrize("weighted", [False, True])
def test_sign_flips_agree_with_all_flips(weighted: bool) -> None:
    rng = generator(2, "enumerate")
    differences = rng.choice([-1, -0.5, 0, 0.5, 1], size=(9, 4))
    differences += np.array([0, 0.2, 0.5, 0.9])
    weights = rng.integers(1, 4, 9).astype(float) if weighted else None
    alone, family = flip_all(differences if weights is None else differences * weights[:, None])
    found = sign_flip_max_t(differences, permutations=60_000, rng=rng, weights=weights)
    np.testing.assert_allclose(found.p_value, alone, atol=0.008)
    np.testing.assert_allclose(found.p_adjusted, family, atol=0.008)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 1_000))
def test_sign_flip_p_values_are_in_order(queries: int, cells: int, seed: int) -> None:
    rng = generator(seed, "order")
    differences = rng.integers(-1, 2, (queries, cells)).astype(float)
    differences[:, 0] = 0
    found = sign_flip_max_t(differences, permutations=99, rng=rng)
    assert np.all((found.p_value >= 0.01) & (found.p_value <= found.p_adjusted + 1e-12))
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


def test_resamples_draw_as_many_as_there_are() -> None:
    drawn = draw_resamples(40, 3, 500, generator(6, "draw"))
    assert drawn.queries.shape == (500, 40) and drawn.seeds.shape == (500, 3)
    assert set(drawn.queries.sum(1)) == {40} and set(drawn.seeds.sum(1)) == {3}
    # Multiplicities are binomial: variance 1 - 1/Q.
    assert drawn.queries.var() == pytest.approx(1 - 1 / 40, rel=0.05)
    again = draw_resamples(40, 5, 500, generator(6, "draw"))
    np.testing.assert_array_equal(drawn.queries, again.queries)


def test_bootstrap_width_is_the_analytic_one() -> None:
    rng = generator(7, "width")
    correct = (rng.random((900, 1, 2)) < [0.3, 0.8]).astype(float)
    drawn = draw_resamples(900, 1, 4_000, rng)
    found = bootstrap(correct, np.ones((900, 1)), drawn)
    mean = correct.mean((0, 1))
    half = 1.96 * np.sqrt(mean * (1 - mean) / 900)
    np.testing.assert_allclose(found.estimate, mean)
    np.testing.assert_allclose(found.high - found.low, 2 * half, rtol=0.06)
    np.testing.assert_allclose((found.high + found.low) / 2, mean, atol=0.003)


def test_bootstrap_is_a_slow_loop_over_queries_and_seeds() -> None:
    """Queries with several samples weigh by them; seeds are drawn beside queries."""
    rng = generator(8, "loop")
    counts = rng.integers(1, 5, 12)
    sums = rng.random((12, 3, 2)) * counts[:, None, None]
    drawn = draw_resamples(12, 3, 200, rng)
    draws = []
    for queries, seeds in zip(drawn.queries, drawn.seeds, strict=True):
        rows, columns = np.repeat(np.arange(12), queries), np.repeat(np.arange(3), seeds)
        chosen = sums[rows][:, columns]
        draws.append(chosen.mean(1).sum(0) / counts[rows].sum())
    found = bootstrap(sums, counts[:, None].astype(float), drawn)
    np.testing.assert_allclose(found.estimate, sums.mean(1).sum(0) / counts.sum())
    np.testing.assert_allclose(found.low, np.quantile(draws, 0.025, axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.high, np.quantile(draws, 0.975, axis=0), rtol=1e-5)


def test_bootstrap_over_seeds_widens_the_interval() -> None:
    """A seed that moves every query alike is seen, though each seed's queries vary little."""
    values = np.full((300, 4, 1), 0.5) + np.array([-0.2, -0.1, 0.1, 0.2])[:, None]
    found = bootstrap(values, np.ones((300, 1)), draw_resamples(300, 4, 2_000, generator(9)))
    # Standard error of the mean of four seeds drawn with replacement: 0.158 / 2.
    assert found.high[0] - found.low[0] == pytest.approx(2 * 1.96 * 0.158 / 2, rel=0.15)


def test_bootstrap_covers_the_truth() -> None:
    inside = 0
    for trial in range(200):
        rng = generator(10, "coverage", trial)
        # Samples of a query agree: the interval must count queries, not samples.
        counts = rng.integers(1, 5, 80)
        sums = (rng.random(80) < 0.6) * counts
        found = bootstrap(
            sums[:, None, None].astype(float),
            counts[:, None].astype(float),
            draw_resamples(80, 1, 400, rng),
        )
        inside += bool(found.low[0] <= 0.6 <= found.high[0])
    assert 180 <= inside <= 198


def test_d_z_and_its_interval() -> None:
    rng = generator(11, "d_z")
    differences = rng.normal([0.0, 0.5], 1, (600, 2))
    found = cohen_d_z(differences, draw_resamples(600, 1, 2_000, rng))
    expected = differences.mean(0) / differences.std(0, ddof=1)
    np.testing.assert_allclose(found.estimate, expected, rtol=1e-9)
    # Large-sample standard error: sqrt(1/n + d²/2n).
    width = 2 * 1.96 * np.sqrt((1 + expected**2 / 2) / 600)
    np.testing.assert_allclose(found.high - found.low, width, rtol=0.08)


def test_d_z_of_constant_differences() -> None:
    differences = np.stack([np.zeros(30), np.full(30, 0.25)], 1)
    found = cohen_d_z(differences, draw_resamples(30, 1, 50, generator(12)))
    assert found.estimate[0] == found.low[0] == found.high[0] == 0
    assert np.isnan(found.estimate[1])
