"""The one interval, against libraries, slow loops and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.proportion import proportion_confint

from wellspring import intervals
from wellspring.intervals import Estimate, interval, mean, ratio
from wellspring.randomness import generator

ONE = np.ones((1, 1, 1))


def by_hall(values: np.ndarray) -> tuple[float, float]:
    """Hall's interval of a mean: the transform is inverted by a root finder."""
    n, deviation = len(values), values.std(ddof=1)
    away = values - values.mean()
    skewness = np.mean(away**3) / np.mean(away**2) ** 1.5

    def transform(w: float) -> float:
        return w + skewness * w**2 / 3 + skewness**2 * w**3 / 27 + skewness / (6 * n)

    ends = []
    for tail in (0.975, 0.025):
        wanted = stats.t.ppf(tail, n - 1) / np.sqrt(n)
        root = brentq(lambda w, wanted=wanted: transform(w) - wanted, -1e3, 1e3)
        ends.append(values.mean() - deviation * root)
    return ends[0], ends[1]


@settings(max_examples=40)
@given(st.integers(4, 60), st.integers(0, 10_000))
def test_a_mean_has_the_hull_of_student_s_and_hall_s_interval(n: int, seed: int) -> None:
    values = generator(seed, "hull").lognormal(size=n)
    found = interval(mean(values[:, None]))
    hall = by_hall(values)
    student = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert found.estimate[0] == pytest.approx(values.mean())
    assert found.low[0] == pytest.approx(min(hall[0], student[0]), rel=1e-6)
    assert found.high[0] == pytest.approx(max(hall[1], student[1]), rel=1e-6)


def test_a_share_of_independent_answers_has_wilson_s_interval() -> None:
    for n, right in ((40, 1), (40, 39), (800, 500)):
        values = (np.arange(n) < right).astype(float)[:, None]
        found = interval(mean(values), 0, 1, proportion=True)
        # The clusters' variance has n − 1 in its denominator, and Student's quantile is wider.
        tail = 2 * stats.norm.sf(stats.t.ppf(0.975, n - 1))
        expected = proportion_confint(right / n * (n - 1), n - 1, tail, "wilson")
        np.testing.assert_allclose([found.low[0], found.high[0]], expected, rtol=1e-9)


def test_clusters_that_all_agree_have_clopper_s_bound() -> None:
    for n in (2, 16, 800):
        right = interval(mean(np.ones((n, 1))), 0, 1, proportion=True)
        expected = proportion_confint(n, n, 0.05, "beta")
        np.testing.assert_allclose([right.low[0], right.high[0]], expected)
        still = interval(mean(np.zeros((n, 1))), -1, 1)
        assert -still.low[0] == still.high[0] == pytest.approx(1 - 0.025 ** (1 / n))


def test_no_interval_has_zero_width() -> None:
    """Where nothing bounds a constant, there is no interval."""
    constant = np.full((16, 1), 0.3)
    found = interval(mean(constant), 0, 1)
    assert found.low[0] < 0.3 < found.high[0]
    boundless = interval(mean(constant))
    assert boundless.estimate[0] == pytest.approx(0.3)
    assert np.isnan([boundless.low[0], boundless.high[0]]).all()
    alone = interval(mean(np.array([[0.3]])))
    assert np.isnan([alone.low[0], alone.high[0]]).all()


def test_rounding_is_no_variance() -> None:
    noise = 0.3 + 1e-16 * generator(1).integers(-3, 4, (16, 1))
    found = interval(mean(noise), 0, 1)
    assert found.high[0] - found.low[0] > 0.1


def test_missing_values_do_not_count() -> None:
    values = generator(2, "missing").normal(size=(30, 2))
    values[20:, 1] = np.nan
    found, alone = interval(mean(values)), interval(mean(values[:20, 1:]))
    for name in ("estimate", "low", "high"):
        assert getattr(found, name)[1] == pytest.approx(getattr(alone, name)[0])


def test_values_of_one_cluster_move_together() -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 4.0], [np.nan, np.nan]])
    sums, counts = intervals.clustered(values, np.array(["b", "a", "b", "c"]))
    np.testing.assert_array_equal(sums, [[3, np.nan], [6, 6], [np.nan, np.nan]])
    np.testing.assert_array_equal(counts, [[1, 0], [2, 2], [0, 0]])
    estimate = intervals.mean(sums, counts)
    assert estimate.value.tolist() == [3, 3]
    assert estimate.clusters.tolist() == [2, 1]


def test_a_ratio_is_a_slow_jackknife_s() -> None:
    """The standard error of a ratio of sums is the jackknife's, to first order."""
    rng = generator(3, "ratio")
    over = rng.integers(1, 6, (400, 1, 1)).astype(float)
    numerators = over * 0.3 + rng.normal(size=(400, 1, 1))
    found = ratio(numerators, over)
    left_out = [np.delete(numerators, row).sum() / np.delete(over, row).sum() for row in range(400)]
    jackknife = np.sqrt(399 / 400 * np.square(left_out - np.mean(left_out)).sum())
    assert intervals.spread(found).error[0] == pytest.approx(jackknife, rel=0.01)
    np.testing.assert_allclose(found.influence.sum((0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose(found.contributions().sum(0), found.value)


def test_repetitions_that_agree_add_nothing_and_others_widen() -> None:
    rng = generator(4, "seeds")
    clusters = rng.normal(size=(300, 1, 1))
    alike = np.repeat(clusters, 3, axis=1)
    one, three = (interval(ratio(v, np.ones((1, 1, 1)))) for v in (clusters, alike))
    np.testing.assert_allclose(three.high, one.high)
    apart = alike + np.array([-0.5, 0, 0.5])[None, :, None]
    wide = interval(ratio(apart, np.ones((1, 1, 1))))
    assert wide.high[0] - wide.low[0] > 3 * (one.high[0] - one.low[0])


def ragged(rng: np.random.Generator, luck: float, cells: int) -> Estimate:
    """500 clusters, three repetitions that observe 100 of them each and deviate by `luck`."""
    tested = np.zeros((500, 3, 1))
    for seed in range(3):
        tested[rng.permutation(500)[:100], seed] = 1
    values = rng.normal(size=(500, 1, cells)) + luck * rng.normal(size=(1, 3, cells))
    return ratio(tested * (values + rng.normal(size=(500, 3, cells))), tested)


def test_what_repetitions_add_is_measured_where_they_observe_different_clusters() -> None:
    rng = generator(5, "ragged")
    found = [intervals.spread(ragged(rng, 0.3, 40)) for _ in range(30)]
    # A repetition's own deviation enters a mean of three with a third of its variance.
    assert np.mean([each.repetitions for each in found]) == pytest.approx(0.09 / 3, rel=0.12)
    nothing = [intervals.spread(ragged(rng, 0.0, 40)) for _ in range(30)]
    assert np.mean([each.repetitions for each in nothing]) < 0.09 / 3 / 10


def test_cells_that_vary_alike_tell_of_repetitions_but_once() -> None:
    alone = ragged(generator(6), 0.5, 1)
    copies = alone.kept([0] * 8)
    one, eight = intervals.spread(alone), intervals.spread(copies)
    np.testing.assert_allclose(eight.freedom, one.freedom[0])
    np.testing.assert_allclose(eight.error, one.error[0])


def test_d_z_and_its_interval() -> None:
    differences = generator(11, "d_z").normal([0.0, 0.5], 1, (600, 2))
    found = interval(intervals.cohen_d_z(differences[:, None], ONE))
    expected = differences.mean(0) / differences.std(0, ddof=1)
    np.testing.assert_allclose(found.estimate, expected, rtol=1e-9)
    # Large-sample standard error: sqrt(1/n + d²/2n).
    width = 2 * 1.96 * np.sqrt((1 + expected**2 / 2) / 600)
    np.testing.assert_allclose(found.high - found.low, width, rtol=0.08)


def test_the_influences_on_d_z_are_a_slow_jackknife_s() -> None:
    """To first order, of 200 clusters that have a repetition or more each."""
    rng = generator(12, "d_z")
    counts = rng.integers(0, 3, (200, 3, 1)).astype(float)
    counts[:, 0] = 1
    numerators = counts * rng.normal(0.4, 1, (200, 3, 2))
    found = intervals.cohen_d_z(numerators, counts)
    np.testing.assert_allclose(found.influence.sum((0, 1)), 0, atol=1e-12)
    left_out = [
        intervals.cohen_d_z(*(np.delete(part, row, 0) for part in (numerators, counts))).value
        for row in range(200)
    ]
    expected = 199 / 200 * (found.value - left_out)
    np.testing.assert_allclose(found.influence.sum(1), expected, atol=2e-3)


def test_d_z_varies_with_its_repetitions_as_the_mean_does() -> None:
    rng = generator(13, "d_z")
    values = rng.normal(size=(400, 3, 6)) + 0.3 * rng.normal(size=(1, 3, 6))
    effect, mean_ = intervals.cohen_d_z(values, np.ones((400, 3, 1))), ratio(values, np.ones(1))
    shares = [
        found.repetitions / found.clusters for found in map(intervals.spread, (effect, mean_))
    ]
    np.testing.assert_allclose(*shares, rtol=0.05)


def test_d_z_of_constant_differences() -> None:
    differences = np.stack([np.zeros(30), np.full(30, 0.25)], 1)
    found = interval(intervals.cohen_d_z(differences[:, None], ONE))
    assert found.estimate[0] == 0 and np.isnan(found.estimate[1])
    assert np.isnan([*found.low, *found.high]).all()


def test_the_detectable_effect_is_detected_four_times_in_five() -> None:
    rng, n = generator(6, "power"), 40
    effect = intervals.detectable(mean(rng.normal(size=(n, 4_000)))).mean()
    found = interval(mean(rng.normal(effect, 1, (n, 4_000))))
    assert (found.low > 0).mean() == pytest.approx(0.8, abs=0.04)


def test_a_cell_does_not_depend_on_its_neighbours() -> None:
    values = generator(7).normal(size=(50, 5))
    whole, alone = interval(mean(values)), interval(mean(values[:, 3:4]))
    np.testing.assert_allclose([whole.low[3], whole.high[3]], [alone.low[0], alone.high[0]])


def test_a_difference_of_estimates_is_that_of_the_values() -> None:
    a, b = generator(8).normal(size=(2, 50, 3))
    found, expected = interval(mean(a) - mean(b)), interval(mean(a - b))
    assert isinstance(mean(a) - mean(b), Estimate)
    np.testing.assert_allclose(found.low, expected.low)


def test_seeds_that_test_the_same_samples_have_intervals() -> None:
    """One split for all seeds: repetitions add nothing, or next to nothing."""
    rng = np.random.default_rng(4)
    once = (rng.random((400, 1, 3)) < 0.6).astype(np.float64)
    for flips in (0.0, 0.02, 0.5):
        credit = np.repeat(once, 3, axis=1)
        credit = np.where(rng.random(credit.shape) < flips, 1 - credit, credit)
        for estimate, bounds in (
            (intervals.ratio(credit, np.ones((400, 3, 1))), (0, 1)),
            (intervals.ratio(credit - 0.5, np.full((400, 3, 1), 0.5)), (-1, 1)),
        ):
            found = intervals.interval(estimate, *bounds)
            assert (found.low < found.estimate).all() and (found.estimate < found.high).all()
