"""How the samples of a probe job came out."""

from __future__ import annotations

import polars as pl

from wellspring.config import LAYERLESS

RANDOM = "^(random-label|shuffled-query)"
"""Controls that read random targets or another sample's query: hard for them says nothing."""


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


def hardest(outcomes: pl.DataFrame, count: int) -> pl.DataFrame:
    """The samples that earn the probes the least credit, at most `count` of them.

    Columns: sample_id, outcomes, correct (credit, mean over the means of each probe over seeds).
    `RANDOM` controls and what reads no vectors are left out, as on a study's page.
    """
    layerless = pl.col("probe").is_in(LAYERLESS)
    return (
        outcomes.filter(~pl.col("probe").str.contains(RANDOM) & ~layerless)
        .group_by("sample_id", "probe")
        .agg(pl.len().alias("outcomes"), pl.col("correct").cast(pl.Float64).mean())
        .group_by("sample_id")
        .agg(pl.col("outcomes").sum(), pl.col("correct").mean())
        .sort("correct", "sample_id")
        .head(count)
    )
