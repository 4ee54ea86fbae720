"""What the charts of the page are made of: curves with bands, points with intervals, level lines.

A chart draws rows of the table beside it: those that its choices leave. altair is imported where a
chart is made, so that nothing that only names panels loads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from wellspring.page.panels import Choice, Panel, Source
from wellspring.page.series import Series
from wellspring.page.theme import BAND, LEVEL, NAMED

if TYPE_CHECKING:
    import altair as alt

LAYERS = "layer (0: embedding output)"
BLOCKS = "block"
HEIGHT = 320
"""Pixels of a chart. Its width is that of the page."""
POINTED = ("point", "tick", "rect", "bar")
"""Marks that show their row to a mouse."""


def made(
    anchor: str,
    title: str,
    caption: str,
    data: pl.DataFrame,
    labels: Mapping[str, str],
    first: Mapping[str, str],
    layers: Sequence[Any],
    headings: Mapping[str, str],
    sources: Sequence[Source],
    left_out: str = "",
    height: Any = HEIGHT,
) -> Panel:
    """A panel whose chart draws the rows that its choices leave.

    labels: the columns that are chosen from, to their labels. first: values to begin with. layers:
    marks on one pair of axes. headings: of the table; a mouse shows them, too. See `Panel` for the
    others.
    """
    import altair as alt

    columns = [*labels, *(name for name in headings if name not in labels)]
    data = data.select(columns).with_columns(pl.col(pl.String).fill_null(""))
    choices = _choices(data, labels, first)
    drawn = alt.layer(*layers, data=alt.NamedData("panel"))
    for choice in choices:
        drawn = drawn.transform_filter(f"datum['{choice.column}'] === {choice.column}")
    # Tests hold every chart against the schema; to do so here takes seconds.
    spec = drawn.properties(width="container", height=height).to_dict(validate=False)
    # The page configures both themes.
    spec.pop("config", None)
    spec["params"] = [{"name": choice.column, "value": choice.initial} for choice in choices]
    tooltip = [{"field": name, "title": heading} for name, heading in headings.items()]
    for mark in _marks(spec):
        if mark["mark"]["type"] in POINTED:
            mark["encoding"]["tooltip"] = tooltip
    return Panel(
        anchor, title, caption, choices, data, spec, dict(headings), tuple(sources), left_out
    )


def _marks(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The layers of a chart that are marks, and those of its layers."""
    for layer in spec.get("layer", ()):
        yield from _marks(layer) if "layer" in layer else [layer]


def along(column: str, title: str, **options: Any) -> alt.X:
    """A horizontal axis of whole numbers."""
    import altair as alt

    axis = alt.Axis(format="d", tickMinStep=1, grid=False)
    scale = alt.Scale(zero=False, nice=False, padding=12)
    return alt.X(f"{column}:Q", title=title, axis=axis, scale=scale, **options)


def powers(column: str, title: str, values: pl.Series, format: str = "~g") -> alt.X:
    """A horizontal logarithmic axis with a tick at every value that occurs."""
    import altair as alt

    ticks = [float(value) for value in values.drop_nulls().unique().sort()]
    axis = alt.Axis(values=ticks, format=format, grid=False, labelOverlap="greedy")
    kind = "log" if ticks[0] > 0 else "symlog"
    scale = alt.Scale(type=kind, nice=False, padding=12)
    return alt.X(f"{column}:Q", title=title, axis=axis, scale=scale)


def up(title: str, format: str = ",~r", ticks: Sequence[float] = (), **scale: Any) -> alt.Y:
    """A vertical axis of estimates. Intervals share it."""
    import altair as alt

    where: dict[str, Any] = {"values": list(ticks)} if ticks else {"tickCount": 6}
    return alt.Y(
        "estimate:Q",
        title=title,
        axis=alt.Axis(format=format, **where),
        scale=alt.Scale(**{"zero": False, "padding": 8, **scale}),
    )


def curves(
    x: alt.X,
    y: alt.Y,
    series: Series,
    whole: bool = True,
    sure: str = "",
    through: str = "estimate",
) -> list[alt.Chart]:
    """A line for each series, with points at what was measured and a band from low to high.

    A point that stands alone has a bar instead of the band. A range without an estimate is a band
    between two thin lines.

    whole: x counts layers. The line breaks where some were not measured. sure: an expression;
    points are full where it holds and hollow where not. through: the column that lines go through.
    """
    import altair as alt

    column, by = x.shorthand.partition(":")[0], [series.column]
    before: list[alt.SortField | dict[str, str]] = [alt.SortField(column)]
    rows = alt.Chart().transform_filter(f"isValid(datum['{column}'])")
    rows = rows.transform_window(before=f"lag({column})", sort=before, groupby=by)
    step = f"datum['{column}'] - datum.before > 1" if whole else "false"
    rows = rows.transform_calculate(gap=f"isValid(datum.before) && {step} ? 1 : 0")
    rows = rows.transform_window(run="sum(gap)", frame=[None, 0], sort=before, groupby=by)
    rows = rows.transform_joinaggregate(points="count()", groupby=[*by, "run"])
    measured = rows.transform_filter("isValid(datum.estimate)")
    bounded = rows.transform_filter("isValid(datum.low)")
    ranges = bounded.transform_filter("!isValid(datum.estimate)")
    low, high = _ends(y)
    line = {"x": x, "detail": "run:N", **series.looks("color")}
    edge: dict[str, Any] = {"strokeWidth": 0.8, "strokeDash": [2, 2]}
    upper, middle = y.copy(deep=True), y.copy(deep=True)
    upper.shorthand, middle.shorthand = "high:Q", f"{through}:Q"
    return [
        bounded.mark_area(opacity=BAND).encode(y=low, y2=high, **line),
        ranges.mark_line(**edge).encode(y=low, **line),
        ranges.mark_line(**edge).encode(y=upper, **line),
        measured.mark_line(strokeWidth=2).encode(y=middle, **line, **series.looks("strokeDash")),
        bounded.transform_filter("datum.points === 1")
        .mark_rule(strokeWidth=1.5)
        .encode(x=x, y=low, y2=high, **series.looks("color")),
        *_points(measured, sure, series, x=x, y=y),
    ]


def levels(column: str, y: alt.Y, series: Series, named: bool = True) -> list[alt.Chart]:
    """A level line for each row without a value in the column, with its name at the right end."""
    import altair as alt

    rows = alt.Chart().transform_filter(f"!isValid(datum['{column}'])")
    lines = rows.mark_rule(strokeWidth=1.6).encode(y=y, **series.looks("color", "strokeDash"))
    names = rows.mark_text(style=NAMED).encode(
        x=alt.value("width"), y=y, text=f"{series.column}:N", **series.looks("color")
    )
    return [lines, names] if named else [lines]


def judged(x: alt.X, y: alt.Y, series: Series, sure: str = "", **offset: Any) -> list[alt.Chart]:
    """Points with intervals, full where the expression `sure` holds and hollow where not."""
    import altair as alt

    low, high = _ends(y)
    rows = alt.Chart()
    bars = rows.mark_rule(strokeWidth=1.5)
    return [
        bars.encode(x=x, y=low, y2=high, **series.looks("color"), **offset),
        *_points(rows, sure, series, x=x, y=y, **offset),
    ]


def correlations(data: pl.DataFrame, by: str, series: Series) -> list[alt.Chart]:
    """Correlations with their intervals, a row for each value of the column `by`; a tick is what
    another text's scores give (`shifted`). All of the data fits on the axis."""
    import altair as alt

    least = data.select(pl.min_horizontal("estimate", "low", "shifted").min()).item()
    scale = alt.Scale(domain=[min(0, least) - 0.05, 1], nice=False)
    axis = alt.Axis(format=",~r", tickCount=6)
    x = alt.X("estimate:Q", title="rank correlation", axis=axis, scale=scale)
    y = alt.Y(f"{by}:N", title=None, sort=None, axis=alt.Axis(grid=True))
    low, shifted = x.copy(deep=True), x.copy(deep=True)
    low.shorthand, shifted.shorthand = "low:Q", "shifted:Q"
    rows = alt.Chart()
    where: dict[str, Any] = {"y": y, **series.looks("color")}
    if series.column:
        where["yOffset"] = alt.YOffset(f"{series.column}:N", sort=list(series.names))
    bars = rows.mark_rule(strokeWidth=1.5).encode(x=low, x2=alt.X2("high:Q"), **where)
    ticks = rows.transform_filter("isValid(datum.shifted)").mark_tick(thickness=2.5, height=14)
    return [
        _thin().encode(x=alt.datum(0)),
        bars,
        ticks.encode(x=shifted, **where),
        *_points(rows, "", series, x=x, **where),
    ]


def level_at(value: float) -> alt.Chart:
    """A thin level line: no change, or no difference."""
    import altair as alt

    return _thin().encode(y=alt.datum(value))


def _thin() -> alt.Chart:
    """One thin line, whatever the number of rows."""
    import altair as alt

    return alt.Chart().transform_aggregate(rows="count()").mark_rule(style=LEVEL)


def _ends(y: alt.Y) -> tuple[alt.Y, alt.Y2]:
    """The channels of the intervals of an axis of estimates."""
    import altair as alt

    low = y.copy(deep=True)
    low.shorthand = "low:Q"
    return low, alt.Y2("high:Q")


def _points(rows: alt.Chart, sure: str, series: Series, **where: Any) -> list[alt.Chart]:
    """Points, full where an expression holds and hollow where not; all full without one."""
    channels = {**where, **series.looks("color", "shape")}
    full = rows.transform_filter(sure) if sure else rows
    points = [full.mark_point(filled=True, size=56, opacity=1).encode(**channels)]
    if sure:
        hollow = rows.transform_filter(f"!({sure})")
        marks = hollow.mark_point(filled=False, size=56, opacity=1, strokeWidth=1.8)
        points.append(marks.encode(**channels))
    return points


def _choices(
    data: pl.DataFrame, labels: Mapping[str, str], first: Mapping[str, str]
) -> tuple[Choice, ...]:
    """A choice for each column, with the values that the data holds, in its order.

    It begins with a row that exists: one with the values of `first` as far as rows have them
    together, or the one at the top. So what the page shows first is never empty.
    """
    rows = data
    for column, value in first.items():
        preferred = rows.filter(pl.col(column) == value)
        rows = rows if preferred.is_empty() else preferred
    start = rows.row(0, named=True)
    return tuple(
        Choice(column, label, tuple(data[column].unique(maintain_order=True)), start[column])
        for column, label in labels.items()
    )
