"""Hard negatives: drawn from those that a source gives, or mined with BM25."""

from __future__ import annotations

import numpy as np
import polars as pl

from wellspring import randomness
from wellspring.datasets import lexical


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
    refill = [drawn[randomness.key(seed, sample_id, place) % len(drawn)] for place in missing]
    return drawn[:count] + refill


def mine(
    queries: pl.DataFrame,
    passages: pl.DataFrame,
    positives: pl.DataFrame,
    depth: int,
    k1: float = lexical.K1,
    b: float = lexical.B,
) -> pl.DataFrame:
    """The first `depth` passages that BM25 finds for each query and that are none of its positives.

    queries, passages: text_id, text. positives: query_id, text_id. A passage whose text equals a
    positive's is a positive too; of passages with equal texts the first is kept; a passage that
    shares no word with a query is not found. Ties go to the passage that comes first.

    Returns query_id, text_id, rank (from 1), score (float32), in the order of the queries.
    """
    distinct = passages.unique("text", keep="first", maintain_order=True).with_row_index("row")
    barred = _barred(passages, distinct, positives)
    index = lexical.Index(distinct["text"].to_list(), k1, b)
    found_rows, found_scores = [], []
    matches = index.matches(index.queries(queries["text"].to_list()))
    for query, (rows, scores) in zip(queries["text_id"], matches, strict=True):
        allowed = ~np.isin(rows, barred.get(query, []))
        rows, scores = _first(rows[allowed], scores[allowed], depth)
        found_rows.append(rows)
        found_scores.append(scores)
    lengths = [len(rows) for rows in found_rows]
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *found_rows])
    return pl.DataFrame(
        {
            "query_id": queries["text_id"].gather(np.repeat(np.arange(len(lengths)), lengths)),
            "text_id": distinct["text_id"].gather(rows),
            "rank": np.concatenate([none, *(np.arange(1, length + 1) for length in lengths)]),
            "score": np.concatenate([none.astype(np.float32), *found_scores]),
        }
    )


def _barred(
    passages: pl.DataFrame, distinct: pl.DataFrame, positives: pl.DataFrame
) -> dict[str, list[int]]:
    """Each query's positives, as rows of the distinct passages."""
    rows = (
        positives.join(passages, on="text_id")
        .join(distinct, on="text")
        .group_by("query_id")
        .agg("row")
    )
    return dict(rows.iter_rows())


def _first(rows: np.ndarray, scores: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """The `depth` highest scores, highest first, equal ones in the order of their rows."""
    if len(rows) > depth:
        lowest = np.partition(scores, -depth)[-depth]
        rows, scores = rows[scores >= lowest], scores[scores >= lowest]
    order = np.lexsort((rows, -scores))[:depth]
    return rows[order], scores[order]
