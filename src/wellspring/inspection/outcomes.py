"""How the samples of a probe job came out."""

from __future__ import annotations

import polars as pl


def accuracies(outcomes: pl.DataFrame) -> pl.DataFrame:
    """A row for each probe, in the order of the file, with means over seeds.

    outcomes: `ProbeOutcomes`. Columns: probe, seeds, outcomes, accuracy, chance, above_chance.
    """
    seeds = outcomes.group_by("probe", "seed", maintain_order=True).agg(
        pl.len().alias("outcomes"),
        pl.col("correct").cast(pl.Float64).mean().alias("accuracy"),
        pl.col("chance").cast(pl.Float64).mean(),
    )
    above = (pl.col("accuracy") - pl.col("chance")) / (1 - pl.col("chance"))
    return (
        seeds.with_columns(above_chance=above)
        .group_by("probe", maintain_order=True)
        .agg(
            pl.len().alias("seeds"),
            pl.col("outcomes").sum(),
            pl.col("accuracy", "chance", "above_chance").mean(),
        )
    )
