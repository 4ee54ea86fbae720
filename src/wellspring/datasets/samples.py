"""Samples: a query, a positive and hard negatives, in splits.

A query is its text and a passage is its text: where a source gives one text two ids, both are the
same query, or the same passage, and stand under the lowest id. No result depends on the order of
rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from wellspring.config.base import Strict
from wellspring.config.datasets import Bm25, Negatives, Splits
from wellspring.config.vocabulary import Miner, StopWords, Unspaced
from wellspring.datasets import lexical, negatives
from wellspring.datasets.own import own
from wellspring.datasets.splits import SPLITS, assigned, homes, keyed, without_train
from wellspring.errors import WellspringError

# Below this share of the queries, those without a negative are counted without a warning.
FEW = 0.01


class Sampling(Strict):
    """Which negatives a sample gets, and which split it falls in."""

    negatives: Negatives = Negatives()
    splits: Splits = Splits()
    bm25: Bm25 = lexical.ANSERINI
    stop_words: StopWords = "english"
    unspaced: Unspaced = "pairs"


@dataclass(frozen=True)
class Samples:
    """What a probe is trained and tested on."""

    frame: pl.DataFrame
    """sample_id (16 hex digits), split ("train", "validation" or "test"), published (the source's
    split under these names; null where it publishes none), query_id, positive_id, negative_ids
    (list, in random order; an oversampled one repeats), sorted by split, query_id and positive_id.
    One id a distinct text."""
    counts: dict[str, int]
    """samples, train, validation, test; of the samples `oversampled`, `dropped_without_negatives`
    and what `splits.assigned` drops; `given_negatives_not_used`, where others are mined, and
    `queries_without_a_mined_negative`, else `given_negatives_that_are_their_query` and
    `given_negatives_that_are_positives`; `own_documents_by_id` and `own_documents_by_text`:
    (query, passage) pairs that are one document, which is never a negative;
    `queries_on_both_sides`: queries with samples in more than one split;
    `test_candidates`: distinct texts among the positives and negatives of the test split, and
    `test_passages_seen_in_train` those of them that are candidates in training too. With disjoint
    passages also the passages of each split and the `given_negatives_of_other_splits`, which are
    left out."""
    warnings: tuple[str, ...] = ()
    """What a user should know, a line each."""


def make(texts: pl.DataFrame, judgements: pl.DataFrame, sampling: Sampling) -> Samples:
    """One sample for each (query, positive), with hard negatives and a split.

    texts and judgements as in `records.Records`. A query's negatives are none of its positives and
    not the query itself: no passage under its id, and none with the text of a positive or of the
    query, up to case and white space. With disjoint passages they belong to the query's split.
    Raises WellspringError where the source has no hard negatives and none are mined, and where a
    split is empty; it names the key to change.
    """
    named = keyed(texts, judgements)
    pairs, counts = assigned(named, sampling.splits)
    barred = _barred(texts, named)
    passages = _passages(texts).select("passage").unique().sort("passage")
    if sampling.splits.passages == "disjoint":
        passages = homes(texts, named, pairs, sampling.splits)
        sizes = dict(passages["split"].value_counts().iter_rows())
        counts |= {f"{split}_passages": sizes.get(split, 0) for split in SPLITS}
    if sampling.negatives.mined:
        miner = sampling.negatives.mined
        pool, pool_counts = _mined(texts, pairs, passages, barred, miner, sampling)
        pool_counts["given_negatives_not_used"] = named.filter(grade=0).height
    else:
        pool, pool_counts = _given(named, pairs, passages, barred)
    frame, oversampled = _drawn(pairs, pool, sampling)
    sizes = {split: frame.filter(pl.col("split") == split).height for split in SPLITS}
    without = pool_counts.get("queries_without_a_mined_negative", 0)
    cause = _cause(without, pairs, sampling)
    _check(sizes, pairs, sampling, cause)
    by_query = frame.group_by("query_id").agg(pl.col("split").n_unique() > 1)
    return Samples(
        frame=frame.with_columns(pl.col("split", "published").cast(pl.String)),
        counts={
            "samples": frame.height,
            **sizes,
            "oversampled": oversampled,
            "dropped_without_negatives": pairs.height - frame.height,
            **pool_counts,
            **barred.select(
                own_documents_by_id=pl.sum("own_by_id"), own_documents_by_text=pl.sum("own_by_text")
            ).row(0, named=True),
            **counts,
            "queries_on_both_sides": by_query.select(pl.sum("split")).item(),
            **_seen_in_train(frame),
        },
        warnings=(
            *_split_anew(judgements, sampling.splits),
            *((cause,) if cause and without > FEW * pairs["query_id"].n_unique() else ()),
        ),
    )


def _barred(texts: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """query_id, text_id of what is never a negative; positive, own_by_id and own_by_text say why.

    `own_by_id`: what `own.own` gives. Passages with one text up to case and white space are barred
    together.
    """
    passages = _passages(texts)
    queries = texts.filter(pl.col("side") == "query").select(
        source="text_id",
        query_id=pl.col("text_id").min().over("text"),
        form=negatives.normal(pl.col("text")),
    )
    queries = queries.join(named, left_on="source", right_on="query_id", how="semi")
    positives = named.filter(pl.col("grade") > 0).select("text_id", query_id="query")
    forms = {
        "positive": positives.join(passages, on="text_id"),
        "own_by_id": queries.select("query_id", "source")
        .join(own(texts), left_on="source", right_on="query_id")
        .join(passages, on="text_id"),
        "own_by_text": queries,
    }
    pairs = [
        part.select("query_id", "form")
        .join(passages, on="form")
        .select("query_id", text_id="passage", reason=pl.lit(reason))
        for reason, part in forms.items()
    ]
    reasons = [(pl.col("reason") == reason).any().alias(reason) for reason in forms]
    return pl.concat(pairs).group_by("query_id", "text_id").agg(reasons)


def _passages(texts: pl.DataFrame) -> pl.DataFrame:
    """text_id, the first id that has the same text as `passage`, and the text's form."""
    return texts.filter(pl.col("side") == "passage").select(
        "text_id",
        passage=pl.col("text_id").min().over("text"),
        form=negatives.normal(pl.col("text")),
    )


def _given(
    named: pl.DataFrame, pairs: pl.DataFrame, passages: pl.DataFrame, barred: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, int]]:
    """query_id, text_id of the source's own hard negatives, every text once; counts of the rest."""
    listed = named.filter(pl.col("grade") == 0).select(query_id="query", text_id="passage").unique()
    if listed.is_empty():
        raise WellspringError(
            "the source has no hard negatives: set the dataset's negatives.mined to bm25, "
            "character-tfidf or random"
        )
    keys = ["query_id", "text_id"]
    refused = listed.join(barred, on=keys)
    allowed = listed.join(barred, on=keys, how="anti")
    counts = {
        "given_negatives_that_are_positives": refused["positive"].sum(),
        "given_negatives_that_are_their_query": refused.filter(~pl.col("positive")).height,
    }
    if "split" in passages.columns:
        of_query = pairs.select("query_id", "split").unique()
        split_pairs = allowed.join(of_query, on="query_id").join(
            passages.rename({"passage": "text_id", "split": "home"}), on="text_id"
        )
        allowed = split_pairs.filter(pl.col("split") == pl.col("home")).select(keys)
        counts["given_negatives_of_other_splits"] = split_pairs.height - allowed.height
    return allowed, counts


def _mined(
    texts: pl.DataFrame,
    pairs: pl.DataFrame,
    passages: pl.DataFrame,
    barred: pl.DataFrame,
    miner: Miner,
    sampling: Sampling,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """query_id, text_id of the hard negatives that are found for each query, and how many queries
    have none. Where passages are apart, a split is mined as a corpus of its own."""
    queries = _with_texts(pairs.select("query_id", "split").unique(), texts, "query")
    corpus = _with_texts(passages, texts, "passage")
    if "split" in passages.columns:
        parts = [(queries.filter(split=part), corpus.filter(split=part)) for part in SPLITS]
    else:
        parts = [(queries.unique("text_id", keep="first", maintain_order=True), corpus)]
    mined = pl.concat(
        negatives.mine(
            *part,
            barred,
            miner,
            sampling.negatives.depth,
            sampling.negatives.seed,
            sampling.bm25,
            sampling.stop_words,
            sampling.unspaced,
        )
        for part in parts
    )
    without = queries["text_id"].n_unique() - mined["query_id"].n_unique()
    return mined.select("query_id", "text_id"), {"queries_without_a_mined_negative": without}


def _with_texts(ids: pl.DataFrame, texts: pl.DataFrame, side: str) -> pl.DataFrame:
    """The ids of a side (the first column) as text_id, in order, with their texts."""
    named = ids.rename({ids.columns[0]: "text_id"}).sort("text_id")
    own = texts.filter(pl.col("side") == side).select("text_id", "text")
    return named.join(own, on="text_id", maintain_order="left")


def _drawn(pairs: pl.DataFrame, pool: pl.DataFrame, sampling: Sampling) -> tuple[pl.DataFrame, int]:
    """The pairs that have negatives, with those drawn for them; how many are oversampled."""
    candidates = dict(pool.group_by("query_id").agg("text_id").iter_rows())
    drawn = [
        negatives.draw(
            candidates.get(query, []), sampling.negatives.count, sampling.negatives.seed, sample
        )
        for query, sample in pairs.select("query_id", "sample_id").iter_rows()
    ]
    lists = pl.Series("negative_ids", drawn, dtype=pl.List(pl.String))
    frame = pairs.with_columns(lists).filter(pl.col("negative_ids").is_not_null())
    oversampled = frame.filter(
        pl.col("negative_ids").list.n_unique() < sampling.negatives.count
    ).height
    columns = ("sample_id", "split", "published", "query_id", "positive_id", "negative_ids")
    return frame.select(columns), oversampled


def _seen_in_train(frame: pl.DataFrame) -> dict[str, int]:
    """Distinct texts that are candidates in test, and those of them that are in train, too."""
    candidates = frame.select(
        "split", text_id=pl.concat_list("positive_id", "negative_ids")
    ).explode("text_id")
    test, train = (
        candidates.filter(pl.col("split") == split).select("text_id").unique()
        for split in ("test", "train")
    )
    seen = test.join(train, on="text_id", how="semi")
    return {"test_candidates": test.height, "test_passages_seen_in_train": seen.height}


def _split_anew(judgements: pl.DataFrame, splits: Splits) -> list[str]:
    """What to say where published splits are not kept."""
    if not (names := without_train(judgements)):
        return []
    several = "s" if len(names) > 1 else ""
    return [
        f"the source publishes the split{several} {' and '.join(names)} and no train split: all "
        f"its samples are split anew (splits.test: {splits.test}, splits.validation: "
        f"{splits.validation}); give a train split, too, to keep what is published"
    ]


def _cause(without: int, pairs: pl.DataFrame, sampling: Sampling) -> str | None:
    """What to tell a user where mining finds nothing for some queries."""
    if not without:
        return None
    words = lexical.UNITS.get(sampling.negatives.mined or "") == "words"
    mend = ": set negatives.mined to character-tfidf, which matches parts of words" if words else ""
    return (
        f"{sampling.negatives.mined} found no negative for {without:,} of "
        f"{pairs['query_id'].n_unique():,} queries, whose samples are dropped{mend}"
    )


def _check(
    sizes: dict[str, int], pairs: pl.DataFrame, sampling: Sampling, cause: str | None
) -> None:
    """Raises WellspringError where a split is empty."""
    shares = sampling.splits
    mends = {
        "train": f"lower splits.test ({shares.test}) or splits.validation ({shares.validation})",
        "validation": f"raise splits.validation ({shares.validation})",
        "test": f"raise splits.test ({shares.test})",
    }
    total = sum(sizes.values())
    for split, size in sizes.items():
        if not size and (pairs["split"] == split).any():
            reason = cause or "no query in it has a hard negative: set negatives.mined"
            raise WellspringError(f"the {split} split of {total} samples is empty: {reason}")
        if not size:
            raise WellspringError(f"the {split} split of {total} samples is empty: {mends[split]}")
