"""What retrievers find along a dimension: curves over what is a number, differences from the
reference over what is none, and a heat map of where they learned and where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from wellspring.errors import ConfigError
from wellspring.figures.correlations import NAMED, POINT, point, significance_keys
from wellspring.figures.style import (
    DOUBLE_COLUMN,
    GREY,
    curve,
    handles_of,
    interval_key,
    labelled_grid,
    legend_above,
    lines_of,
    log_axis,
    note,
    theme,
    wrap,
)
from wellspring.figures.tables import rows_of, values_of

DOMAINS = ("in-domain", "zero-shot", "not known")
STAGES = (
    "random",
    "mlm",
    "clm",
    "mntp",
    "as fetched",
    "contrastive-pretraining",
    "fine-tuning",
)
"""The order in which weights are usually trained."""
SPENT = {"pairs": "pairs seen", "flops": "operations of the training"}
"""Columns over which data efficiency is drawn, too, and their names."""
SURE = ("higher", "lower")
BAR: dict[str, Any] = {"color": POINT["color"], "linewidth": 1}


@theme
def dimension(table: pl.DataFrame, name: str, measure: str) -> Figure:
    """The figure of a dimension, or of all domains, by one measure.

    Args:
        table: `wellspring.findings.dimensions.dimensions`'s.
        name: `lengths`, `data-efficiency`, `instructions`, `multi-task` or `domains`.

    Raises:
        ConfigError: the table holds nothing of it.
    """
    names = DOMAINS if name == "domains" else (name,)
    rows = table.filter(pl.col("dimension").is_in(names), measure=measure)
    if rows.is_empty():
        raise ConfigError(f"figures: the findings hold no {measure} of the dimension {name}")
    if name == "domains":
        return _domains(rows, measure)
    if rows["x"].null_count() or name == "multi-task":
        return _differences(rows, measure)
    return _curves(rows, measure)


def _curves(rows: pl.DataFrame, measure: str) -> Figure:
    """A row for each dataset, a column for each number that settings are, a line for each
    family."""
    datasets, axes_of = values_of(rows, "dataset"), {axis: axis for axis in values_of(rows, "axis")}
    efficiency = (rows["dimension"] == "data-efficiency").any()
    spent = {key: title for key, title in SPENT.items() if efficiency and rows[key].sum() > 0}
    figure, axes = labelled_grid(datasets, [*axes_of, *spent.values()], 1.7)
    families = values_of(rows, "family")
    lines = lines_of(families)
    for line, dataset in zip(axes, datasets, strict=True):
        own = rows_of(rows, dataset=dataset).rename({"value": "estimate"})
        panels = [(rows_of(own, axis=axis), "x") for axis in axes_of]
        panels += [(own.drop_nulls(key), key) for key in spent]
        for ax, (part, along) in zip(line, panels, strict=True):
            for family in values_of(part, "family"):
                curve(ax, rows_of(part, family=family), along, lines[family], family)
        line[0].set_ylabel(f"{dataset}\n{measure}", weight="normal")
    for column, title in zip(axes.T, [*axes_of, *spent.values()], strict=True):
        if title.endswith("length"):
            log_axis(column, rows_of(rows, axis=title)["x"].to_list(), "tokens")
        else:
            column[-1].xaxis.set_major_locator(MaxNLocator(4))
            column[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    note(figure, _counted(rows))
    legend_above(figure, [*handles_of(lines), interval_key()])
    return figure


def _differences(rows: pl.DataFrame, measure: str) -> Figure:
    """A row for each dataset, a column for each family, a point with its interval for each setting
    but the reference: filled where the difference is significant in its family."""
    families, datasets = values_of(rows, "family"), values_of(rows, "dataset")
    most = rows.group_by("family", "dataset").len()["len"].max()
    figure, axes = labelled_grid(datasets, families, 0.5 + 0.32 * int(str(most)), sharey=False)
    width = 0.8 * figure.get_figwidth() / len(families)
    for line, dataset in zip(axes, datasets, strict=True):
        for ax, family in zip(line, families, strict=True):
            part = rows_of(rows, family=family, dataset=dataset)
            others = part.drop_nulls("difference").to_dicts()
            for at, row in enumerate(others):
                filled = row["answer"] in SURE
                if row["difference_low"] is not None:
                    ax.plot([row["difference_low"], row["difference_high"]], [at, at], **BAR)
                ax.plot(row["difference"], at, **point(filled))
                across = {"transform": ax.get_yaxis_transform(), **NAMED}
                wrap(ax.text(0.02, at - 0.18, row["setting"], **across), width)
            ax.axvline(0, color=GREY, linewidth=0.9, zorder=1)
            ax.set_ylim(max(1, len(others)) - 0.5, -0.9)
            ax.set_yticks([])
            ax.grid(True, axis="x")
            ax.grid(False, axis="y")
    references = {
        f"reference of {family}: {setting}"
        for family, setting in rows.filter(pl.col("reference") == pl.col("retriever"))
        .select("family", "setting")
        .unique()
        .iter_rows()
    }
    for ax in axes[-1]:
        ax.set_xlabel(f"{measure}: difference from the reference")
    note(figure, [*sorted(references), *_counted(rows)])
    legend_above(figure, [*significance_keys(), interval_key()])
    return figure


def _domains(rows: pl.DataFrame, measure: str) -> Figure:
    """A row for each retriever, by its stage, a column for each dataset: what it finds there, and
    whether it learned from it."""
    own = rows.filter(pl.col("retriever") == pl.col("family"))
    order = {stage: number for number, stage in enumerate(STAGES)}
    named = own.select("retriever", "stage").unique(maintain_order=True).rows()
    named.sort(key=lambda row: order[row[1]])
    datasets = values_of(own, "dataset")
    shape = (len(named), len(datasets))
    values, words = np.full(shape, np.nan), np.full(shape, "", object)
    for row in own.to_dicts():
        at = (
            [name for name, _ in named].index(row["retriever"]),
            datasets.index(row["dataset"]),
        )
        values[at], words[at] = row["value"], f"{row['value']:.3f}\n{row['dimension']}"
    figure = Figure(figsize=(DOUBLE_COLUMN, 0.9 + 0.36 * len(named)), layout="constrained")
    ax = figure.subplots()
    sns.heatmap(
        values,
        ax=ax,
        annot=words,
        fmt="",
        annot_kws={"fontsize": 6.5},
        vmin=0,
        cmap="Blues",
        linewidths=0.6,
        cbar_kws={"label": measure},
        xticklabels=datasets,
        yticklabels=[f"{name} ({stage})" for name, stage in named],
    )
    ax.tick_params(length=0)
    note(figure, _counted(rows))
    return figure


def _counted(rows: pl.DataFrame) -> list[str]:
    """On how many queries each dataset's numbers rest."""
    counts = rows.group_by("dataset", maintain_order=True).agg(pl.max("queries")).iter_rows()
    return ["; ".join(f"{dataset}: {count:,} queries" for dataset, count in counts)]
