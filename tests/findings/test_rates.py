"""Which learning rate is chosen, by hand."""

from __future__ import annotations

import polars as pl
import pytest

from wellspring.findings.rates import chosen


def candidates(*rows: tuple[str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, ["size", "learning_rate", "quality"], orient="row")


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
    assert table.rows() == [("small", 3e-4, 0.6, 1e-4, 0.5, 3, False)]


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
