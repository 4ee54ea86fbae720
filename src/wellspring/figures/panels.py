"""Panels over layers: lines with their bands, levels, limits, and the legend of what they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, MultipleLocator
from matplotlib.transforms import Bbox

from wellspring.errors import ConfigError
from wellspring.figures.style import GREY, Line, curve, interval_key, step_of
from wellspring.figures.tables import Twins, rows_of

NO_TWINS: Twins = {}
SCALE = "accuracy"
CHANCE = Line(GREY, (0, (1, 2)), "", linewidth=1)
FREE = 0.08
"""The share of a panel's height that stays free at least."""


def chosen(names: Sequence[str], retrievers: Sequence[str] | None) -> list[str]:
    """The names of these retrievers, in their own order; all names where none are given.

    Raises:
        ConfigError: a retriever is none of the names.
    """
    for name in retrievers or ():
        if name not in names:
            raise ConfigError(
                f"figures: the findings hold no retriever {name}; they hold {', '.join(names)}"
            )
    return [name for name in names if retrievers is None or name in retrievers]


def compared(rows: pl.DataFrame) -> str:
    """The name of the retriever that others are compared with; a phrase where there are several."""
    others = rows["compared_with"].drop_nulls().unique().to_list()
    return others[0] if len(others) == 1 else "its counterpart"


def passages_of(accuracies: pl.DataFrame, what: str) -> list[int]:
    """The numbers of passages of these accuracies, rising.

    Raises:
        ConfigError: there are no accuracies, of what the message says.
    """
    if accuracies.is_empty():
        raise ConfigError(f"figures: the findings hold no accuracy of {what}")
    return accuracies["passages"].unique().sort().to_list()


def draw(ax: Axes, rows: pl.DataFrame, line: Line, label: str) -> None:
    """A line over layers with its band; a level line where the rows have no layer."""
    if rows.is_empty():
        return
    if rows["layer"].null_count():
        level(ax, rows["estimate"][0], line, label)
        return
    curve(ax, rows, "layer", line, label)


def level(ax: Axes, value: float, line: Line, label: str) -> None:
    """A line at one value, whatever the layer."""
    looks = {"color": line.color, "linestyle": line.linestyle, "linewidth": line.linewidth}
    ax.axhline(value, label=label, zorder=line.zorder - 0.5, **looks)


def chance(ax: Axes, panel: pl.DataFrame) -> None:
    """A line at the mean chance of the panel, which repeated candidates move off 1 / N."""
    mean = rows_of(panel, measure="chance").select(pl.mean("estimate")).item()
    level(ax, mean, CHANCE, "chance")


def limits(
    axes: np.ndarray, free: float = FREE, at_least: tuple[float, float] | None = None
) -> None:
    """Limits shared by all panels, close around the data; whole layers.

    free: the share of a panel's height that is left without data, most of it at the top.
    """
    drawn = [ax.dataLim for ax in axes.flat if np.isfinite(ax.dataLim.bounds).all()]
    data = Bbox.union(drawn)
    low, high = data.y0, data.y1
    if at_least is not None:
        low, high = min(low, at_least[0]), max(high, at_least[1])
    span = max(high - low, 0.02) / (1 - free)
    # No value stands where the stars are.
    ticks = [at for at in MaxNLocator(7).tick_values(low, high) if at <= high + 0.03 * span]
    margin = 0.05 * max(data.width, 1)
    for ax in axes.flat:
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.set_ylim(low - 0.04 * span, low + 0.96 * span)
        ax.set_xlim(data.x0 - margin, data.x1 + margin)
        ax.xaxis.set_major_locator(MultipleLocator(step_of(round(data.width))))
    for ax in axes[-1]:
        ax.set_xlabel("layer")


def keys() -> list[Artist]:
    """Legend entries of what every panel of accuracies shares."""
    looks = {"color": CHANCE.color, "linestyle": CHANCE.linestyle, "linewidth": CHANCE.linewidth}
    return [Line2D([], [], label="chance", **looks), interval_key()]
