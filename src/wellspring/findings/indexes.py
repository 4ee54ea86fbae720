"""A study's table of approximate indexes: quality, what exact search finds more, bytes and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from wellspring import intervals

SCHEMA = {
    "dataset": pl.String,
    "retriever": pl.String,
    "layer": pl.Int64,
    "index": pl.String,
    "setting": pl.String,
    "depth": pl.Int64,
    "measure": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "queries": pl.Int64,
    "bytes": pl.Int64,
    "documents": pl.Int64,
    "hidden": pl.Int64,
    "milliseconds": pl.Float64,
    "slow_milliseconds": pl.Float64,
    "build_seconds": pl.Float64,
}
TRIED = ["index", "setting", "depth"]
TIMES = ["milliseconds", "slow_milliseconds", "build_seconds"]


def compare(
    where: Mapping[str, Any], values: pl.DataFrame, times: pl.DataFrame, measures: Sequence[str]
) -> pl.DataFrame:
    """The indexes of one retriever on one dataset, the columns of SCHEMA.

    where: dataset and retriever. values: layer, index, setting, depth, bytes, documents, hidden,
    measure, query_id, cluster, value; the first index is the exact one. times: TRIED and TIMES.
    measures: those that stand first, in this order; recall follows. Intervals are those of
    `wellspring.intervals` over clusters, which are distinct texts.
    """
    held = values["measure"].unique(maintain_order=True).to_list()
    tables = [
        _of_measure(values.filter(measure=measure))
        for measure in (*measures, *(name for name in held if name not in measures))
    ]
    found = pl.concat(tables).join(
        times, on=TRIED, how="left", nulls_equal=True, maintain_order="left"
    )
    named = found.with_columns(pl.lit(value).alias(name) for name, value in where.items())
    columns = [pl.col(name).cast(kind) for name, kind in SCHEMA.items()]
    return named.select(columns).with_columns(pl.col(pl.Float64).fill_nan(None))


def _of_measure(rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each setting of each index."""
    keys = ["layer", *TRIED, "measure", "bytes", "documents", "hidden"]
    settings = rows.select(keys).unique(maintain_order=True).with_row_index("place")
    placed = rows.join(settings, on=keys, nulls_equal=True)
    wide = placed.pivot("place", index=["query_id", "cluster"], values="value").sort("query_id")
    matrix, clusters = wide.select(map(str, settings["place"])).to_numpy(), wide["cluster"]
    mean, lost = (
        intervals.interval(intervals.mean(*intervals.clustered(each, clusters.to_numpy())), low, 1)
        for each, low in ((matrix, 0), (matrix[:, 1:] - matrix[:, :1], -1))
    )
    exact = [np.nan]
    return settings.drop("place").with_columns(
        **{name: pl.Series(getattr(mean, name)) for name in ("estimate", "low", "high")},
        difference=np.concatenate([exact, lost.estimate]),
        difference_low=np.concatenate([exact, lost.low]),
        difference_high=np.concatenate([exact, lost.high]),
        queries=pl.lit(clusters.n_unique()),
    )
