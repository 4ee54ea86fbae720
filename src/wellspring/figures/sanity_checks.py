"""Whether the neurons that an attribution names matter, and whether others name the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from wellspring.config.vocabulary import ReplacedBy
from wellspring.errors import ConfigError
from wellspring.figures import correlations
from wellspring.figures.style import (
    CHOICES,
    GREY,
    Line,
    curve,
    dashed,
    handles_of,
    interval_key,
    labelled_grid,
    legend_above,
    log_axis,
    note,
    theme,
)
from wellspring.figures.tables import (
    held_of,
    of_attribution,
    pair_of,
    pairs,
    places_of,
    rows_of,
    with_shifted,
)

# What ablation does, and how much of it the axis says.
EFFECTS = {
    "change": "vector\n(change: 1 − cosine)",
    "margin_change": "margin to hard negatives\n(change)",
    "first_change": "positive ranked first\n(change in points)",
}
AGREEMENT = "rank correlation\nwith the scores …"
SHIFTED = "… of another text"


@theme
def sanity_checks(
    table: pl.DataFrame,
    dataset: str,
    attribution: str,
    retriever: str,
    cautions: Sequence[str] = (),
) -> Figure:
    """Is it real? Ablation of the neurons that score highest, and agreement with other scores.

    A row per side and sub-layer. Left, against the number of ablated neurons, the highest and the
    lowest of each text and, for either, random ones of the same layers: the change of its vector,
    of its margin to hard negatives and of its rank, each where the table has it. Outputs are set to
    zero, or replaced in the first way that the table has. Right, the rank correlation of the scores
    with those of other attributions and of the counterpart, over all layers; a short bar is the
    correlation with the scores of another text, which agreement about this text must exceed. Whole
    lines and full markers are the retriever's, broken and hollow ones its counterpart's; 95 %
    intervals.

    Args:
        table: `wellspring.findings.decentralisation.build`'s.
        cautions: sentences below the panels.

    Raises:
        ConfigError: the table holds no such attribution of the retriever, or neither ablations nor
            agreement of it.
    """
    findings, names = pair_of(table, dataset, attribution, retriever)
    ablations = _ablations(findings)
    effects = held_of(ablations, "measure", list(EFFECTS))
    agreement = _agreement(table, dataset, attribution, names)
    where = ["side", "sublayer"]
    places = places_of(pl.concat([ablations.select(where), agreement.select(where)]))
    if not places:
        raise ConfigError(
            f"figures: the findings hold neither ablations nor agreement of retriever {retriever} "
            f"under attribution {attribution} on dataset {dataset}"
        )
    columns = [EFFECTS[effect] for effect in effects]
    columns += [] if agreement.is_empty() else [AGREEMENT]
    others = agreement["with"].unique(maintain_order=True).to_list()
    height = max(1.4, 0.2 + 0.32 * len(others))
    labels = [f"{side}\n{sublayer}" for side, sublayer in places]
    figure, axes = labelled_grid(labels, columns, height)
    width = 0.75 * figure.get_figwidth() / len(columns)
    for row, (side, sublayer) in zip(axes, places, strict=True):
        here = {"side": side, "sublayer": sublayer}
        for ax, effect in zip(row, effects, strict=False):
            _effect(ax, rows_of(ablations, measure=effect, **here), names)
        if others:
            mine = rows_of(agreement, **here)
            correlations.points(row[-1], mine, others, names, width, "… of ")
    for ax, effect in zip(axes.T, effects, strict=False):
        _ablation_axes(ax, rows_of(ablations, measure=effect), effect)
    if others:
        correlations.scales(axes[:, -1:], agreement, others)
        axes[-1, -1].set_xlabel("mean over layers")
    note(
        figure, [of_attribution(findings, dataset, names, pairs(findings), attribution), *cautions]
    )
    legend_above(figure, _keys(ablations, agreement, names), 3)
    return figure


def _ablations(findings: pl.DataFrame) -> pl.DataFrame:
    """The ablations that are drawn, for one way of ablating; ranks in percentage points."""
    rows = rows_of(findings, finding="ablation").filter(
        pl.col("measure").is_in(list(EFFECTS)), pl.col("estimate").is_not_null()
    )
    ways = held_of(rows, "by", get_args(ReplacedBy))
    rows = rows_of(rows, by=ways[0]) if ways else rows
    points = pl.when(pl.col("measure") == "first_change").then(100).otherwise(1)
    return rows.with_columns(pl.col("estimate", "low", "high") * points)


def _agreement(
    table: pl.DataFrame, dataset: str, attribution: str, names: Sequence[str]
) -> pl.DataFrame:
    """Correlations over all layers: retriever, side, sublayer, with, estimate, low, high, shifted.

    Two attributions agree with each other: a row serves both. The counterpart comes last.
    """
    rows = rows_of(table, dataset=dataset, finding="agreement", region="all")
    rows = rows.filter(pl.col("retriever").is_in(names), pl.col("estimate").is_not_null())
    attributions = pl.col("compared_with").is_null()
    own = rows.filter(pl.col("attribution") == attribution)
    turned = rows.filter(attributions, pl.col("other") == attribution)
    rows = pl.concat([own, turned.with_columns(other=pl.col("attribution"))])
    rows = rows.with_columns(attributions=attributions).rename({"other": "with"})
    index = ["retriever", "side", "sublayer", "with", "attributions"]
    rows = rows.unique([*index, "measure"], keep="first", maintain_order=True)
    return with_shifted(rows, index).sort("attributions", "with", descending=[True, False])


def _effect(ax: Axes, rows: pl.DataFrame, names: Sequence[str]) -> None:
    """Lines over the number of ablated neurons."""
    for choice, line in CHOICES.items():
        for index, name in enumerate(names):
            own = rows_of(rows, choice=choice, retriever=name)
            curve(ax, own, "neurons", dashed(line, index), f"{name}, {choice}")


def _ablation_axes(axes: np.ndarray, rows: pl.DataFrame, effect: str) -> None:
    """Scales of one column: neurons in powers; vectors' changes too, as they span many."""
    log_axis(axes, rows["neurons"], "ablated neurons")
    for ax in axes:
        if effect == "change":
            _decades(ax, max(rows.select(pl.max("estimate")).item(), 1e-9))
        else:
            ax.axhline(0, color=GREY, linewidth=0.9, zorder=1)


def _decades(ax: Axes, top: float) -> None:
    """A scale of the greatest three decades, linear from there to zero."""
    greatest = np.floor(np.log10(top))
    ticks = [0, *(10.0 ** np.arange(greatest - 2, greatest + 1))]
    ax.set_yscale("symlog", linthresh=ticks[1], linscale=0.6)
    ax.set_ylim(0, 1.5 * top)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _keys(ablations: pl.DataFrame, agreement: pl.DataFrame, names: Sequence[str]) -> list[Artist]:
    """Legend entries: of the choices, of the encoders, and of what both columns share."""
    keys: list[Artist] = []
    if not ablations.is_empty():
        keys += handles_of({choice.replace("-", " "): line for choice, line in CHOICES.items()})
    shown = set(ablations["retriever"]) | set(agreement["retriever"])
    for index, name in enumerate(names):
        if name in shown:
            looks = dashed(Line(correlations.POINT["color"], "-", "o"), index).kwargs()
            face = "white" if index else correlations.POINT["color"]
            looks |= correlations.POINT | {"linestyle": looks["linestyle"], "markerfacecolor": face}
            keys.append(Line2D([], [], label=name, **looks))
    if agreement["shifted"].count():
        keys.append(Line2D([], [], label=SHIFTED, **correlations.SHIFT))
    return [*keys, interval_key()]
