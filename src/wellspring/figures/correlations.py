"""Rank correlations as points on a scale from 0 to 1, one row for each pair of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wellspring.figures.style import GREY, wrap
from wellspring.figures.tables import rows_of

POINT: dict[str, Any] = {
    "color": "0.1",
    "linestyle": "none",
    "marker": "o",
    "markersize": 3.6,
    "markeredgecolor": "0.1",
    "markeredgewidth": 0.7,
}
SHIFT: dict[str, Any] = {
    "color": GREY,
    "linestyle": "none",
    "marker": "|",
    "markersize": 5,
    "markeredgewidth": 1.1,
}
NAMED: dict[str, Any] = {
    "fontsize": 6.5,
    "va": "bottom",
    "linespacing": 1.0,
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5},
}


def point(filled: bool) -> dict[str, Any]:
    """How a point is drawn that is significant where it is filled."""
    return POINT | {"markerfacecolor": POINT["color"] if filled else "white"}


def significance_keys() -> list[Line2D]:
    """Legend entries of such points."""
    return [
        Line2D([], [], label=text, **point(filled))
        for filled, text in ((True, "significant"), (False, "not significant"))
    ]


def points(
    ax: Axes,
    rows: pl.DataFrame,
    others: Sequence[str],
    names: Sequence[str],
    width: float,
    before: str = "",
) -> None:
    """Correlations with their intervals, the other scores' name above them.

    rows: with, retriever, estimate, low, high and shifted (the same with another text's; may be
    null). others: the values of `with`, one row each. names: retrievers, the first one filled.
    width: of a name at most, in inches.
    """
    for at, other in enumerate(others):
        if (mine := rows_of(rows, **{"with": other})).is_empty():
            continue
        name = ax.text(0.06, at - 0.16, before + other, transform=ax.get_yaxis_transform(), **NAMED)
        wrap(name, width)
        for index, name in enumerate(names):
            for row in rows_of(mine, retriever=name).iter_rows(named=True):
                height = at + 0.06 + 0.24 * index
                if row["low"] is not None:
                    ax.plot([row["low"], row["high"]], [height] * 2, color=POINT["color"], lw=1)
                ax.plot(row["estimate"], height, label=f"{name}, {other}", **_point(index))
                if row["shifted"] is not None:
                    ax.plot(row["shifted"], height, label=f"shifted: {name}, {other}", **SHIFT)


def scales(axes: np.ndarray, rows: pl.DataFrame, others: Sequence[str]) -> None:
    """Limits that hold all correlations, one row for each of the others. Names of several lines
    make the figure taller."""
    lines = max(len(name.get_text().splitlines()) for ax in axes.flat for name in ax.texts)
    figure = axes[0, 0].figure
    figure.set_figheight(figure.get_figheight() + 0.12 * (lines - 1) * len(others) * len(axes))
    lowest = rows.select(pl.min_horizontal("low", "estimate", "shifted").min()).item()
    for ax in axes.flat:
        ax.axvline(0, color=GREY, linewidth=0.9, zorder=1)
        ax.set_xlim(min(-0.05, lowest - 0.05), 1.02)
        ax.set_ylim(len(others) - 0.4, -0.65)
        ax.set_yticks([])
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")


def key(name: str, index: int) -> Line2D:
    """Legend entry of the retriever with this index."""
    return Line2D([], [], label=name, **_point(index))


def _point(index: int) -> dict[str, Any]:
    """The look of the points of the retriever with this index: those of the first are filled."""
    return POINT | {"markerfacecolor": "white" if index else POINT["color"]}
