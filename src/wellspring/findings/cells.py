"""Numbers of the same texts side by side: what every finding about attributions starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from wellspring.errors import StaleArtefact

Region = Literal["all", "early", "late"]


@dataclass(frozen=True)
class Cells:
    """Numbers of the same texts.

    Attributes:
        texts: [n] ids, sorted.
        keys: C rows, what the cells are; sorted.
        values: [n, C]; NaN where a text has none.
    """

    texts: np.ndarray
    keys: pl.DataFrame
    values: np.ndarray


def cells_of(rows: pl.DataFrame, keys: tuple[str, ...], name: str) -> Cells:
    """Rows with text_id, value and keys, as a matrix."""
    texts = rows["text_id"].cast(pl.String).unique().sort()
    numbers = pl.col("text_id").cast(pl.String).cast(pl.Enum(texts)).to_physical()
    value = pl.col("value").cast(pl.Float64).fill_null(np.nan)
    grouped = rows.select(*keys, value, text=numbers.cast(pl.Int64))
    grouped = grouped.group_by(keys).agg("text", "value").sort(keys)
    cell = np.repeat(np.arange(grouped.height), grouped["text"].list.len().to_numpy())
    flat = grouped["text"].explode().to_numpy() * grouped.height + cell
    values = np.full(len(texts) * grouped.height, np.nan)
    values[flat] = grouped["value"].explode().to_numpy()
    taken = np.zeros(values.size, dtype=bool)
    taken[flat] = True
    if taken.sum() < flat.size:
        raise StaleArtefact(
            f"{name}: a text comes twice in one cell; run the step that wrote it again"
        )
    return Cells(texts.to_numpy(), grouped.select(keys), values.reshape(len(texts), -1))


def averaged(cells: Cells, dropped: str) -> Cells:
    """Means over the cells that differ in the key `dropped` alone.

    A text that lacks one of them has no mean: what is averaged must not differ between texts.
    """
    keys = [name for name in cells.keys.columns if name != dropped]
    grouped = cells.keys.with_row_index("cell").group_by(keys).agg(pl.col("cell").sort()).sort(keys)
    means = [cells.values[:, columns].mean(1) for columns in grouped["cell"].to_list()]
    values = np.stack(means, 1) if means else cells.values[:, :0]
    return Cells(cells.texts, grouped.select(keys), values)


def with_regions(cells: Cells, depth: int) -> Cells:
    """The cells, and beside each layer's those of all, of early and of late layers."""
    layer = cells.keys["layer"]
    halves: dict[Region, pl.Series] = {
        "all": layer >= 1,
        "early": layer <= depth // 2,
        "late": layer > depth // 2,
    }
    keys, values = [cells.keys.with_columns(region=pl.lit(None, pl.String))], [cells.values]
    for region, within in halves.items():
        part = Cells(cells.texts, cells.keys.filter(within), cells.values[:, within.to_numpy()])
        mean = averaged(part, "layer")
        nowhere = pl.lit(None, pl.Int64)
        keys.append(mean.keys.with_columns(layer=nowhere, region=pl.lit(region)))
        values.append(mean.values)
    keys = [part.select(*cells.keys.columns, "region") for part in keys]
    return Cells(cells.texts, pl.concat(keys, how="vertical_relaxed"), np.concatenate(values, 1))


def common(a: Cells, b: Cells, name: str) -> tuple[Cells, Cells]:
    """Both on the texts and the cells that they share."""
    texts, rows_a, rows_b = np.intersect1d(a.texts, b.texts, return_indices=True)
    if not texts.size:
        raise StaleArtefact(f"{name} have no text in common; attribute the same texts of both")
    indexed = b.keys.with_row_index("second")
    shared = a.keys.with_row_index("first").join(indexed, on=a.keys.columns, nulls_equal=True)
    shared = shared.sort("first")
    keys = shared.select(a.keys.columns)
    first, second = shared["first"].to_numpy(), shared["second"].to_numpy()
    return (
        Cells(texts, keys, a.values[np.ix_(rows_a, first)]),
        Cells(texts, keys, b.values[np.ix_(rows_b, second)]),
    )
