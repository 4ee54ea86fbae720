"""One look for all figures: theme, lines that can be told apart in grey, and files that repeat."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedLocator,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

# Inches: the text width of a two-column page, and one of its columns.
DOUBLE_COLUMN, SINGLE_COLUMN = 7.0, 3.4
DPI = 300
GREY = "0.45"
# Zero is its middle.
DIVERGING = sns.color_palette("vlag", as_cmap=True)

# Starts from matplotlib's defaults: a user's own matplotlibrc must not change a result.
_RC = {
    **sns.axes_style("ticks"),
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.color": "0.92",
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "pdf.fonttype": 42,
    "svg.hashsalt": "wellspring",
    "xtick.labelsize": 7,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
}
theme = style.context(["default", _RC])

_NAMES = (
    "blue",
    "orange",
    "green",
    "vermilion",
    "purple",
    "brown",
    "pink",
    "grey",
    "yellow",
    "sky",
)
_PALETTE: dict[str, str] = dict(zip(_NAMES, sns.color_palette("colorblind").as_hex(), strict=True))
_PALETTE["black"] = "#1a1a1a"
# Its own brown is too close to vermilion.
_PALETTE["brown"] = "#7a4b1f"
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.6)),
    (0, (1, 1.2)),
    (0, (5, 1.2, 1, 1.2)),
    (0, (8, 2)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
    (0, (2, 1)),
    (0, (6, 1.5, 2, 1.5)),
)
# Closer than any of the dashes, and than the line of chance.
_DOTS = (0, (1, 0.8))
# Neighbours differ in lightness.
_COLOURS = ("blue", "orange", "green", "purple", "vermilion", "sky", "black", "brown")
_MARKERS = ("o", "s", "^", "D", "v", "<", "p", ">")


@dataclass(frozen=True)
class Line:
    """How one line is drawn: colour, dashes and marker differ, so that grey suffices."""

    color: str
    linestyle: Any
    marker: str
    linewidth: float = 1.2
    zorder: float = 2
    hollow: bool = False

    def kwargs(self) -> dict[str, Any]:
        """Arguments of `Axes.plot`."""
        looks = asdict(self)
        face, edge, width = (self.color, "white", 0.4)
        if looks.pop("hollow"):
            face, edge, width = ("white", self.color, 0.8)
        return {
            **looks,
            "markersize": 3.4,
            "markerfacecolor": face,
            "markeredgecolor": edge,
            "markeredgewidth": width,
        }

    def published(self) -> Line:
        """How the published curve of the same retriever is drawn: thin, dotted, unmarked."""
        return replace(self, linestyle=_DOTS, marker="", linewidth=0.9, zorder=2.5)


# Black, heavy and on top: the published probe, which every other line is there to judge.
PROBES = {
    "concat": Line(_PALETTE["black"], "-", "o", linewidth=1.7, zorder=3),
    "passage-scorer": Line(_PALETTE["blue"], _DASHES[1], "s"),
    "random-label": Line(_PALETTE["grey"], _DASHES[2], "<"),
    "interaction": Line(_PALETTE["vermilion"], "-", "D"),
    "bilinear": Line(_PALETTE["brown"], _DASHES[7], ">"),
    "shuffled-query": Line(_PALETTE["orange"], _DASHES[3], "v"),
    "cosine": Line(_PALETTE["green"], "-", "^"),
    "cosine-standardised": Line(_PALETTE["sky"], _DASHES[5], "p"),
    # Level lines: words in one colour, pieces of words in another.
    "bm25": Line(_PALETTE["purple"], _DASHES[4], ""),
    "word-tfidf": Line(_PALETTE["purple"], _DASHES[2], ""),
    "character-tfidf": Line(_PALETTE["pink"], _DASHES[4], ""),
    "character-bm25": Line(_PALETTE["pink"], _DASHES[2], ""),
    "lexical": Line(_PALETTE["purple"], "-", "", linewidth=1.5),
}

# How the sub-layers of one block differ where colour says the encoder.
SUBLAYER_DASHES = {"intermediate": "-", "output": _DASHES[1], "up": _DASHES[2]}
NORMALISERS = {
    "network-max": Line(_PALETTE["black"], "-", "o", linewidth=1.5, zorder=3),
    "sublayer-max": Line(_PALETTE["vermilion"], "-", "s"),
    "sublayer-mean": Line(_PALETTE["sky"], "-", "^"),
    "share-of-sum": Line(_PALETTE["green"], "-", "D"),
}
# Which neurons are ablated; what a choice is compared with has its colour, paler and dotted.
CHOICES = {
    "top": Line(_PALETTE["vermilion"], "-", "o", zorder=3),
    "random-as-top": Line(_PALETTE["orange"], _DASHES[2], "s"),
    "bottom": Line(_PALETTE["blue"], "-", "^"),
    "random-as-bottom": Line(_PALETTE["sky"], _DASHES[2], "v"),
}


def lines_of(names: Sequence[str]) -> dict[str, Line]:
    """A line for each name, in this order. After eight the colours come again, and dashes and
    markers in other pairs."""
    lines = {}
    for index, name in enumerate(names):
        turn, place = divmod(index, len(_COLOURS))
        dashes = _DASHES[(place + turn) % len(_DASHES)]
        marker = _MARKERS[(place + 3 * turn) % len(_MARKERS)]
        lines[name] = Line(_PALETTE[_COLOURS[place]], dashes, marker)
    return lines


def labelled_grid(
    rows: Sequence[str],
    columns: Sequence[str],
    height: float,
    sharey: bool | Literal["col"] = "col",
    narrow: int = 1,
    scale: str = "",
) -> tuple[Figure, np.ndarray]:
    """Panels with a label a row and a title a column, each row so many inches high.

    Args:
        narrow: so many columns of panels fit one column of text.
        scale: what the y axes say; the rows' labels then stand on the right.
    """
    width = SINGLE_COLUMN if len(columns) <= narrow else DOUBLE_COLUMN
    figure = Figure(figsize=(width, 0.55 + height * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex="col", sharey=sharey, squeeze=False)
    for ax, title in zip(axes[0], columns, strict=True):
        wrap(ax.set_title(title), 0.85 * width / len(columns))
    for row, label in zip(axes, rows, strict=True):
        name = row[0].set_ylabel(scale or label, weight="normal" if scale else "bold")
        if scale:
            beside = {"xycoords": "axes fraction", "rotation": -90, "va": "center"}
            name = row[-1].annotate(label, (1.03, 0.5), weight="bold", **beside)
        wrap(name, height)
    sns.despine(fig=figure)
    return figure, axes


def curve(ax: Axes, rows: pl.DataFrame, along: str, line: Line, label: str) -> None:
    """The estimates over the column `along`, with their band from low to high.

    Over layers the line is broken where some were not measured. A single point has a
    bar instead of a band.
    """
    rows = rows.sort(along)
    x, estimate, low, high = (
        rows[column].cast(pl.Float64).to_numpy() for column in (along, "estimate", "low", "high")
    )
    parts = runs(x) if along == "layer" else [slice(0, len(x))]
    ends = np.array([part.stop for part in parts[:-1]], dtype=int)
    xs, estimates, lows, highs = (np.insert(v, ends, np.nan) for v in (x, estimate, low, high))
    ax.fill_between(xs, lows, highs, color=line.color, alpha=0.16, linewidth=0)
    alone = [part.start for part in parts if part.stop - part.start == 1]
    if alone:
        bars = {"color": line.color, "alpha": 0.6, "linewidth": 1.0, "zorder": line.zorder - 0.1}
        ax.vlines(x[alone], low[alone], high[alone], **bars)
        line = line if line.marker else replace(line, marker=".")
    points = np.flatnonzero(~np.isnan(xs))
    looks = line.kwargs() | {"markevery": points[:: 1 + len(x) // 16].tolist()}
    ax.plot(xs, estimates, label=label, **looks)


def runs(layers: np.ndarray) -> list[slice]:
    """The runs of layers that follow each other, of rising ones."""
    ends = [0, *(np.flatnonzero(np.diff(layers) > 1) + 1), len(layers)]
    return [slice(first, last) for first, last in pairwise(map(int, ends)) if last > first]


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks with plain numbers on a logarithmic axis from low to high: enough of them to show that
    it is one."""
    axis.set_major_locator(_log_locator(low, high))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _log_locator(low: float, high: float) -> Locator:
    ratio = high / low if low > 0 else np.inf
    if ratio < 4:
        return MaxNLocator(5, min_n_ticks=4)
    # At least three lie between any two numbers so far apart, and at most nine.
    steps = {12: (1, 1.5, 2, 3, 4, 6), 60: (1, 2, 5), 1500: (1, 3), np.inf: (1,)}
    return LogLocator(subs=next(subs for most, subs in steps.items() if ratio <= most))


def log_axis(axes: Sequence[Axes] | np.ndarray, values: Iterable[float], label: str) -> None:
    """The logarithmic x axis of panels that stand above each other, from zero where zero is a
    value. Three to six values that lie apart have a tick each. One value alone shows no scale."""
    numbers = sorted({*values})
    positive = [number for number in numbers if number > 0]
    logarithmic = len(positive) > 1
    ticks = positive
    if logarithmic:
        low, high = positive[0], positive[-1]
        closest = min(after / before for before, after in pairwise(positive))
        if not 3 <= len(positive) <= 6 or closest < (high / low) ** (1 / 8):
            ticks = [
                at for at in _log_locator(low, high).tick_values(low, high) if low <= at <= high
            ]
    for ax in axes:
        if logarithmic and numbers[0] > 0:
            ax.set_xscale("log")
        elif logarithmic:
            ax.set_xscale("symlog", linthresh=positive[0])
        ax.xaxis.set_major_locator(FixedLocator(numbers[: len(numbers) - len(positive)] + ticks))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
    axes[-1].set_xlabel(f"{label} (log scale)" if logarithmic else label)


def note(figure: Figure, lines: Sequence[str]) -> None:
    """Small print below the panels: what was measured on how much, and what to be careful of. Lines
    that are wider than the figure are broken."""
    text = "\n".join(lines)
    small = figure.supxlabel(text, x=0.02, ha="left", fontsize=6.5, color=GREY)
    wrap(small, 0.96 * figure.get_figwidth())
    height = small.get_window_extent().height / figure.dpi
    figure.set_figheight(figure.get_figheight() + height)


def wrap(text: Text, width: float) -> None:
    """Breaks the lines of a text that are longer than so many inches: between words, and inside
    a word where it is too long for a line of its own."""
    figure = text.get_figure(root=True)
    assert figure is not None, "the text is in a figure"
    dpi = figure.dpi

    def fits(line: str) -> bool:
        text.set_text(line)
        # A line's greater extent is its length, also where it is written upwards.
        return max(text.get_window_extent().size) <= width * dpi

    lines = text.get_text().splitlines()
    text.set_text("\n".join(part for line in lines for part in _parts(line, fits)))


def _parts(line: str, fits: Callable[[str], bool]) -> list[str]:
    """The line in as few parts as fit."""
    parts = [""]
    for word in line.split():
        if fits(longer := f"{parts[-1]} {word}".lstrip()):
            parts[-1] = longer
            continue
        if parts[-1]:
            parts.append("")
        # A name is broken after a hyphen, a dot or an underscore, if that is enough.
        pieces = [word] if fits(word) else re.findall(r"[^-._]*[-._]*", word)
        for piece in pieces if all(map(fits, pieces)) else word:
            if parts[-1] and not fits(parts[-1] + piece):
                parts.append("")
            parts[-1] += piece
    return parts


NOISE = {"facecolor": "none", "edgecolor": "0.6", "hatch": "/////", "linewidth": 0}


def noise_band(ax: Axes, rows: pl.DataFrame, along: str) -> None:
    """The range over draws of a random twin: what two networks with nothing in common differ by."""
    rows = rows.sort(along).drop_nulls(["low", "high"])
    if rows.is_empty():
        return
    columns = [rows[name].cast(pl.Float64).to_numpy() for name in (along, "low", "high")]
    for part in runs(columns[0]) if along == "layer" else [slice(0, rows.height)]:
        x, low, high = (values[part] for values in columns)
        if len(x) == 1:
            x, low, high = (np.repeat(values, 2) for values in (x, low, high))
            x = x + np.array([-0.15, 0.15])
        ax.fill_between(x, low, high, label="range of random twins", zorder=1.5, **NOISE)
        # Two draws may have one difference alone: a range without height.
        for edge in (low, high):
            ax.plot(x, edge, color=NOISE["edgecolor"], linewidth=0.5, zorder=1.5)


def noise_key(draws: int) -> Patch:
    """Legend entry of such bands."""
    return Patch(**NOISE, label=f"range of {draws} random twins")


def dashed(line: Line, index: int) -> Line:
    """The same line, with the dashes of this index."""
    return replace(line, linestyle=_DASHES[index % len(_DASHES)])


def step_of(layers: int) -> int:
    """Layers from tick to tick: at most seven ticks, with one at the last layer where it fits."""
    least = max(1, -(-layers // 6))
    return next((step for step in range(least, 2 * least) if layers % step == 0), least)


def handles_of(lines: Mapping[str, Line]) -> list[Artist]:
    """Legend entries of lines, by name."""
    return [Line2D([], [], label=name, **line.kwargs()) for name, line in lines.items()]


def interval_key() -> Patch:
    """Legend entry of the bands."""
    return Patch(color=GREY, alpha=0.3, linewidth=0, label="95 % interval")


def legend_above(figure: Figure, handles: Sequence[Artist], columns: int = 12) -> None:
    """One legend above the panels, in height of its own, as wide as the figure allows."""
    most = 0.95 * figure.get_figwidth()
    for count in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, loc="outside upper center", ncols=count)
        if count == 1:
            for text in legend.get_texts():
                wrap(text, most - 0.4)
        size = legend.get_window_extent()
        if count == 1 or size.width <= most * figure.dpi:
            figure.set_figheight(figure.get_figheight() + size.height / figure.dpi)
            return
        legend.remove()


@theme
def save(
    figure: Figure, path_pdf: Path, path_png: Path, notes: Mapping[str, str] | None = None
) -> None:
    """Writes both files; the same figure gives the same bytes (no date, no versions).

    notes: text that the PNG holds under these names, beside the picture.
    """
    # Laid out once: solving again from where the last one ended moves panels by a hair.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    # `savefig` would draw each of the two once more before, to lay it out.
    dpi, metadata = figure.dpi, {"Creator": None, "Producer": None, "CreationDate": None}
    FigureCanvasPdf(figure).print_pdf(path_pdf, metadata=metadata)
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(path_png, metadata={"Software": None, **(notes or {})})
    figure.set_dpi(dpi)
