"""Charts of how the objective fell while a model of the study was trained."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.page.data import short
from wellspring.page.drawing import curves, made, up
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import ONE

POINTS = 100
"""Of a curve: each is the mean over as many steps as that takes."""


def condense(curve: pl.LazyFrame) -> pl.DataFrame:
    """The mean loss of equal numbers of steps, with the examples that were seen at their end."""
    every = pl.max_horizontal(1, (pl.len() / POINTS).ceil().cast(pl.Int64))
    part = (pl.col("step") - 1) // every
    grouped = curve.with_columns(part=part).group_by("model", "part", maintain_order=True)
    return (
        grouped.agg(pl.col("step").max(), pl.col("examples").max(), estimate=pl.col("loss").mean())
        .drop("part")
        .collect()
    )


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """The loss of each trained model over the examples that it had seen."""
    import altair as alt

    curve = tables.get("learning_curve")
    if curve is None or curve.is_empty():
        return []
    data = short(curve.sort("model", "step")).with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in ("low", "high"))
    )
    x = alt.X(
        "examples:Q",
        title="examples seen",
        axis=alt.Axis(format="~s", grid=False),
        scale=alt.Scale(zero=False, nice=False, padding=12),
    )
    return [
        made(
            "learning",
            "How training went",
            "The objective on the batches of training, before each update. A point "
            f"is a mean over up to one {POINTS}th of the steps. It falls by learning, and also by "
            "easy batches: what the model finds on unseen queries stands above, under Training.",
            data,
            {"model": "Model"},
            {},
            curves(x, up("loss"), ONE, whole=False),
            {"step": "step", "examples": "examples", "estimate": "loss"},
            settings.sources("learning_curve", "step", "examples", "loss"),
        )
    ]
