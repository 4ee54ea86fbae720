"""The texts that samples are made of."""

from __future__ import annotations

import polars as pl


def named(texts: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    """Of the texts (side, text_id, text) those that samples name: queries, positives, and hard
    negatives."""
    passages = pl.concat([samples["positive_id"], samples["negative_ids"].explode().drop_nulls()])
    return pl.concat(
        texts.filter(
            pl.col("side") == side, pl.col("text_id").is_in(ids.unique().implode())
        ).select("side", "text_id", "text")
        for side, ids in (("query", samples["query_id"]), ("passage", passages))
    )
