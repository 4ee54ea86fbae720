"""Ladders of models: quality over size, what a doubling brings, and both by dataset and stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from wellspring.errors import ConfigError
from wellspring.figures.correlations import NAMED, significance_keys
from wellspring.figures.style import (
    DIVERGING,
    DOUBLE_COLUMN,
    GREY,
    SINGLE_COLUMN,
    Line,
    curve,
    handles_of,
    interval_key,
    legend_above,
    lines_of,
    note,
    theme,
    wrap,
)
from wellspring.figures.tables import rows_of, values_of

AXES = {
    "non_embedding": "non-embedding parameters",
    "trainable": "parameters that the last stage trained",
    "flops": "training FLOPs",
    "parameters": "all parameters",
    "tokens": "training tokens",
}
"""What a size may be, in words."""
DRAWN = ("non_embedding", "trainable", "flops")
SCALES = ("value", "log-odds")
BROUGHT = {
    "slope": "what a doubling of size brings",
    "advantage": "what the last stage brings at the same sizes",
}
"""Findings by dataset and stage, in words."""
WARNED = "†"
WARNINGS = 8
"""Kinds of warnings that stand below a figure."""
SMALL, LEAST = 6.5, 4.0
"""Points of the letters in a tile: at most, and at least."""


@theme
def growth(
    points: pl.DataFrame, scaling: pl.DataFrame, dataset: str, measure: str, alpha: float
) -> Figure:
    """Quality over size on one dataset, as it is and as log-odds: a column for each kind of size, a
    line for each series, a point for each model. Below stand the slopes.

    Args:
        points, scaling: `wellspring.findings.ladders`'s `points` and `table`.
        alpha: a slope is significant where its adjusted p-value is no larger.

    Raises:
        ConfigError: the table holds no such model.
    """
    names = names_of(points)
    scaling, points = with_series(scaling, names), with_series(points, names)
    rows = rows_of(points, dataset=dataset, measure=measure)
    if rows.is_empty():
        raise ConfigError(f"figures: no ladder has {measure} on dataset {dataset}")
    # One look for a series in all figures of a study.
    lines = lines_of(values_of(points, "series"))
    drawn = {name: lines[name] for name in values_of(rows, "series")}
    slopes = rows_of(scaling, finding="slope", dataset=dataset, measure=measure)
    slopes = slopes.filter(pl.col("axis").is_in(DRAWN))
    # A size that is the same for all models, as under one budget, is no axis.
    axes_of = [axis for axis in DRAWN if axis in set(slopes["axis"])]
    parts = [(scale, kind) for scale in SCALES for kind in ("growth", "slopes")]
    if not axes_of:
        axes_of, parts = [DRAWN[0]], [(scale, "growth") for scale in SCALES]
    heights = [1.6 if kind == "growth" else 0.35 + 0.23 * len(drawn) for _, kind in parts]
    width = DOUBLE_COLUMN if len(axes_of) > 1 else SINGLE_COLUMN
    figure = Figure(figsize=(width, 0.4 + sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(parts), len(axes_of), sharey="row", squeeze=False, height_ratios=heights
    )
    for line, (scale, kind) in zip(axes, parts, strict=True):
        named = measure if scale == "value" else f"log-odds of {measure}"
        wrap(line[0].set_ylabel(named if kind == "growth" else "change"), 1.6)
        for ax, axis in zip(line, axes_of, strict=True):
            where = {"axis": axis, "scale": scale}
            if kind == "growth":
                _growth(ax, rows_of(rows, **where), drawn)
            else:
                _slopes(ax, rows_of(slopes, **where), drawn, alpha)
    for ax, axis in zip(axes[0], axes_of, strict=True):
        wrap(ax.set_title(AXES[axis]), 0.85 * width / len(axes_of))
    sns.despine(fig=figure)
    alone = [name for name in drawn if name not in set(slopes["series"])]
    small = [
        f"dataset {dataset}; {rows['queries'][0]:,} queries; a point is a model of one seed; lines "
        "are those of least squares over log2 of the size",
        *([f"models of one size have no slope: {', '.join(alone)}"] if alone else []),
        *_warnings(slopes),
    ]
    note(figure, small)
    legend_above(figure, [*handles_of(drawn), *significance_keys(), interval_key()], 4)
    return figure


def _growth(ax: Axes, rows: pl.DataFrame, lines: Mapping[str, Line]) -> None:
    """The models of each series as points, and the line through them with its band."""
    for name, line in lines.items():
        own = rows_of(rows, series=name)
        fitted = own.drop_nulls("fitted").unique("x").with_columns(estimate="fitted")
        if not fitted.is_empty():
            curve(ax, fitted, "x", replace(line, marker=""), name)
        looks = line.kwargs() | {"linestyle": "none", "alpha": 0.8}
        ax.plot(own["x"].to_numpy(), own["quality"].to_numpy(), label=name, **looks)
    _doublings(ax, rows["x"])


def _doublings(ax: Axes, sizes: pl.Series) -> None:
    """An axis on which a doubling is as long everywhere, with a tick at every second, third, …
    doubling of the smallest size where they are many."""
    ax.set_xscale("log", base=2)
    low, high = np.log2([sizes.to_numpy().min(), sizes.to_numpy().max()])
    between = max(1, int(np.ceil((high - low) / 4)))
    ax.xaxis.set_major_locator(FixedLocator(2 ** np.arange(low, high + 0.01, between)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(EngFormatter(places=1, sep=""))
    ticks = "a doubling" if between == 1 else f"{between} doublings"
    ax.set_xlabel(f"log2 scale; from tick to tick: {ticks}", fontsize=7)


def _slopes(ax: Axes, rows: pl.DataFrame, lines: Mapping[str, Line], alpha: float) -> None:
    """What a doubling brings in each series, with its interval: filled where it is significant."""
    for at, (name, line) in enumerate(lines.items()):
        for row in rows_of(rows, series=name).iter_rows(named=True):
            sure = significant(row, alpha)
            looks = replace(line, linestyle="none", hollow=not sure).kwargs()
            ax.plot([row["low"], row["high"]], [at, at], color=line.color, linewidth=1)
            ax.plot(row["estimate"], at, label=name, **looks)
            across = {"transform": ax.get_yaxis_transform(), **NAMED, "fontsize": 5.5}
            ax.text(0.02, at - 0.2, _told(row), **across)
    ax.axvline(0, color=GREY, linewidth=0.9, zorder=1)
    ax.set_ylim(len(lines) - 0.5, -0.9)
    ax.set_yticks([])
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("change for each doubling", fontsize=7)


def _told(row: Mapping[str, float | str | None]) -> str:
    """An estimate with its interval, marked where the table warns of it."""
    warned = f" {WARNED}" if row["warnings"] else ""
    told = f"{row['estimate']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]{warned}"
    return told.replace("-", "−")


@theme
def stages(points: pl.DataFrame, scaling: pl.DataFrame, measure: str, alpha: float) -> Figure:
    """What a doubling of size brings in each series on each dataset, and what the last stage of a
    series brings over the one before it, at the same sizes: maps of log-odds and of values.

    points, scaling, alpha: as of `growth`.
    """
    datasets = values_of(rows_of(points, measure=measure), "dataset")
    of_ladders = names_of(points)
    tiles = brought(rows_of(scaling, measure=measure, axis=DRAWN[0]), of_ladders)
    if tiles.is_empty():
        return _nothing(measure)
    held = set(tiles["series"])
    names = [name for name in of_ladders.values() if name in held]
    parts = tiles.select("finding", "scale").unique(maintain_order=True).rows()
    height = 0.35 + 0.36 * len(datasets)
    figure = Figure(figsize=(DOUBLE_COLUMN, 1.6 + height * len(parts)), layout="constrained")
    axes = figure.subplots(len(parts), 1, squeeze=False, sharex=True)[:, 0]
    for ax, (finding, scale) in zip(axes, parts, strict=True):
        _map(ax, rows_of(tiles, finding=finding, scale=scale), datasets, names, alpha)
        unit = measure if scale == "value" else f"log-odds of {measure}"
        ax.set_title(f"{BROUGHT[finding]}: {unit}", weight="bold")
    axes[-1].set_xticks(np.arange(len(names)) + 0.5, names, rotation=30, ha="right", fontsize=6)
    note(
        figure,
        [
            f"size: {AXES[DRAWN[0]]}; numbers: 95 % intervals over queries and seeds; *, bold: "
            f"significant (p ≤ {alpha:g}, adjusted for all of a kind)",
            *_warnings(tiles),
        ],
    )
    return figure


def brought(scaling: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The slopes of each series, and the advantages of its last stage over the one before it, with
    the names of `names_of`.

    scaling: as of `growth`. The table tells a difference once, so where the stage before comes
    first there, the two are exchanged.
    """
    rows = rows_of(scaling, finding="advantage", factor="stages")
    turned = rows.with_columns(
        pl.col("compared_with").alias("stages"),
        pl.col("compared_ladder").alias("ladder"),
        pl.col("stages").alias("compared_with"),
        pl.col("ladder").alias("compared_ladder"),
        estimate=-pl.col("estimate"),
        low=-pl.col("high"),
        high=-pl.col("low"),
    )
    before = pl.col("stages").str.replace(" → [^→]*$", "")
    gains = pl.concat([rows, turned]).filter(before == pl.col("compared_with"))
    return with_series(pl.concat([rows_of(scaling, finding="slope"), gains]), names)


def _map(
    ax: Axes, rows: pl.DataFrame, datasets: Sequence[str], names: Sequence[str], alpha: float
) -> None:
    """A tile for each dataset and series, with its interval."""
    shape = (len(datasets), len(names))
    values, words = np.full(shape, np.nan), np.full(shape, "", object)
    strong = set()
    for row in rows.iter_rows(named=True):
        at = datasets.index(row["dataset"]), names.index(row["series"])
        sure = significant(row, alpha)
        marks = ("*" if sure else "") + (WARNED if row["warnings"] else "")
        told, low, high = (_brief(row[name]) for name in ("estimate", "low", "high"))
        values[at], words[at] = row["estimate"], f"{told}{marks}\n[{low}, {high}]"
        strong |= {words[at]} if sure else set()
    longest = max(max(map(len, text.split("\n"))) for text in words.flat)
    tile = 0.8 * DOUBLE_COLUMN / len(names)
    # A letter is about .62 of its height wide.
    fitting = 72 * tile / (0.62 * max(1, longest))
    most = float(np.nanmax(np.abs(values))) or 1.0
    sns.heatmap(
        values,
        ax=ax,
        annot=words,
        fmt="",
        annot_kws={"fontsize": float(np.clip(fitting, LEAST, SMALL))},
        vmin=-most,
        vmax=most,
        cmap=DIVERGING,
        linewidths=0.6,
        yticklabels=datasets,
    )
    for text in ax.texts:
        if text.get_text() in strong:
            text.set_fontweight("bold")
    ax.tick_params(length=0, rotation=0)
    ax.grid(False)


def _brief(number: float) -> str:
    """Three digits behind the point, and none before it where that is 0."""
    sign = "−" if number < 0 else ""
    return sign + f"{abs(number):.3f}".removeprefix("0")


def _nothing(measure: str) -> Figure:
    """Says that no ladder grows, as where all models have one size."""
    figure = Figure(figsize=(DOUBLE_COLUMN, 1.0), layout="constrained")
    ax = figure.subplots()
    ax.axis("off")
    told = f"No ladder has two sizes: {measure} has no slope and no advantage"
    ax.text(0.5, 0.5, told, ha="center", va="center")
    return figure


def names_of(points: pl.DataFrame) -> dict[str, str]:
    """Ladder to the name of its series. Dense vectors and one family go without saying; where two
    series had one name, the ladder stands behind it."""
    several = points["family"].n_unique() > 1
    parts = ("stages", "objective", pl.col("paradigm").replace("dense", None))
    of_family = [pl.col("family")] if several else []
    ladders = points.select("ladder", "family", "stages", "objective", "paradigm").unique(
        maintain_order=True
    )
    named = ladders.with_columns(
        name=pl.concat_str(*parts, *of_family, separator=", ", ignore_nulls=True)
    )
    twice = pl.len().over("name") > 1
    named = named.with_columns(
        pl.when(twice).then(pl.format("{} ({})", "name", "ladder")).otherwise("name").alias("name")
    )
    return dict(named.select("ladder", "name").rows())


def with_series(table: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The table with the name of each row's series (`names_of`)."""
    return table.with_columns(series=pl.col("ladder").replace_strict(names, return_dtype=pl.String))


def significant(row: Mapping[str, float | None], alpha: float) -> bool:
    """Whether the adjusted p-value of a row is at most alpha."""
    return row["p_adjusted"] is not None and row["p_adjusted"] <= alpha


def _warnings(rows: pl.DataFrame) -> list[str]:
    """What the table warns of, a line for each warning with the series and axes that it is about,
    where these are not all."""
    told = rows.drop_nulls("warnings").with_columns(pl.col("warnings").str.split("; "))
    lines = []
    for (warning,), own in told.explode("warnings").group_by("warnings", maintain_order=True):
        beside = rows.filter(pl.col("axis").is_in(values_of(own, "axis")))
        about = [
            " and ".join(names.get(each, each) for each in values_of(own, column))
            for column, names, every in (("axis", AXES, rows), ("series", {}, beside))
            if own[column].n_unique() < every[column].n_unique()
        ]
        lines.append(f"{WARNED} {': '.join([*about, warning])}")
    more = len(lines) - WARNINGS
    rest = [f"{more} more kinds of warnings: findings/scaling.csv"] if more > 0 else []
    return lines[:WARNINGS] + rest
