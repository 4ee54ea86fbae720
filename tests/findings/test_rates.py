"""Which learning rate is chosen, by hand."""

from __future__ import annotations

import math

import polars as pl
import pytest

from wellspring.findings.rates import chosen


def candidates(
    *rows: tuple[str, float, float | None], measure: str | None = "MRR@10"
) -> pl.DataFrame:
    schema = {"size": pl.String, "learning_rate": pl.Float64, "quality": pl.Float64}
    frame = pl.DataFrame(rows, schema, orient="row")
    return frame.with_columns(measure=pl.lit(measure, pl.String))


def test_the_best_mean_over_seeds_is_chosen() -> None:
    table = chosen(
        candidates(
            ("small", 1e-4, 0.9),
            ("small", 1e-4, 0.1),
            ("small", 3e-4, 0.6),
            ("small", 3e-4, 0.6),
            ("small", 1e-3, 0.3),
            ("small", 1e-3, 0.3),
        ),
        ["size"],
    )
    assert table.rows() == [("small", "MRR@10", 3e-4, 0.6, 1e-4, 0.5, 3, False)]


def test_the_edge_of_the_grid_is_told() -> None:
    table = chosen(candidates(("a", 1e-4, 0.2), ("a", 1e-3, 0.4), ("b", 1e-3, 0.4)), ["size"])
    assert table["at_edge"].to_list() == [True, False]
    assert table["rates"].to_list() == [2, 1]
    assert table["runner_up"].to_list() == [1e-4, None]


def test_of_equal_rates_the_lower_is_chosen() -> None:
    table = chosen(candidates(("a", 1e-3, 0.4), ("a", 1e-4, 0.4)), ["size"])
    assert table["learning_rate"].to_list() == [1e-4]


def test_rates_with_other_numbers_of_seeds_are_not_compared() -> None:
    uneven = candidates(("a", 1e-3, 0.4), ("a", 1e-3, 0.5), ("a", 1e-4, 0.4))
    with pytest.raises(ValueError, match="a: some learning rates have more seeds"):
        chosen(uneven, ["size"])


def test_of_losses_the_lowest_is_chosen() -> None:
    """A quality of 9 nats after 1e-4 and of 2 after 1e-3."""
    table = chosen(candidates(("a", 1e-4, 9.0), ("a", 1e-3, 2.0), measure="loss"), ["size"])
    assert table.rows() == [("a", "loss", 1e-3, 2.0, 1e-4, 9.0, 2, True)]


@pytest.mark.parametrize("measure", ["MRR@10", "loss"])
@pytest.mark.parametrize("worst", [None, math.nan])
def test_a_quality_that_is_no_number_is_the_worst(measure: str, worst: float | None) -> None:
    rows = (("a", 1e-3, worst), ("a", 1e-3, worst), ("a", 1e-4, 0.4), ("a", 1e-4, 0.4))
    table = chosen(candidates(*rows, measure=measure), ["size"])
    assert table.rows() == [("a", measure, 1e-4, 0.4, 1e-3, None, 2, True)]
    nothing = chosen(candidates(("a", 1e-3, worst), ("a", 1e-4, worst)), ["size"])
    assert nothing.select("learning_rate", "quality").rows() == [(1e-4, None)]


def test_a_rate_with_which_one_seed_diverged_is_the_worst() -> None:
    rows = (("a", 1e-3, math.nan), ("a", 1e-3, 0.9), ("a", 1e-4, 0.4), ("a", 1e-4, 0.4))
    assert chosen(candidates(*rows), ["size"])["learning_rate"].to_list() == [1e-4]


def test_seeds_without_a_quality_are_not_counted() -> None:
    uneven = candidates(("a", 1e-3, None), ("a", 1e-3, 0.5), ("a", 1e-4, 0.4), ("a", 1e-4, 0.4))
    with pytest.raises(ValueError, match="some learning rates have more seeds"):
        chosen(uneven, ["size"])
