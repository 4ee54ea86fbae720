"""Verdicts on null data, and intervals at the sizes that they are used at.

`python -m benchmarks.calibration` prints the rates, and the power at planted effects.
"""

from __future__ import annotations

import pytest
from scipy import stats

from benchmarks import calibration
from tests.support.slow import slow

FULL = 1000


def allowed(trials: int, rate: float = 0.05) -> float:
    """A share of errors that a procedure with this rate exceeds once in a thousand times."""
    return stats.binom.ppf(0.999, trials, rate) / trials


@pytest.mark.parametrize("texts", [slow(16), calibration.TEXTS])
@pytest.mark.parametrize("number", [slow(7), 8, slow(9)])
def test_active_neurons_without_an_effect_get_no_verdict(number: int, texts: int) -> None:
    found = calibration.activity_verdicts(number, 100, texts, permutations=400)
    assert calibration.verdict_count(found) / 100 <= allowed(100)


@pytest.mark.parametrize("number", [slow(2), 3, slow(6)])
def test_accuracies_without_an_effect_get_no_verdict(number: int) -> None:
    found = calibration.probing_verdicts(number, 40)
    assert calibration.verdict_count(found) / 40 <= allowed(40)


@pytest.mark.parametrize("number", [slow(1), 5])
def test_a_difference_at_the_margin_is_seldom_called_comparable(number: int) -> None:
    edge = calibration.probing_verdicts(number, 40, difference=0.05, level=0.1)
    assert edge["supported"] / 40 <= allowed(40)
    alike = calibration.probing_verdicts(number, 40, level=0.1)
    assert alike["contradicted"] / 40 <= allowed(40)


def test_cells_without_an_effect_are_not_significant_and_their_intervals_hold() -> None:
    significant, missed = calibration.cell_errors(60)
    assert significant / 60 <= allowed(60)
    # Cells of one trial are alike.
    assert missed <= 0.08


@pytest.mark.parametrize("population", calibration.POPULATIONS)
@pytest.mark.parametrize("texts", [16, calibration.TEXTS])
def test_intervals_hold_the_mean_of_few_texts(population: str, texts: int) -> None:
    # A lognormal is as skewed as no number of a study; there even 16 texts give 92 %.
    least = 0.91 if population == "lognormal" and texts == 16 else 0.935
    assert calibration.coverage(population, texts, 5_000) >= least


@pytest.mark.parametrize("questions", [30, calibration.QUESTIONS])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_intervals_hold_a_share(share: float, questions: int) -> None:
    assert calibration.share_coverage(share, questions, 5_000) >= 0.93


@pytest.mark.parametrize("texts", [16, calibration.TEXTS])
def test_intervals_hold_a_relative_change(texts: int) -> None:
    assert calibration.ratio_coverage(texts, 5_000) >= 0.935


def test_intervals_hold_an_effect_size() -> None:
    assert calibration.effect_coverage(calibration.QUESTIONS, 2_000) >= 0.935


@pytest.mark.parametrize("luck", [0.0, 0.01, 0.03])
def test_intervals_hold_an_accuracy_over_three_splits(luck: float) -> None:
    assert calibration.repetition_coverage(luck, 60) >= 0.91


def test_planted_effects_are_seen() -> None:
    seen = calibration.activity_verdicts(9, 20, effect=-1.0)
    assert seen["supported"] >= 18
    turned = calibration.activity_verdicts(9, 20, effect=-1.0, normaliser="network-max")
    assert turned["depends on the normaliser"] >= 15


@pytest.mark.slow
@pytest.mark.parametrize("texts", [16, calibration.TEXTS])
@pytest.mark.parametrize("number", [7, 8, 9, 10])
def test_verdicts_on_active_neurons_at_full_length(number: int, texts: int) -> None:
    found = calibration.activity_verdicts(number, FULL, texts)
    assert calibration.verdict_count(found) / FULL <= allowed(FULL)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 3, 6])
def test_verdicts_on_accuracies_at_full_length(number: int) -> None:
    found = calibration.probing_verdicts(number, 400)
    assert calibration.verdict_count(found) / 400 <= allowed(400)
