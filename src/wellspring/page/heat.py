"""A chart of where active neurons are: a retriever's map, its counterpart's, and the change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wellspring.figures.binning import Binned, binned
from wellspring.figures.tables import SIDES
from wellspring.page.attribution import SETTING, fewer_settings, named_settings, preferred
from wellspring.page.data import ordered, short
from wellspring.page.drawing import made
from wellspring.page.pairs import chosen
from wellspring.page.panels import Panel, Settings, Tables

if TYPE_CHECKING:
    import altair as alt

BINS = 10
"""Of a sub-layer's neurons."""
MAPS = 120
"""Maps that the page has room for; of more settings some are left out."""
ACTIVE = ["normaliser", "excluded_outliers", "threshold"]
WHERE = ["dataset", "attribution", "side"]
GAP = 1.5
"""Tiles between two maps."""
ROW = {"step": 18}
"""Pixels of a row."""


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """For how many texts the neurons of each sub-layer are active."""
    if "activation_counts" not in tables:
        return []
    counts = tables["activation_counts"].lazy()
    sides = counts.select(*WHERE, "encoder").unique().collect().sort(*WHERE, "encoder")
    held = set(sides.iter_rows())
    maps = [
        (retriever, *where)
        for where in dict.fromkeys(sides.select(WHERE).iter_rows())
        for retriever in chosen(settings, settings.encoders)
        if all((*where, encoder) in held for encoder in _encoders(settings, retriever, where[2]))
    ]
    if not maps:
        return []
    kept, left_out = _settings(counts, settings, len(maps))
    frames = [
        frame
        for retriever, *where in maps
        for frame in _maps(counts, settings, kept, retriever, where)
    ]
    rows = pl.concat(frames, how="diagonal").sort(
        *ordered("retriever", [*settings.pairs]),
        *ordered("side", SIDES),
        "dataset",
        "attribution",
        maintain_order=True,
    )
    data = short(rows).with_columns(named_settings())
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
            " ".join([f"The neurons of a sub-layer stand in {BINS} bins, in order.", *left_out]),
            ROW,
        )
    ]


def condensed(counts: pl.LazyFrame) -> pl.DataFrame:
    """One row for each bin in place of one for each neuron: all that the maps need.

    The bins are those of `wellspring.figures.binning.binned`, which gives the same of these rows.
    """
    sublayer = ["layer", "sublayer"]
    sizes = counts.group_by(sublayer).agg(size=pl.col("neuron").max() + 1)
    least, larger = pl.col("size") // BINS, pl.col("size") % BINS
    # The first bins hold one more.
    edge = larger * (least + 1)
    beyond = larger + (pl.col("neuron") - edge) // pl.max_horizontal(least, 1)
    bin_ = pl.when(pl.col("neuron") < edge).then(pl.col("neuron") // (least + 1)).otherwise(beyond)
    keys = [name for name in counts.collect_schema().names() if name not in ("texts", "active")]
    rows = counts.join(sizes, on=sublayer).with_columns(neuron=bin_)
    bins = rows.group_by(keys).agg(pl.max("texts", "active"))
    return bins.sort(keys).collect(engine="streaming")


def _encoders(settings: Settings, retriever: str, side: str) -> list[str]:
    """The encoders of a side: the retriever's, and its counterpart's if it has one."""
    names = [retriever, *filter(None, [settings.pairs.get(retriever)])]
    return [settings.encoders[name][side] for name in names]


def _settings(
    counts: pl.LazyFrame, settings: Settings, maps: int
) -> tuple[pl.DataFrame, list[str]]:
    """The settings that are shown, and what is left out."""
    kept = counts.select(ACTIVE).unique().collect().sort(ACTIVE)
    sentences = []
    for sentence, stays in fewer_settings(settings):
        fewer = kept.filter(stays)
        if maps * kept.height <= MAPS or fewer.is_empty():
            break
        if fewer.height < kept.height:
            kept = fewer
            sentences.append(sentence)
    return kept, sentences


def _maps(
    counts: pl.LazyFrame,
    settings: Settings,
    kept: pl.DataFrame,
    retriever: str,
    where: Sequence[str],
) -> Iterator[pl.DataFrame]:
    """The tiles of a retriever and of its counterpart in every setting, a row each."""
    here = [pl.col(name) == value for name, value in zip(WHERE, where, strict=True)]
    encoders = _encoders(settings, retriever, where[2])
    sides = [
        counts.filter(*here, pl.col("encoder") == encoder)
        .join(kept.lazy(), on=ACTIVE, how="semi")
        .collect()
        .partition_by(ACTIVE, as_dict=True)
        for encoder in encoders
    ]
    keys = dict(zip(WHERE, where, strict=True))
    for setting in kept.iter_rows():
        if all(setting in side for side in sides):
            active = dict(zip(ACTIVE, setting, strict=True))
            own, *others = (binned(side[setting], **active, bins=BINS) for side in sides)
            tiles = _tiles(own, others[0] if others and others[0].rows == own.rows else None)
            literals = {"retriever": retriever, **keys, **active}
            yield tiles.with_columns(pl.lit(value).alias(name) for name, value in literals.items())


def _tiles(own: Binned, other: Binned | None) -> pl.DataFrame:
    """A row for each bin of each sub-layer."""
    rows = [f"{layer} {sublayer}" for layer, sublayer in own.rows]
    bins = own.values.shape[1]
    columns: dict[str, Any] = {
        "row": np.repeat(rows, bins),
        "bin": np.tile(np.arange(1, bins + 1), len(rows)),
        "own": own.values.ravel(),
    }
    theirs = np.full(own.values.size, np.nan) if other is None else other.values.ravel()
    tiles = pl.DataFrame(columns | {"other": theirs, "change": columns["own"] - theirs})
    return tiles.with_columns(pl.col(pl.Float64).fill_nan(None))


def _layers(settings: Settings) -> list[alt.LayerChart]:
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
    shares = alt.Scale(type="sqrt", domain=[0, 100])
    points = alt.Scale(type="symlog", constant=5, domain=[-100, 100], domainMid=0)
    layers = []
    for number, name in enumerate(("own", "other", "change")):
        colours = alt.Color(
            f"{name}:Q",
            scale=points if name == "change" else shares,
            title={"own": "% of texts", "change": "change, points"}.get(name),
            legend=None if name == "other" else alt.Legend(gradientLength=160),
        )
        tiles = alt.Chart().transform_filter(f"isValid(datum.{name})")
        left = f"datum.bin - 0.5 + {number * width}"
        tiles = tiles.transform_calculate(left=left, right=f"{left} + 1")
        x = alt.X("left:Q", title=None, axis=axis, scale=scale)
        layers.append(tiles.mark_rect().encode(x=x, x2="right:Q", y=y, color=colours))
    # Shares and changes have colours of their own.
    return [alt.layer(*layers).resolve_scale(color="independent")]
