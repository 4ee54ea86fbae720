"""What a chart of a study's page is: a panel, which a builder module makes of tables.

A kind of artefact names the modules that draw it (`Artefact.panels`), below `wellspring`. Each has

    def build(tables: Mapping[str, pl.DataFrame], settings: Settings) -> Sequence[Panel]

and gives no panel where a study holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

Tables = Mapping[str, pl.DataFrame]
"""The tables of a study by the name of their kind in lower case: `findings`, `training`,
`decentralisation`, `activation_counts`, … Where a kind has several files, they are one table with
the wildcards of their paths as first columns, condensed by the function that the kind names, if it
does. A table that the study does not have is missing.
`curves` holds published points, `retriever` under the study's own names."""

LISTED = 3
"""Files of a kind that are linked one by one."""


@dataclass(frozen=True)
class Source:
    """Where a number stands, and who made it."""

    file: str
    """Below results/."""
    columns: tuple[str, ...]
    command: str
    """The one that makes it again, ready to paste."""


@dataclass(frozen=True)
class Choice:
    """A control that sets the signal of a chart and filters the table beside it."""

    column: str
    """Of the data; the signal has its name, too."""
    label: str
    options: tuple[str, ...]
    """As text; numbers are written as in the data."""
    initial: str


@dataclass(frozen=True)
class Panel:
    """A chart with its controls and the table beside it."""

    anchor: str
    """Unique in the page: small letters, digits and hyphens."""
    title: str
    caption: str
    """One or two sentences: what is shown, and what a band and a line mean."""
    choices: tuple[Choice, ...]
    data: pl.DataFrame
    """What chart and table show, with a column for each choice."""
    chart: Mapping[str, object]
    """Vega-Lite, as altair's `to_dict()` gives it, with data {"name": "panel"} and a parameter for
    each choice."""
    headings: Mapping[str, str]
    """Columns of the table to their headings."""
    sources: tuple[Source, ...]
    left_out: str = ""
    """What was aggregated away or left out, said below the chart."""


@dataclass(frozen=True)
class Settings:
    """What the page knows of the study beside its tables."""

    study: str
    probe: str = ""
    """The one that is drawn first; empty where nothing is probed."""
    pairs: Mapping[str, str] = field(default_factory=dict)
    """Retriever to what it is compared with."""
    twins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Random twins that were drawn several times: the first to all of them."""
    encoders: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Retriever to its encoder of each side."""
    depths: Mapping[str, int] = field(default_factory=dict)
    """Retriever to the number of blocks of its model, which is its last layer."""
    activity: Mapping[str, object] = field(default_factory=dict)
    """The setting that counts as active in figures: normaliser, excluded_outliers, threshold."""
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """A table's name to its files below results/."""
    begin: str = "snakemake --cores all"
    """How a command of this study begins."""

    def command(self, file: str) -> str:
        """The command that makes a file again."""
        made = file.removesuffix(".csv") + ".parquet" if file.endswith(".csv") else file
        return f"{self.begin} --forcerun results/{made}"

    def sources(self, table: str, *columns: str) -> tuple[Source, ...]:
        """Where columns of a table stand: its first few files."""
        files = self.files.get(table, ())[:LISTED]
        return tuple(Source(file, columns, self.command(file)) for file in files)
