"""A chart of where active neurons are: a retriever's map, its counterpart's, and the change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from wellspring.figures.binning import binned
from wellspring.figures.tables import SIDES
from wellspring.page.attribution import SETTING, fewer_settings, named_settings, preferred
from wellspring.page.data import short, thinned
from wellspring.page.drawing import made
from wellspring.page.pairs import chosen
from wellspring.page.panels import Panel, Settings, Tables

BINS = 10
"""Of a sub-layer's neurons."""
ACTIVE = ["normaliser", "excluded_outliers", "threshold"]
PLACE = ["attribution", "encoder", "dataset", "side"]
TILE = ["layer", "sublayer", "bin"]
GAP = 1.5
"""Tiles between two maps."""
ROW = {"step": 18}
"""Pixels of a row."""


def condensed(counts: pl.LazyFrame) -> pl.DataFrame:
    """The tiles of one side of an encoder: PLACE, ACTIVE, TILE, share.

    counts: `wellspring.activations.COUNTS` after PLACE; one setting of it is read at a time. share:
    the percentage of texts for which the most active neuron of a bin is active; null in a bin
    without neurons.
    """
    frames = []
    for setting in counts.select(*PLACE, *ACTIVE).unique().collect().sort(ACTIVE).to_dicts():
        active = {name: setting[name] for name in ACTIVE}
        tiles = binned(counts.filter(**active).collect(), **active, bins=BINS)
        rows = pl.DataFrame(tiles.rows, TILE[:2], orient="row").with_columns(
            bin=np.arange(1, BINS + 1)[None].repeat(len(tiles.rows), 0),
            share=pl.Series(tiles.values, dtype=pl.Array(pl.Float64, BINS)),
        )
        literals = [pl.lit(value).alias(name) for name, value in setting.items()]
        frames.append(rows.explode("bin", "share").select(*literals, pl.all()))
    return pl.concat(frames).with_columns(pl.col("share").fill_nan(None))


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """For how many texts the neurons of each sub-layer are active.

    The table is that of `condensed`.
    """
    tiles = tables.get("activation_counts")
    if tiles is None:
        return []
    maps = [
        _maps(tiles.filter(side=side), settings, retriever, side)
        for retriever in chosen(settings, settings.encoders)
        for side in SIDES
    ]
    rows = pl.concat(maps)
    if rows.is_empty():
        return []
    fewer, left_out = thinned(short(rows), fewer_settings(settings))
    data = fewer.with_columns(named_settings())
    binning = f"The neurons of a sub-layer stand in {BINS} bins, in order."
    labels = {
        "dataset": "Dataset",
        "attribution": "Attribution",
        "retriever": "Retriever",
        "side": "Side",
        **SETTING,
    }
    return [
        made(
            "heat",
            "Where active neurons are",
            "For which percentage of texts the most active neuron of each bin scores above the "
            "threshold: in the retriever, in its counterpart, and the change between them. The "
            "scale of colours is finer for small shares.",
            data,
            labels,
            preferred(settings),
            _layers(settings),
            {
                "row": "block and sub-layer",
                "bin": "bin",
                "own": "retriever, % of texts",
                "other": "counterpart, % of texts",
                "change": "change, points",
            },
            settings.sources("activation_counts", "texts", "active"),
            f"{binning} {left_out}".strip(),
            ROW,
        )
    ]


def _maps(tiles: pl.DataFrame, settings: Settings, retriever: str, side: str) -> pl.DataFrame:
    """The tiles of one side of a retriever, those of its counterpart, and the change."""
    keys = [name for name in PLACE if name != "encoder"] + ACTIVE + TILE

    def of(name: str, column: str) -> pl.DataFrame:
        encoder = settings.encoders.get(name, {}).get(side, "")
        return tiles.filter(encoder=encoder).select(*keys, pl.col("share").alias(column))

    own, other = of(retriever, "own"), of(settings.pairs.get(retriever, ""), "other")
    return own.join(other, on=keys, how="left", maintain_order="left").with_columns(
        retriever=pl.lit(retriever),
        row=pl.format("{} {}", "layer", "sublayer"),
        change=pl.col("own") - pl.col("other"),
    )


def _layers(settings: Settings) -> list[Any]:
    """Three maps side by side on one axis, with a name above each."""
    import altair as alt

    width = BINS + GAP
    y = alt.Y("row:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False))
    other = f"({json.dumps(dict(settings.pairs))})[retriever] || ''"
    axis = alt.Axis(
        orient="top",
        values=[(BINS + 1) / 2 + number * width for number in range(3)],
        labelExpr=f"[retriever, {other}, 'change'][round(datum.value / {width} - 0.5)]",
        ticks=False,
        domain=False,
        grid=False,
    )
    scale = alt.Scale(domain=[0.5, 3 * width - GAP + 0.5], nice=False, zero=False)
    shares = alt.Scale(type="sqrt", domain=[0, 100], interpolate="lab")
    points = alt.Scale(
        type="symlog", constant=5, domain=[-100, 100], domainMid=0, interpolate="lab"
    )
    layers = []
    for number, name in enumerate(("own", "other", "change")):
        colours = alt.Color(
            f"{name}:Q",
            scale=points if name == "change" else shares,
            title={"own": "% of texts", "change": "change, points"}.get(name),
            legend=None if name == "other" else alt.Legend(gradientLength=100),
        )
        tiles = alt.Chart().transform_filter(f"isValid(datum.{name})")
        left = f"datum.bin - 0.5 + {number * width}"
        tiles = tiles.transform_calculate(left=left, right=f"{left} + 1")
        x = alt.X("left:Q", title=None, axis=axis, scale=scale)
        layers.append(tiles.mark_rect().encode(x=x, x2="right:Q", y=y, color=colours))
    # Shares and changes have colours of their own.
    return [alt.layer(*layers).resolve_scale(color="independent")]
