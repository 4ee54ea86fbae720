"""Active neurons in bins: what a heat map shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wellspring.config.vocabulary import Statistic
from wellspring.errors import ConfigError
from wellspring.figures.tables import SUBLAYERS


@dataclass(frozen=True)
class Binned:
    """Neurons of each sub-layer in bins: what one heat map shows.

    Attributes:
        rows: (layer, sub-layer), block by block.
        values: [rows, bins] percentages of texts; NaN where a bin has no neuron.
        active: [rows] how many neurons were active for at least one text.
    """

    rows: tuple[tuple[int, str], ...]
    values: np.ndarray
    active: np.ndarray


def binned(
    counts: pl.DataFrame,
    normaliser: str = "network-max",
    excluded_outliers: int = 0,
    threshold: float = 0.1,
    bins: int = 10,
    statistic: Statistic = "max",
) -> Binned:
    """The greatest (or mean) percentage of texts for which the neurons of a bin are active.

    Neurons keep their order and are shared out evenly: bins differ by one neuron at most, the first
    ones are the larger, and no neuron is dropped.

    Args:
        counts: layer, sublayer, neuron, normaliser, excluded_outliers, threshold, texts, active;
            one encoder's on one side, a row per neuron and setting.

    Raises:
        ConfigError: the counts hold no such setting.
    """
    chosen = _chosen(counts, normaliser, excluded_outliers, threshold)
    order = pl.col("sublayer").replace_strict({name: at for at, name in enumerate(SUBLAYERS)})
    chosen = chosen.sort("layer", order, "neuron").select(
        "layer",
        "sublayer",
        row=pl.struct("layer", "sublayer").rle_id(),
        bin=_bin(pl.int_range(pl.len()), pl.len(), bins).over("layer", "sublayer"),
        percentage=100 * pl.col("active") / pl.col("texts"),
        active=pl.col("active") > 0,
    )
    share = pl.col("percentage")
    tiles = chosen.group_by("row", "bin").agg(share.max() if statistic == "max" else share.mean())
    rows = chosen.group_by("layer", "sublayer", maintain_order=True).agg(pl.sum("active"))
    values = np.full((len(rows), bins), np.nan)
    values[tiles["row"], tiles["bin"]] = tiles["percentage"]
    return Binned(
        tuple(rows.select("layer", "sublayer").iter_rows()), values, rows["active"].to_numpy()
    )


def _bin(place: pl.Expr, count: pl.Expr, bins: int) -> pl.Expr:
    """The bin, counted from 0, of the neuron at a place among `count`."""
    size, larger = count // bins, count % bins
    behind = larger * (size + 1)
    return (
        pl.when(place < behind)
        .then(place // (size + 1))
        .otherwise(larger + (place - behind) // size)
    )


def _chosen(
    counts: pl.DataFrame, normaliser: str, excluded_outliers: int, threshold: float
) -> pl.DataFrame:
    """The counts of one setting."""
    setting = ["normaliser", "excluded_outliers", "threshold"]
    chosen = counts.filter(
        normaliser=normaliser, excluded_outliers=excluded_outliers, threshold=threshold
    )
    if chosen.is_empty():
        settings = counts.select(setting).unique().sort(setting).iter_rows()
        raise ConfigError(
            f"figures: no activations by {normaliser} with {excluded_outliers} left out above "
            f"{threshold:g}; held: "
            f"{'; '.join(f'{name}, {out}, {above:g}' for name, out, above in settings) or 'none'}"
        )
    return chosen


def paired(
    counts: pl.DataFrame, counterpart: pl.DataFrame, names: tuple[str, str], **setting: Any
) -> tuple[Binned, Binned]:
    """The retriever's and the counterpart's bins, with the same rows.

    Raises:
        ConfigError: the counts hold no such setting, or the two differ in their sub-layers.
    """
    ours, theirs = binned(counts, **setting), binned(counterpart, **setting)
    if ours.rows != theirs.rows:
        raise ConfigError(
            f"figures: {names[0]} and {names[1]} have not the same sub-layers, so that their "
            "activations cannot be set side by side"
        )
    return ours, theirs
