"""What tells the lines and points of a chart apart: colour, dashes and shape at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from wellspring.page.theme import DASHES, SHAPES

if TYPE_CHECKING:
    import altair as alt

RETRIEVER, COUNTERPART, TWINS = "retriever", "counterpart", "random twins"
LEXICAL, CHANCE, PUBLISHED = "lexical floor", "chance", "published"
UNINFORMED = "knowing nothing"
FUSION, PROBED, TERMS = "fused with words", "accuracy of the probe", "its terms"
LINE = 48
"""Letters of a line of a legend."""
Channel = Literal["color", "shape", "strokeDash"]
RANGES: Mapping[str, Sequence[Any]] = {"shape": SHAPES, "strokeDash": DASHES}


@dataclass(frozen=True)
class Series:
    """Lines or points of a chart, by the value of a column of its data.

    A value has the look of its place in `names`, whichever of them the data holds. The legend has
    those that it holds.
    """

    column: str
    names: tuple[str, ...]
    shown: tuple[str, ...]
    labels: str = ""
    """A Vega expression for the label of an entry of the legend; empty: its value."""
    level: tuple[str, ...] = ()
    """Those that are lines without points."""

    @classmethod
    def of(cls, data: pl.DataFrame, column: str, names: Sequence[str] = (), **more: Any) -> Series:
        """Those of a column, with the looks of their place in `names` or in the data."""
        held = data[column].unique(maintain_order=True).to_list()
        every = (*names, *(name for name in held if name not in names))
        return cls(column, every, tuple(name for name in every if name in held), **more)

    def looks(self, *channels: Channel) -> dict[str, Any]:
        """The channels that tell them apart. The page's theme gives the colours."""
        return {name: self._channel(name) for name in channels} if self.column else {}

    def _channel(self, name: Channel) -> alt.Color | alt.Shape | alt.StrokeDash:
        import altair as alt

        scale: dict[str, Any] = {"domain": list(self.names)}
        if name in RANGES:
            scale["range"] = [self._look(name, at) for at in range(len(self.names))]
        channel = {"color": alt.Color, "shape": alt.Shape, "strokeDash": alt.StrokeDash}[name]
        legend = self._legend()
        if name == "strokeDash":
            # In a legend dashes would cut the symbols into pieces. Vega-Lite puts scales with one
            # domain into one legend, so that a domain of their own keeps them out.
            scale = {key: [*values, values[0]] for key, values in scale.items()}
            scale["domain"][-1], legend = "", None
        return channel(f"{self.column}:N", scale=alt.Scale(**scale), legend=legend, title=None)

    def _legend(self) -> alt.Legend:
        """As many columns as fit on a phone."""
        import altair as alt

        columns = max(1, LINE // (max(map(len, self.shown), default=0) + 3))
        named: dict[str, Any] = {"labelExpr": self.labels} if self.labels else {}
        return alt.Legend(values=list(self.shown), columns=columns, **named)

    def _look(self, channel: Channel, at: int) -> Any:
        """Where the looks begin again they are paired with other colours."""
        if channel == "shape" and self.names[at] in self.level:
            return "stroke"
        values = RANGES[channel]
        return values[(at + at // len(values)) % len(values)]


ONE = Series("", ("all",), ())
"""All points alike, without a legend."""


def of_pair(data: pl.DataFrame, pairs: Mapping[str, str]) -> Series:
    """The lines of a chosen retriever and of what it is set against.

    data: `line` is one of the names above. pairs: retriever to its counterpart; the legend names
    both as the choice `retriever` has them.
    """
    names = (RETRIEVER, COUNTERPART, PUBLISHED, LEXICAL, CHANCE, TWINS, UNINFORMED)
    names += (FUSION, PROBED, TERMS)
    other = f"({json.dumps(dict(pairs))})[retriever] || 'no counterpart'"
    labels = (
        f"datum.label === '{RETRIEVER}' ? retriever : "
        f"datum.label === '{COUNTERPART}' ? {other} : datum.label"
    )
    return Series.of(
        data,
        "line",
        names,
        labels=labels,
        level=(LEXICAL, CHANCE, UNINFORMED, TWINS, FUSION, TERMS),
    )
