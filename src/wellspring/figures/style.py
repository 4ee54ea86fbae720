"""One look for all figures: theme, lines that can be told apart in grey, and files that repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib import style
from matplotlib.figure import Figure

# Inches: the text width of a two-column page, and one of its columns.
DOUBLE_COLUMN, SINGLE_COLUMN = 7.0, 3.4
DPI = 300
GREY = "0.45"

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
_PALETTE = dict(zip(_NAMES, sns.color_palette("colorblind").as_hex(), strict=True))
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

    def kwargs(self) -> dict[str, Any]:
        """Arguments of `Axes.plot`."""
        return {
            **asdict(self),
            "markersize": 3.4,
            "markeredgecolor": "white",
            "markeredgewidth": 0.4,
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
    "bm25": Line(_PALETTE["purple"], _DASHES[4], ""),
    "cosine": Line(_PALETTE["green"], "-", "^"),
    "cosine-standardised": Line(_PALETTE["sky"], _DASHES[5], "p"),
}


def lines_of(names: Sequence[str]) -> dict[str, Line]:
    """A line for each name, in this order; after eight the patterns come again."""
    cycle = [
        Line(_PALETTE[colour], dashes, marker)
        for colour, dashes, marker in zip(_COLOURS, _DASHES, _MARKERS, strict=True)
    ]
    return {name: cycle[place % len(cycle)] for place, name in enumerate(names)}


@theme
def save(figure: Figure, path_pdf: Path, path_png: Path) -> None:
    """Writes both files; the same figure gives the same bytes (no date, no versions)."""
    # Laid out once: solving again from where the last one ended moves panels by a hair.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    metadata = {"Creator": None, "Producer": None, "CreationDate": None}
    figure.savefig(path_pdf, format="pdf", metadata=metadata)
    figure.savefig(path_png, format="png", dpi=DPI, metadata={"Software": None})
