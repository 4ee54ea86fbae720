"""The benchmark that repeats the measurements of the first release's review, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import calibration, validity
from wellspring.errors import WellspringError


def test_the_first_release_s_intervals_are_too_narrow_for_few_texts() -> None:
    for population, most in (("normal", 0.94), ("lognormal", 0.87), ("rare change of a rank", 0.8)):
        percentile = validity.bootstrap_coverage(population, 16, 2_000)
        assert percentile < most
        assert percentile < calibration.coverage(population, 16, 2_000) - 0.02


def test_averages_over_seeds_make_the_published_test_reject_more_often() -> None:
    one, three = (float(row["value"]) for row in validity.published(300))
    assert 25 < one < 42 and three > 1.4 * one


def test_a_row_says_what_to_run_where_results_are_missing(tmp_path: Path) -> None:
    with pytest.raises(WellspringError, match="does not exist"):
        list(validity.contrasts(tmp_path))
    (row,) = validity._where_made(lambda: validity.contrasts(tmp_path), "ablation")
    assert row["value"] == "–" and "make run" in row["target"]
