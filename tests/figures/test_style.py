"""Curves that say what was measured, and scales that show what they are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from wellspring.figures.style import Line, curve, labelled_grid, log_ticks, noise_band, note, runs

LINE = Line("black", "-", "o")


def rows(layers: list[int], along: str = "layer") -> pl.DataFrame:
    return pl.DataFrame(
        {
            along: layers,
            "estimate": [0.1 * layer for layer in layers],
            "low": [0.1 * layer - 0.05 for layer in layers],
            "high": [0.1 * layer + 0.05 for layer in layers],
        }
    )


def axes():
    return Figure().subplots()


def strokes(ax) -> list[list[float]]:
    """The layers that each unbroken part of the drawn line joins."""
    (line,) = ax.lines
    x = np.asarray(line.get_xdata(), float)
    parts = np.split(x, np.flatnonzero(np.isnan(x)))
    return [part[~np.isnan(part)].tolist() for part in parts]


@pytest.mark.parametrize(
    ("layers", "parts"),
    [
        ([0, 1, 2, 3], [[0, 1, 2, 3]]),
        ([3, 0, 1], [[0, 1], [3]]),
        ([0, 6, 12], [[0], [6], [12]]),
        ([1, 2, 5, 6, 9], [[1, 2], [5, 6], [9]]),
    ],
)
def test_no_line_crosses_layers_that_were_not_measured(
    layers: list[int], parts: list[list[int]]
) -> None:
    ax = axes()
    curve(ax, rows(layers), "layer", LINE, "x")
    assert strokes(ax) == parts
    bars = [segment for each in ax.collections[1:] for segment in each.get_segments()]
    alone = [part[0] for part in parts if len(part) == 1]
    expected = [[[x, 0.1 * x - 0.05], [x, 0.1 * x + 0.05]] for x in alone]
    np.testing.assert_allclose(np.reshape(bars, (-1, 2, 2)), np.reshape(expected, (-1, 2, 2)))
    # Every point that stands alone has a marker.
    (line,) = ax.lines
    marked = set(np.asarray(line.get_xdata(), float)[line.get_markevery()])
    assert set(alone) <= marked == set(layers)


def test_other_axes_are_not_broken_and_one_value_has_a_bar() -> None:
    ax = axes()
    curve(ax, rows([1, 10, 100], "neurons"), "neurons", LINE, "x")
    assert strokes(ax) == [[1, 10, 100]]
    ax = axes()
    curve(ax, rows([10], "neurons"), "neurons", Line("black", "-", ""), "x")
    ((segment,),) = [each.get_segments() for each in ax.collections[1:]]
    np.testing.assert_allclose(segment, [[10, 0.95], [10, 1.05]])
    assert ax.lines[0].get_marker() == "."


@pytest.mark.parametrize("columns", [1, 2])
def test_small_print_fits_the_figure(columns: int) -> None:
    """Also in the narrowest figure, of one panel, and no word of it is lost."""
    lines = [
        "dataset pydocs, probe concat; 1,928 test samples of 1,928 questions (over 3 seeds)",
        "caution: 2,337 of 2,450 test passages are candidates in training, too (splits.passages: "
        "disjoint keeps them apart)",
        "caution: short",
    ]
    figure, _ = labelled_grid(["a"], [str(number) for number in range(columns)], 2.0)
    height = figure.get_figheight()
    note(figure, lines)
    figure.draw_without_rendering()
    (small,) = [each for each in figure.texts if "caution" in each.get_text()]
    extent = small.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width and extent.y0 >= 0
    drawn = small.get_text().splitlines()
    assert " ".join(drawn).split() == " ".join(lines).split()
    assert len(drawn) == (5 if columns == 1 else 3) and drawn[-1] == lines[-1]
    assert figure.get_figheight() == pytest.approx(height + extent.height / figure.dpi, abs=0.01)


def test_a_range_of_twins_is_broken_too() -> None:
    ax = axes()
    noise_band(ax, rows([0, 1, 4]), "layer")
    edges = [np.asarray(line.get_xdata(), float).tolist() for line in ax.lines]
    assert edges == [[0, 1], [0, 1], [3.85, 4.15], [3.85, 4.15]]


@given(st.lists(st.integers(0, 40), unique=True, max_size=20).map(sorted))
def test_runs_follow_each_other(layers: list[int]) -> None:
    parts = [layers[part] for part in runs(np.array(layers, float))]
    assert [layer for part in parts for layer in part] == layers
    assert all(part == list(range(part[0], part[-1] + 1)) for part in parts)
    assert all(one[-1] + 1 < other[0] for one, other in pairwise(parts))


@given(st.floats(-3, 4), st.floats(0.05, 6))
def test_a_logarithmic_scale_has_three_labels_or_more(start: float, decades: float) -> None:
    low, high = 10**start, 10 ** (start + decades)
    ax = axes()
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    log_ticks(ax.yaxis, low, high)
    ticks = [tick for tick in ax.yaxis.get_majorticklocs() if low <= tick <= high]
    assert 3 <= len(ticks) <= 9
    assert "10^" not in ax.yaxis.get_major_formatter()(ticks[0])
