"""Where active neurons are: heat maps of a retriever beside its counterpart's, and their change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from wellspring.config.vocabulary import Statistic
from wellspring.figures.binning import Binned, paired
from wellspring.figures.style import DIVERGING, DOUBLE_COLUMN, GREY, note, theme, wrap
from wellspring.figures.tables import NORMALISED
from wellspring.plurals import counted

# Dark is more in print, too.
TINTS = sns.color_palette("mako_r", as_cmap=True)
# Inches: a row's height in a small network, that of all rows in a large one, and what is around.
ROW, TALLEST, AROUND = 0.125, 7.4, 1.35
# Points: before a map, where the rows' labels end and how wide counts and sub-layers are; above
# it, where the title is.
LABELS, COUNTS, SUBLAYERS, TITLE = 3, 29, 46, 14
SKIPPED = "dotted: blocks between were not attributed"


@theme
def heat_maps(
    counts: pl.DataFrame,
    counterpart: pl.DataFrame,
    names: tuple[str, str],
    normaliser: str = "network-max",
    excluded_outliers: int = 0,
    threshold: float = 0.1,
    bins: int = 10,
    statistic: Statistic = "max",
    small: Sequence[str] = (),
) -> Figure:
    """Active neurons of the counterpart (left) and of the retriever, one scale for both.

    As figures 5 to 8 of arXiv 2505.07166: a row per block and sub-layer, the first block on top,
    beside it how many of its neurons were active for at least one text.

    Args:
        counts: the retriever's; see `binned` for these and for the options.
        counterpart: its counterpart's on the same side.
        names: the titles: the retriever's and the counterpart's.
        small: the lines of small print: what was attributed, and what to be careful of.

    Raises:
        ConfigError: the counts hold no such setting, or the two differ in their sub-layers.
    """
    setting = {
        "normaliser": normaliser,
        "excluded_outliers": excluded_outliers,
        "threshold": threshold,
    }
    ours, theirs = paired(counts, counterpart, names, **setting, bins=bins, statistic=statistic)
    both = np.stack([theirs.values, ours.values])
    norm = Normalize(0, _round(np.nanmax(both, initial=0)))
    figure, axes = _panels(ours, 1, 1)
    for ax, each, name in zip(axes, (theirs, ours), reversed(names), strict=True):
        # White is for never, not for seldom.
        shown = np.ma.masked_where(each.values == 0, each.values)
        mesh = _map(ax, each.rows, shown, norm, TINTS)
        _count_rows(ax, each.active)
        wrap(ax.set_title(name, weight="bold", pad=TITLE), 0.35 * DOUBLE_COLUMN)
    _name_rows(axes[0], ours.rows, LABELS + COUNTS)
    never = "; white: none" if (both == 0).any() else ""
    label = f"percentage of texts above threshold{never}{_skipped(ours.rows)}"
    _bar(figure, mesh, axes, f"{label}\n{_meaning(**setting, statistic=statistic)}")
    note(figure, small)
    return figure


@theme
def change_map(
    counts: pl.DataFrame,
    counterpart: pl.DataFrame,
    names: tuple[str, str],
    normaliser: str = "network-max",
    excluded_outliers: int = 0,
    threshold: float = 0.1,
    bins: int = 10,
    statistic: Statistic = "max",
    small: Sequence[str] = (),
) -> Figure:
    """What the retriever's map has more (or less) than its counterpart's, in percentage points.

    Bins that lost activity carry a dash, so that the sign is seen without colour. Beside each row,
    how many more of its neurons were ever active.

    Args:
        counts: as of `heat_maps`, like all others.

    Raises:
        ConfigError: the counts hold no such setting, or the two differ in their sub-layers.
    """
    setting = {
        "normaliser": normaliser,
        "excluded_outliers": excluded_outliers,
        "threshold": threshold,
    }
    ours, theirs = paired(counts, counterpart, names, **setting, bins=bins, statistic=statistic)
    change = ours.values - theirs.values
    top = _round(np.nanmax(np.abs(change), initial=0))
    figure, (ax, margin) = _panels(ours, 1.5, 1)
    mesh = _map(ax, ours.rows, change, Normalize(-top, top), DIVERGING)
    _mark_falls(ax, change, top)
    _name_rows(ax, ours.rows, LABELS)
    ax.set_xlabel(f"neurons in {counted(bins, 'bin')}; a dash: fewer texts")
    wrap(ax.set_title(f"{names[0]} − {names[1]}", weight="bold", pad=TITLE), 0.5 * DOUBLE_COLUMN)
    _bars(margin, ours.active.astype(int) - theirs.active.astype(int))
    label = f"change in the percentage of texts above threshold, in points{_skipped(ours.rows)}"
    _bar(figure, mesh, [ax, margin], f"{label}\n{_meaning(**setting, statistic=statistic)}")
    note(figure, small)
    return figure


def _panels(map_: Binned, *widths: float) -> tuple[Figure, list[Axes]]:
    """Panels side by side, as tall as the rows of a map ask."""
    height = min(ROW * len(map_.rows), TALLEST)
    size = (DOUBLE_COLUMN, height + AROUND)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.03))
    axes = figure.subplots(1, len(widths), width_ratios=widths, sharey=True)
    for ax in axes:
        ax.grid(False)
        ax.tick_params(axis="y", length=0, labelleft=False)
        sns.despine(ax=ax, left=True, bottom=True)
    axes[0].set_ylim(len(map_.rows) - 0.5, -0.5)
    return figure, list(axes)


def _map(
    ax: Axes, rows: Sequence[tuple[int, str]], values: np.ndarray, norm: Normalize, colors: Colormap
) -> ScalarMappable:
    """The tiles, with a gap between blocks, and a dotted line where blocks lie between."""
    bins = values.shape[1]
    edges = np.arange(bins + 1) + 0.5
    mesh = ax.pcolormesh(
        edges,
        np.arange(len(rows) + 1) - 0.5,
        values,
        cmap=colors,
        norm=norm,
        edgecolors="white",
        linewidth=0.25 if bins <= 40 else 0,
        rasterized=bins > 100,
    )
    for at, ((before, _), (block, _)) in enumerate(pairwise(rows), start=1):
        if block != before:
            ax.axhline(at - 0.5, color="white", linewidth=1.6)
        if block > before + 1:
            ax.axhline(at - 0.5, label=SKIPPED, color="0.25", linestyle=(0, (1, 2)), linewidth=1)
    ax.set_xlim(edges[0], edges[-1])
    ax.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel(f"neurons in {counted(bins, 'bin')}")
    return mesh


def _skipped(rows: Sequence[tuple[int, str]]) -> str:
    """What the dotted lines say, where there are any."""
    return f"; {SKIPPED}" if any(b > a + 1 for (a, _), (b, _) in pairwise(rows)) else ""


def _size(rows: int) -> float:
    """Points of the rows' labels: as large as their rows allow."""
    return min(6.5, 0.8 * 72 * min(ROW, TALLEST / rows))


def _beside(ax: Axes, row: float, text: str, points: float, **looks: Any) -> None:
    """A text that ends so many points left of the panel."""
    ax.annotate(
        text,
        (0, row),
        xycoords=("axes fraction", "data"),
        xytext=(-points, 0),
        textcoords="offset points",
        ha="right",
        va="center_baseline",
        **looks,
    )


def _head(ax: Axes, text: str, points: float) -> None:
    """The heading of a column of such texts."""
    ax.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(-points, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=6.5,
        color=GREY,
    )


def _count_rows(ax: Axes, active: np.ndarray) -> None:
    """How many neurons were ever active, before each row."""
    for row, count in enumerate(active):
        _beside(ax, row, f"{count:,}", LABELS, fontsize=_size(len(active)))
    _head(ax, "ever active", LABELS)


def _name_rows(ax: Axes, rows: Sequence[tuple[int, str]], points: float) -> None:
    """The sub-layer before each row, so many points from it, and the block before its rows."""
    size = _size(len(rows))
    for row, (_, sublayer) in enumerate(rows):
        _beside(ax, row, sublayer, points, fontsize=size, color=GREY)
    for block in dict.fromkeys(layer for layer, _ in rows):
        own = [row for row, (layer, _) in enumerate(rows) if layer == block]
        _beside(
            ax, float(np.mean(own)), str(block), points + SUBLAYERS, fontsize=size, weight="bold"
        )
    _head(ax, "block", points + SUBLAYERS)


def _bar(figure: Figure, mesh: ScalarMappable, axes: Sequence[Axes], label: str) -> None:
    """The one colour bar, below the maps."""
    bar = figure.colorbar(
        mesh, ax=axes, location="bottom", fraction=0.06, aspect=50, shrink=0.6, pad=0.02
    )
    bar.outline.set_visible(False)
    bar.set_label(label)


def _meaning(
    normaliser: str, excluded_outliers: int, threshold: float, statistic: Statistic
) -> str:
    """What is counted, in words."""
    neuron = {"max": "the most active neuron", "mean": "mean over the neurons"}[statistic]
    outliers = f", {counted(excluded_outliers, 'outlier')} left out" if excluded_outliers else ""
    return f"({neuron} of a bin; score above {threshold:g} × {NORMALISED[normaliser]}{outliers})"


def _round(top: float) -> float:
    """The end of a scale of percentages that holds them all."""
    return min(100, MaxNLocator(5).tick_values(0, top)[-1]) if top else 1


def _mark_falls(ax: Axes, change: np.ndarray, top: float) -> None:
    """A dash on every bin that lost activity, where the loss can be seen."""
    row, column = np.nonzero(change < -0.04 * top)
    light = change[row, column] < -0.5 * top
    for chosen, color in ((light, "white"), (~light, "0.25")):
        ax.plot(
            column[chosen] + 1,
            row[chosen],
            label="less",
            linestyle="none",
            marker="_",
            markersize=3,
            markeredgewidth=0.7,
            color=color,
        )


def _bars(ax: Axes, change: np.ndarray) -> None:
    """How many more neurons of each row were ever active, to the right of zero."""
    colors = [DIVERGING(0.92 if value > 0 else 0.08) for value in change]
    ax.barh(np.arange(len(change)), change, height=0.7, color=colors, linewidth=0)
    ax.axvline(0, color=GREY, linewidth=0.6)
    ax.set_xlabel("change in the number of\nneurons that were ever active")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.grid(True, axis="x")
    ax.set_axisbelow(True)
