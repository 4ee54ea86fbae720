"""The points and lines of ladders: those of least squares, on every axis and scale."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import special

from tests.support.laddering import GAIN, MEASURE, bent, of_one_size, planted, tables
from wellspring.findings.ladders import AXES, POINTS, points, table
from wellspring.findings.scaling import Ladder, fitted, level, outcome, slope


def test_points_are_the_means_of_models() -> None:
    values, models = planted()
    table = tables()["ladders"]
    assert dict(table.schema) == POINTS
    means = values.group_by("dataset", "retriever").agg(mean=pl.mean("value"))
    beside = table.join(means, on=["dataset", "retriever"])
    plain = beside.filter(scale="value")
    assert plain["quality"].to_numpy() == pytest.approx(plain["mean"].to_numpy())
    odds = beside.filter(scale="log-odds")
    shares = (30 * odds["mean"].to_numpy() + 0.5) / 31
    assert odds["quality"].to_numpy() == pytest.approx(special.logit(shares))
    # Fresh models trained nothing, and stand on two axes alone.
    counts = dict(plain.filter(dataset="near").group_by("axis").len().iter_rows())
    assert counts == dict.fromkeys(AXES, 9) | {"parameters": 18, "non_embedding": 18}
    sizes = dict(models.select("retriever", "parameters").iter_rows())
    own = plain.filter(axis="parameters")
    assert own["x"].to_list() == pytest.approx([sizes[name] for name in own["retriever"]])


@pytest.mark.parametrize("scale", ["value", "log-odds"])
def test_lines_are_those_of_least_squares_and_have_the_slopes_of_the_table(scale: str) -> None:
    slopes = tables()["scaling"].filter(finding="slope", scale=scale)
    keys = ["dataset", "stages", "axis"]
    every = tables()["ladders"].filter(scale=scale)
    assert slopes.height == every.select(keys).n_unique() == 2 * (5 + 2)
    for row in slopes.iter_rows(named=True):
        own = every.filter(**{key: row[key] for key in keys})
        doublings = np.log2(own["x"].to_numpy())
        steepness, start = np.polyfit(doublings, own["quality"].to_numpy(), 1)
        assert own["fitted"].to_numpy() == pytest.approx(start + steepness * doublings)
        assert row["estimate"] == pytest.approx(steepness)
        assert (own["low"] < own["fitted"]).all() and (own["fitted"] < own["high"]).all()


def test_in_the_middle_the_interval_of_the_line_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    cells = np.repeat([0, 1, 2], 3)
    ladder = Ladder(rng.uniform(size=(20, 9)), cells.astype(float), cells)
    middle, mean = (outcome(each).interval for each in (fitted(ladder, 1.0), level(ladder)))
    for end in ("estimate", "low", "high"):
        assert getattr(middle, end) == pytest.approx(getattr(mean, end))
    # From one end to the other the line rises by its slope.
    risen = fitted(ladder, 2.0).value - fitted(ladder, 0.0).value
    assert risen == pytest.approx(2 * slope(ladder).value)


def test_models_of_one_size_are_points_without_a_line() -> None:
    one = of_one_size()
    assert one["scaling"].is_empty()
    assert one["ladders"]["quality"].null_count() == 0
    assert one["ladders"]["fitted"].null_count() == one["ladders"].height > 0


def test_nothing_measured_is_an_empty_table() -> None:
    values, models = planted()
    assert points(values.clear(), models).is_empty()


def test_a_series_may_lack_a_measure_as_a_whole_and_not_in_part() -> None:
    """No layer of sparse models is probed."""
    values, models = planted()
    names = models.filter(pl.col("objective").is_null())["retriever"].to_list()
    other = values.with_columns(measure=pl.lit("nDCG@10"))
    some = other.filter(pl.col("retriever").is_in(names))
    table = points(pl.concat([values, some]), models)
    measured = dict(table.group_by("measure").agg(pl.col("retriever").unique()).iter_rows())
    assert {*measured["nDCG@10"]} == {*names} < {*measured[MEASURE]}
    without = other.filter(pl.col("retriever") != models["retriever"][0])
    with pytest.raises(ValueError, match=f"{models['retriever'][0]} on .*: lacks queries"):
        points(pl.concat([values, without]), models)


def test_a_curve_that_is_not_told_from_a_line_has_no_numbers() -> None:
    """Nor has a preference where models are too few for it."""
    values, models = planted()
    smallest = models.unique(["stages", "size"], keep="first", maintain_order=True)
    some = table(values.join(smallest, on="retriever", how="semi"), smallest, 0, draws=20)
    curves = some.filter(pl.col("finding").is_in(["exponent", "limit", "preference"]))
    assert curves["estimate"].null_count() == curves["low"].null_count() == curves.height > 0
    assert curves["warnings"].null_count() == 0


def test_a_curve_that_is_told_has_its_exponent_and_limit() -> None:
    """Six sizes, each twice as large, with three seeds."""
    values, models = bent(0.8)
    curves = table(values, models, 0, draws=60).filter(scale="value", axis="parameters")
    numbers = {row["finding"]: row for row in curves.iter_rows(named=True)}
    for name, truth in (("exponent", 0.8), ("limit", 0.9)):
        assert numbers[name]["low"] < truth < numbers[name]["high"]
    assert numbers["preference"]["estimate"] > 2


def test_models_of_one_budget_have_no_slope_over_operations() -> None:
    """A budget is met within 5 %."""
    values, models = planted()
    met = models.with_columns(flops=pl.Series([1e12 * (0.96, 1.0, 1.04)[k % 3] for k in range(18)]))
    assert not table(values, met, 0, 0).filter(axis="flops").height
    drawn = points(values, met).filter(axis="flops")
    assert drawn["fitted"].null_count() == drawn.height > 0


def test_the_table_says_which_ladder_a_stage_is_compared_with() -> None:
    rows = tables()["scaling"].filter(finding="advantage", factor="stages", scale="value")
    assert {*rows["stages"]} == {"random"} and rows["objective"].null_count() == rows.height
    assert all(name.startswith("fresh-") for name in rows["ladder"])
    assert not any(name.startswith("fresh-") for name in rows["compared_ladder"])
    assert rows["estimate"].to_list() == pytest.approx([-GAIN] * rows.height, abs=1e-6)
