"""Charts of the study's page: they draw what their tables hold, and fit on the page."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence

import polars as pl
import pytest
import vl_convert
import yaml
from altair.vegalite.v6.schema.core import load_schema
from jsonschema import Draft7Validator

from benchmarks import studies
from tests.support import decentralising, paging
from wellspring.artefacts import kinds
from wellspring.cli.page import _bundle as bundle
from wellspring.figures.binning import binned
from wellspring.page import (
    ablation,
    agreement,
    answer,
    drawing,
    heat,
    learning,
    pairs,
    probing,
    published,
    summary,
    theme,
)
from wellspring.page.data import outermost, short, thinned, weight
from wellspring.page.panels import Panel, Settings
from wellspring.page.series import COUNTERPART, RETRIEVER, TWINS, Series
from wellspring.page.shell import Page, render

MODULES = sorted({module for kind in kinds() for module in kind.panels})


def build(tables, settings: Settings) -> list[Panel]:
    """The panels of all kinds of artefacts."""
    modules = [importlib.import_module(f"wellspring.{name}") for name in MODULES]
    return [panel for module in modules for panel in module.build(tables, settings)]


@pytest.fixture(scope="module")
def default() -> tuple[Settings, dict[str, pl.DataFrame]]:
    """What the page knows of the default study, and tables of its size."""
    config = studies.read([])
    tables = paging.tables(config)
    return paging.settings(config), {**tables, "curves": paging.curves(config)}


@pytest.fixture(scope="module")
def panels(default) -> list[Panel]:
    """Those of the default study, with other attributions' agreement and fidelity beside."""
    settings, tables = default
    more = decentralising.findings().with_columns(
        retriever=pl.col("retriever").replace({"tuned": "minilm", "plain": "minilm-random"}),
        compared_with=pl.col("compared_with").replace({"plain": "minilm-random"}),
        other=pl.col("other").replace({"plain": "minilm-random"}),
    )
    fidelity = more.filter(pl.col("finding").is_in(["agreement", "fidelity"]))
    both = pl.concat([tables["decentralisation"], fidelity])
    return build({**tables, "decentralisation": both}, settings)


@pytest.fixture(scope="module")
def paper() -> tuple[Settings, dict[str, pl.DataFrame]]:
    """What the page knows of the paper's study, and tables of its size."""
    config = studies.read([studies.ROOT / "studies" / "paper.yaml"])
    return paging.settings(config), paging.tables(config)


def inlined(panel: Panel, config: dict | None = None) -> dict:
    """The chart with its data inside."""
    data = {"name": "panel", "values": panel.data.to_dicts()}
    return {**panel.chart, "data": data, "width": 500, "config": config or theme.LIGHT}


def test_every_chart_is_valid_vega_lite(panels):
    """The page makes charts without this check. The schema is asked of each as a whole: altair's
    own check asks it of every part again, which takes fifteen times as long."""
    schema = Draft7Validator(load_schema())
    for panel in panels:
        schema.validate(dict(panel.chart))
        assert not schema.is_valid({**panel.chart, "width": "wide"})


def shown(panel: Panel, **choices: str) -> pl.DataFrame:
    """The rows that the choices leave: the initial ones where no others are given."""
    values = {choice.column: choice.initial for choice in panel.choices} | choices
    return panel.data.filter(pl.col(column) == value for column, value in values.items())


def paths(svg: str, mark: str) -> list[str]:
    """The paths of all marks of a kind that draw something."""
    groups = re.findall(rf'<g class="mark-{mark} [^>]*>(.*?)</g>', svg, re.DOTALL)
    return [path for group in groups for path in re.findall(r'<path[^>]* d="(M[^"]+)"', group)]


def encoded(data: pl.DataFrame) -> int:
    """Bytes of the rows as JSON by columns, texts as numbers: an independent count."""
    columns = {}
    for column in data.iter_columns():
        values = column.to_list()
        if column.dtype == pl.String:
            texts = list(dict.fromkeys(values))
            numbers = {text: number for number, text in enumerate(texts)}
            columns[column.name] = [texts, [numbers[value] for value in values]]
        else:
            columns[column.name] = values
    return len(json.dumps(columns, separators=(",", ":")))


def test_every_module_draws_a_panel(panels):
    anchors = [panel.anchor for panel in panels]
    assert len(set(anchors)) == len(anchors)
    assert set(anchors) == {
        *("accuracy", "probes", "differences", "code-length", "fits", "sizes", "power"),
        *("similarity", "published", "active-neurons", "concentration", "sweep", "heat"),
        *("ablation", "contrasts", "agreement", "fidelity"),
    }


def test_a_study_without_tables_has_no_panels():
    assert build({}, Settings("empty")) == []


def test_charts_compile_in_both_themes_and_hold_no_colour_of_their_own(panels):
    for panel in panels:
        for config in (theme.LIGHT, theme.DARK):
            vega = vl_convert.vegalite_to_vega(inlined(panel, config))
            names = {signal["name"] for signal in vega["signals"]}
            assert {choice.column for choice in panel.choices} <= names
        assert not re.search("#[0-9a-f]{6}", json.dumps(panel.chart)), panel.anchor


def test_parameters_are_the_choices_and_begin_with_rows(panels):
    for panel in panels:
        params = {param["name"]: param["value"] for param in panel.chart["params"]}
        assert params == {choice.column: choice.initial for choice in panel.choices}
        for choice in panel.choices:
            assert choice.initial in choice.options
            assert set(choice.options) == set(panel.data[choice.column])
        assert not shown(panel).is_empty(), panel.anchor
        assert panel.chart["data"] == {"name": "panel"}


def test_tables_have_headings_for_columns_that_exist_and_sources(panels):
    for panel in panels:
        assert set(panel.headings) <= set(panel.data.columns)
        choices = {choice.column for choice in panel.choices}
        assert set(panel.data.columns) == {*panel.headings, *choices}
        assert panel.caption.endswith(".") and panel.title


def test_every_chart_draws_its_first_choice(panels):
    for panel in panels:
        svg = vl_convert.vegalite_to_svg(inlined(panel))
        drawn = paths(svg, "symbol") + paths(svg, "rect")
        assert len(drawn) >= len(shown(panel).drop_nulls(_number(panel))) > 0, panel.anchor


def _number(panel: Panel) -> str:
    return "own" if panel.anchor == "heat" else "estimate"


def curve(layers: Sequence[int], **more) -> Panel:
    """A panel of one line over layers."""
    columns = {"line": "a", "layer": list(layers), "estimate": 0.5, "low": 0.4, "high": 0.6}
    data = pl.DataFrame({"choice": "x", **columns, **more})
    layers_ = drawing.curves(
        drawing.along("layer", "layer"), drawing.up("estimate"), Series.of(data, "line")
    )
    headings = {name: name for name in data.columns[1:]}
    return drawing.made("a", "A", "A.", data, {"choice": "Choice"}, {}, layers_, headings, ())


@pytest.mark.parametrize(
    ("layers", "runs", "bars"),
    [((0, 1, 2), 1, 0), ((0, 1, 4, 5), 2, 0), ((0, 1, 4), 2, 1), ((3,), 1, 1), ((0, 3, 6), 3, 3)],
)
def test_lines_break_where_layers_were_not_measured(layers, runs, bars):
    svg = vl_convert.vegalite_to_svg(inlined(curve(layers)))
    lines = [path for path in paths(svg, "line") if "L" in path]
    assert len(lines) == runs - bars
    assert len(paths(svg, "symbol")) >= len(layers)
    rules = re.findall(r'<line [^>]*y2="(-?[1-9][0-9.]*)"[^>]*stroke-width="1.5"', svg)
    assert len(rules) == bars


def test_a_range_without_an_estimate_is_drawn_between_two_thin_lines():
    svg = vl_convert.vegalite_to_svg(inlined(curve((0, 1, 2), estimate=None)))
    assert len([path for path in paths(svg, "line") if "L" in path]) == 2


def planted() -> pl.DataFrame:
    """Accuracies of `a`, its counterpart `b` and two further draws of it."""
    frame = paging.cross(
        {"retriever": ["a", "b", "b-1", "b-2"], "layer": [0, 1], "measure": ["accuracy"]}
    )
    return frame.with_columns(
        dataset=pl.lit("d"),
        estimate=pl.Series([0.7, 0.8, 0.5, 0.5, 0.4, 0.6, 0.45, 0.52]),
        low=pl.lit(0.3),
        high=pl.lit(0.9),
    )


def test_a_chosen_retriever_has_its_counterpart_and_the_range_of_its_twins():
    settings = Settings("s", pairs={"a": "b", "b-1": "b"}, twins={"b": ["b", "b-1", "b-2"]})
    rows = pairs.paired(planted(), settings, "layer")
    assert set(rows["retriever"]) == {"a"}
    lines = {line: rows.filter(line=line).sort("layer") for line in set(rows["line"])}
    assert lines[RETRIEVER]["estimate"].to_list() == [0.7, 0.8]
    assert lines[COUNTERPART]["name"].to_list() == ["b", "b"]
    assert lines[TWINS]["low"].to_list() == [0.4, 0.5]
    assert lines[TWINS]["high"].to_list() == [0.5, 0.6]
    assert lines[TWINS]["estimate"].null_count() == 2


def test_fidelity_shows_how_far_twins_differ():
    table = decentralising.findings()
    more = table.filter(retriever="plain").with_columns(
        pl.col("estimate", "low", "high") + 0.1, retriever=pl.lit("plain.2")
    )
    twins = {"plain": ["plain", "plain.2"]}
    settings = Settings("s", pairs={"tuned": "plain", "plain.2": "plain"}, twins=twins)
    drawn = agreement.build({"decentralisation": pl.concat([table, more])}, settings)
    (panel,) = (panel for panel in drawn if panel.anchor == "fidelity")
    rows = shown(panel, side="passage").filter(attribution="norm")
    (own,) = rows.filter(line=COUNTERPART)["estimate"]
    (low, high), *_ = rows.filter(line=TWINS).select("low", "high").iter_rows()
    assert (low, high) == pytest.approx((own, own + 0.1))
    vl_convert.vegalite_to_vega(inlined(panel))


def test_accuracy_shows_the_planted_numbers_the_floor_and_chance(default):
    settings, tables = default
    findings = tables["findings"]
    (panel, *_) = probing.build(tables, settings)
    where = {"retriever": "minilm", "passages": "5", "probe": "interaction"}
    rows = shown(panel, **where)
    cell = {"finding": "accuracy", "passages": 5, "retriever": "minilm"}
    for line, own in (
        (RETRIEVER, {"probe": "interaction", "measure": "accuracy"}),
        (COUNTERPART, {"probe": "interaction", "retriever": "minilm-random"}),
        ("lexical floor", {"probe": "lexical"}),
    ):
        expected = findings.filter(**{**cell, "measure": "accuracy", **own}).sort("layer")
        drawn = rows.filter(line=line)
        assert drawn["layer"].to_list() == expected["layer"].to_list()
        assert drawn["estimate"].to_list() == pytest.approx(expected["estimate"], rel=1e-3)
        assert drawn["low"].to_list() == pytest.approx(expected["low"], rel=1e-3)
    chance = findings.filter(**cell, measure="chance", probe="interaction")["estimate"].mean()
    assert rows.filter(line="chance")["estimate"].item() == pytest.approx(chance, rel=1e-3)


def test_full_and_hollow_points_are_those_of_the_test(default):
    settings, tables = default
    findings = tables["findings"].with_columns(significant=pl.col("layer") < 2)
    drawn = probing.build({"findings": findings}, settings)
    (panel,) = (panel for panel in drawn if panel.anchor == "differences")
    rows = shown(panel)
    assert rows.filter(significant="yes")["layer"].to_list() == [0, 1]
    svg = vl_convert.vegalite_to_svg(inlined(panel))
    points = re.findall(r'<path [^>]*aria-roledescription="point"[^>]*>', svg)
    assert len(points) == rows.height
    assert len([point for point in points if " fill=" in point]) == 2


def test_tiles_are_the_bins_of_the_heat_maps():
    counts = [decentralising.counts(2, (30, 20), tuned=tuned) for tuned in (True, False)]
    frames = [
        table.with_columns(
            attribution=pl.lit("norm"),
            encoder=pl.lit(name),
            dataset=pl.lit("d"),
            side=pl.lit("query"),
        )
        for name, table in zip(("a", "b"), counts, strict=True)
    ]
    encoders = {name: dict.fromkeys(("query", "passage"), name) for name in ("a", "b")}
    settings = Settings("s", pairs={"a": "b"}, encoders=encoders)
    (panel,) = heat.build({"activation_counts": paging.tiles(pl.concat(frames))}, settings)
    own, other = (binned(table).values.ravel() for table in counts)
    assert panel.data["own"].to_list() == pytest.approx(own.tolist(), rel=1e-3)
    assert panel.data["other"].to_list() == pytest.approx(other.tolist(), rel=1e-3)
    change = (own - other).tolist()
    assert panel.data["change"].to_list() == pytest.approx(change, rel=1e-3)
    assert panel.data["row"].unique(maintain_order=True).to_list() == [
        *("1 intermediate", "1 output", "2 intermediate", "2 output")
    ]


def test_marks_of_one_number_of_neurons_stand_apart():
    table = decentralising.findings().filter(
        (pl.col("finding") != "ablation") | (pl.col("neurons") == 64)
    )
    (panel,) = ablation.build({"decentralisation": table}, Settings("s", pairs={"tuned": "plain"}))
    svg = vl_convert.vegalite_to_svg(inlined(panel))
    places = re.findall(r'aria-roledescription="point" transform="translate\(([0-9.]+),', svg)
    assert len(set(places)) == len(shown(panel)) == 4


def test_published_curves_stand_beside_those_of_the_same_cells(paper):
    settings, tables = paper
    (panel,) = published.build(tables, settings)
    points = tables["curves"]
    for choice in ("bert-cls", "repllama"):
        rows = shown(panel, retriever=choice, passages="3", dataset="nq").filter(line="published")
        expected = points.filter(retriever=choice, passages=3, dataset="nq").sort("layer")
        assert rows["estimate"].to_list() == pytest.approx(expected["accuracy"], rel=1e-3)


def test_thinning_goes_no_further_than_it_must():
    data = paging.drawn(paging.cross({"probe": ["a", "b"], "passages": [2, 3, 4, 5]}), "thin")
    steps = [("First.", outermost("passages")), ("Second.", pl.col("probe") == "a")]
    assert thinned(data, steps) == (data, "")
    fewer, said = thinned(data, steps, weight(data) - 1)
    assert said == "First." and set(fewer["passages"]) == {2, 5} and fewer.height == 4
    fewest, said = thinned(data, steps, 10)
    assert said == "First. Second." and fewest.height == 2
    assert thinned(data, [("None.", pl.col("probe") == "c")], 10) == (data, "")


def test_numbers_keep_four_digits():
    assert short(pl.DataFrame({"estimate": [0.123456]}))["estimate"].item() == 0.1235


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("config", "page"), [(theme.LIGHT, "#ffffff"), (theme.DARK, "#14181c")])
def test_lines_can_be_told_from_the_page(config, page):
    behind = luminance(page)
    for colour in (*config["range"]["category"], config["axis"]["labelColor"]):
        high, low = sorted((luminance(colour), behind), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3, colour


def size(panels: Sequence[Panel]) -> int:
    """Bytes of panels: their rows and their charts."""
    return sum(encoded(panel.data) + len(json.dumps(panel.chart)) for panel in panels)


def left_out(panels: Sequence[Panel]) -> dict[str, str]:
    """Panel to what it leaves out, where that is something."""
    return {panel.anchor: panel.left_out for panel in panels if panel.left_out}


def test_the_default_study_fits_whole(panels):
    assert size(panels) < 2_000_000
    assert set(left_out(panels)) == {"heat"}


@pytest.mark.slow
def test_the_papers_grid_fits_and_says_what_it_leaves_out(paper):
    settings, tables = paper
    panels = build(tables, settings)
    assert size(panels) < 10_000_000
    assert "Of the normalisers only the text's largest is shown." in left_out(panels)["heat"]
    (accuracy,) = (panel for panel in panels if panel.anchor == "accuracy")
    assert accuracy.choices[2].options == ("2", "3", "4", "5")


@pytest.mark.slow
def test_the_whole_page_of_the_papers_grid_fits(paper):
    """But for the claims and the texts, which are few."""
    settings, tables = paper
    groups, untold = answer.probed(tables, settings)
    page = Page(
        study="paper",
        question=answer.question([*settings.pairs]),
        lede="",
        groups=groups,
        untold=untold,
        claims=[],
        untestable=None,
        ledger=None,
        cautions=[],
        studied=[],
        summary=summary.build(tables, settings),
        panels=build(tables, settings),
        examples=[],
        without_texts="",
        origins=[],
    )
    assert len(render(page, "{}", bundle()).encode()) < 15_000_000


@pytest.mark.slow
def test_a_grid_ten_times_as_large_fits(tmp_path):
    source = {"train": "https://example.org/a.json", "dev": "https://example.org/b.json"}
    entry = {"format": "dpr", "source": source, "negatives": {"count": 9}}
    names = [f"set-{number}" for number in range(9)]
    paper_ = yaml.safe_load((studies.ROOT / "studies" / "paper.yaml").read_text())["study"]
    probe = {**paper_["probe"], "datasets": names, "passages": list(range(2, 11))}
    attribute = [{**block, "datasets": names} for block in paper_["attribute"]]
    study = {"probe": probe, "attribute": attribute}
    overlay = tmp_path / "large.yaml"
    overlay.write_text(yaml.safe_dump({"datasets": dict.fromkeys(names, entry), "study": study}))
    config = studies.read([studies.ROOT / "studies" / "paper.yaml", overlay])
    panels = build(paging.tables(config), paging.settings(config))
    assert size(panels) < 12_000_000
    assert {"accuracy", "probes", "sizes", "fits", "heat"} <= set(left_out(panels))


def learned(qualities: dict[int, float]) -> dict[str, pl.DataFrame]:
    """What the page gets of a run of 250 steps; qualities: MRR by step."""
    steps = pl.DataFrame({"step": range(1, 251)})
    curve = steps.with_columns(
        model=pl.lit("tuned"),
        examples=8 * pl.col("step"),
        loss=1 / pl.col("step"),
        learning_rate=pl.lit(1e-3),
        quality=pl.col("step").replace_strict(qualities, default=None, return_dtype=pl.Float64),
    )
    return {"learning_curve": learning.condense(curve.lazy())}


def test_what_validation_queries_found_on_the_way_stands_at_its_step(default):
    loss, quality = learning.build(learned({25: 0.25, 125: 0.5, 250: 0.75}), default[0])
    assert loss.data.height == 84
    assert loss.data["estimate"][0] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3, rel=1e-3)
    assert quality.data.select("step", "examples", "estimate").rows() == [
        (25, 200, 0.25),
        (125, 1000, 0.5),
        (250, 2000, 0.75),
    ]
    for panel in (loss, quality):
        vl_convert.vegalite_to_svg(inlined(panel))


@pytest.mark.parametrize("qualities", [{}, {250: 0.75}])
def test_the_end_alone_is_no_curve(default, qualities):
    panels = learning.build(learned(qualities), default[0])
    assert [panel.anchor for panel in panels] == ["learning"]
