"""Which samples are hard for the probes of a job."""

from __future__ import annotations

import polars as pl

from wellspring.config import LAYERLESS
from wellspring.randomness import key

CONTROLS = "^(random-label|shuffled-query)"
"""Probes that read random targets or another sample's query: hard for them says nothing."""


def hardest(outcomes: pl.DataFrame, seed: int, *ids: str) -> pl.DataFrame:
    """The samples by the credit that they earn the probes, the least first; ties in random order.

    `CONTROLS` and what reads no vectors are left out.

    Args:
        outcomes: probe, seed, sample_id, correct; of one probe job.
        seed: of the order of ties; ids: what names the job for it.

    Returns:
        sample_id, outcomes (their number), correct (credit, mean over the means of each probe over
        seeds).
    """
    layerless = pl.col("probe").is_in(LAYERLESS)
    # Sums in one order, so that the order of rows parts no ties.
    shares = (
        outcomes.filter(~pl.col("probe").str.contains(CONTROLS) & ~layerless)
        .group_by("sample_id", "probe")
        .agg(pl.len().alias("outcomes"), pl.col("correct").cast(pl.Float64).sort().mean())
        .group_by("sample_id")
        .agg(pl.col("outcomes").sum(), pl.col("correct").sort().mean())
    )
    ties = pl.Series("tie", [key(seed, *ids, each) for each in shares["sample_id"]], pl.UInt64)
    return shares.with_columns(ties).sort("correct", "tie", "sample_id").drop("tie")
