"""How alike the vectors of a retriever and its counterpart are, over layers."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from wellspring.errors import ConfigError
from wellspring.figures import panels
from wellspring.figures.style import (
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
    SIDES,
    Twins,
    about,
    first_draws,
    held_of,
    pairs,
    range_of,
    retrievers_of,
    rows_of,
)


@theme
def similarity(
    table: pl.DataFrame,
    dataset: str,
    twins: Twins = panels.NO_TWINS,
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
    sides = held_of(similarities, "side", SIDES)
    titles = {
        "cka": f"linear CKA with {panels.compared(rows_of(similarities, measure='cka'))}",
        "anisotropy": "anisotropy: mean cosine of two texts",
    }
    measures = held_of(similarities, "measure", list(titles))
    labels = [f"{side} encoder" for side in sides]
    columns = [titles[measure] for measure in measures]
    figure, axes = labelled_grid(labels, columns, 1.6, sharey=True)
    for row, side in zip(axes, sides, strict=True):
        for ax, measure in zip(row, measures, strict=True):
            panel = rows_of(similarities, side=side, measure=measure)
            for name in twins:
                where = {"side": side, "measure": measure, "retriever": name}
                noise_band(ax, rows_of(drawn, **where), "layer")
            for name, line in lines.items():
                panels.draw(ax, rows_of(panel, retriever=name), line, name)
    panels.limits(axes, at_least=(0, 1))
    shown = [name for name in lines if name in set(similarities["retriever"])]
    counted = f"{similarities['samples'].max() or 0:,} texts a side"
    note(figure, [about(dataset, shown, pairs(similarities), counted), *cautions])
    keys = [noise_key(max(map(len, twins.values())))] if twins else []
    handles = handles_of({name: lines[name] for name in shown})
    legend_above(figure, [*handles, interval_key(), *keys])
    return figure


def _between_twins(similarities: pl.DataFrame, twins: Twins) -> pl.DataFrame:
    """Anisotropy of all draws, and CKA of the further draws with the first."""
    return similarities.filter(
        pl.col("compared_with").is_null() | pl.col("compared_with").is_in(list(twins))
    ).filter(
        (pl.col("measure") != "cka")
        | pl.col("retriever").is_in([name for names in twins.values() for name in names[1:]])
    )
