"""Charts of what embeddings lose without the neurons that an attribution names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from wellspring.page.attribution import PLACE, in_place
from wellspring.page.data import INTERVAL, ordered, short, thinned
from wellspring.page.drawing import judged, level_at, made, up
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import Series

EFFECTS = {
    "change": "change of the vector (1 − cosine)",
    "length_change": "relative change of the length",
    "margin_change": "change of the margin to hard negatives",
    "first_change": "change of how often the positive is first",
}
CHOICES = {
    "top": "highest",
    "random-as-top": "random as highest",
    "bottom": "lowest",
    "random-as-bottom": "random as lowest",
}
CONTRASTS = {"top": "highest − random", "bottom": "lowest − random"}
LABELS = {**PLACE, "measure": "Effect", "by": "Replaced by"}
HEADINGS = {
    "choice": "neurons",
    "neurons": "how many",
    "estimate": "estimate",
    "low": "from",
    "high": "to",
    "texts": "texts",
}


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """What ablation changes, and by how much more than that of matched random neurons."""
    table = tables.get("decentralisation")
    if table is None:
        return []
    ablations, contrasts = (
        _rows(table, "ablation", CHOICES, settings),
        _rows(table, "contrast", CONTRASTS, settings),
    )
    panels = []
    if not ablations.is_empty():
        panels.append(
            _panel(
                "ablation",
                "Ablation",
                "What a text's vector loses when its highest or lowest neurons are replaced, and "
                "what it loses with as many random ones of the same layers. Bars are 95 % "
                "intervals over texts.",
                ablations,
                [*CHOICES.values()],
                "",
                settings,
            )
        )
    if not contrasts.is_empty():
        panels.append(
            _panel(
                "contrasts",
                "Ablation against matched random neurons",
                "The effect of the highest (lowest) neurons less that of matched random ones, text "
                "by text. Bars are 95 % intervals over texts; a full point excludes 0.",
                contrasts,
                [*CONTRASTS.values()],
                "datum.low > 0 || datum.high < 0",
                settings,
            )
        )
    return panels


def _rows(
    table: pl.DataFrame, finding: str, names: dict[str, str], settings: Settings
) -> pl.DataFrame:
    """The rows of a finding, compared retrievers first, in plain words."""
    rows = table.filter(pl.col("measure").is_in(list(EFFECTS)), finding=finding)
    rows = rows.drop_nulls("estimate").sort(
        *ordered("retriever", [*settings.pairs]),
        *in_place(*ordered("measure", [*EFFECTS]), "by", "neurons"),
        *ordered("choice", [*names]),
        maintain_order=True,
    )
    return rows.with_columns(pl.col("measure").replace(EFFECTS), pl.col("choice").replace(names))


def _panel(
    anchor: str,
    title: str,
    caption: str,
    rows: pl.DataFrame,
    names: Sequence[str],
    sure: str,
    settings: Settings,
) -> Panel:
    """Points with intervals over the number of neurons, side by side."""
    import altair as alt

    data, left_out = thinned(short(rows), [])
    series = Series.of(data, "choice", names)
    axis, scale = alt.Axis(labelAngle=0, grid=False), alt.Scale(paddingInner=0.4, paddingOuter=0.2)
    x = alt.X("neurons:O", title="neurons replaced", axis=axis, scale=scale)
    offset: dict[str, Any] = {"xOffset": alt.XOffset("choice:N", sort=list(names))}
    y = up("effect")
    return made(
        anchor,
        title,
        caption,
        data,
        LABELS,
        {},
        [level_at(0), *judged(x, y, series, sure, **offset)],
        HEADINGS,
        settings.sources("decentralisation", *INTERVAL),
        left_out,
    )
