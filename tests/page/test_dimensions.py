"""Charts and figures of dimensions draw what the table holds."""

from __future__ import annotations

import altair as alt
import polars as pl
import pytest

from tests.findings.test_dimensions import RULES, drawn, place
from tests.page.test_charts import inlined, shown
from wellspring.errors import ConfigError
from wellspring.figures.dimensions import dimension
from wellspring.findings.dimensions import Spent, dimensions
from wellspring.page.dimensions import build
from wellspring.page.panels import Panel, Settings

FOUND = {"long": 0.6, "short": 0.4, "told": 0.5, "both": 0.55, "half": 0.5}
SETTINGS = Settings("small", files={"dimensions": ["studies/small/findings/dimensions.parquet"]})


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """Every kind of dimension, on two datasets; `short` was searched on one."""
    places = []
    for dataset in ("a", "b"):
        for name, family, axis, other, x in (
            ("lengths", "lengths", "passage length", "short", 32.0),
            ("data-efficiency", "run", "share of the run", "half", 0.5),
            ("instructions", "told", "instruction", "told", None),
            ("multi-task", "both", "training datasets", "both", 2.0),
            ("in-domain" if dataset == "a" else "zero-shot", "half", "retriever", "half", None),
        ):
            own = {"dimension": name, "family": family, "axis": axis}
            whole = None if x is None else {"lengths": 128.0, "multi-task": 1.0}.get(name, 1.0)
            places.append(place("long", dataset, x=whole, **own))
            places.append(place(other, dataset, x=x, **own))
    places.sort(key=lambda each: (each.dimension, each.family))
    values = drawn({(n, d): mean for n, mean in FOUND.items() for d in ("a", "b")})
    spent = {"half": Spent(320, 1e9), "long": Spent(640, 2e9)}
    return dimensions(values, places, spent, RULES)


@pytest.fixture(scope="module")
def panels(table) -> dict[str, Panel]:
    return {panel.anchor: panel for panel in build({"dimensions": table}, SETTINGS)}


def test_a_panel_for_each_kind(panels):
    assert [*panels] == ["data-efficiency", "lengths", "instructions-tasks", "domains"]
    assert build({}, SETTINGS) == []


def test_charts_are_valid_and_begin_with_rows(panels):
    for panel in panels.values():
        alt.Chart.from_dict(dict(panel.chart), validate=True)
        assert not shown(panel).is_empty(), panel.anchor
        assert {choice.column for choice in panel.choices} <= {*panel.data.columns}
        assert inlined(panel)["params"], panel.anchor


def test_curves_hold_the_planted_numbers(panels):
    lengths = shown(panels["lengths"], dataset="a")
    assert lengths["x"].to_list() == [128, 32]
    assert lengths["estimate"].to_list() == pytest.approx([0.6, 0.4], abs=0.05)
    axes = panels["data-efficiency"].data["axis"].unique(maintain_order=True).to_list()
    assert axes == ["share of the run", "pairs seen", "operations of the training"]
    pairs = shown(panels["data-efficiency"], axis="pairs seen", dataset="b")
    assert pairs["x"].to_list() == [640, 320]


def test_differences_leave_the_reference_out(panels):
    told = shown(panels["instructions-tasks"], dimension="instructions", dataset="a")
    assert told["setting"].to_list() == ["told"]
    assert told["estimate"].item() == pytest.approx(-0.1, abs=0.03)
    assert told["answer"].item() == "lower"


def test_the_map_has_a_tile_for_each_retriever_and_dataset(panels):
    tiles = panels["domains"].data.select("row", "dataset", "dimension").rows()
    assert tiles == [
        ("half (as fetched)", "a", "in-domain"),
        ("half (as fetched)", "b", "zero-shot"),
    ]


def test_figures_draw_the_planted_numbers(table):
    figure = dimension(table, "lengths", "nDCG@10")
    first, second = figure.axes
    (line,) = (each for each in first.lines if each.get_label() == "lengths")
    assert line.get_xdata().tolist() == [32, 128]
    assert line.get_ydata() == pytest.approx([0.4, 0.6], abs=0.05)
    assert first.get_xscale() == second.get_xscale() == "log"
    told = dimension(table, "instructions", "nDCG@10").axes[0]
    assert [text.get_text() for text in told.texts] == ["told"]
    tiles = dimension(table, "domains", "nDCG@10").axes[0]
    assert [text.get_text().split()[-1] for text in tiles.texts] == ["in-domain", "zero-shot"]


def test_what_is_not_held_is_named(table):
    with pytest.raises(ConfigError, match="hold no R@10 of the dimension lengths"):
        dimension(table, "lengths", "R@10")
