"""Accuracy over layers: the published probe and one that may use the query, and two levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wellspring.config import PUBLISHED_PROBE
from wellspring.figures import panels
from wellspring.figures.style import (
    GREY,
    Line,
    handles_of,
    labelled_grid,
    legend_above,
    lines_of,
    noise_band,
    noise_key,
    note,
    runs,
    theme,
)
from wellspring.figures.tables import (
    Twins,
    about,
    first_draws,
    pairs,
    range_of,
    retrievers_of,
    rows_of,
    samples_of,
)

SIGNIFICANT = {"test": "sign-flip max-T", "significant": True}
# Rows of stars: the position of the first; the height of each, and of all at most, as shares.
TOP_ROW, STAR_ROW, ALL_ROWS = 0.97, 0.055, 0.4
STAR = "significant: "
PUBLISHED = "published"
LEXICAL = "lexical"
# In grey, as chance is: colours are the retrievers'.
FLOOR = Line("0.25", (0, (6, 1.5)), "", linewidth=1.1)
TOGETHER = 2
"""So many retrievers have all probes in one panel; more have a row of panels for each probe."""

Looks = Mapping[tuple[str, str], Line]
"""Retriever and probe to their line."""


@theme
def layer_accuracy(
    table: pl.DataFrame,
    dataset: str,
    probes: Sequence[str],
    retrievers: Sequence[str] | None = None,
    published: pl.DataFrame | None = None,
    twins: Twins = panels.NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """Accuracy of probes over layers, a panel per number of passages, a line per retriever.

    Up to two retrievers have all probes in one panel, where the markers of the second probe are
    hollow. More retrievers have a row of panels for each probe. Level lines are chance and the
    lexical floor. Bands are 95 % intervals. A star above a layer, in the retriever's colour, marks
    a significant difference from the retriever that it is compared with; each such retriever and
    probe has a row of stars of its own. `concat` is the probe of figures 1 to 4 of arXiv
    2505.07166.

    Args:
        table: `wellspring.findings.table.build`'s.
        probes: which ones, as far as the table has them over layers.
        retrievers: which ones, all where absent.
        published: dataset, retriever, passages, layer, accuracy (shares): a dotted line in the
            retriever's colour beside `concat`, at whatever layers the published curve has.
        twins: random twins that were drawn several times; hatched, the range of their accuracies.
        cautions: sentences below the panels.

    Raises:
        ConfigError: the table has no such accuracies or no such retriever.
    """
    first = first_draws(table, twins)
    lines = lines_of(retrievers_of(first))
    names = panels.chosen(list(lines), retrievers)
    shown = _shown(table, dataset, probes, names, twins, published)
    what = f"probe {' or '.join(probes)} over layers on dataset {dataset}"
    counts = panels.passages_of(shown.accuracies, what)
    held = [probe for probe in probes if probe in set(shown.accuracies["probe"])]
    rows = [held] if len(names) <= TOGETHER else [[probe] for probe in held]
    labels, height = (held, 1.5) if len(rows) > 1 else ([""], 1.9)
    titles = [f"{count} passages" for count in counts]
    figure, axes = labelled_grid(labels, titles, height, True, narrow=2, scale=panels.SCALE)
    most = 0
    for row, together in zip(axes, rows, strict=True):
        looks = {
            (name, probe): replace(lines[name], hollow=probe != together[0])
            for probe, name in product(together, names)
        }
        starred = shown.starred(looks)
        most = max(most, len(starred))
        for ax, count in zip(row, counts, strict=True):
            _panel(ax, shown.of(count), looks, starred)
    panels.limits(axes, panels.FREE + min(ALL_ROWS, STAR_ROW * most))
    counted = samples_of(shown.accuracies)
    note(figure, [about(dataset, names, pairs(first), counted, probes=held), *cautions])
    present = [name for name in names if name in set(shown.accuracies["retriever"])]
    of_names = {name: names for name, names in twins.items() if name in present}
    legend_above(figure, _keys({name: lines[name] for name in present}, rows[0], shown, of_names))
    return figure


@dataclass(frozen=True)
class _Shown:
    """What a figure shows.

    Attributes:
        accuracies: of the probes over layers, with their chance.
        floor: accuracies of the lexical floor.
        stars: significant differences.
        ranges: over the draws of random twins.
        published: points of published curves.
    """

    accuracies: pl.DataFrame
    floor: pl.DataFrame
    stars: pl.DataFrame
    ranges: pl.DataFrame
    published: pl.DataFrame

    def of(self, passages: int) -> _Shown:
        """What one panel shows."""
        frames = (rows_of(getattr(self, each.name), passages=passages) for each in fields(self))
        return _Shown(*frames)

    def starred(self, keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Which retrievers and probes have a star in some panel."""
        starred = set(self.stars.select("retriever", "probe").iter_rows())
        return [key for key in keys if key in starred]


def _shown(
    table: pl.DataFrame,
    dataset: str,
    probes: Sequence[str],
    names: Sequence[str],
    twins: Twins,
    published: pl.DataFrame | None,
) -> _Shown:
    own, of_probes = pl.col("retriever").is_in(names), pl.col("probe").is_in(probes)
    every = rows_of(table, dataset=dataset, finding="accuracy")
    accuracies = every.filter(own)
    curves = accuracies.filter(of_probes, pl.col("layer").is_not_null())
    differences = rows_of(table, dataset=dataset, finding="difference", measure="difference")
    beside = pl.DataFrame(schema={"retriever": pl.String, "passages": pl.Int64})
    if published is not None and PUBLISHED_PROBE in set(curves["probe"]):
        drawn = pl.col("passages").is_in(curves["passages"].unique().to_list())
        beside = rows_of(published, dataset=dataset).filter(own, drawn)
    return _Shown(
        accuracies=curves,
        floor=rows_of(accuracies, probe=LEXICAL, measure="accuracy"),
        stars=rows_of(differences, **SIGNIFICANT).filter(own, of_probes),
        ranges=range_of(every, twins, "probe", "layer", "passages").filter(own),
        published=beside,
    )


def _panel(ax: Axes, shown: _Shown, looks: Looks, starred: Sequence[tuple[str, str]]) -> None:
    """One number of passages."""
    panels.chance(ax, shown.accuracies)
    if not shown.floor.is_empty():
        value, low, high = shown.floor.select(pl.mean("estimate", "low", "high")).row(0)
        panels.level(ax, value, FLOOR, "lexical floor")
        if low is not None:
            ax.axhspan(low, high, color=FLOOR.color, alpha=0.12, linewidth=0, zorder=1)
    for (name, probe), line in looks.items():
        where = {"retriever": name, "probe": probe, "measure": "accuracy"}
        noise_band(ax, rows_of(shown.ranges, **where), "layer")
        panels.draw(ax, rows_of(shown.accuracies, **where), line, f"{name}, {probe}")
        if probe == PUBLISHED_PROBE:
            _draw_published(ax, rows_of(shown.published, retriever=name), line, name)
    height = min(STAR_ROW, ALL_ROWS / max(1, len(starred)))
    for row, (name, probe) in enumerate(starred):
        at, line = TOP_ROW - height * row, looks[name, probe]
        layers = rows_of(shown.stars, retriever=name, probe=probe)["layer"]
        _stars(ax, layers, at, line, f"{name}, {probe}")
        if len(looks) > 1:
            _name_row(ax, at, line)


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


def _stars(ax: Axes, layers: pl.Series, at: float, line: Line, name: str) -> None:
    """Stars over these layers, at a share of the panel's height."""
    ax.plot(
        layers.to_numpy(),
        np.full(len(layers), at),
        transform=ax.get_xaxis_transform(),
        label=STAR + name,
        marker="*",
        markersize=3.6,
        markeredgewidth=0,
        color=line.color,
        linestyle="none",
    )


def _name_row(ax: Axes, at: float, line: Line) -> None:
    """The line's marker on the axis, before its row of stars: colour alone does not print."""
    looks = line.kwargs() | {"linestyle": "none", "markersize": 3, "zorder": 3}
    ax.plot(0, at, transform=ax.transAxes, clip_on=False, in_layout=False, **looks)


def _keys(
    lines: Mapping[str, Line], probes: Sequence[str], shown: _Shown, twins: Twins
) -> list[Artist]:
    """Legend entries: of the retrievers, of the probes that share a panel, and of the levels."""
    keys = handles_of(lines)
    if len(probes) > 1:
        looks = {probe: Line(GREY, "none", "o", hollow=probe != probes[0]) for probe in probes}
        keys += handles_of(looks)
    if not shown.floor.is_empty():
        keys += handles_of({"lexical floor": FLOOR})
    keys += panels.keys()
    if shown.published.height:
        keys += handles_of({PUBLISHED: Line(GREY, "-", "").published()})
    if shown.stars.height:
        label = f"differs from {panels.compared(shown.stars)}"
        keys.append(Line2D([], [], linestyle="none", marker="*", color=GREY, label=label))
    if twins:
        keys.append(noise_key(max(map(len, twins.values()))))
    return keys
