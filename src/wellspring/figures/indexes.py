"""What approximate indexes find, against how long a query takes and against their size."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from wellspring.errors import ConfigError
from wellspring.figures import panels
from wellspring.figures.style import (
    curve,
    handles_of,
    interval_key,
    labelled_grid,
    legend_above,
    lines_of,
    log_axis,
    note,
    theme,
)
from wellspring.figures.tables import Twins, about, first_draws, rows_of

ALONG = {"milliseconds": "ms a query, one thread", "megabytes": "MB of the index"}
"""What quality is set against, and what the axis says."""


@theme
def indexes(
    table: pl.DataFrame,
    dataset: str,
    twins: Twins = panels.NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """The first measure against time and against size, a row per retriever, a line per index.

    A point is a setting; exact search has one, and its value is the level line. Bands and bars are
    95 % intervals over queries.

    table: `wellspring.findings.indexes.compare`'s.

    Raises:
        ConfigError: the table has no index of the dataset.
    """
    rows = first_draws(rows_of(table, dataset=dataset), twins)
    if rows.is_empty():
        raise ConfigError(f"figures: the findings hold no index of dataset {dataset}")
    measure = rows["measure"][0]
    rows = rows_of(rows, measure=measure).with_columns(
        megabytes=(pl.col("bytes") / 1e6).round_sig_figs(3)
    )
    retrievers, names = (
        rows[column].unique(maintain_order=True).to_list() for column in ("retriever", "index")
    )
    lines = lines_of(names)
    figure, axes = labelled_grid(retrievers, ["", ""], 1.7, scale=measure)
    for panels_of, retriever in zip(axes, retrievers, strict=True):
        own = rows_of(rows, retriever=retriever)
        for name, line in lines.items():
            settings = rows_of(own, index=name)
            curve(panels_of[0], settings, "milliseconds", line, name)
            # All settings of an index have its size.
            for at in range(settings.height):
                curve(panels_of[1], settings[at], "megabytes", line, name)
        for ax in panels_of:
            panels.level(ax, own["estimate"][0], panels.CHANCE, names[0])
    for column, (along, label) in zip(axes.T, ALONG.items(), strict=True):
        log_axis(column, rows[along].to_list(), label)
    counted = f"{rows['documents'].max():,} passages, {rows['queries'].max():,} queries"
    note(figure, [about(dataset, retrievers, {}, counted), *cautions])
    legend_above(figure, [*handles_of(lines), interval_key()])
    return figure
