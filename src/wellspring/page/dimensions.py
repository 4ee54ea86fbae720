"""Charts of the dimensions: curves over lengths and over training, differences from a reference,
and where retrievers learned and where not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from wellspring.figures.dimensions import DOMAINS, SPENT, STAGES
from wellspring.page.data import ordered, short, thinned
from wellspring.page.drawing import curves, judged, level_at, made, up
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import ONE, Series

WHERE = {"dataset": "Dataset", "measure": "Measure"}
VALUES = {"estimate": "value", "low": "from", "high": "to", "queries": "queries"}
ROW = {"step": 34}
"""Pixels of a row of the map."""


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """A panel for each kind of dimension that the study has."""
    table = tables.get("dimensions")
    if table is None:
        return []
    table = table.rename({"value": "estimate"})
    spent = [
        table.drop_nulls(key).with_columns(axis=pl.lit(title), x=pl.col(key))
        for key, title in SPENT.items()
    ]
    efficiency = pl.concat([table, *spent]).filter(dimension="data-efficiency")
    panels = [
        _curves(
            efficiency,
            settings,
            ("data-efficiency", "Data efficiency"),
            "What is found when a share of the training is done, or after training on a fraction "
            "of the queries; 0 is what training started from. Bands are 95 % intervals over "
            "queries.",
        ),
        _curves(
            table.filter(dimension="lengths"),
            settings,
            ("lengths", "Lengths"),
            "What is found when texts are cut at so many tokens. Bands are 95 % intervals over "
            "queries.",
        ),
        _differences(
            table.filter(pl.col("dimension").is_in(["instructions", "multi-task"])), settings
        ),
        _domains(table.filter(pl.col("dimension").is_in(DOMAINS)), settings),
    ]
    return [panel for panel in panels if panel]


def _curves(
    rows: pl.DataFrame, settings: Settings, named: tuple[str, str], caption: str
) -> Panel | None:
    """A line for each family over the numbers that its settings are."""
    import altair as alt

    if rows.is_empty():
        return None
    data, left_out = thinned(short(rows), [])
    x = alt.X(
        "x:Q",
        title="setting",
        axis=alt.Axis(format="~s", grid=False),
        scale=alt.Scale(zero=False, nice=False, padding=12),
    )
    series = Series.of(data, "family")
    return made(
        *named,
        caption,
        data,
        {"axis": "Along", **WHERE},
        {},
        curves(x, up("value"), series, whole=False),
        {"family": "family", "x": "setting", "retriever": "retriever", **VALUES},
        settings.sources("dimensions", "x", "value", "low", "high"),
        left_out,
    )


def _differences(rows: pl.DataFrame, settings: Settings) -> Panel | None:
    """Each setting's difference from the reference of its family."""
    import altair as alt

    rows = rows.drop("estimate", "low", "high").rename(
        {"difference": "estimate", "difference_low": "low", "difference_high": "high"}
    )
    rows = rows.drop_nulls("estimate")
    if rows.is_empty():
        return None
    data, left_out = thinned(short(rows), [])
    axis = alt.Axis(labelAngle=0, labelLimit=160, grid=False)
    x = alt.X("setting:N", title=None, sort=None, axis=axis)
    return made(
        "instructions-tasks",
        "Instructions and tasks",
        "What is found with an instruction, or after training on several datasets, less what the "
        "reference finds. Bars are 95 % intervals over queries; a full point is significant in its "
        "family.",
        data,
        {"dimension": "Dimension", "family": "Family", **WHERE},
        {},
        [
            level_at(0),
            *judged(
                x, up("difference"), ONE, "datum.answer === 'higher' || datum.answer === 'lower'"
            ),
        ],
        {
            "setting": "setting",
            "reference": "reference",
            **VALUES,
            "estimate": "difference",
            "p_adjusted": "p (adjusted)",
            "answer": "answer",
        },
        settings.sources("dimensions", "difference", "difference_low", "difference_high"),
        left_out,
    )


def _domains(rows: pl.DataFrame, settings: Settings) -> Panel | None:
    """A tile for each retriever and dataset: what is found, and whether it was learned from."""
    rows = rows.filter(pl.col("retriever") == pl.col("family")).sort(
        *ordered("stage", STAGES), maintain_order=True
    )
    if rows.is_empty():
        return None
    data, left_out = thinned(
        short(rows).with_columns(row=pl.format("{} ({})", "retriever", "stage")), []
    )
    return made(
        "domains",
        "Where retrievers learned, and where not",
        "What is found on each dataset, by what the weights were trained for last. in-domain: the "
        "retriever learned from the dataset, or from another part of its collection; not known: "
        "its weights were fetched, and its entry does not tell.",
        data,
        {"measure": "Measure"},
        {},
        _tiles(),
        {"row": "retriever (stage)", "dataset": "dataset", "dimension": "domain", **VALUES},
        settings.sources("dimensions", "dimension", "value"),
        left_out,
        ROW,
    )


def _tiles() -> list[Any]:
    """Coloured tiles with a point where a retriever did not learn."""
    import altair as alt

    where = {
        "x": alt.X("dataset:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, orient="top")),
        "y": alt.Y("row:N", sort=None, title=None),
    }
    colour = alt.Color(
        "estimate:Q",
        scale=alt.Scale(domainMin=0, interpolate="lab"),
        title="value",
        legend=alt.Legend(gradientLength=100),
    )
    return [alt.Chart().mark_rect().encode(**where, color=colour)]
