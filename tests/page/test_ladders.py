"""Charts of ladders show the rows of the tables that their choices leave."""

from __future__ import annotations

import altair as alt
import polars as pl
import pytest

from tests.page.test_charts import inlined, shown
from tests.support.laddering import GAIN, of_one_size, tables
from wellspring.page.ladders import build
from wellspring.page.panels import Panel, Settings

FILES = {name: [f"studies/small/findings/{name}.csv"] for name in ("ladders", "scaling")}
SETTINGS = Settings("small", files=FILES)


@pytest.fixture(scope="module")
def panels() -> dict[str, Panel]:
    return {panel.anchor: panel for panel in build(tables(), SETTINGS)}


def test_charts_are_valid_and_begin_with_rows(panels):
    assert [*panels] == ["ladders", "ladder-gains"]
    for panel in panels.values():
        alt.Chart.from_dict(dict(panel.chart), validate=True)
        assert not shown(panel).is_empty()
        assert inlined(panel)["params"] and panel.sources


def test_dataset_measure_and_size_are_chosen(panels):
    choices = {choice.column: choice for choice in panels["ladders"].choices}
    assert [*choices] == ["dataset", "measure", "axis", "scale"]
    assert choices["dataset"].options == ("near", "far")
    assert "training FLOPs" in choices["axis"].options
    rows = shown(panels["ladders"], dataset="far", axis="training FLOPs", scale="log-odds")
    table = tables()["ladders"].filter(dataset="far", axis="flops", scale="log-odds")
    for column, own in (("x", "x"), ("estimate", "quality"), ("fitted", "fitted")):
        assert rows[column].to_list() == pytest.approx(table[own].to_list(), rel=1e-3)


def test_what_the_last_stage_brings_is_shown(panels):
    rows = shown(panels["ladder-gains"], finding="what the last stage brings at the same sizes")
    assert rows.select("dataset", "series").rows() == [
        ("near", "random → fine-tuning, infonce"),
        ("far", "random → fine-tuning, infonce"),
    ]
    assert rows["estimate"].to_list() == pytest.approx([GAIN, GAIN])


def test_models_of_one_size_are_shown_and_nothing_is_no_panel():
    (panel,) = build(of_one_size(), SETTINGS)
    assert panel.data["fitted"].null_count() == panel.data.height
    empty = {name: pl.DataFrame(table.clear()) for name, table in tables().items()}
    assert build(empty, SETTINGS) == build({}, SETTINGS) == []
