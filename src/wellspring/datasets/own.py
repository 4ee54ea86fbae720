"""Queries that are documents of the corpus themselves, as where queries are taken from it."""

from __future__ import annotations

import polars as pl

from wellspring.datasets.negatives import normal


def own(texts: pl.DataFrame) -> pl.DataFrame:
    """query_id, text_id of each query and the passage that is the same document: it has the query's
    id and most of its words. Ids that count both sides from 0 tell nothing.

    texts: text_id, side, text.
    """
    queries, passages = (texts.filter(pl.col("side") == side) for side in ("query", "passage"))
    both = queries.join(passages, on="text_id", suffix="_own")
    both = both.with_columns(normal(pl.col("text", "text_own"))).filter(_alike("text", "text_own"))
    return both.select(pl.col("text_id").alias("query_id"), "text_id").sort("query_id")


def _alike(one: str, other: str) -> pl.Expr:
    """Whether two texts share at least half of the distinct words of both."""
    first, second = (pl.col(name).str.split(" ").list.unique() for name in (one, other))
    shared = first.list.set_intersection(second).list.len()
    return 2 * shared >= first.list.set_union(second).list.len()
