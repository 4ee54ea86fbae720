"""Over how many neurons a text is spread, layer by layer, and whether that depends on a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MultipleLocator,
)

from wellspring.errors import ConfigError
from wellspring.figures.style import (
    GREY,
    NORMALISERS,
    SUBLAYER_DASHES,
    Line,
    curve,
    dashed,
    handles_of,
    interval_key,
    labelled_grid,
    legend_above,
    lines_of,
    log_axis,
    log_ticks,
    noise_band,
    noise_key,
    note,
    step_of,
    theme,
)
from wellspring.figures.tables import (
    NORMALISED,
    SIDES,
    SUBLAYERS,
    Twins,
    first_draws,
    held_of,
    of_attribution,
    pair_of,
    pairs,
    places_of,
    range_of,
    retrievers_of,
    rows_of,
)

EFFECTIVE = "effective number of neurons\n(1: one holds all; log scale)"
REGIONS = {"all": "all layers", "early": "early layers", "late": "late layers"}
MAPPED = "setting of the maps"
BETWEEN = "between two random twins"
CROSS = {"linestyle": "none", "marker": "x", "markersize": 3.2, "color": "0.6", "zorder": 1.5}
NO_TWINS: Twins = {}
RING = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 7.5,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.8,
    "zorder": 5,
    "clip_on": False,
}


@theme
def concentration(
    table: pl.DataFrame,
    dataset: str,
    attribution: str,
    retriever: str,
    normaliser: str = "network-max",
    excluded_outliers: int = 0,
    threshold: float = 0.1,
    twins: Twins = NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """How many neurons carry a text, over layers: a row per side, a column per measure.

    The share of active neurons in one setting, and two measures that need no threshold: the
    effective number of neurons and the Gini coefficient. Colour and marker are the retriever's (or
    its counterpart's), dashes the sub-layer's; bands are 95 % intervals.

    Args:
        table: `wellspring.findings.decentralisation.build`'s.
        normaliser, excluded_outliers, threshold: the setting of the share; where the table lacks
            it, the column is left out.
        twins: random twins that were drawn several times; hatched, the range of their levels.
        cautions: sentences below the panels.

    Raises:
        ConfigError: the table holds no such attribution of the retriever, or no level of it.
    """
    findings, names = pair_of(table, dataset, attribution, retriever)
    levels = rows_of(findings, finding="level").filter(pl.col("layer").is_not_null())
    columns = _measures(levels, normaliser, excluded_outliers, threshold)
    if not columns:
        raise ConfigError(
            f"figures: the findings hold no level over layers of retriever {retriever} under "
            f"attribution {attribution} on dataset {dataset}"
        )
    sides, sublayers = held_of(levels, "side", SIDES), held_of(levels, "sublayer", SUBLAYERS)
    lines = {
        name: dashed(lines_of(retrievers_of(first_draws(table, twins)))[name], 0) for name in names
    }
    of_pair = {name: draws for name, draws in twins.items() if name in names}
    whole = rows_of(table, finding="level", dataset=dataset, attribution=attribution)
    drawn = _measures(whole, normaliser, excluded_outliers, threshold)
    figure, axes = labelled_grid([f"{side} side" for side in sides], list(columns), 1.7)
    for row, side in zip(axes, sides, strict=True):
        for ax, (title, rows) in zip(row, columns.items(), strict=True):
            spread = range_of(drawn[title], of_pair, "side", "sublayer", "layer")
            for name, sublayer in product(of_pair, sublayers):
                where = {"retriever": name, "side": side, "sublayer": sublayer}
                noise_band(ax, rows_of(spread, **where), "layer")
            for name, sublayer in product(names, sublayers):
                own = rows_of(rows, retriever=name, side=side, sublayer=sublayer)
                line = replace(lines[name], linestyle=SUBLAYER_DASHES[sublayer])
                curve(ax, own, "layer", line, f"{name}, {sublayer}")
    if EFFECTIVE in columns:
        for ax in axes[:, list(columns).index(EFFECTIVE)]:
            _ratios(ax)
    _whole_layers(axes, levels["layer"])
    dashes = {name: Line(GREY, SUBLAYER_DASHES[name], "") for name in sublayers}
    keys = [noise_key(max(map(len, of_pair.values())))] if of_pair else []
    note(
        figure, [of_attribution(findings, dataset, names, pairs(findings), attribution), *cautions]
    )
    legend_above(figure, [*handles_of(lines), *handles_of(dashes), interval_key(), *keys])
    return figure


def _measures(
    levels: pl.DataFrame, normaliser: str, excluded_outliers: int, threshold: float
) -> dict[str, pl.DataFrame]:
    """The title and the rows of each measure that the levels hold."""
    setting = {
        "normaliser": normaliser,
        "excluded_outliers": excluded_outliers,
        "threshold": threshold,
    }
    share = rows_of(levels, measure="share_active", **setting)
    columns = {
        f"active neurons, %\n(above {threshold:g} × {NORMALISED[normaliser]})": (
            share.with_columns(pl.col("estimate", "low", "high") * 100)
        ),
        EFFECTIVE: rows_of(levels, measure="effective_number"),
        "Gini coefficient\n(0: even, 1: one holds all)": rows_of(levels, measure="gini"),
    }
    return {title: rows for title, rows in columns.items() if not rows.is_empty()}


@theme
def sweep(
    table: pl.DataFrame,
    dataset: str,
    attribution: str,
    retriever: str,
    normaliser: str = "network-max",
    excluded_outliers: int = 0,
    threshold: float = 0.1,
    twins: Twins = NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """Whether the retriever has more active neurons than its counterpart, whatever the setting.

    The relative change of the share of active neurons against the threshold, a line for each
    normaliser and number of outliers left out; a row per side and sub-layer, a column for all,
    early and late layers. A full marker: the 95 % interval excludes no change. A ring: the
    setting of the maps.

    Args:
        table: `wellspring.findings.decentralisation.build`'s.
        normaliser, excluded_outliers, threshold: the maps' setting.
        twins: random twins that were drawn several times; grey crosses, how far two of them are
            apart.
        cautions: sentences below the panels.

    Raises:
        ConfigError: the table holds no such change of the retriever.
    """
    findings, names = pair_of(table, dataset, attribution, retriever)
    apart = _between_twins(table, dataset, attribution, names, twins)
    changes = rows_of(
        findings, finding="relative_change", measure="share_active", retriever=retriever
    ).filter(pl.col("region").is_not_null(), pl.col("estimate").is_not_null())
    if changes.is_empty():
        raise ConfigError(
            f"figures: the findings hold no relative change of retriever {retriever} under "
            f"attribution {attribution} on dataset {dataset}"
        )
    places, regions = places_of(changes), held_of(changes, "region", list(REGIONS))
    lines = _sweep_lines(changes)
    labels = [f"{side}\n{sublayer}" for side, sublayer in places]
    titles = [REGIONS[region] for region in regions]
    figure, axes = labelled_grid(labels, titles, 1.35, sharey=True)
    mapped = {
        "normaliser": normaliser,
        "excluded_outliers": excluded_outliers,
        "threshold": threshold,
    }
    for row, (side, sublayer) in zip(axes, places, strict=True):
        for ax, region in zip(row, regions, strict=True):
            here = rows_of(changes, side=side, sublayer=sublayer, region=region)
            ax.axhline(0, color=GREY, linewidth=0.9, zorder=1)
            between = rows_of(apart, side=side, sublayer=sublayer, region=region)
            ax.plot(between["threshold"], between["estimate"], label=BETWEEN, **CROSS)
            for (scale, count), line in lines.items():
                own = rows_of(here, normaliser=scale, excluded_outliers=count)
                _sweep_line(ax, own, line, f"{scale}, {count}")
            ring = rows_of(here, **mapped)
            ax.plot(ring["threshold"], ring["estimate"], label=MAPPED, **RING)
    for column in axes.T:
        log_axis(column, changes["threshold"], "threshold")
    beyond = _percentages(axes, changes.select(pl.max("estimate")).item())
    figure.supylabel(f"relative change in the share of active neurons{beyond}", fontsize=8)
    note(
        figure, [of_attribution(findings, dataset, names, pairs(findings), attribution), *cautions]
    )
    keys = _sweep_keys(lines, not rows_of(changes, **mapped).is_empty(), not apart.is_empty())
    legend_above(figure, keys, 4)
    return figure


def _between_twins(
    table: pl.DataFrame, dataset: str, attribution: str, names: list[str], twins: Twins
) -> pl.DataFrame:
    """The same changes from the first random twin of the pair to its further draws."""
    further = [each for name in names for each in twins.get(name, [name])[1:]]
    changes = rows_of(
        table,
        finding="relative_change",
        measure="share_active",
        dataset=dataset,
        attribution=attribution,
    )
    return changes.filter(
        pl.col("retriever").is_in(further),
        pl.col("region").is_not_null(),
        pl.col("estimate").is_not_null(),
    )


def _sweep_lines(changes: pl.DataFrame) -> dict[tuple[str, int], Line]:
    """Normaliser and number of outliers left out: colour and marker, and dashes."""
    excluded_outliers = enumerate(changes["excluded_outliers"].unique().sort())
    names = held_of(changes, "normaliser", list(NORMALISERS))
    return {
        (name, count): dashed(NORMALISERS[name], index)
        for (index, count), name in product(excluded_outliers, names)
    }


def _whole_layers(axes: np.ndarray, layers: pl.Series) -> None:
    """Limits close around the layers, and ticks at whole ones."""
    for ax in axes[-1]:
        ax.set_xlabel("layer")
    numbers = layers.to_list()
    first, last = min(numbers), max(numbers)
    margin = min(0.04 * max(last - first, 1), 0.9)
    for ax in axes.flat:
        ax.set_xlim(first - margin, last + margin)
        ax.xaxis.set_major_locator(MultipleLocator(step_of(last)))


def _ratios(ax: Axes) -> None:
    """A logarithmic scale of plain numbers: sub-layers differ in width."""
    ax.set_yscale("log")
    log_ticks(ax.yaxis, ax.dataLim.y0, ax.dataLim.y1)


def _sweep_line(ax: Axes, rows: pl.DataFrame, line: Line, label: str) -> None:
    """A line over thresholds; hollow where the interval holds no change."""
    curve(ax, rows, "threshold", replace(line, marker=""), label)
    rows = rows.sort("threshold")
    sure = ((pl.col("low") > 0) | (pl.col("high") < 0)).fill_null(False)
    for points, face in ((rows.filter(sure), line.color), (rows.filter(~sure), "white")):
        ax.plot(
            points["threshold"],
            points["estimate"],
            linestyle="none",
            marker=line.marker,
            markersize=3.2,
            markerfacecolor=face,
            markeredgecolor=line.color,
            markeredgewidth=0.7,
            zorder=line.zorder + 0.1,
        )


def _sweep_keys(lines: Mapping[tuple[str, int], Line], ring: bool, twins: bool) -> list[Artist]:
    """Legend entries: of the normalisers, of the outliers, and of what the markers say."""
    names = {name: dashed(line, 0) for (name, _), line in lines.items()}
    outliers = {
        f"{count or 'no'} outlier{'s' * (count > 1)} left out": replace(line, color=GREY, marker="")
        for (_, count), line in lines.items()
    }
    point = {"linestyle": "none", "marker": "o", "markersize": 3.2, "markeredgecolor": GREY}
    keys: list[Artist] = [
        *handles_of(names),
        *handles_of(outliers),
        Line2D([], [], **point, markerfacecolor=GREY, label="interval excludes 0"),
        Line2D([], [], **point, markerfacecolor="white", label="interval holds 0"),
    ]
    if ring:
        keys.append(Line2D([], [], **RING, label=MAPPED))
    if twins:
        keys.append(Line2D([], [], **CROSS, label=BETWEEN))
    return [*keys, interval_key()]


def _percentages(axes: np.ndarray, top: float) -> str:
    """A scale of relative changes up to the greatest one. What is to be said of it."""
    for ax in axes.flat:
        if top > 3:
            ax.set_yscale("symlog", linthresh=1)
            ax.yaxis.set_major_locator(FixedLocator([-1, -0.5, 0, 0.5, 1, 3, 10, 30, 100]))
        ax.yaxis.set_major_formatter(FuncFormatter(_percent))
    return " (log scale beyond +100 %)" if top > 3 else ""


def _percent(share: float, _: int) -> str:
    return f"{100 * share:+.0f} %".replace("-", "−") if round(share, 6) else "0"
