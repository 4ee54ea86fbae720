"""Hard negatives: drawn from those that a source gives, or mined from its passages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from wellspring import randomness
from wellspring.config.datasets import Bm25
from wellspring.config.vocabulary import Miner, StopWords, Unspaced
from wellspring.datasets import lexical

LISTS = {"query_id": pl.String, "row": pl.List(pl.Int64), "score": pl.List(pl.Float32)}


def draw(negatives: list[str], count: int, seed: int, sample_id: str) -> list[str] | None:
    """`count` hard negatives at random, in random order; None where there is none to draw.

    Without replacement; of fewer than `count` all are kept, the rest drawn with replacement
    (arXiv 2505.07166, section on data). Depends on (seed, sample_id) and the set of negatives, not
    on their order.
    """
    if not negatives:
        return None
    drawn = randomness.shuffled(seed, list(set(negatives)), sample_id)
    missing = range(len(drawn), count)
    refill = [drawn[randomness.key(seed, sample_id, index) % len(drawn)] for index in missing]
    return drawn[:count] + refill


def normal(text: pl.Expr) -> pl.Expr:
    """The form in which a passage is compared with what must not be a negative: lower case, every
    run of white space one space, none at the ends."""
    return text.str.replace_all(r"\s+", " ").str.strip_chars(" ").str.to_lowercase()


def mine(
    queries: pl.DataFrame,
    passages: pl.DataFrame,
    barred: pl.DataFrame,
    miner: Miner,
    depth: int,
    seed: int = 42,
    bm25: Bm25 = lexical.ANSERINI,
    stop_words: StopWords = "english",
    unspaced: Unspaced = "pairs",
) -> pl.DataFrame:
    """The first `depth` passages that a lexical scorer finds for each query, or random ones.

    queries, passages: text_id, text. barred: query_id, text_id of what must not be found; a passage
    with the text of a barred one is barred, too. Of passages with equal texts the first is kept. A
    scorer does not find a passage that shares no term with the query; ties go to the passage that
    comes first. `random`: uniform among the passages that are not barred, by (seed, query id).

    Returns query_id, text_id, rank (from 1), score (float32; 0 where random), in the order of the
    queries.
    """
    distinct = passages.unique("text", keep="first", maintain_order=True).with_row_index("row")
    rows_barred = _rows_barred(passages, distinct, barred)
    ids, texts = queries["text_id"].to_list(), distinct["text"]
    if miner == "random":
        rankings = [
            _random(len(texts), rows_barred.get(query, ()), depth, seed, query) for query in ids
        ]
    else:
        by_query = {index: rows_barred.get(query, ()) for index, query in enumerate(ids)}
        settings = (bm25, stop_words, unspaced, by_query)
        rankings = lexical.best(queries["text"], texts, [miner], depth, *settings)[miner]
    lists = {
        "query_id": ids,
        "row": [rows for rows, _ in rankings],
        "score": [scores for _, scores in rankings],
    }
    frame = pl.DataFrame(lists, schema=LISTS).explode("row", "score").drop_nulls()
    return frame.select(
        "query_id",
        text_id=distinct["text_id"].gather(frame["row"]),
        rank=pl.int_range(1, pl.len() + 1).over("query_id"),
        score="score",
    )


def _rows_barred(
    passages: pl.DataFrame, distinct: pl.DataFrame, barred: pl.DataFrame
) -> dict[str, list[int]]:
    """What each query must not find, as rows of the distinct passages."""
    rows = (
        barred.join(passages, on="text_id")
        .join(distinct, on="text")
        .group_by("query_id")
        .agg(pl.col("row").unique())
    )
    return dict(rows.iter_rows())


def _random(
    passages: int, barred: Sequence[int], depth: int, seed: int, query_id: str
) -> lexical.Found:
    """Random rows of so many passages, none of them barred."""
    draws = randomness.generator(seed, "negatives", query_id)
    size = min(passages, depth + len(barred))
    rows = draws.choice(passages, size, replace=False)
    rows = rows[~np.isin(rows, barred)][:depth]
    return rows, np.zeros(len(rows), np.float32)
