"""Charts of how a model of the study learned: its objective, and what validation queries found."""

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
    """The mean loss of equal numbers of steps, with the examples that were seen at their end, and
    `quality` at each step that has one: a row each, `measure` says which."""
    every = pl.max_horizontal(1, (pl.len() / POINTS).ceil().cast(pl.Int64))
    part = (pl.col("step") - 1) // every
    grouped = curve.with_columns(part=part).group_by("model", "part", maintain_order=True)
    losses = grouped.agg(
        pl.col("step").max(),
        pl.col("examples").max(),
        measure=pl.lit("loss"),
        estimate=pl.col("loss").mean(),
    ).drop("part")
    qualities = curve.filter(pl.col("quality").is_not_null()).select(
        "model", "step", "examples", measure=pl.lit("quality"), estimate="quality"
    )
    return pl.concat([losses, qualities]).collect()


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """The loss of each trained model over the examples that it had seen, and what validation
    queries found on the way."""
    curve = tables.get("learning_curve")
    if curve is None or curve.is_empty():
        return []
    on_the_way = curve.filter(pl.col("measure") == "quality", pl.len().over("model", "measure") > 1)
    loss = _panel(
        curve.filter(pl.col("measure") == "loss"),
        settings,
        ("learning", "How training went"),
        "The objective on the batches of training, before each update. A point "
        f"is a mean over up to one {POINTS}th of the steps. It falls by learning, and also by "
        "easy batches: what the model finds on unseen queries stands above, under Training.",
        "loss",
        "loss",
    )
    if on_the_way.is_empty():
        return [loss]
    quality = _panel(
        on_the_way,
        settings,
        ("quality", "What validation queries found during training"),
        "MRR@10 of the validation queries when a share of the training was done, and at its end. "
        "The candidates are the passages that answer one of them: this is a look at the run and "
        "no benchmark.",
        "quality",
        "MRR@10",
    )
    return [loss, quality]


def _panel(
    rows: pl.DataFrame,
    settings: Settings,
    named: tuple[str, str],
    caption: str,
    column: str,
    title: str,
) -> Panel:
    """A line over the examples seen; named: anchor and title. column: of the curve's file."""
    import altair as alt

    data = short(rows.sort("model", "step")).with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in ("low", "high"))
    )
    x = alt.X(
        "examples:Q",
        title="examples seen",
        axis=alt.Axis(format="~s", grid=False),
        scale=alt.Scale(zero=False, nice=False, padding=12),
    )
    return made(
        *named,
        caption,
        data,
        {"model": "Model"},
        {},
        curves(x, up(title), ONE, whole=False),
        {"step": "step", "examples": "examples", "estimate": title},
        settings.sources("learning_curve", "step", "examples", column),
    )
