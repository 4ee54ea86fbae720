"""What a retriever learns from: queries, each with a positive and hard negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.errors import WellspringError
from wellspring.randomness import shuffled


@dataclass(frozen=True)
class Examples:
    """Training examples as numbers of texts."""

    ids: Sequence[str]
    """Of the samples: what the order of a run is drawn from."""
    query_ids: Sequence[str]
    """Every query once."""
    passage_ids: Sequence[str]
    """Every passage once."""
    queries: np.ndarray
    """[examples], positions in `query_ids`."""
    passages: np.ndarray
    """[examples, 1 + negatives], positions in `passage_ids`: the positive, then hard negatives."""
    relevant: Sequence[frozenset[int]]
    """For every query the passages that answer it, whatever split says so, as positions in
    `passage_ids`."""


def gather(samples: pl.DataFrame, split: str, negatives: int, seed: int = 0) -> Examples:
    """The examples of a split.

    samples: `wellspring.datasets.samples.make`'s, all splits of it: a passage that answers a query
    in another split is no negative of that query here. negatives: hard ones of each sample, the
    first of its distinct ones in an order that is drawn from (seed, sample id).

    Raises WellspringError where the split is empty, or a sample has too few distinct negatives.
    """
    chosen = samples.filter(pl.col("split") == split)
    if chosen.is_empty():
        raise WellspringError(f"there are no {split} samples to learn from")
    ids, query_ids = chosen["sample_id"].to_list(), chosen["query_id"].to_list()
    groups = [
        [positive, *_drawn(seed, sample, positive, given, negatives)]
        for sample, positive, given in zip(
            ids, chosen["positive_id"].to_list(), chosen["negative_ids"].to_list(), strict=True
        )
    ]
    if short := sum(len(group) <= negatives for group in groups):
        raise WellspringError(
            f"negatives: {short:,} of {len(groups):,} {split} samples have fewer than {negatives} "
            "distinct hard negatives: ask for fewer, or raise negatives.count of the dataset"
        )
    queries = _numbers(query_ids)
    passages = _numbers(passage for group in groups for passage in group)
    answers: dict[str, set[int]] = {query: set() for query in queries}
    for query, positive in samples.select("query_id", "positive_id").iter_rows():
        if query in answers and positive in passages:
            answers[query].add(passages[positive])
    return Examples(
        ids=ids,
        query_ids=list(queries),
        passage_ids=list(passages),
        queries=np.array([queries[query] for query in query_ids]),
        passages=np.array([[passages[passage] for passage in group] for group in groups]),
        relevant=[frozenset(answers[query]) for query in queries],
    )


def taught(examples: Examples, samples: pl.DataFrame, scores: pl.DataFrame) -> np.ndarray:
    """[examples, 1 + negatives]: a teacher's scores of the passages of each example.

    scores: sample_id, and scores of the sample's positive and of each of its negatives, in their
    order. Raises WellspringError where the teacher has not judged a sample, or other passages.
    """
    joined = samples.join(scores, on="sample_id", how="inner")
    judged = {
        sample: dict(zip([positive, *negatives], own, strict=False))
        for sample, positive, negatives, own in joined.select(
            "sample_id", "positive_id", "negative_ids", "scores"
        ).iter_rows()
        if len(own) == 1 + len(negatives)
    }
    if missing := [each for each in examples.ids if each not in judged]:
        raise WellspringError(
            f"teacher: it has no scores for {len(missing):,} of {len(examples.ids):,} samples, "
            f"such as {missing[0]}: they are of other samples"
        )
    return np.array(
        [
            [judged[sample][examples.passage_ids[each]] for each in group]
            for sample, group in zip(examples.ids, examples.passages, strict=True)
        ],
        np.float32,
    )


def _drawn(
    seed: int, sample: str, positive: str, given: Sequence[str], count: int
) -> Sequence[str]:
    distinct = sorted({passage for passage in given if passage != positive})
    return shuffled(seed, distinct, "hard negatives", sample)[:count] if count else []


def _numbers(ids) -> Mapping[str, int]:
    return {each: number for number, each in enumerate(dict.fromkeys(ids))}
