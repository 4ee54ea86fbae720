"""Which texts are attributed, and what each of them is compared with.

These are the test split's queries and their positive passages. A query is its text and a passage is
its text: equal texts are attributed once, under the lowest id that the dataset has for the text.
Nothing depends on the order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.config.vocabulary import OTHER, Side, Wording
from wellspring.datasets.splits import keyed
from wellspring.errors import WellspringError
from wellspring.randomness import key, shuffled


def select(
    texts: pl.DataFrame, judgements: pl.DataFrame, side: Side, count: int | None, seed: int
) -> pl.DataFrame:
    """text_id, text, partner_id, partner_text of the texts to attribute, in random order.

    texts: text_id, side, text. judgements: split, query_id, text_id, grade, as in qrels.parquet.
    count: at most so many, None: all; fewer are the first of more. The partner of a query is one of
    its positives, that of a passage a query that it answers. Order and partners depend on
    (seed, ids) alone. Raises WellspringError where the test split has no positive judgement.
    """
    positive = judgements.filter((pl.col("split") == "test") & (pl.col("grade") > 0))
    pairs = keyed(texts, positive).select("query", "passage").unique()
    ids = shuffled(seed, pairs[side].unique().to_list())[:count]
    if not ids:
        raise WellspringError(
            "the test split has no query with a positive passage: raise the dataset's splits.test, "
            "or give a source with a test split"
        )
    pairs = pairs.filter(pl.col(side).is_in(ids))
    drawn = pl.Series([key(seed, *pair) for pair in pairs.iter_rows()], dtype=pl.UInt64)
    first = pairs.with_columns(drawn=drawn).sort("drawn").unique(side, keep="first")
    selected = pl.DataFrame({side: ids}).join(first, on=side, maintain_order="left")
    selected = _texts(_texts(selected, texts, side), texts, OTHER[side])
    names = {side: "text_id", f"{side}_text": "text"}
    names |= {OTHER[side]: "partner_id", f"{OTHER[side]}_text": "partner_text"}
    return selected.select(*names).rename(names)


def candidates(
    samples: pl.DataFrame, texts: pl.DataFrame, chosen: pl.DataFrame, side: Side
) -> pl.DataFrame:
    """What a query is ranked against: text_id, query_id, query_text, positive_id, positive_text,
    negative_texts (list, distinct).

    samples: sample_id, split, query_id, positive_id, negative_ids. texts: as above. chosen: as from
    `select`; a text is the row's query or, on the passage side, its positive. Of a text's samples
    in the test split the one with its partner is taken, else the one with the lowest id; a text
    without a sample is left out, the others keep their order.
    """
    tested = samples.filter(pl.col("split") == "test").rename({"positive_id": "text_id"})
    named = keyed(texts, tested).select("sample_id", "query", "passage", "negative_ids")
    partners = chosen.select(pl.col("text_id").alias(side), partner="partner_id")
    first = (
        partners.join(named, on=side)
        .sort(pl.col("partner") != pl.col(OTHER[side]), "sample_id")
        .unique(side, keep="first")
    )
    passages = texts.filter(pl.col("side") == "passage")
    negatives = (
        first.select(side, text_id="negative_ids")
        .explode("text_id")
        .join(passages, on="text_id", maintain_order="left")
        .group_by(side)
        .agg(negative_texts=pl.col("text").unique(maintain_order=True))
    )
    ranked = partners.select(side).join(first, on=side, maintain_order="left")
    ranked = ranked.join(negatives, on=side, maintain_order="left")
    return _texts(_texts(ranked, texts, "query"), texts, "passage").select(
        text_id=side,
        query_id="query",
        query_text="query_text",
        positive_id="passage",
        positive_text="passage_text",
        negative_texts="negative_texts",
    )


def with_samples(
    texts: pl.DataFrame, samples: pl.DataFrame, side: Side, count: int | None, seed: int
) -> pl.DataFrame:
    """The first `count` texts of a side that have a sample in the test split, as `select` gives
    them, with the negative_texts of the sample that has their partner.

    texts, samples: as in `candidates`.
    """
    pairs = samples.select("split", "query_id", text_id="positive_id", grade=pl.lit(1))
    selected = select(texts, pairs, side, count, seed)
    ranked = candidates(samples, texts, selected, side).select("text_id", "negative_texts")
    return selected.join(ranked, on="text_id", maintain_order="left")


def worded(chosen: pl.DataFrame, texts: pl.DataFrame, text: Wording) -> pl.DataFrame:
    """The queries in the wording that is attributed, under their ids; those that have none are
    left out. Raises WellspringError where none has any."""
    if text == "original":
        return chosen
    wordings = paraphrased(chosen, texts)
    if wordings.is_empty():
        raise WellspringError(
            "no query has a paraphrase, which the attribution's text asks for: add paraphrases to "
            "the dataset's source, or attribute shortened texts (query_length, passage_length)"
        )
    return wordings


def paraphrased(chosen: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """`chosen` with another wording as each text, without the texts that have none.

    chosen: text_id, text and any more, of queries. texts: as above; a wording has the side
    `paraphrase` and its query's id.
    """
    wordings = texts.filter(pl.col("side") == "paraphrase").select("text_id", wording="text")
    reworded = chosen.join(wordings, on="text_id", maintain_order="left")
    return reworded.with_columns(text="wording").drop("wording")


def widths(lengths: Sequence[int], batch: int) -> list[int]:
    """The positions of each text where every `batch` texts in turn are padded to the longest of
    them: the published way.

    lengths: tokens of all texts that are attributed, in the order of `select`.
    """
    longest = (max(lengths[start : start + batch]) for start in range(0, len(lengths), batch))
    return [width for width in longest for _ in range(batch)][: len(lengths)]


def _texts(frame: pl.DataFrame, texts: pl.DataFrame, side: Side) -> pl.DataFrame:
    """The frame, with the texts of the ids in its column `side` as `{side}_text`."""
    named = texts.filter(pl.col("side") == side).select(
        pl.col("text_id").alias(side), pl.col("text").alias(f"{side}_text")
    )
    return frame.join(named, on=side, maintain_order="left")
