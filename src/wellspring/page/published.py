"""A chart of the study's curves beside published ones."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.page.data import INTERVAL, as_text, short, thinned
from wellspring.page.drawing import LAYERS, along, curves, made, up
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import PUBLISHED, RETRIEVER, of_pair

CURVE = ["dataset", "retriever", "passages"]


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Accuracy of the published probe over layers, ours and theirs."""
    findings, points = tables.get("findings"), tables.get("curves")
    if findings is None or points is None:
        return []
    ours = findings.filter(
        finding="accuracy", measure="accuracy", probe=settings.probe
    ).with_columns(line=pl.lit(RETRIEVER), name=pl.col("retriever"))
    both = [ours.select(CURVE).unique(), points.select(CURVE).unique()]
    shared = both[0].join(both[1], on=CURVE)
    if shared.is_empty():
        return []
    columns = (*CURVE, "layer", *INTERVAL, "samples", "line", "name")
    theirs = points.rename({"accuracy": "estimate"}).with_columns(
        line=pl.lit(PUBLISHED),
        name=pl.col("curve"),
        **{end: pl.lit(None, pl.Float64) for end in ("low", "high")},
    )
    rows = pl.concat([ours.select(columns), theirs.select(columns)], how="vertical_relaxed")
    rows = rows.join(shared, on=CURVE, how="semi")
    rows = rows.sort(*CURVE, pl.col("line") == PUBLISHED, "layer")
    data, left_out = thinned(short(rows), [])
    data = data.with_columns(as_text("passages"))
    series = of_pair(data, settings.pairs)
    return [
        made(
            "published",
            "Beside the published curves",
            f"Accuracy of {settings.probe} in this study and as published. The band is the 95 % "
            "interval of this study; the published curve has none. Both are drawn where they were "
            "measured.",
            data,
            {"dataset": "Dataset", "retriever": "Retriever", "passages": "Passages (N)"},
            {},
            curves(along("layer", LAYERS), up("accuracy"), series),
            {
                "line": "line",
                "name": "of",
                "layer": "layer",
                "estimate": "accuracy",
                "low": "from",
                "high": "to",
                "samples": "test samples",
            },
            (
                *settings.sources("published", "ours_mean", "published_mean", "worst_difference"),
                *settings.sources("findings", *INTERVAL),
            ),
            left_out,
        )
    ]
