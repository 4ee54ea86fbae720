"""Which scores predict what removing a neuron does: each attribution against the measured truth."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wellspring.errors import ConfigError
from wellspring.figures import correlations
from wellspring.figures.style import interval_key, labelled_grid, legend_above, note, theme
from wellspring.figures.tables import (
    held_of,
    of_attribution,
    pairs,
    places_of,
    rows_of,
    with_shifted,
)

EFFECTS = {
    "change": "change of the vector\n(|score|)",
    "margin_change": "change of the margin\n(|score|)",
    "length_change": "change of the length\n(|score|)",
    "length_change-signed": "loss of length\n(signed score)",
}
"""What removal changes, and which scores are correlated with it."""
SHIFTED = "with another text's effects"


@theme
def fidelity(
    table: pl.DataFrame, dataset: str, retriever: str, cautions: Sequence[str] = ()
) -> Figure:
    """Rank correlation of every attribution's scores with what removing neurons does.

    A row per side and sub-layer, a column per effect, a point with its 95 % interval for each
    attribution: the mean over the measured layers. A short bar is the correlation with another
    text's effects. Full markers are the retriever's, hollow ones its counterpart's.

    Args:
        table: `wellspring.findings.decentralisation.build`'s.
        cautions: sentences below the panels.

    Raises:
        ConfigError: the table holds no such correlations of the retriever.
    """
    findings = rows_of(table, dataset=dataset, finding="fidelity", region="all")
    names = [retriever, *filter(None, [pairs(table).get(retriever)])]
    findings = findings.filter(pl.col("retriever").is_in(names), pl.col("estimate").is_not_null())
    if rows_of(findings, retriever=retriever).is_empty():
        raise ConfigError(
            f"figures: the findings hold no removal of retriever {retriever} on dataset {dataset}: "
            "set study.attribute.removal"
        )
    index = ["retriever", "side", "sublayer", "other", "attribution"]
    rows = with_shifted(findings, index).rename({"attribution": "with"})
    effects, places = held_of(rows, "other", list(EFFECTS)), places_of(rows)
    others = rows["with"].unique().sort().to_list()
    labels = [f"{side}\n{sublayer}" for side, sublayer in places]
    titles = [EFFECTS[effect] for effect in effects]
    figure, axes = labelled_grid(labels, titles, max(1.2, 0.2 + 0.3 * len(others)))
    width = 0.75 * figure.get_figwidth() / len(effects)
    for line, (side, sublayer) in zip(axes, places, strict=True):
        for ax, effect in zip(line, effects, strict=True):
            here = rows_of(rows, side=side, sublayer=sublayer, other=effect)
            correlations.points(ax, here, others, names, width)
    correlations.scales(axes, rows, others)
    for ax in axes[-1]:
        ax.set_xlabel("rank correlation")
    note(figure, [of_attribution(findings, dataset, names, pairs(table)), *cautions])
    shown = [name for name in names if name in set(rows["retriever"])]
    keys = [correlations.key(name, number) for number, name in enumerate(shown)]
    keys.append(Line2D([], [], label=SHIFTED, **correlations.SHIFT))
    legend_above(figure, [*keys, interval_key()])
    return figure
