"""Which split a sample falls in, and the judgements of each split.

A query is its text and a passage is its text. No result depends on the order of rows, nor on the
negatives: new ones leave the test queries as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from wellspring import randomness
from wellspring.errors import WellspringError

SPLITS = ("train", "validation", "test")
# DPR and BEIR call it dev, the Hub calls it validation.
PUBLISHED = {"train": "train", "dev": "validation", "validation": "validation", "test": "test"}


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
    pairs, _ = assigned(keyed(texts, judgements), by, test, validation, seed)
    return pairs.drop("query", "published").with_columns(pl.col("split").cast(pl.String))


def redrawn(
    published: Sequence[str | None],
    units: Sequence[str],
    test: float,
    validation: float,
    seed: int,
) -> np.ndarray:
    """The split of each of n samples, str [n], drawn anew where the source publishes none.

    published: each sample's published split under our names; None counts as train. units: what
    must not be torn apart, such as the ids of queries. A published test or validation split stays.
    One that nothing has is taken from train: units in the order of a hash of (seed, unit), the
    first `test` of all for the test split, the next `validation` of the rest for the validation
    split, to the nearest whole number. Given every unit and the seed of the samples, the splits are
    those of the samples.
    """
    split = np.array([name or "train" for name in published], dtype="<U10")
    names = np.asarray(units, dtype=object)
    for part, share in (("test", test), ("validation", validation)):
        if not (split == part).any():
            train = split == "train"
            order = randomness.shuffled(seed, sorted(set(names[train])))
            chosen = set(order[: int(share * len(order) + 0.5)])
            split[[held and name in chosen for held, name in zip(train, names, strict=True)]] = part
    return split


def qrels(texts: pl.DataFrame, judgements: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """split, query_id, text_id, grade: all judgements of a split's queries, grade 0 too.

    splits: what `splits` gave for the same texts and judgements. Where they share out samples, a
    query is in each split that has one of them, with all its judgements.
    """
    named = keyed(texts, judgements)
    keys = named.select("query_id", "query").unique()
    queries = splits.join(keys, on="query_id").select("query", "split").unique()
    return (
        named.join(queries.rename({"split": "part"}), on="query")
        .group_by(pl.col("part").cast(pl.Enum(SPLITS)).alias("split"), "query_id", "text_id")
        .agg(pl.col("grade").max())
        .sort("split", "query_id", "text_id")
        .with_columns(pl.col("split").cast(pl.String))
    )


def keyed(texts: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """The judgements, with `query` and `passage`: the first id that has the same text."""
    keys = texts.with_columns(key=pl.col("text_id").min().over("side", "text")).drop("text")
    queries = keys.filter(pl.col("side") == "query").select(query_id="text_id", query="key")
    passages = keys.filter(pl.col("side") == "passage").select("text_id", passage="key")
    return judgements.join(queries, on="query_id").join(passages, on="text_id")


def assigned(
    judgements: pl.DataFrame,
    by: Literal["query", "sample"],
    test: float,
    validation: float,
    seed: int,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """query_id, positive_id, sample_id, split, query of the pairs; counts of what was dropped.

    judgements: as `keyed` gives them. Raises WellspringError for a published split of another name.
    """
    positives = _published(judgements.filter(pl.col("grade") > 0))
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
    positive = pl.col("text_id").alias("positive_id")
    pairs = pairs.select("query_id", positive, "sample_id", "split", "query", "published")
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
    published = pl.col("split").replace_strict(names, return_dtype=pl.Enum(SPLITS))
    return positives.with_columns(split=published.fill_null("train"), published=published)


def _carved(pairs: pl.DataFrame, unit: str, name: str, share: float, seed: int) -> pl.DataFrame:
    """The first `share` of the training units in the order of their hashes becomes the split."""
    train = pl.col("split") == "train"
    units = randomness.shuffled(seed, pairs.filter(train)[unit].unique().to_list())
    chosen = units[: int(share * len(units) + 0.5)]
    moved = train & pl.col(unit).is_in(chosen)
    return pairs.with_columns(
        split=pl.when(moved).then(pl.lit(name, pl.Enum(SPLITS))).otherwise("split")
    )
