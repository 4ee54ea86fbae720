"""Every probe of a retriever and of its counterpart on one scale."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from wellspring.figures import panels
from wellspring.figures.style import PROBES, handles_of, labelled_grid, legend_above, note, theme
from wellspring.figures.tables import Twins, about, first_draws, pairs, rows_of, samples_of


@theme
def controls(
    table: pl.DataFrame,
    dataset: str,
    retriever: str,
    twins: Twins = panels.NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """Every probe of a retriever on one scale: does the published one measure the query at all?

    A row for the retriever and one for what it is compared with, a panel per number of passages,
    a line per probe; lexical scorers have no layers and are level lines.

    Raises:
        ConfigError: the table has no accuracies of the retriever on the dataset.
    """
    table = first_draws(table, twins)
    others = pairs(table)
    names = [name for name in (retriever, others.get(retriever)) if name is not None]
    accuracies = rows_of(table, finding="accuracy", dataset=dataset)
    accuracies = accuracies.filter(pl.col("retriever").is_in(names))
    own = rows_of(accuracies, retriever=retriever)
    counts = panels.passages_of(own, f"retriever {retriever} on {dataset}")
    lines = {name: line for name, line in PROBES.items() if name in set(accuracies["probe"])}
    titles = [f"{count} passages" for count in counts]
    figure, axes = labelled_grid(names, titles, 1.6, True, scale=panels.SCALE)
    for row, name in zip(axes, names, strict=True):
        for ax, count in zip(row, counts, strict=True):
            panel = rows_of(accuracies, retriever=name, passages=count)
            panels.chance(ax, panel)
            for probe, line in lines.items():
                panels.draw(ax, rows_of(panel, probe=probe, measure="accuracy"), line, probe)
    panels.limits(axes)
    note(figure, [about(dataset, names, others, samples_of(accuracies)), *cautions])
    legend_above(figure, [*handles_of(lines), *panels.keys()], 4)
    return figure
