"""Charts of ladders of models: quality over size, and what a doubling and a stage bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from wellspring.figures.ladders import AXES, BROUGHT, DRAWN, brought, names_of, with_series
from wellspring.page.data import short, thinned
from wellspring.page.drawing import curves, judged, level_at, made, powers, up
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import Series

WHERE = {"measure": "Measure", "axis": "Size", "scale": "Scale"}
FEWER = [
    ("All parameters and tokens are left out as sizes.", pl.col("axis").is_in(DRAWN)),
    ("The plain values are left out.", pl.col("scale") == "log-odds"),
]
FIRST = {"scale": "value"}


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """The models of each ladder, and its slopes with what its last stage brings."""
    points, scaling = tables.get("ladders"), tables.get("scaling")
    if points is None or scaling is None or points.is_empty():
        return []
    named = names_of(points)
    names = list(named.values())
    panels = [_growth(with_series(points, named), settings, names)]
    tiles = brought(scaling, named)
    return panels if tiles.is_empty() else [*panels, _brought(tiles, settings, names)]


def _growth(rows: pl.DataFrame, settings: Settings, names: Sequence[str]) -> Panel:
    """A point for each model, and the line of its series with its band."""
    fewer, left_out = thinned(short(rows.rename({"quality": "estimate"})), FEWER)
    data = fewer.with_columns(pl.col("axis").replace(AXES))
    x = powers("x", "size (log scale)", data["x"], ".2~s")
    return made(
        "ladders",
        "Quality over the size of models",
        "A point is a model of one size and seed. Lines are those of least squares over log2 of "
        "the size, and bands their 95 % intervals over queries and seeds. A ladder of one size has "
        "no line.",
        data,
        {"dataset": "Dataset", **WHERE},
        FIRST,
        curves(x, up("quality"), Series.of(data, "series", names), whole=False, through="fitted"),
        {
            "series": "series",
            "retriever": "retriever",
            "x": "size",
            "estimate": "quality",
            "fitted": "line",
            "low": "from",
            "high": "to",
        },
        settings.sources("ladders", "x", "quality", "fitted", "low", "high"),
        left_out,
    )


def _brought(rows: pl.DataFrame, settings: Settings, names: Sequence[str]) -> Panel:
    """Each series on each dataset, with what a doubling or its last stage brings."""
    import altair as alt

    fewer, left_out = thinned(short(rows), FEWER)
    data = fewer.with_columns(pl.col("axis").replace(AXES), pl.col("finding").replace(BROUGHT))
    series = Series.of(data, "series", names)
    axis, scale = alt.Axis(labelAngle=0, grid=False), alt.Scale(paddingInner=0.3, paddingOuter=0.1)
    x = alt.X("dataset:N", title=None, sort=None, axis=axis, scale=scale)
    offset: dict[str, Any] = {"xOffset": alt.XOffset("series:N", sort=list(names))}
    sure = "datum.low > 0 || datum.high < 0"
    return made(
        "ladder-gains",
        "What size and stages bring on each dataset",
        "The change for each doubling of size, or what a series finds more than the same sizes one "
        "stage before. Bars are 95 % intervals over queries and seeds; a full point's interval "
        "excludes 0. The table has p-values adjusted for all of a kind, and what weakens a row.",
        data,
        {"finding": "What", **WHERE},
        FIRST,
        [level_at(0), *judged(x, up("change"), series, sure, **offset)],
        {
            "dataset": "dataset",
            "series": "series",
            "estimate": "change",
            "low": "from",
            "high": "to",
            "p_adjusted": "p (adjusted)",
            "warnings": "warnings",
        },
        settings.sources("scaling", "estimate", "low", "high", "p_adjusted", "warnings"),
        left_out,
    )
