"""One look for all charts of the page, on light and on dark.

A chart names no colour of its own. It numbers its series, and the configuration of the theme gives
the colours; dashes and shapes are the same in both themes, so that a series can be told without
colour, too. All colours have a contrast of at least 3 : 1 with the page behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DASHES: tuple[list[int], ...] = (
    [1, 0],
    [6, 3],
    [2, 2],
    [8, 3, 2, 3],
    [10, 4],
    [4, 2, 1, 2, 1, 2],
    [3, 4],
    [12, 3, 3, 3],
)
"""Of the lines of a chart, in the order of its series."""
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "triangle-right",
    "triangle-left",
)
"""Of the points of a chart, in the order of its series."""
LEVEL = "level"
"""The style of thin level lines."""
NAMED = "named"
"""The style of the names beside level lines."""
BAND = 0.16
"""Opacity of the bands."""

# Hues of Okabe and Ito (2008), made darker for a light page and lighter for a dark one.
_LIGHT = (
    *("#0063a3", "#b84a00", "#00745a", "#8b3f83"),
    *("#7a5a00", "#555f6b", "#2b8fc9", "#a6324a"),
    *("#0e8a92", "#1f2933", "#6b6bd0", "#b0568f"),
)
_DARK = (
    *("#5bb8f5", "#ff9d57", "#3fcf9f", "#e295d4"),
    *("#e3c04b", "#aab4c0", "#9ad8ff", "#ff8fa3"),
    *("#56d3dc", "#f2f5f8", "#b3b3ff", "#ffb3e0"),
)
_RAMP = ("#eef3f6", "#a9d3d6", "#57a8b8", "#2f7397", "#2d4373", "#1b1c3d")
_FALLS, _RISES = ("#1d4f91", "#7fa6d6"), ("#e59a78", "#a5321f")


def config(
    ink: str, faint: str, series: Sequence[str], ramp: Sequence[str], middle: str
) -> dict[str, Any]:
    """A Vega-Lite configuration.

    ink: of text. faint: of lines of the grid. series: colours by the number of the series. ramp:
    from nothing to the most. middle: of a change of nothing.
    """
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12}
    lines = {"domainColor": ink, "tickColor": ink, "gridColor": faint}
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "axis": {**text, **lines, "titleFontWeight": "normal", "labelLimit": 260},
        "legend": {
            **text,
            "orient": "top",
            "labelLimit": 260,
            "symbolSize": 110,
            "symbolOpacity": 1,
            "symbolStrokeWidth": 2,
        },
        "title": {"color": ink, "fontSize": 13, "fontWeight": "normal", "anchor": "start"},
        "view": {"stroke": None},
        "mark": {"color": series[0]},
        "rule": {"color": series[0]},
        "style": {
            LEVEL: {"color": ink, "strokeWidth": 1, "opacity": 0.6},
            NAMED: {"fontSize": 11, "align": "right", "baseline": "bottom", "dx": -4, "dy": -3},
        },
        "range": {
            "category": list(series),
            "heatmap": list(ramp),
            "ramp": list(ramp),
            "diverging": [*_FALLS, middle, *_RISES],
        },
    }


LIGHT = config("#1f2933", "#dfe4e9", _LIGHT, _RAMP, "#f3f3f0")
DARK = config("#e6eaee", "#3a424b", _DARK, tuple(reversed(_RAMP)), "#23282d")
