"""A study's cautions as lines below a figure."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

SHOWN = 4
"""Cautions that stand below a figure."""
FIRST = ("few-questions", "few-texts")
"""Cautions that always do."""


def sentences(
    table: pl.DataFrame,
    dataset: str,
    retrievers: Sequence[str] | None,
    attributions: Sequence[str] | None = (),
    side: str | None = None,
) -> list[str]:
    """A study's cautions on a dataset, a line each, for below a figure.

    Args:
        table: `wellspring.findings.cautions.gathered`'s.
        retrievers, attributions, side: what the figure shows; None: all of them. Cautions that name
            no retriever, attribution or side hold for each.
    """
    shown = {
        "dataset": [dataset],
        "retriever": retrievers,
        "attribution": attributions,
        "side": None if side is None else [side],
    }
    chosen = table.filter(
        [
            pl.col(column).is_null() | pl.col(column).is_in(list(names))
            for column, names in shown.items()
            if names is not None
        ]
    )
    # One of each kind comes before the second of any. What concerns the drawn scores and retrievers
    # comes before what concerns the dataset.
    chosen = chosen.sort(
        ~pl.col("caution").is_in(FIRST),
        pl.int_range(pl.len()).over("caution"),
        pl.col("attribution").is_null(),
        pl.col("retriever").is_null(),
        maintain_order=True,
    )
    subject = pl.concat_str(
        pl.lit(None, pl.String) if retrievers and len(retrievers) == 1 else pl.col("retriever"),
        pl.format("{} side", "side"),
        separator=", ",
        ignore_nulls=True,
    )
    where = pl.when(subject == "").then(pl.lit("")).otherwise(pl.format(" ({})", subject))
    lines = chosen.select(pl.format("caution{}: {}", where, "sentence")).to_series().to_list()
    more = len(lines) - SHOWN
    rest = f"{more} more caution{'s' * (more > 1)}: findings/cautions.csv"
    return lines[:SHOWN] + ([rest] if more > 0 else [])
