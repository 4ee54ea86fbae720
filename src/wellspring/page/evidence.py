"""Charts of all evidence about layers side by side, and of what predicts what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from wellspring.figures.tables import named_measure
from wellspring.findings.sharing import apart
from wellspring.page.data import INTERVAL, short, thinned
from wellspring.page.drawing import LAYERS, along, curves, made, up
from wellspring.page.pairs import chosen
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import RETRIEVER, Series
from wellspring.plurals import counted

LINES = (
    *(RETRIEVER, "counterpart", "twin", "lexical", "random-label"),
    *("random neurons", "nothing removed", "chance", "uniform"),
)
ALL = "mean of all pairs"
OVER = {"layers": "layers", "differences": "differences from the counterpart"}
ROW = {"step": 22}
"""Pixels of a row of the map."""


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Every measure over layers, and the correlations between them."""
    table = tables.get("evidence")
    if table is None or table.is_empty():
        return []
    panels = [_measures(table, settings)]
    related = tables.get("evidence_correlations")
    if related is not None and not related["estimate"].drop_nulls().is_empty():
        panels.append(_related(related, settings))
    return panels


def _measures(table: pl.DataFrame, settings: Settings) -> Panel:
    names = chosen(settings, table["retriever"].unique(maintain_order=True))
    rows = pl.concat(table.filter(retriever=name) for name in names)
    rows = rows.drop_nulls("estimate").with_columns(
        named_measure(), line=pl.col("control").fill_null(RETRIEVER), name=pl.col("other")
    )
    columns = ("dataset", "retriever", "measure", "line", "name", "layer", *INTERVAL)
    leads = ("lead", "lead_low", "lead_high", "unit", "texts", "shared_queries")
    data, left_out = thinned(short(rows.select(*columns, *leads)), [])
    return made(
        "evidence",
        "All evidence about layers",
        "What each measure says of every layer, beside what it is set against. Bands are 95 % "
        f"intervals over the texts that the table names. {_queries(table)}".rstrip(),
        data.with_columns(pl.col("texts", "shared_queries").cast(pl.String)),
        {"dataset": "Dataset", "retriever": "Retriever", "measure": "Measure"},
        {},
        curves(along("layer", LAYERS), up("value"), Series.of(data, "line", LINES)),
        {
            "line": "line",
            "name": "of",
            "layer": "layer",
            "estimate": "value",
            "low": "from",
            "high": "to",
            "lead": "measure less this",
            "lead_low": "from ",
            "lead_high": "to ",
            "unit": "over",
            "texts": "texts",
            "shared_queries": "of these shared queries",
        },
        settings.sources("evidence", *INTERVAL, "lead"),
        left_out,
    )


def _queries(table: pl.DataFrame) -> str:
    """Which queries the measures are of."""
    datasets = table.filter(unit="query")["dataset"].unique(maintain_order=True).to_list()
    shared = apart(table)
    counts = [f"{counted(count, 'query', 'queries')} on {name}" for name, count in shared.items()]
    own = f"measure is of its own queries, because all share too few ({', '.join(counts)})."
    if len(shared) < len(datasets):
        same = "Measures of queries are of the same queries"
        return f"{same}; elsewhere each {own}" if shared else f"{same}."
    return f"Each {own}" if datasets else ""


def _related(table: pl.DataFrame, settings: Settings) -> Panel:
    """Each correlation serves both of its measures."""
    names = chosen(settings, table["retriever"].drop_nulls().unique(maintain_order=True))
    shown = pl.col("retriever").is_in(names) | pl.col("retriever").is_null()
    rows = table.filter(shown).drop_nulls("estimate")
    rows = rows.with_columns(
        named_measure(),
        named_measure("other_"),
        pl.col("retriever").fill_null(ALL),
        pl.col("over").replace(OVER),
        pl.col("points").cast(pl.String),
    )
    columns = ("dataset", "retriever", "over", "points", *INTERVAL, "answer", "reason")
    both = [
        rows.select(*columns, pl.col(a).alias("measure"), pl.col(b).alias("other_measure"))
        for a, b in (("measure", "other_measure"), ("other_measure", "measure"))
    ]
    data, left_out = thinned(short(pl.concat(both)), [])
    return made(
        "evidence-correlations",
        "What predicts what",
        "Spearman's correlation over layers between every two measures, with 95 % intervals over "
        "queries: the layers stay as they are. A number stands where the interval excludes 0.",
        data,
        {"dataset": "Dataset", "retriever": "Retriever", "over": "Over"},
        {},
        _map(),
        {
            "measure": "measure",
            "other_measure": "other measure",
            "estimate": "rank correlation",
            "low": "from",
            "high": "to",
            "points": "points",
            "answer": "answer",
            "reason": "reason",
        },
        settings.sources("evidence_correlations", *INTERVAL, "answer"),
        left_out,
        ROW,
    )


def _map() -> list[Any]:
    """A tile for every two measures."""
    import altair as alt

    axis = alt.Axis(ticks=False, domain=False, labelLimit=240)
    turned = alt.Axis(ticks=False, domain=False, labelAngle=-50, labelLimit=180, orient="bottom")
    where = {
        "x": alt.X("other_measure:N", sort=None, title=None, axis=turned),
        "y": alt.Y("measure:N", sort=None, title=None, axis=axis),
    }
    scale = alt.Scale(type="linear", domain=[-1, 1], domainMid=0, interpolate="lab")
    colour = alt.Color("estimate:Q", scale=scale, title="correlation")
    tested = alt.Chart().transform_filter("datum.answer !== 'not testable here'")
    sure = alt.Chart().transform_filter("datum.answer === 'together' || datum.answer === 'opposed'")
    untested = alt.Chart().transform_filter("datum.answer === 'not testable here'")
    return [
        tested.mark_rect().encode(**where, color=colour),
        untested.mark_rect(opacity=0.25).encode(**where, color=colour),
        sure.mark_text(fontSize=9).encode(**where, text=alt.Text("estimate:Q", format=".2f")),
    ]
