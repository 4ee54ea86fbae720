"""A study's cautions as lines below a figure."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

SHOWN = 4
"""Cautions that stand below a figure."""


def sentences(
    table: pl.DataFrame,
    dataset: str,
    attribution: str | None = None,
    retrievers: Sequence[str] = (),
    side: str | None = None,
) -> list[str]:
    """A study's cautions on a dataset, a line each, for below a figure.

    table: `wellspring.findings.cautions.gathered`'s. attribution, retrievers, side: what a figure
    of attributions shows; without an attribution, or a side, all of them.
    """
    # A caution without a dataset or an attribution holds on all.
    table = table.filter(pl.col("dataset").is_null() | (pl.col("dataset") == dataset))
    about = pl.col("attribution")
    if not retrievers:
        chosen = table.filter(about.is_null())
    else:
        whose = pl.col("retriever")
        chosen = table.filter(whose.is_null() | whose.is_in(list(retrievers)))
        if attribution is not None:
            chosen = chosen.filter(about.is_null() | (about == attribution))
        if side is not None:
            chosen = chosen.filter(pl.col("side").is_null() | (pl.col("side") == side))
        # What concerns the drawn scores comes first.
        chosen = chosen.sort(about.is_null(), maintain_order=True)
    named = len(retrievers) > 1
    subject = pl.concat_str(
        pl.col("retriever") if named else pl.lit(None, pl.String),
        pl.format("{} side", "side"),
        separator=", ",
        ignore_nulls=True,
    )
    where = pl.when(subject == "").then(pl.lit("")).otherwise(pl.format(" ({})", subject))
    lines = chosen.select(pl.format("caution{}: {}", where, "sentence")).to_series().to_list()
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"{more} more cautions: findings/cautions.csv"] if more > 0 else [])
