"""Which split a sample falls in, and the judgements of each split.

A query is its text and a passage is its text. No result depends on the order of rows, nor on the
negatives: new ones leave the test queries as they were.

One rule for the splits that a source publishes, whatever its format: they are kept where a train
split is among them, and what is not published is taken from train. Without a train split, as where
a collection has test judgements alone, there is nothing to train probes on: all samples are split
as if none were published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import polars as pl

from wellspring import randomness
from wellspring.config.datasets import Splits
from wellspring.config.vocabulary import Split
from wellspring.errors import WellspringError

SPLITS: tuple[Split, ...] = get_args(Split)
# DPR and BEIR call it dev, the Hub calls it validation.
PUBLISHED = {"train": "train", "dev": "validation", "validation": "validation", "test": "test"}


def splits(texts: pl.DataFrame, judgements: pl.DataFrame, splitting: Splits) -> pl.DataFrame:
    """What `assigned` gives, before negatives, for texts and judgements as in `records.Records`."""
    pairs, _ = assigned(keyed(texts, judgements), splitting)
    return pairs.with_columns(pl.col("split", "published").cast(pl.String))


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
    A split that no sample has is taken from train: units in the order of a hash of (seed, unit),
    the first `test` of all for the test split, the next `validation` of the rest for the validation
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
            split[
                [in_train and name in chosen for in_train, name in zip(train, names, strict=True)]
            ] = part
    return split


def qrels(texts: pl.DataFrame, judgements: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """split, query_id, cluster, text_id, grade: all judgements of a split's queries, grade 0 too.

    A cluster is the queries with one text, under the first of their ids, as samples name them.
    splits: what `splits` gave for the same texts and judgements. Where they share out samples, a
    query is in each split that has one of them, with all its judgements.
    """
    queries = splits.select(pl.col("query_id").alias("query"), part="split").unique()
    return (
        keyed(texts, judgements)
        .join(queries, on="query")
        .group_by(pl.col("part").cast(pl.Enum(SPLITS)).alias("split"), "query_id", "text_id")
        .agg(pl.col("grade").max(), cluster=pl.col("query").first())
        .sort("split", "query_id", "text_id")
        .select(pl.col("split").cast(pl.String), "query_id", "cluster", "text_id", "grade")
    )


def keyed(texts: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """The judgements, with `query` and `passage`: the first id that has the same text."""
    keys = texts.with_columns(key=pl.col("text_id").min().over("side", "text")).drop("text")
    queries = keys.filter(pl.col("side") == "query").select(query_id="text_id", query="key")
    passages = keys.filter(pl.col("side") == "passage").select("text_id", passage="key")
    return judgements.join(queries, on="query_id").join(passages, on="text_id")


def assigned(judgements: pl.DataFrame, splitting: Splits) -> tuple[pl.DataFrame, dict[str, int]]:
    """query_id, positive_id, sample_id, split, published of every (query, positive); counts of what
    was dropped.

    judgements: as `keyed` gives them; ids are those of `query` and `passage`. `published` is the
    source's split under our names: dev (or validation) is the test split where there is no other;
    null means none. The splits are those of `redrawn`. By `query`, a sample is dropped when
    its query is in a published split that comes later; with disjoint passages, also when its
    positive is. Raises WellspringError for a published split of another name.
    """
    positives = _published(judgements.filter(pl.col("grade") > 0))
    keys = ["query_id", "positive_id"]
    # An Enum sorts in the order of SPLITS: of one pair in two splits the later split keeps it.
    pairs = positives.sort("published", descending=True, nulls_last=True).unique(keys, keep="first")
    counts = {"duplicates": positives.height - pairs.height, "leaks_dropped": 0}
    if splitting.by == "query":
        pairs, counts["leaks_dropped"] = _latest(pairs, "query_id")
    if splitting.passages == "disjoint":
        parts = pairs.group_by("positive_id").agg(pl.col("published").n_unique() > 1)
        counts["positives_in_two_published_splits"] = parts.select(pl.sum("published")).item()
        pairs, counts["dropped_for_a_positive_of_a_later_split"] = _latest(pairs, "positive_id")
    identities = pairs.select(keys).iter_rows()
    pairs = pairs.with_columns(
        sample_id=pl.Series(
            [f"{randomness.key(0, *ids):016x}" for ids in identities], dtype=pl.String
        )
    )
    if splitting.passages == "disjoint":
        units = _connected(pairs)
    else:
        units = pairs["query_id" if splitting.by == "query" else "sample_id"].to_list()
    shares = splitting.test, splitting.validation, splitting.seed
    split = redrawn(pairs["published"].to_list(), units, *shares)
    pairs = pairs.with_columns(split=pl.Series(split, dtype=pl.Enum(SPLITS)))
    return pairs.select(*keys, "sample_id", "split", "published").sort("split", *keys), counts


def homes(
    texts: pl.DataFrame, judgements: pl.DataFrame, pairs: pl.DataFrame, splitting: Splits
) -> pl.DataFrame:
    """passage, split: the one split to which each distinct passage text belongs.

    judgements, pairs: as from `keyed` and, with disjoint passages, `assigned`. A positive belongs
    to the split of its queries. Another passage that is judged belongs to the latest split of a
    query that judges it, so that test samples keep the most negatives. One that no query judges is
    placed by hash, with the shares of the queries.
    """
    passages = texts.filter(pl.col("side") == "passage")
    passages = (
        passages.select(passage=pl.col("text_id").min().over("text")).unique().sort("passage")
    )
    positives = pairs.select(passage="positive_id", positive="split").unique()
    of_query = pairs.select(query="query_id", judged="split").unique()
    judged = judgements.join(of_query, on="query").group_by("passage").agg(pl.col("judged").max())
    shares = splitting.test, splitting.validation, splitting.seed
    drawn = redrawn([None] * len(passages), passages["passage"].to_list(), *shares)
    return (
        passages.with_columns(drawn=pl.Series(drawn, dtype=pl.Enum(SPLITS)))
        .join(positives, on="passage", how="left")
        .join(judged, on="passage", how="left")
        .select("passage", split=pl.coalesce("positive", "judged", "drawn"))
    )


def without_train(judgements: pl.DataFrame) -> list[str]:
    """The splits that a source publishes where none of them is train: they are not kept.

    judgements: as in `records.Records`; a judgement without a split counts as train.
    """
    names = set(judgements.filter(pl.col("grade") > 0)["split"])
    return [] if names & {"train", None} else sorted(names)


def _published(positives: pl.DataFrame) -> pl.DataFrame:
    """query_id, positive_id and the published split under our names; null where none is, and
    everywhere where none of them is train."""
    if without_train(positives):
        positives = positives.with_columns(split=pl.lit(None, pl.String))
    unknown = set(positives["split"].drop_nulls()) - set(PUBLISHED)
    if unknown:
        raise WellspringError(
            f"published split {min(unknown)!r} is none of {', '.join(PUBLISHED)}: rename it in the "
            "dataset's source"
        )
    names = dict(PUBLISHED)
    if not (positives["split"] == "test").any():
        names |= {"dev": "test", "validation": "test"}
    split = pl.col("split").replace_strict(names, return_dtype=pl.Enum(SPLITS))
    return positives.select(query_id="query", positive_id="passage", published=split)


def _latest(pairs: pl.DataFrame, name: str) -> tuple[pl.DataFrame, int]:
    """The pairs in the latest published split of their query or positive, and how many are not."""
    part = pl.col("published").fill_null("train")
    latest = pairs.filter(part == part.max().over(name))
    return latest, pairs.height - latest.height


def _connected(pairs: pl.DataFrame) -> list[str]:
    """A name for each pair: the lowest id of the queries that positives link with its own."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    queries, positives = (
        np.unique(pairs[name].to_numpy(), return_inverse=True)[1]
        for name in ("query_id", "positive_id")
    )
    passages = positives + queries.max(initial=-1) + 1
    size = passages.max(initial=-1) + 1
    links = coo_array((np.ones(len(pairs), np.int8), (queries, passages)), shape=(size, size))
    _, labels = connected_components(links, directed=False)
    parts = pairs.select("query_id", part=pl.Series(labels[queries]))
    return parts.select(pl.col("query_id").min().over("part")).to_series().to_list()
