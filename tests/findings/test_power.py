"""Power, against simulated studies and against what is detectable at 80 %."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.special import ndtri

from wellspring.findings.power import KEYS, power
from wellspring.randomness import generator


def findings(*detectable: float | None) -> pl.DataFrame:
    """A table of differences that are seen at 80 % power where they have these sizes."""
    names = {name: ["x"] * len(detectable) for name in KEYS}
    layers = list(range(len(detectable)))
    columns = {**names, "layer": layers, "passages": [2] * len(layers), "detectable": detectable}
    return pl.DataFrame({"finding": ["difference"] * len(layers), **columns})


def test_what_is_detectable_is_seen_four_times_of_five():
    table = power(findings(0.02, 0.05, None), [0.02, 0.05])
    assert table.columns == [*KEYS, "effect", "power"]
    assert table["layer"].to_list() == [0, 0, 1, 1]
    assert table["power"].to_list()[0] == pytest.approx(0.8, abs=1e-3)
    assert table["power"].to_list()[3] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("effect", [0.0, 0.01, 0.03])
def test_power_is_the_share_of_simulated_intervals_that_exclude_nothing(effect):
    error = 0.02 / (ndtri(0.975) + ndtri(0.8))
    estimates = effect + error * generator(1, "power", effect).normal(size=100_000)
    share = np.mean(np.abs(estimates) > ndtri(0.975) * error)
    (known,) = power(findings(0.02), [effect])["power"]
    assert share == pytest.approx(known, abs=0.006)


def test_the_normal_distribution_is_near_enough():
    """Against the noncentral t distribution of 16 clusters."""
    student = stats.t(15)
    detectable = student.ppf(0.975) + student.ppf(0.8)
    effects = np.linspace(0, 2 * detectable, 50)
    noncentral = stats.nct(15, effects)
    exact = noncentral.sf(student.ppf(0.975)) + noncentral.cdf(-student.ppf(0.975))
    table = power(findings(detectable), effects)
    assert np.abs(table["power"].to_numpy() - exact).max() < 0.0015
