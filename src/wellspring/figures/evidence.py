"""All evidence about a retriever's layers side by side, and what of it predicts what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MultipleLocator

from wellspring.errors import ConfigError
from wellspring.figures.style import (
    DIVERGING,
    DOUBLE_COLUMN,
    curve,
    handles_of,
    interval_key,
    legend_above,
    lines_of,
    note,
    step_of,
    theme,
    wrap,
)
from wellspring.figures.tables import about, named_measure, pairs, rows_of
from wellspring.findings.sharing import apart
from wellspring.plurals import counted

CONTROLS = (
    *("counterpart", "twin", "lexical", "random-label"),
    *("random neurons", "nothing removed", "chance", "uniform"),
)
ACROSS = 4
"""Panels beside each other."""
OVER = {"layers": "over layers", "differences": "over layers, of differences from the counterpart"}
SURE = ("together", "opposed")


@theme
def over_layers(
    table: pl.DataFrame, dataset: str, retriever: str, cautions: Sequence[str] = ()
) -> Figure:
    """A small panel for each measure: the retriever's, and what it is set against.

    Args:
        table: `wellspring.findings.evidence.build`'s.
        cautions: sentences below the panels.

    Raises:
        ConfigError: the table holds nothing of the retriever.
    """
    rows = rows_of(table, dataset=dataset, retriever=retriever).drop_nulls("estimate")
    if rows.is_empty():
        raise ConfigError(
            f"figures: the evidence holds no retriever {retriever} on dataset {dataset}"
        )
    rows = rows.with_columns(named_measure(), control=pl.col("control").fill_null(retriever))
    measures = rows["measure"].unique(maintain_order=True).to_list()
    lines = lines_of([retriever, *CONTROLS])
    height = -(-len(measures) // ACROSS)
    figure = Figure(figsize=(DOUBLE_COLUMN, 0.55 + 1.35 * height), layout="constrained")
    axes = figure.subplots(height, min(ACROSS, len(measures)), squeeze=False)
    for ax, measure in zip(axes.flat, measures, strict=False):
        here = rows_of(rows, measure=measure)
        for name, line in lines.items():
            if not (own := rows_of(here, control=name)).is_empty():
                curve(ax, own, "layer", line, name)
        wrap(ax.set_title(measure, fontsize=7), 0.85 * DOUBLE_COLUMN / ACROSS)
        ax.xaxis.set_major_locator(MultipleLocator(step_of(int(rows["layer"].to_numpy().max()))))
        ax.set_xlim(-0.3, rows["layer"].to_numpy().max() + 0.3)
    for ax in axes.flat[len(measures) :]:
        ax.set_axis_off()
    for ax in axes[-1]:
        ax.set_xlabel("layer")
    sns.despine(fig=figure)
    note(figure, [about(dataset, [retriever], pairs(rows), _queries(table, dataset)), *cautions])
    held = set(rows["control"])
    drawn = {name: line for name, line in lines.items() if name in held}
    legend_above(figure, [*handles_of(drawn), interval_key()])
    return figure


def _queries(table: pl.DataFrame, dataset: str) -> str:
    """How many queries the measures are of, or that each has its own."""
    shared = rows_of(table, dataset=dataset, unit="query")["shared_queries"].to_list()
    if not shared:
        return ""
    queries = f"{counted(max(shared), 'query', 'queries')} that all measures of queries share"
    return f"{queries}: each is of its own" if dataset in apart(table) else queries


@theme
def correlations(
    table: pl.DataFrame, dataset: str, retriever: str, cautions: Sequence[str] = ()
) -> Figure:
    """A map of the rank correlations between every two measures; the number stands where the
    interval excludes 0, and a tile is pale where the correlation cannot be tested.

    Args:
        table: `wellspring.findings.prediction.correlations`'s.

    Raises:
        ConfigError: the table holds nothing of the retriever.
    """
    every = rows_of(table, dataset=dataset, retriever=retriever)
    if every.is_empty():
        raise ConfigError(
            f"figures: the evidence holds no correlation of retriever {retriever} on dataset "
            f"{dataset}"
        )
    rows = every.with_columns(named_measure(), named_measure("other_")).drop_nulls("estimate")
    if rows.is_empty():
        return _nothing([about(dataset, [retriever], pairs(every), "no correlation"), *cautions])
    parts = [name for name in OVER if name in set(rows["over"])]
    names = pl.concat([rows["measure"], rows["other_measure"]]).unique(maintain_order=True)
    side = max(1.6, 0.19 * len(names))
    # Long names at the left would touch the edge.
    layout = ConstrainedLayoutEngine(w_pad=0.15)
    figure = Figure(figsize=(DOUBLE_COLUMN, 1.5 + side * len(parts)), layout=layout)
    axes = figure.subplots(len(parts), 1, squeeze=False)[:, 0]
    for ax, over in zip(axes, parts, strict=True):
        _map(ax, rows_of(rows, over=over), names.to_list())
        ax.set_title(OVER[over], weight="bold")
    for ax in axes[:-1]:
        ax.set_xticklabels([])
    colours = ScalarMappable(Normalize(-1, 1), DIVERGING)
    bar = figure.colorbar(colours, ax=list(axes), shrink=0.6, aspect=30)
    bar.set_label("rank correlation")
    points = rows["points"].to_numpy()
    least, most = points.min(), points.max()
    layers = f"{most} layers" if least == most else f"{least} to {most} layers"
    small = "numbers: the 95 % interval over queries excludes 0; pale: not testable here"
    note(figure, [about(dataset, [retriever], pairs(rows), layers), small, *cautions])
    return figure


def _nothing(lines: Sequence[str]) -> Figure:
    """Says that no two measures can be correlated, as where too few layers have both."""
    figure = Figure(figsize=(DOUBLE_COLUMN, 1.2), layout=ConstrainedLayoutEngine())
    ax = figure.subplots()
    ax.axis("off")
    ax.text(0.5, 0.5, "No two measures can be correlated over layers", ha="center", va="center")
    note(figure, lines)
    return figure


def _map(ax: Axes, rows: pl.DataFrame, names: Sequence[str]) -> None:
    """One tile for every two measures, below the diagonal."""
    place = {name: number for number, name in enumerate(names)}
    values, alpha = np.full((len(names), len(names)), np.nan), np.ones((len(names), len(names)))
    for row in rows.iter_rows(named=True):
        x, y = sorted((place[row["measure"]], place[row["other_measure"]]))
        values[y, x] = row["estimate"]
        alpha[y, x] = 0.3 if row["answer"] == "not testable here" else 1
        if row["answer"] in SURE:
            colour = "white" if abs(row["estimate"]) > 0.7 else "0.1"
            where = {"ha": "center", "va": "center", "fontsize": 5, "color": colour}
            ax.text(x, y, f"{row['estimate']:.2f}".replace("0.", "."), **where)
    norm = Normalize(-1, 1)
    ax.imshow(values, cmap=DIVERGING, norm=norm, alpha=alpha, aspect="auto")
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=6)
    ax.set_yticks(range(len(names)), names, fontsize=6)
    ax.grid(False)
    sns.despine(ax=ax, left=True, bottom=True)
