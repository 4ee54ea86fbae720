"""The ledger of claims on a study's page."""

from __future__ import annotations

import polars as pl

from wellspring.findings.verdicts import NOT_TESTABLE
from wellspring.page.panels import Settings, Tables
from wellspring.page.words import Listing, difference, stop
from wellspring.plurals import counted


def build(tables: Tables, settings: Settings) -> Listing | None:
    """Every claim of the studied documents, and what this study says of it: a row a claim."""
    if "ledger" not in tables:
        return None
    rows = []
    for row in tables["ledger"].iter_rows(named=True):
        ends = row["estimate"], row["low"], row["high"]
        value = "–" if None in ends else difference(*ends)
        told = [row["verdict"], *filter(None, [row["reason"]])]
        where = row["place"] or f"needs {row['design']}"
        named = f"{row['claim']} ({row['source']})"
        rows.append((named, stop(row["statement"]), value, stop(where), stop(": ".join(told))))
    judged = tables["ledger"].filter(pl.col("verdict") != NOT_TESTABLE).height
    return Listing(
        f"{judged} of {counted(len(rows), 'claim')} could be judged",
        ("claim", "says", "measured", "where", "verdict"),
        tuple(rows),
        sources=settings.sources("ledger", "estimate", "low", "high", "verdict", "reason"),
    )
