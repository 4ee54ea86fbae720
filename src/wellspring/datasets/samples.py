"""Samples: a query, a positive and hard negatives, in splits.

A query is its text and a passage is its text: where a source gives one text two ids, both are the
same query, or the same positive. No result depends on the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from wellspring.datasets import lexical, negatives
from wellspring.datasets.splits import SPLITS, assigned, keyed
from wellspring.errors import WellspringError

ROWS = pl.Schema(
    {
        "sample_id": pl.String,
        "split": pl.Enum(SPLITS),
        "published": pl.Enum(SPLITS),
        "query_id": pl.String,
        "positive_id": pl.String,
        "negative_ids": pl.List(pl.String),
        "query": pl.String,
    }
)


@dataclass(frozen=True)
class Sampling:
    """Which negatives a sample gets, and which split it falls in."""

    negatives: int = 4
    """Hard negatives a sample; fewer in the source are oversampled, none drops the sample."""
    mined: Literal["bm25"] | None = None
    """Mine them, whatever the source has; None takes the source's own."""
    depth: int = 20
    """Mined negatives are drawn from the first `depth` that are found."""
    negatives_seed: int = 42
    split_by: Literal["query", "sample"] = "query"
    """`query`: no query in two splits. `sample`: the published way, which leaks queries."""
    test: float = 0.2
    """Share of the queries (or samples), where the source publishes neither test nor dev."""
    validation: float = 0.12
    """Share of what is not test, where the source publishes none."""
    split_seed: int = 42
    k1: float = lexical.K1
    b: float = lexical.B


@dataclass(frozen=True)
class Samples:
    """What a probe is trained and tested on."""

    frame: pl.DataFrame
    """sample_id (16 hex digits), split ("train", "validation" or "test"), published (the source's
    split under these names; null where it publishes none), query_id, positive_id, negative_ids
    (list, in random order; an oversampled one repeats), sorted by split, query_id and
    positive_id."""
    counts: dict[str, int]
    """samples, train, validation, test; `given_negatives_not_used`, where others are mined; of
    the samples `oversampled`, `dropped_without_negatives`,
    `duplicates` (dropped) and `leaks_dropped` (their query is in a published split that comes
    later); `queries_on_both_sides`: queries with samples in more than one split;
    `test_passages_seen_in_train`: distinct texts among the test candidates (positives and
    negatives) that are candidates in training too. Splits by query do not keep passages apart."""


def make(texts: pl.DataFrame, judgements: pl.DataFrame, sampling: Sampling) -> Samples:
    """One sample for each (query, positive), with hard negatives and a split.

    texts and judgements as in `records.Records`. A passage whose text is that of a positive of the
    query is none of its negatives. Raises WellspringError where the source has no hard negatives
    and none are mined, and where a split is empty; it names the key to change.
    """
    named = keyed(texts, judgements)
    pairs, counts = assigned(
        named, sampling.split_by, sampling.test, sampling.validation, sampling.split_seed
    )
    candidates = _mined(texts, named, sampling) if sampling.mined else _given(named)
    rows = []
    oversampled = 0
    for query_id, positive_id, sample_id, split, query, published in pairs.iter_rows():
        found = candidates.get(query, [])
        drawn = negatives.draw(found, sampling.negatives, sampling.negatives_seed, sample_id)
        if drawn is not None:
            oversampled += len(found) < sampling.negatives
            rows.append((sample_id, split, published, query_id, positive_id, drawn, query))
    frame = pl.DataFrame(rows, schema=ROWS, orient="row")
    sizes = {split: frame.filter(pl.col("split") == split).height for split in SPLITS}
    _check(sizes, sampling)
    shared = frame.group_by("query").agg(pl.col("split").n_unique() > 1)["split"].sum()
    return Samples(
        frame=frame.drop("query").with_columns(pl.col("split", "published").cast(pl.String)),
        counts={
            "samples": frame.height,
            **sizes,
            "given_negatives_not_used": named.filter(grade=0).height if sampling.mined else 0,
            "oversampled": oversampled,
            "dropped_without_negatives": pairs.height - frame.height,
            **counts,
            "queries_on_both_sides": shared,
            "test_passages_seen_in_train": _seen_in_train(frame, texts),
        },
    )


def _given(named: pl.DataFrame) -> dict[str, list[str]]:
    """Each query's own hard negatives, every text once."""
    pair = ["query", "passage"]
    listed = named.filter(pl.col("grade") == 0)
    if listed.is_empty():
        raise WellspringError(
            "the source has no hard negatives: set the dataset's negatives.mined to bm25"
        )
    listed = listed.join(named.filter(pl.col("grade") > 0), on=pair, how="anti")
    once = listed.group_by(pair).agg(pl.col("text_id").min())
    return dict(once.group_by("query").agg("text_id").iter_rows())


def _mined(texts: pl.DataFrame, named: pl.DataFrame, sampling: Sampling) -> dict[str, list[str]]:
    """The hard negatives that BM25 finds for each query."""
    positives = named.filter(pl.col("grade") > 0).select("text_id", query_id="query").unique()
    ordered = texts.sort("text_id")
    queries = ordered.filter(pl.col("side") == "query").join(
        positives, left_on="text_id", right_on="query_id", how="semi", maintain_order="left"
    )
    passages = ordered.filter(pl.col("side") == "passage")
    found = negatives.mine(queries, passages, positives, sampling.depth, sampling.k1, sampling.b)
    return dict(found.group_by("query_id").agg("text_id").iter_rows())


def _seen_in_train(frame: pl.DataFrame, texts: pl.DataFrame) -> int:
    """Distinct texts that are candidates both in test and in train."""
    passages = texts.filter(pl.col("side") == "passage").select(
        "text_id", passage=pl.col("text_id").min().over("text")
    )
    candidates = (
        frame.select("split", text_id=pl.concat_list("positive_id", "negative_ids"))
        .explode("text_id")
        .join(passages, on="text_id")
    )
    test, train = (
        candidates.filter(pl.col("split") == split).select("passage").unique()
        for split in ("test", "train")
    )
    return test.join(train, on="passage", how="semi").height


def _check(sizes: dict[str, int], sampling: Sampling) -> None:
    """Raises WellspringError where a split is empty."""
    mends = {
        "train": f"lower splits.test ({sampling.test}) or splits.validation "
        f"({sampling.validation}), or give a source with a train split",
        "validation": f"raise splits.validation ({sampling.validation})",
        "test": f"raise splits.test ({sampling.test})",
    }
    for split, size in sizes.items():
        if not size:
            total = sum(sizes.values())
            raise WellspringError(f"the {split} split of {total} samples is empty: {mends[split]}")
