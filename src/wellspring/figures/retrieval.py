"""What a search of the whole corpus finds at every layer, beside words, fusion and terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from matplotlib.figure import Figure

from wellspring.errors import ConfigError
from wellspring.figures import panels
from wellspring.figures.style import (
    Line,
    handles_of,
    interval_key,
    labelled_grid,
    legend_above,
    lines_of,
    noise_band,
    noise_key,
    note,
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
)

PANELS = 4
"""So many measures stand beside each other."""
FLOOR = Line("0.25", (0, (6, 1.5)), "", linewidth=1.1)
FUSED = Line("0.25", "-", "").published()
TERMS = Line("0.25", (0, (5, 1, 1, 1)), "", linewidth=1.1)


@theme
def layer_retrieval(
    table: pl.DataFrame,
    dataset: str,
    twins: Twins = panels.NO_TWINS,
    cautions: Sequence[str] = (),
) -> Figure:
    """Measures of retrieval over layers, a panel each, a line per retriever.

    Level lines are the best lexical scorer, in grey, and in the retriever's colour its fusion with
    the last layer, dotted, and the terms of a sparse retriever, dashed and dotted. Bands are 95 %
    intervals over queries. Hatched: the range over random twins that were drawn several times.

    table: `wellspring.findings.retrieval.compare`'s. The first four measures are drawn.

    Raises:
        ConfigError: the table has no search of the dataset.
    """
    values = rows_of(table, finding="value", dataset=dataset)
    searched = rows_of(values, ranker="vectors")
    if searched.is_empty():
        raise ConfigError(f"figures: the findings hold no search of dataset {dataset}")
    drawn = range_of(searched, twins, "layer")
    first = first_draws(searched, twins)
    compared = rows_of(table, dataset=dataset, ranker="vectors")
    lines = lines_of(retrievers_of(first_draws(compared, twins)))
    measures = searched["measure"].unique(maintain_order=True).to_list()[:PANELS]
    figure, axes = labelled_grid([""], measures, 1.9, narrow=2, scale="value")
    words = rows_of(values, ranker="lexical").filter(pl.col("chosen").is_not_null())
    for ax, measure in zip(axes[0], measures, strict=True):
        for name in twins:
            noise_band(ax, rows_of(drawn, measure=measure, retriever=name), "layer")
        for name, line in lines.items():
            panels.draw(ax, rows_of(first, measure=measure, retriever=name), line, name)
            fused = rows_of(values, ranker="fusion", measure=measure, retriever=name)
            panels.draw(ax, fused, line.published(), f"{name}, fused")
            terms = rows_of(values, ranker="terms", measure=measure, retriever=name)
            panels.draw(ax, terms, replace(TERMS, color=line.color), f"{name}, terms")
        panels.draw(ax, rows_of(words, measure=measure), FLOOR, "the best lexical scorer")
    panels.limits(axes, at_least=(0, 0))
    counted = f"{searched['queries'].max() or 0:,} queries"
    note(figure, [about(dataset, list(lines), pairs(compared), counted), *cautions])
    keys = {**lines, "best lexical scorer": FLOOR, "last layer fused with it": FUSED}
    if not rows_of(values, ranker="terms").is_empty():
        keys["terms"] = TERMS
    noise = [noise_key(max(map(len, twins.values())))] if twins else []
    legend_above(figure, [*handles_of(keys), interval_key(), *noise])
    return figure
