"""Accuracy over layers, the probe against its controls, and similarity over layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator
from matplotlib.transforms import Bbox

from wellspring.errors import ConfigError
from wellspring.figures.style import (
    DOUBLE_COLUMN,
    GREY,
    PROBES,
    SINGLE_COLUMN,
    Line,
    curve,
    handles_of,
    interval_key,
    legend_above,
    lines_of,
    noise_band,
    noise_key,
    note,
    runs,
    step_of,
    theme,
)
from wellspring.figures.tables import (
    Twins,
    counted,
    first_draws,
    pairs,
    range_of,
    retrievers_of,
    rows_of,
)

SIGNIFICANT = {"test": "sign-flip max-T", "significant": True}
# Rows of stars: the position of the first and the height of each, as shares of the panel.
TOP_ROW, STAR_ROW = 0.97, 0.055
STAR = "significant: "
PUBLISHED = "published"
NO_TWINS: Twins = {}


@theme
def layer_accuracy(
    table: pl.DataFrame,
    dataset: str,
    probe: str,
    retrievers: Sequence[str] | None = None,
    published: pl.DataFrame | None = None,
    twins: Twins = NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """Accuracy of one probe over layers, a panel per number of passages, a line per retriever.

    As figures 1 to 4 of arXiv 2505.07166. Bands are 95 % intervals. A star above a layer, in the
    retriever's colour, marks a significant difference from the retriever that it is compared
    with; each such retriever has a row of stars of its own.

    Args:
        table: `wellspring.findings.table.build`'s.
        retrievers: which ones, all where absent.
        published: dataset, retriever, passages, layer, accuracy (shares): a dotted line in the
            retriever's colour, at whatever layers the published curve has.
        twins: random twins that were drawn several times; hatched, the range of their accuracies.
        cautions: sentences below the panels.

    Raises:
        ConfigError: the table has no such accuracies or no such retriever.
    """
    drawn = range_of(rows_of(table, finding="accuracy", probe=probe), twins, "layer", "passages")
    table = first_draws(table, twins)
    lines = lines_of(retrievers_of(table))
    chosen = _chosen(list(lines), retrievers)
    here = {"dataset": dataset, "probe": probe}
    accuracies = rows_of(table, finding="accuracy", **here)
    accuracies = accuracies.filter(pl.col("retriever").is_in(chosen), pl.col("layer").is_not_null())
    counts = _passages(accuracies, f"probe {probe} over layers on dataset {dataset}")
    stars = rows_of(table, finding="difference", measure="difference", **here, **SIGNIFICANT)
    stars = stars.filter(pl.col("retriever").is_in(chosen))
    starred = [name for name in chosen if name in set(stars["retriever"])]
    overlay = _overlay(published, dataset, chosen, counts)
    figure, axes = _grid(1, len(counts))
    for ax, passages in zip(axes[0], counts, strict=True):
        panel = accuracies.filter(pl.col("passages") == passages)
        ax.set_title(f"{passages} passages")
        _chance(ax, panel)
        for name in chosen:
            where = {"retriever": name, "measure": "accuracy"}
            noise_band(ax, rows_of(drawn, dataset=dataset, passages=passages, **where), "layer")
            _draw(ax, rows_of(panel, **where), lines[name], name)
            _draw_published(
                ax, rows_of(overlay, retriever=name, passages=passages), lines[name], name
            )
        for row, name in enumerate(starred):
            where = rows_of(stars, retriever=name, passages=passages)["layer"]
            _stars(ax, where, row, lines[name], name)
            if len(starred) > 1:
                _name_row(ax, row, lines[name])
    _limits(axes, rows_of_stars=len(starred))
    axes[0, 0].set_ylabel("accuracy")
    handles = handles_of(
        {name: lines[name] for name in chosen if name in set(accuracies["retriever"])}
    )
    if not overlay.is_empty():
        handles += handles_of({PUBLISHED: Line(GREY, "-", "").published()})
    of_chosen = {name: names for name, names in twins.items() if name in chosen}
    note(figure, [f"dataset {dataset}, probe {probe}{counted(accuracies)}", *cautions])
    legend_above(figure, [*handles, *_keys(_compared(stars), bool(starred), of_chosen)])
    return figure


@theme
def controls(
    table: pl.DataFrame,
    dataset: str,
    retriever: str,
    twins: Twins = NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """Every probe of a retriever on one scale: does the published one measure the query at all?

    A row for the retriever and one for what it is compared with, a panel per number of passages,
    a line per probe; lexical scorers have no layers and are level lines.

    Raises:
        ConfigError: the table has no accuracies of the retriever on the dataset.
    """
    table = first_draws(table, twins)
    other = pairs(table).get(retriever)
    names = [name for name in (retriever, other) if name is not None]
    accuracies = rows_of(table, finding="accuracy", dataset=dataset)
    accuracies = accuracies.filter(pl.col("retriever").is_in(names))
    counts = _passages(
        accuracies.filter(pl.col("retriever") == retriever), f"retriever {retriever} on {dataset}"
    )
    lines = {name: line for name, line in PROBES.items() if name in set(accuracies["probe"])}
    figure, axes = _grid(len(names), len(counts))
    for row, name in enumerate(names):
        for ax, passages in zip(axes[row], counts, strict=True):
            panel = rows_of(accuracies, retriever=name, passages=passages)
            _chance(ax, panel)
            for probe, line in lines.items():
                _draw(ax, rows_of(panel, probe=probe, measure="accuracy"), line, probe)
        axes[row, 0].set_ylabel("accuracy")
        axes[row, -1].annotate(
            name, (1.03, 0.5), xycoords="axes fraction", rotation=-90, va="center", weight="bold"
        )
    for ax, passages in zip(axes[0], counts, strict=True):
        ax.set_title(f"{passages} passages")
    _limits(axes)
    note(figure, [f"dataset {dataset}{counted(accuracies)}", *cautions])
    legend_above(figure, [*handles_of(lines), *_keys()], 4)
    return figure


@theme
def similarity(
    table: pl.DataFrame,
    dataset: str,
    twins: Twins = NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """Linear CKA with the retriever compared with, and anisotropy, over layers; a row per side.

    Hatched, where random twins were drawn several times: the range of the CKA between two of them,
    and of their anisotropy.

    Raises:
        ConfigError: the table has no similarities on the dataset.
    """
    similarities = rows_of(table, finding="similarity", dataset=dataset)
    drawn = range_of(_between_twins(similarities, twins), twins, "side", "layer")
    similarities, table = first_draws(similarities, twins), first_draws(table, twins)
    if similarities["estimate"].count() == 0:
        raise ConfigError(f"figures: the findings hold no similarity on dataset {dataset}")
    lines = lines_of(retrievers_of(table))
    sides = [side for side in ("query", "passage") if side in set(similarities["side"])]
    others = _compared(rows_of(similarities, measure="cka"))
    titles = {
        "cka": f"linear CKA with {others}",
        "anisotropy": "anisotropy: mean cosine of two texts",
    }
    measures = [name for name in titles if name in set(similarities["measure"])]
    figure, axes = _grid(len(sides), len(measures))
    for row, side in enumerate(sides):
        for ax, measure in zip(axes[row], measures, strict=True):
            panel = rows_of(similarities, side=side, measure=measure)
            for name in twins:
                where = {"side": side, "measure": measure, "retriever": name}
                noise_band(ax, rows_of(drawn, **where), "layer")
            for name, line in lines.items():
                _draw(ax, rows_of(panel, retriever=name), line, name)
            if row == 0:
                ax.set_title(titles[measure])
        axes[row, 0].set_ylabel(f"{side} encoder")
    _limits(axes, at_least=(0, 1))
    shown = {name: line for name, line in lines.items() if name in set(similarities["retriever"])}
    note(
        figure,
        [f"dataset {dataset}; {similarities['samples'].max() or 0:,} texts a side", *cautions],
    )
    keys = [noise_key(max(map(len, twins.values())))] if twins else []
    legend_above(figure, [*handles_of(shown), interval_key(), *keys])
    return figure


def _between_twins(similarities: pl.DataFrame, twins: Twins) -> pl.DataFrame:
    """Anisotropy of all draws, and CKA of the further draws with the first."""
    return similarities.filter(
        pl.col("compared_with").is_null() | pl.col("compared_with").is_in(list(twins))
    ).filter(
        (pl.col("measure") != "cka")
        | pl.col("retriever").is_in([name for names in twins.values() for name in names[1:]])
    )


def _chosen(names: Sequence[str], retrievers: Sequence[str] | None) -> list[str]:
    """The names of these retrievers, in their own order; all names where none are given."""
    for name in retrievers or ():
        if name not in names:
            raise ConfigError(
                f"figures: the findings hold no retriever {name}; they hold {', '.join(names)}"
            )
    return [name for name in names if retrievers is None or name in retrievers]


def _overlay(
    published: pl.DataFrame | None, dataset: str, retrievers: Sequence[str], counts: Sequence[int]
) -> pl.DataFrame:
    """The published points that belong into these panels, for these retrievers."""
    if published is None:
        return pl.DataFrame(schema={"retriever": pl.String, "passages": pl.Int64})
    beside = pl.col("retriever").is_in(retrievers) & pl.col("passages").is_in(counts)
    return rows_of(published, dataset=dataset).filter(beside)


def _compared(rows: pl.DataFrame) -> str:
    """The name of the retriever that others are compared with; a phrase where there are several."""
    others = rows["compared_with"].drop_nulls().unique().to_list()
    return others[0] if len(others) == 1 else "its counterpart"


def _passages(accuracies: pl.DataFrame, what: str) -> list[int]:
    if accuracies.is_empty():
        raise ConfigError(f"figures: the findings hold no accuracy of {what}")
    return accuracies["passages"].unique().sort().to_list()


def _grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Panels [rows, columns] on a page's width, or a column's where there is one panel a row."""
    width = SINGLE_COLUMN if columns == 1 else DOUBLE_COLUMN
    figure = Figure(figsize=(width, 0.45 + 1.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes[-1]:
        ax.set_xlabel("layer")
    sns.despine(fig=figure)
    return figure, axes


def _draw(ax: Axes, rows: pl.DataFrame, line: Line, label: str) -> None:
    """A line over layers with its band; a level line where the rows have no layer."""
    if rows.is_empty():
        return
    if rows["layer"].null_count():
        level = rows["estimate"][0]
        ax.axhline(level, label=label, color=line.color, linestyle=line.linestyle, lw=1.2)
        return
    curve(ax, rows, "layer", line, label)


def _draw_published(ax: Axes, points: pl.DataFrame, line: Line, name: str) -> None:
    """The published curve of a retriever, where it has one."""
    if not points.is_empty():
        layers, accuracy = (
            points.sort("layer")[column].cast(pl.Float64).to_numpy()
            for column in ("layer", "accuracy")
        )
        ends = [part.stop for part in runs(layers)[:-1]]
        layers, accuracy = (np.insert(values, ends, np.nan) for values in (layers, accuracy))
        ax.plot(layers, accuracy, label=f"{PUBLISHED}: {name}", **line.published().kwargs())


def _chance(ax: Axes, panel: pl.DataFrame) -> None:
    """A line at the mean chance of the panel, which repeated candidates move off 1 / N."""
    level = rows_of(panel, measure="chance").select(pl.mean("estimate")).item()
    ax.axhline(level, label="chance", color=GREY, linestyle=(0, (1, 2)), linewidth=1)


def _stars(ax: Axes, layers: pl.Series, row: int, line: Line, name: str) -> None:
    """Stars over these layers, in the row-th row from the top."""
    ax.plot(
        layers.to_numpy(),
        np.full(len(layers), TOP_ROW - STAR_ROW * row),
        transform=ax.get_xaxis_transform(),
        label=STAR + name,
        marker="*",
        markersize=3.6,
        markeredgewidth=0,
        color=line.color,
        linestyle="none",
    )


def _name_row(ax: Axes, row: int, line: Line) -> None:
    """The line's marker on the axis, before its row of stars: colour alone does not print."""
    ax.plot(
        0,
        TOP_ROW - STAR_ROW * row,
        transform=ax.transAxes,
        marker=line.marker,
        markersize=3,
        markeredgewidth=0,
        color=line.color,
        clip_on=False,
        in_layout=False,
        zorder=3,
    )


def _limits(
    axes: np.ndarray, rows_of_stars: int = 0, at_least: tuple[float, float] | None = None
) -> None:
    """Limits shared by all panels, close around the data, with room for stars; whole layers."""
    drawn = [ax.dataLim for ax in axes.flat if np.isfinite(ax.dataLim.bounds).all()]
    data = Bbox.union(drawn)
    low, high = data.y0, data.y1
    if at_least is not None:
        low, high = min(low, at_least[0]), max(high, at_least[1])
    span = max(high - low, 0.02) / (0.92 - STAR_ROW * rows_of_stars)
    margin = 0.04 * max(data.width, 1)
    for ax in axes.flat:
        ax.set_ylim(low - 0.04 * span, low + 0.96 * span)
        ax.set_xlim(data.x0 - margin, data.x1 + margin)
        ax.xaxis.set_major_locator(MultipleLocator(step_of(round(data.width))))


def _keys(compared: str = "", stars: bool = False, twins: Twins = NO_TWINS) -> list[Artist]:
    """Legend entries of what every panel of accuracies shares."""
    keys: list[Artist] = [
        Line2D([], [], color=GREY, linestyle=(0, (1, 2)), linewidth=1, label="chance"),
        interval_key(),
    ]
    if stars:
        label = f"differs from {compared}"
        keys.append(Line2D([], [], linestyle="none", marker="*", color=GREY, label=label))
    if twins:
        keys.append(noise_key(max(map(len, twins.values()))))
    return keys
