"""Which queries the measures of a dataset share, and what the table of evidence tells of them."""

from __future__ import annotations

import polars as pl

FEWEST_SHARED = 30
"""Fewer queries in common say less than all that each measure has."""


def apart(table: pl.DataFrame) -> dict[str, int]:
    """Each dataset on which measures of queries have queries of their own, because they share
    fewer than FEWEST_SHARED, to how many they share.

    table: `wellspring.findings.evidence.build`'s.
    """
    own = table.filter(pl.col("control").is_null(), pl.col("unit") == "query")
    counts = own.group_by("dataset", maintain_order=True).agg(
        pl.max("shared_queries"), differ=(pl.col("texts") > pl.col("shared_queries")).any()
    )
    return {dataset: shared for dataset, shared, differ in counts.iter_rows() if differ}
