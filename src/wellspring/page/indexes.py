"""Charts of approximate indexes: what they find against how long a query takes, and against their
size."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.figures.tables import first_draws
from wellspring.page.data import INTERVAL, short, thinned
from wellspring.page.drawing import curves, judged, made, up
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import Series

CHOICES = {"dataset": "Dataset", "retriever": "Retriever", "measure": "Measure"}
HEADINGS = {
    "index": "index",
    "setting": "setting",
    "depth": "searched for",
    "estimate": "value",
    "low": "from",
    "high": "to",
    "difference": "less exact",
    "milliseconds": "ms a query",
    "megabytes": "MB",
    "queries": "queries",
}
SHOWN = (*INTERVAL, "difference", "bytes", "milliseconds")


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """A measure against latency, and against the size of the index."""
    import altair as alt

    table = tables.get("indexes")
    if table is None or table.is_empty():
        return []
    rows = first_draws(table, settings.twins).with_columns(megabytes=pl.col("bytes") / 1e6)
    data, left_out = thinned(short(rows), [])
    series = Series.of(data, "index")

    def along(column: str, title: str) -> alt.X:
        axis = alt.Axis(format="~g", grid=False, tickCount=6)
        scale = alt.Scale(type="log", nice=False, padding=12)
        return alt.X(f"{column}:Q", title=title, axis=axis, scale=scale)

    asked = (
        "recall@10 is the share of exact search's first ten that is found. A graph keeps at least "
        "as many candidates as it is asked for."
    )
    parts = (data, CHOICES, {})
    sources = settings.sources("indexes", *SHOWN)
    return [
        made(
            "indexes-latency",
            "Approximate search: quality and time",
            "What an index finds against the time that one thread needs for one query; a point is "
            f"a setting. Bands are 95 % intervals over queries. {asked}",
            *parts,
            curves(along("milliseconds", "ms a query, one thread"), up("value"), series, False),
            HEADINGS,
            sources,
            left_out,
        ),
        made(
            "indexes-size",
            "Approximate search: quality and size",
            "What an index finds against its bytes, the vectors included; all settings of an index "
            f"have its size. Bars are 95 % intervals over queries. {asked}",
            *parts,
            judged(along("megabytes", "MB of the index"), up("value"), series),
            HEADINGS,
            sources,
            left_out,
        ),
    ]
