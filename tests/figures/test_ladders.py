"""Figures of ladders draw the numbers of the tables, and say what these warn of."""

from __future__ import annotations

import re

import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.support.laddering import GAIN, MEASURE, of_one_size, planted, tables, told
from wellspring.errors import ConfigError
from wellspring.figures import ladders

FRESH, TUNED = "random", "random → fine-tuning, infonce"
DRAWN = ("non_embedding", "trainable", "flops")


@pytest.fixture(scope="module")
def growth() -> Figure:
    held = tables()
    return ladders.growth(held["ladders"], held["scaling"], "near", MEASURE, 0.05)


@pytest.fixture(scope="module")
def panels(growth) -> dict[tuple[str, str, str], Axes]:
    """Scale, kind and axis to a panel: rows of panels, from top to bottom."""
    rows = [(scale, kind) for scale in ("value", "log-odds") for kind in ("growth", "slopes")]
    names = [(*row, axis) for row in rows for axis in DRAWN]
    return dict(zip(names, growth.axes, strict=True))


def drawn(ax: Axes, label: str, marked: bool) -> tuple[list[float], list[float]]:
    """x and y of a series: its points, or its line."""
    (line,) = (
        each
        for each in ax.lines
        if each.get_label() == label and (each.get_linestyle() == "None") == marked
    )
    return list(line.get_xdata()), list(line.get_ydata())


@pytest.mark.parametrize("scale", ["value", "log-odds"])
def test_points_and_lines_are_those_of_the_table(panels, scale):
    for axis in DRAWN:
        ax = panels[scale, "growth", axis]
        rows = tables()["ladders"].filter(dataset="near", scale=scale, axis=axis)
        for stages, label in (("random", FRESH), ("random → fine-tuning", TUNED)):
            own = rows.filter(stages=stages)
            points = drawn(ax, label, marked=True)
            assert points == (own["x"].to_list(), own["quality"].to_list())
            if not own.is_empty():
                line = own.unique("x").sort("x")
                assert drawn(ax, label, False) == (line["x"].to_list(), line["fitted"].to_list())
        # A doubling is as long everywhere, and has a tick.
        assert ax.get_xscale() == "log"
        ticks = ax.get_xticks()
        assert ticks[1:] / ticks[:-1] == pytest.approx(2)
        assert ticks[[0, -1]] == pytest.approx([rows["x"].min(), rows["x"].max()])


@pytest.mark.parametrize("scale", ["value", "log-odds"])
def test_slopes_are_those_of_the_table_in_marks_and_in_words(panels, scale):
    for axis in DRAWN:
        ax = panels[scale, "slopes", axis]
        rows = tables()["scaling"].filter(finding="slope", dataset="near", scale=scale, axis=axis)
        texts = [text.get_text() for text in ax.texts]
        assert len(texts) == rows.height
        for row, text in zip(rows.iter_rows(named=True), texts, strict=True):
            ends = [row[name] for name in ("estimate", "low", "high")]
            numbers = [float(each) for each in re.findall(r"[+-][\d.]+", text.replace("−", "-"))]
            assert numbers == pytest.approx(ends, abs=6e-4)
            assert ("†" in text) == (row["warnings"] is not None)
            label = FRESH if row["objective"] is None else TUNED
            (point,) = (each for each in ax.lines if each.get_label() == label)
            assert point.get_xdata() == pytest.approx([row["estimate"]])
            hollow = point.get_markerfacecolor() == "white"
            assert hollow == (row["p_adjusted"] > 0.05)
            assert any(list(each.get_xdata()) == ends[1:] for each in ax.lines)


def test_the_figure_says_what_the_table_warns_of(growth):
    small = growth._supxlabel.get_text().replace("\n", " ")
    assert "† parameters that the last stage trained: the largest is 4 times the smallest" in small
    assert "dataset near; 30 queries" in small


def test_few_seeds_are_warned_of():
    values, models = planted()
    two = models.filter(~models["retriever"].str.ends_with(".0"))
    held = told(values.join(two, on="retriever", how="semi"), two)
    figure = ladders.growth(held["ladders"], held["scaling"], "far", MEASURE, 0.05)
    small = figure._supxlabel.get_text().replace("\n", " ")
    assert "a size has 2 of the 3 seeds" in small


def test_the_maps_hold_slopes_and_what_the_last_stage_brings():
    held = tables()
    figure = ladders.stages(held["ladders"], held["scaling"], MEASURE, 0.05)
    maps = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    assert len(maps) == 4
    gained = maps[f"what the last stage brings at the same sizes: {MEASURE}"]
    # Fresh models have no stage before; the table sets them against what came later.
    texts = [text.get_text() for text in gained.texts if text.get_text()]
    assert len(texts) == 2 and all(text.startswith(f"{GAIN:.3f}".lstrip("0")) for text in texts)
    (values,) = (each.get_array() for each in gained.collections)
    assert values[:, 1].tolist() == pytest.approx([GAIN, GAIN]) and values.mask[:, 0].all()
    slopes = held["scaling"].filter(
        finding="slope", axis="non_embedding", scale="value", dataset="far"
    )
    by_size = maps[f"what a doubling of size brings: {MEASURE}"]
    (values,) = (each.get_array() for each in by_size.collections)
    assert values[1].tolist() == pytest.approx(slopes["estimate"].to_list())
    for row, text in zip(slopes.iter_rows(named=True), by_size.texts[2:], strict=True):
        sure = row["p_adjusted"] <= 0.05
        assert ("*" in text.get_text()) == (text.get_weight() == "bold") == sure
        ends = text.get_text().split("\n")[1].replace("−", "-")[1:-1].split(", ")
        assert [*map(float, ends)] == pytest.approx([row["low"], row["high"]], abs=6e-4)


def test_models_of_one_size_are_drawn_and_maps_say_that_there_is_nothing():
    held = of_one_size()
    figure = ladders.growth(held["ladders"], held["scaling"], "near", MEASURE, 0.05)
    assert len(figure.axes) == 2
    points = [line for line in figure.axes[0].lines if line.get_label() in (FRESH, TUNED)]
    assert [len(line.get_xdata()) for line in points] == [3, 3]
    assert "models of one size have no slope" in figure._supxlabel.get_text()
    empty = ladders.stages(held["ladders"], held["scaling"], MEASURE, 0.05)
    assert "No ladder has two sizes" in empty.axes[0].texts[0].get_text()


def test_what_no_ladder_has_is_named():
    held = tables()
    with pytest.raises(ConfigError, match="no ladder has R@10 on dataset near"):
        ladders.growth(held["ladders"], held["scaling"], "near", "R@10", 0.05)


def test_series_are_told_apart_by_name():
    points = pl.DataFrame(
        [
            ("a.0", "bert", "random → fine-tuning", "infonce", "dense"),
            ("a.0", "bert", "random → fine-tuning", "infonce", "dense"),
            ("b.0", "bert", "random → fine-tuning", "infonce", "sparse"),
            ("c.0", "bert", "random → fine-tuning", "infonce", "dense"),
        ],
        schema=["ladder", "family", "stages", "objective", "paradigm"],
        orient="row",
    )
    assert ladders.names_of(points) == {
        "a.0": "random → fine-tuning, infonce (a.0)",
        "b.0": "random → fine-tuning, infonce, sparse",
        "c.0": "random → fine-tuning, infonce (c.0)",
    }
    other = points.with_columns(
        family=pl.when(ladder="c.0").then(pl.lit("qwen2")).otherwise("family")
    )
    assert ladders.names_of(other)["c.0"] == "random → fine-tuning, infonce, qwen2"
    assert ladders.names_of(other)["a.0"] == "random → fine-tuning, infonce, bert"
