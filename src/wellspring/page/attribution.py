"""Charts of how many neurons carry a text: over blocks, and over what counts as active."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.figures.tables import NORMALISED, SIDES, SUBLAYERS
from wellspring.page.data import INTERVAL, as_text, ordered, short, thinned
from wellspring.page.drawing import BLOCKS, along, curves, level_at, made, powers, up
from wellspring.page.pairs import chosen, paired
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import Series, of_pair

PLACE = {
    "dataset": "Dataset",
    "attribution": "Attribution",
    "retriever": "Retriever",
    "side": "Side",
    "sublayer": "Sub-layer",
}
SETTING = {"setting": "Active: score above", "excluded_outliers": "Outlier units left out"}
HEADINGS = {
    "line": "line",
    "name": "of",
    "layer": "block",
    "estimate": "estimate",
    "low": "from",
    "high": "to",
    "texts": "texts",
}
MEASURES = {
    "effective_number": "effective number of neurons (1: one holds all)",
    "gini": "Gini coefficient (0: even, 1: one holds all)",
    "signal": "signal (share of the target that the sub-layer moves)",
    "residual": "residual of the quadrature (share of the largest score)",
}
REGIONS = {"all": "all blocks", "early": "early blocks", "late": "late blocks"}


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Active neurons and concentration over blocks, and the sweep over thresholds."""
    table = tables.get("decentralisation")
    if table is None:
        return []
    levels = table.filter(pl.col("layer").is_not_null(), finding="level").drop_nulls("estimate")
    panels = []
    for builder, rows in (
        (_active, levels.filter(measure="share_active")),
        (_concentration, levels.filter(pl.col("measure").is_in(list(MEASURES)))),
        (_sweep, _changes(table, settings)),
    ):
        if not rows.is_empty():
            panels.append(builder(rows, settings))
    return panels


def preferred(settings: Settings) -> dict[str, str]:
    """The choices that show the setting of the study's own maps first."""
    if not settings.activity:
        return {}
    threshold = float(str(settings.activity["threshold"]))
    normaliser = NORMALISED[str(settings.activity["normaliser"])]
    return {
        "setting": f"{threshold:g} × {normaliser}",
        "excluded_outliers": str(settings.activity["excluded_outliers"]),
    }


def named_settings() -> list[pl.Expr]:
    """What counts as active, as the choices have it."""
    return [
        pl.format("{} × {}", *as_text("threshold"), pl.col("normaliser").replace(NORMALISED)).alias(
            "setting"
        ),
        pl.col("excluded_outliers").cast(pl.String),
    ]


def in_place(*further: pl.Expr | str) -> list[pl.Expr | str]:
    """What rows of attributions are sorted by."""
    return [*ordered("side", SIDES), *ordered("sublayer", SUBLAYERS), "dataset", *further]


def fewer_settings(settings: Settings) -> list[tuple[str, pl.Expr]]:
    """What is left out of many settings, first to last."""
    normaliser = str(settings.activity.get("normaliser", "network-max"))
    threshold = settings.activity.get("threshold", 0.1)
    least = pl.col("excluded_outliers") == pl.col("excluded_outliers").min()
    same = pl.col("normaliser") == normaliser
    return [
        ("Only the smallest number of outlier units that are left out is shown.", least),
        (f"Of the normalisers only {NORMALISED[normaliser]} is shown.", same),
        (f"Of the thresholds only {threshold} is shown.", same & pl.col("threshold").eq(threshold)),
    ]


def _active(levels: pl.DataFrame, settings: Settings) -> Panel:
    """The share of active neurons over blocks."""
    setting = ("normaliser", "excluded_outliers", "threshold")
    cell = ("attribution", "side", "sublayer", *setting, "layer")
    columns = ("dataset", "retriever", *cell, "measure", *INTERVAL, "texts")
    rows = paired(levels.select(columns), settings, *cell)
    rows = rows.sort(
        *in_place(*ordered("normaliser", [*NORMALISED]), "excluded_outliers", "threshold"),
        maintain_order=True,
    )
    data, left_out = thinned(short(rows), fewer_settings(settings))
    data = data.with_columns(named_settings())
    y = up("share of active neurons", "~%")
    return made(
        "active-neurons",
        "Active neurons over blocks",
        "The mean share of a sub-layer's neurons whose score lies above a threshold, text by text. "
        "Bands are 95 % intervals over texts; a band between thin lines is the range over random "
        "twins.",
        data,
        {**PLACE, **SETTING},
        preferred(settings),
        curves(along("layer", BLOCKS), y, of_pair(data, settings.pairs)),
        {**HEADINGS, "estimate": "share of active neurons"},
        settings.sources("decentralisation", *INTERVAL),
        left_out,
    )


def _concentration(levels: pl.DataFrame, settings: Settings) -> Panel:
    """What needs no threshold, over blocks."""
    cell = ("attribution", "side", "sublayer", "layer")
    columns = ("dataset", "retriever", *cell, "measure", *INTERVAL, "texts")
    rows = paired(levels.select(columns), settings, *cell)
    rows = rows.sort(*in_place(*ordered("measure", [*MEASURES])), maintain_order=True)
    data, left_out = thinned(short(rows), [])
    data = data.with_columns(pl.col("measure").replace(MEASURES))
    return made(
        "concentration",
        "Concentration over blocks",
        "How unevenly a text's scores are spread over the neurons of a sub-layer, without a "
        "threshold, and how far the scores can be trusted. Bands are 95 % intervals over texts; a "
        "band between thin lines is the range over random twins.",
        data,
        {**PLACE, "measure": "Measure"},
        {},
        curves(along("layer", BLOCKS), up("mean over texts"), of_pair(data, settings.pairs)),
        HEADINGS,
        settings.sources("decentralisation", *INTERVAL),
        left_out,
    )


def _changes(table: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """How the share of active neurons changes from the counterpart, by region."""
    return table.filter(
        pl.col("region").is_not_null(),
        pl.col("retriever").is_in(chosen(settings, table["retriever"].unique())),
        finding="relative_change",
        measure="share_active",
    ).drop_nulls("estimate")


def _sweep(changes: pl.DataFrame, settings: Settings) -> Panel:
    """The relative change over thresholds, a line for each normaliser."""
    rows = changes.sort(
        *in_place(*ordered("region", [*REGIONS]), "excluded_outliers"),
        *ordered("normaliser", [*NORMALISED]),
        "threshold",
        maintain_order=True,
    )
    data, left_out = thinned(short(rows), [])
    data = data.with_columns(
        pl.col("normaliser").replace(NORMALISED),
        pl.col("region").replace(REGIONS),
        pl.col("excluded_outliers").cast(pl.String),
    )
    series = Series.of(data, "normaliser", [*NORMALISED.values()])
    x = powers("threshold", "threshold (log scale; in units of the legend)", data["threshold"])
    ticks = [-1, -0.5, 0, 0.5, 1, 3, 10, 30, 100, 300]
    y = up("relative change", "+~%", ticks, type="symlog", constant=1)
    return made(
        "sweep",
        "Does the change depend on the setting?",
        "The change of the share of active neurons from the counterpart to the retriever, over the "
        "threshold and for each normaliser. A full point: the 95 % interval excludes no change. "
        "The vertical scale is logarithmic beyond ±100 %.",
        data,
        {**PLACE, "region": "Blocks", "excluded_outliers": SETTING["excluded_outliers"]},
        {},
        [
            level_at(0),
            *curves(x, y, series, whole=False, sure="datum.low > 0 || datum.high < 0"),
        ],
        {
            "normaliser": "score divided by",
            "threshold": "threshold",
            "estimate": "relative change",
            "low": "from",
            "high": "to",
            "detectable": "smallest one seen at 80 % power",
            "texts": "texts",
        },
        settings.sources("decentralisation", *INTERVAL, "detectable"),
        left_out,
    )
