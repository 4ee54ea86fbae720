"""What a teacher says of samples, and, of a retriever, by the similarities of its vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from wellspring.config.vocabulary import Similarity

Pair = tuple[str, str]
"""Ids of a query and a passage."""


def pairs(samples: pl.DataFrame) -> list[Pair]:
    """Every query with its positive and its negatives, each pair once."""
    whole = samples.select(
        "query_id", passage_id=pl.concat_list("positive_id", "negative_ids")
    ).explode("passage_id")
    return whole.unique(maintain_order=True).rows()


def of_samples(samples: pl.DataFrame, scores: Mapping[Pair, float]) -> pl.DataFrame:
    """`sample_id`, and `scores`: of each sample's query with its positive, then with each negative.

    Samples that have a pair without a score are left out.
    """
    rows = []
    for sample, query, positive, negatives in samples.select(
        "sample_id", "query_id", "positive_id", "negative_ids"
    ).iter_rows():
        own = [scores.get((query, passage)) for passage in (positive, *negatives)]
        if None not in own:
            rows.append((sample, own))
    schema = {"sample_id": pl.String, "scores": pl.List(pl.Float64)}
    return pl.DataFrame(rows, schema, orient="row")


def judge(
    samples: pl.DataFrame,
    queries: tuple[Sequence[str], np.ndarray],
    passages: tuple[Sequence[str], np.ndarray],
    similarity: Similarity,
) -> pl.DataFrame:
    """`sample_id`, and `scores`: of each sample's query with its positive, then with each negative.

    queries, passages: ids, and vectors [texts, hidden]. similarity: inner products, or cosines.
    """
    rows, vectors = {}, {}
    for side, (ids, given) in (("query", queries), ("passage", passages)):
        rows[side] = {each: row for row, each in enumerate(ids)}
        vectors[side] = given
        if similarity == "cosine":
            lengths = np.linalg.norm(given, axis=1, keepdims=True)
            vectors[side] = given / np.maximum(lengths, np.finfo(np.float32).tiny)
    scores = []
    for query, positive, negatives in samples.select(
        "query_id", "positive_id", "negative_ids"
    ).iter_rows():
        own = vectors["passage"][[rows["passage"][each] for each in (positive, *negatives)]]
        scores.append((own @ vectors["query"][rows["query"][query]]).astype(float).tolist())
    return pl.DataFrame({"sample_id": samples["sample_id"], "scores": scores})
