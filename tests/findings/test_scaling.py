"""What a doubling brings: hand-computed slopes, planted truths, and error rates on null data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from benchmarks import scaling as simulated
from wellspring.findings.growth import growth, power_law, resampled, short
from wellspring.findings.scaling import (
    Ladder,
    bent,
    contrastive_entropy,
    holm,
    levels,
    outcome,
    slope,
    spread,
    temperature,
)
from wellspring.randomness import generator


def ladder(values: np.ndarray, seeds: int = 3) -> Ladder:
    """Sizes that double from one to the next, with so many seeds each."""
    cells = np.arange(values.shape[1]) // seeds
    return Ladder(values, cells.astype(float), cells)


def test_a_slope_by_hand() -> None:
    """Means .1, .2, .6 a doubling apart: (.6 − .1) / 2."""
    values = np.array([[0.0, 0.2, 0.5], [0.2, 0.2, 0.7]])
    contrast = slope(ladder(values, seeds=1))
    assert contrast.value == pytest.approx(0.25)
    assert contrast.weights == pytest.approx([-0.5, 0, 0.5])
    # Each query's own slope is .25: queries vary nothing, and one seed a size says nothing.
    assert spread(contrast).error[0] == pytest.approx(0)


def test_seeds_alone_are_welchs_test() -> None:
    """Two sizes whose models all answer every query alike: the test of two groups of models."""
    quality = np.array([0.30, 0.34, 0.29, 0.51, 0.45, 0.60])
    result = outcome(slope(ladder(np.tile(quality, (1000, 1)))))
    welch = stats.ttest_ind(quality[3:], quality[:3], equal_var=False)
    assert result.p_value == pytest.approx(welch.pvalue)
    assert result.freedom == pytest.approx(welch.df)
    ends = welch.confidence_interval()
    assert (result.interval.low[0], result.interval.high[0]) == pytest.approx((ends.low, ends.high))


def test_queries_alone_are_the_paired_test() -> None:
    """Models without luck of their own: the t-test of the queries' slopes."""
    rng = generator(1, "queries")
    base, steps = rng.normal(size=(40, 1)), rng.normal(0.1, 0.2, size=(40, 1))
    values = base + steps * np.repeat([0, 1, 2], 3)
    result = outcome(slope(ladder(values)))
    assert result.p_value == pytest.approx(stats.ttest_1samp(steps[:, 0], 0).pvalue)


def test_models_of_one_size_have_no_slope() -> None:
    one = Ladder(np.zeros((4, 2)), np.array([3.0, 3.0]), np.array([0, 0]))
    with pytest.raises(ValueError, match="same size"):
        slope(one)
    with pytest.raises(ValueError, match="same size"):
        growth(one, generator(0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(0.5, 4))
def test_a_slope_moves_with_its_unit(seed: int, added: float, factor: float) -> None:
    values = generator(seed, "unit").normal(size=(12, 9))
    one = outcome(slope(ladder(values)))
    other = outcome(slope(ladder(added + factor * values)))
    assert other.p_value == pytest.approx(one.p_value, abs=1e-7)
    assert other.interval.low[0] == pytest.approx(factor * one.interval.low[0], abs=1e-7)


def test_what_differs_in_nothing_is_no_difference() -> None:
    values = generator(2, "same").uniform(size=(20, 9))
    same = slope(ladder(values))
    assert same.apart(same).value == same.elsewhere(same).value == 0


def test_the_same_luck_on_two_datasets_cancels() -> None:
    """Models are far apart, but alike on both datasets."""
    rng = generator(3, "cancels")
    luck = rng.normal(size=9)
    one, other = (slope(ladder(luck + 0.01 * rng.normal(size=(50, 9)))) for _ in range(2))
    error = spread(one.elsewhere(other)).error[0]
    assert error < 0.1 * spread(one).error[0]


def test_log_odds_at_the_edge_are_finite() -> None:
    qualities, moved = levels(np.array([[0.0, 1.0, 0.5]] * 9), "log-odds")
    assert qualities == pytest.approx([np.log(0.5 / 9.5), np.log(9.5 / 0.5), 0])
    assert np.isfinite(moved).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        levels(np.array([[1.5]]), "log-odds")


def test_a_line_is_not_bent_and_a_step_is() -> None:
    noise = 0.01 * generator(4, "bent").normal(size=(1, 9))
    sizes = np.repeat([0.0, 1, 2], 3)
    assert bent(ladder(0.1 * sizes + noise)) > 0.05
    assert bent(ladder(0.3 * (sizes > 1) + noise)) < 1e-4
    assert np.isnan(bent(ladder(np.ones((2, 6)))))


def test_holm_by_hand() -> None:
    adjusted = holm([0.01, 0.04, np.nan, 0.03])
    assert adjusted[[0, 1, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(adjusted[2])


def test_a_planted_power_law_is_found() -> None:
    doublings = np.repeat(np.arange(6.0), 3)
    law = power_law(doublings, 0.9 - 0.5 * 2 ** (-0.6 * doublings))
    assert (law.exponent, law.limit, law.amount) == pytest.approx((0.6, 0.9, -0.5), rel=1e-3)


def test_a_bend_is_preferred_and_a_line_is_not() -> None:
    rng = generator(5, "curves")
    sizes = np.repeat(np.arange(6.0), 3)
    noise = 0.01 * rng.normal(size=18) + 0.05 * rng.normal(size=(100, 18))
    curved = growth(ladder(0.9 - 0.5 * 2 ** (-0.8 * sizes) + noise), rng, draws=60)
    assert curved.preference > 2
    assert curved.exponents[0] < 0.8 < curved.exponents[1]
    assert curved.limits[0] < 0.9 < curved.limits[1] and curved.told and not curved.warnings
    straight = growth(ladder(0.2 + 0.1 * sizes + noise), rng, draws=60)
    assert straight.preference < 2 and not straight.told
    assert any("not told from a straight line" in each for each in straight.warnings)


def test_a_short_ladder_warns() -> None:
    two = Ladder(np.zeros((3, 4)), np.array([0, 0, 1, 1.0]), np.array([0, 0, 1, 1]))
    assert [line.split()[0] for line in short(two)] == ["2", "the", "a"]
    assert not short(Ladder(np.zeros((3, 9)), np.repeat([0, 2, 4.0], 3), np.repeat([0, 1, 2], 3)))


def test_noise_alone_warns_that_the_curve_tells_nothing() -> None:
    rng = generator(6, "noise")
    grown = growth(ladder(rng.normal(size=(50, 9))), rng, draws=60)
    assert any("every exponent" in each for each in grown.warnings)


def test_resampled_ladders_vary_as_much_as_new_ones() -> None:
    world = simulated.World((0.1, 0.1, 0.1), own=0.3)
    rng = generator(7, "resampled")
    truth = [
        simulated.ladder(world, rng, simulated.queries(world, rng)).values.mean(0)[:3].mean()
        for _ in range(400)
    ]
    own = [
        resampled(simulated.ladder(world, rng, simulated.queries(world, rng)), "value", 50, rng)
        for _ in range(60)
    ]
    spreads = np.mean([each[:, :3].mean(1).var() for each in own])
    # A query's own part in a model is in both draws, of queries and of seeds.
    assert np.var(truth) * 0.8 < spreads < np.var(truth) * 1.5


def test_contrastive_entropy_by_hand() -> None:
    scores = np.array([[0.0, 0.0, 0.0, 0.0], [np.log(3), 0.0, np.nan, np.nan]])
    relevant = np.array([[True, False, False, False], [True, False, False, False]])
    assert contrastive_entropy(scores, relevant) == pytest.approx([2, np.log2(4 / 3)])
    with pytest.raises(ValueError, match="no relevant candidate"):
        contrastive_entropy(scores, np.zeros_like(relevant))


def test_the_temperature_makes_units_comparable() -> None:
    rng = generator(8, "temperature")
    odds = rng.normal(size=(400, 8))
    picked = odds + rng.gumbel(size=odds.shape)
    relevant = picked == picked.max(1, keepdims=True)
    assert temperature(50 * odds, relevant) == pytest.approx(50, rel=0.2)
    entropies = [
        contrastive_entropy(unit * odds, relevant, temperature(unit * odds, relevant)).mean()
        for unit in (0.01, 50)
    ]
    assert entropies[0] == pytest.approx(entropies[1], rel=1e-3)


def allowed(trials: int, rate: float = 0.05) -> float:
    """A share of errors that a procedure with this rate exceeds once in a thousand times."""
    return stats.binom.ppf(0.999, trials, rate) / trials


@pytest.mark.parametrize("world", ["some luck", "small models are luckier"])
def test_intervals_hold_and_null_slopes_pass(world: str) -> None:
    trials = 120
    results = simulated.slopes(simulated.WORLDS[world], trials, 0.03)
    assert 1 - simulated.covered(results, 0.03) <= allowed(trials)
    null = simulated.differences(simulated.WORLDS[world], trials)
    assert simulated.significant(null) <= allowed(trials)


def test_a_planted_difference_of_slopes_is_seen() -> None:
    planted = simulated.differences(simulated.WORLDS["some luck"], 40, 0.1)
    assert simulated.significant(planted) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("world", simulated.WORLDS)
def test_rates_at_full_length(world: str) -> None:
    trials = 2000
    results = simulated.slopes(simulated.WORLDS[world], trials, 0.03)
    assert 1 - simulated.covered(results, 0.03) <= allowed(trials, 0.06)
    null = simulated.differences(simulated.WORLDS[world], trials, domains=False)
    assert simulated.significant(null) <= allowed(trials)


KNOWN = pytest.mark.xfail(
    reason="three seeds cannot carry it: docs/scaling.md", raises=AssertionError, strict=True
)
"""What is measured, and said, to err more often than it should."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        pytest.param(name, marks=KNOWN if name == "one size alone has luck" else ())
        for name in simulated.WORLDS
    ],
)
def test_rates_of_two_datasets_at_full_length(world: str) -> None:
    null = simulated.differences(simulated.WORLDS[world], 2000, domains=True)
    assert simulated.significant(null) <= allowed(2000)


@pytest.mark.slow
def test_log_odds_hold_at_full_length() -> None:
    assert simulated.graded(2000) >= 1 - allowed(2000)


def test_the_chance_of_an_answer_is_what_the_simulation_says() -> None:
    """The copula of `graded` keeps the share of right answers."""
    rng = generator(9, "copula")
    mixed = 0.8 * rng.normal(size=200_000) + 0.6 * rng.normal(size=200_000)
    share = (special.ndtr(mixed) < special.expit(0.7)).mean()
    assert share == pytest.approx(special.expit(0.7), abs=0.005)
