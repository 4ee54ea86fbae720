"""Samples (a query, a positive, hard negatives), their splits, and judgements a split.

A query is its text and a passage is its text: where a source gives one text two ids, both are the
same query, or the same positive. No result depends on the order of rows. A split does not depend on
the negatives, so new negatives leave the test queries as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from wellspring import randomness
from wellspring.datasets import lexical, negatives
from wellspring.errors import WellspringError

SPLITS = ("train", "validation", "test")
# DPR and BEIR call it dev, the Hub calls it validation.
PUBLISHED = {"train": "train", "dev": "validation", "validation": "validation", "test": "test"}
ROWS = pl.Schema(
    {
        "sample_id": pl.String,
        "split": pl.Enum(SPLITS),
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
    """sample_id (16 hex digits), split ("train", "validation" or "test"), query_id, positive_id,
    negative_ids (list, in random order; an oversampled one repeats), sorted by split, query_id and
    positive_id."""
    counts: dict[str, int]
    """samples, train, validation, test; of the samples `oversampled`, `dropped_without_negatives`,
    `duplicates` (dropped) and `leaks_dropped` (their query is in a published split that comes
    later); `queries_on_both_sides`: queries with samples in more than one split."""


def make(texts: pl.DataFrame, judgements: pl.DataFrame, sampling: Sampling) -> Samples:
    """One sample for each (query, positive), with hard negatives and a split.

    texts and judgements as in `records.Records`. A passage whose text is that of a positive of the
    query is none of its negatives. Raises WellspringError where the source has no hard negatives
    and none are mined, and where a split is empty; it names the key to change.
    """
    keyed = _keyed(texts, judgements)
    pairs, counts = _split(
        keyed, sampling.split_by, sampling.test, sampling.validation, sampling.split_seed
    )
    candidates = _mined(texts, keyed, sampling) if sampling.mined else _given(keyed)
    rows = []
    oversampled = 0
    for query_id, positive_id, sample_id, split, query in pairs.iter_rows():
        found = candidates.get(query, [])
        drawn = negatives.draw(found, sampling.negatives, sampling.negatives_seed, sample_id)
        if drawn is not None:
            oversampled += len(found) < sampling.negatives
            rows.append((sample_id, split, query_id, positive_id, drawn, query))
    frame = pl.DataFrame(rows, schema=ROWS, orient="row")
    sizes = {split: frame.filter(pl.col("split") == split).height for split in SPLITS}
    _check(sizes, sampling)
    shared = frame.group_by("query").agg(pl.col("split").n_unique() > 1)["split"].sum()
    return Samples(
        frame=frame.drop("query").with_columns(pl.col("split").cast(pl.String)),
        counts={
            "samples": frame.height,
            **sizes,
            "oversampled": oversampled,
            "dropped_without_negatives": pairs.height - frame.height,
            **counts,
            "queries_on_both_sides": shared,
        },
    )


def splits(
    texts: pl.DataFrame,
    judgements: pl.DataFrame,
    by: Literal["query", "sample"],
    test: float,
    validation: float,
    seed: int,
) -> pl.DataFrame:
    """query_id, positive_id, sample_id, split of every (query, positive), before negatives.

    A published test split stays; dev (or validation) stays too, and is the test split where there
    is no other. What is missing is taken from train (from everything, where nothing is published):
    queries, or samples, in the order of a hash, the first `test` of all for the test split, the
    next `validation` of the rest for the validation split, to the nearest whole number. By
    `query`, a sample is dropped when its query is in a published split that comes later.
    """
    pairs, _ = _split(_keyed(texts, judgements), by, test, validation, seed)
    return pairs.drop("query").with_columns(pl.col("split").cast(pl.String))


def qrels(texts: pl.DataFrame, judgements: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """split, query_id, text_id, grade: all judgements of a split's queries, grade 0 too.

    splits: what `splits` gave for the same texts and judgements. Where they share out samples, a
    query is in each split that has one of them, with all its judgements.
    """
    keyed = _keyed(texts, judgements)
    keys = keyed.select("query_id", "query").unique()
    queries = splits.join(keys, on="query_id").select("query", "split").unique()
    return (
        keyed.join(queries.rename({"split": "part"}), on="query")
        .group_by(pl.col("part").cast(pl.Enum(SPLITS)).alias("split"), "query_id", "text_id")
        .agg(pl.col("grade").max())
        .sort("split", "query_id", "text_id")
        .with_columns(pl.col("split").cast(pl.String))
    )


def _keyed(texts: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """The judgements, with `query` and `passage`: the first id that has the same text."""
    keys = texts.with_columns(key=pl.col("text_id").min().over("side", "text")).drop("text")
    queries = keys.filter(pl.col("side") == "query").select(query_id="text_id", query="key")
    passages = keys.filter(pl.col("side") == "passage").select("text_id", passage="key")
    return judgements.join(queries, on="query_id").join(passages, on="text_id")


def _split(
    keyed: pl.DataFrame, by: Literal["query", "sample"], test: float, validation: float, seed: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """query_id, positive_id, sample_id, split, query of the pairs; counts of what was dropped."""
    positives = _published(keyed.filter(pl.col("grade") > 0))
    # An Enum sorts in the order of SPLITS: of one pair in two splits the later split keeps it.
    pairs = positives.sort("split", "query_id", "text_id", descending=[True, False, False]).unique(
        ["query", "passage"], keep="first", maintain_order=True
    )
    counts = {"duplicates": positives.height - pairs.height, "leaks_dropped": 0}
    if by == "query":
        apart = pairs.filter(pl.col("split") == pl.col("split").max().over("query"))
        counts["leaks_dropped"] = pairs.height - apart.height
        pairs = apart
    identities = pairs.select("query_id", "text_id").iter_rows()
    pairs = pairs.with_columns(
        sample_id=pl.Series([f"{randomness.key(0, *ids):016x}" for ids in identities])
    )
    for name, share in (("test", test), ("validation", validation)):
        if not (pairs["split"] == name).any():
            pairs = _carved(pairs, "query" if by == "query" else "sample_id", name, share, seed)
    pairs = pairs.select(
        "query_id", pl.col("text_id").alias("positive_id"), "sample_id", "split", "query"
    )
    return pairs.sort("split", "query_id", "positive_id"), counts


def _published(positives: pl.DataFrame) -> pl.DataFrame:
    """The published splits under our names; train where none is published."""
    unknown = set(positives["split"].drop_nulls()) - set(PUBLISHED)
    if unknown:
        raise WellspringError(
            f"published split {min(unknown)!r} is none of {', '.join(PUBLISHED)}: rename it in the "
            "dataset's source"
        )
    names = dict(PUBLISHED)
    if not (positives["split"] == "test").any():
        names |= {"dev": "test", "validation": "test"}
    split = pl.col("split").fill_null("train").replace_strict(names, return_dtype=pl.Enum(SPLITS))
    return positives.with_columns(split)


def _carved(pairs: pl.DataFrame, unit: str, name: str, share: float, seed: int) -> pl.DataFrame:
    """The first `share` of the training units in the order of their hashes becomes the split."""
    train = pl.col("split") == "train"
    units = randomness.shuffled(seed, pairs.filter(train)[unit].unique().to_list())
    chosen = units[: int(share * len(units) + 0.5)]
    moved = train & pl.col(unit).is_in(chosen)
    return pairs.with_columns(
        split=pl.when(moved).then(pl.lit(name, pl.Enum(SPLITS))).otherwise("split")
    )


def _given(keyed: pl.DataFrame) -> dict[str, list[str]]:
    """Each query's own hard negatives, every text once."""
    pair = ["query", "passage"]
    listed = keyed.filter(pl.col("grade") == 0)
    if listed.is_empty():
        raise WellspringError(
            "the source has no hard negatives: set the dataset's negatives.mined to bm25"
        )
    listed = listed.join(keyed.filter(pl.col("grade") > 0), on=pair, how="anti")
    once = listed.group_by(pair).agg(pl.col("text_id").min())
    return dict(once.group_by("query").agg("text_id").iter_rows())


def _mined(texts: pl.DataFrame, keyed: pl.DataFrame, sampling: Sampling) -> dict[str, list[str]]:
    """The hard negatives that BM25 finds for each query."""
    positives = keyed.filter(pl.col("grade") > 0).select("text_id", query_id="query").unique()
    ordered = texts.sort("text_id")
    queries = ordered.filter(pl.col("side") == "query").join(
        positives, left_on="text_id", right_on="query_id", how="semi", maintain_order="left"
    )
    passages = ordered.filter(pl.col("side") == "passage")
    found = negatives.mine(queries, passages, positives, sampling.depth, sampling.k1, sampling.b)
    return dict(found.group_by("query_id").agg("text_id").iter_rows())


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
