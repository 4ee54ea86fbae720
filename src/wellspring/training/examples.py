"""What a retriever learns from: queries, each with a positive and hard negatives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.datasets.named import named
from wellspring.datasets.negatives import normal
from wellspring.errors import WellspringError
from wellspring.randomness import shuffled


@dataclass(frozen=True)
class Examples:
    """Training examples as numbers of texts."""

    ids: Sequence[str]
    """Of the samples: what the order of a run is drawn from."""
    query_ids: Sequence[str]
    """Every query once, or once for each instruction that it is written with."""
    passage_ids: Sequence[str]
    """Every passage once."""
    queries: np.ndarray
    """[examples], positions in `query_ids`."""
    passages: np.ndarray
    """[examples, 1 + negatives], positions in `passage_ids`: the positive, then hard negatives."""
    relevant: Sequence[frozenset[int]]
    """For every query the passages that answer it, whatever split says so, as positions in
    `passage_ids`."""
    instructions: Sequence[str] = ()
    """For every query what it is written with; empty where there are no instructions."""


def joined(
    texts: Sequence[pl.DataFrame], samples: Sequence[pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The texts that samples name, and the samples, of several datasets as of one.

    texts: side, text_id, text of each dataset. samples: `wellspring.datasets.samples.make`'s of
    each. Ids begin with the number of their dataset, and a text that several have has the first
    one's id there, too: masks go by id.
    """
    parts = []
    for number, (known, own) in enumerate(zip(texts, samples, strict=True)):
        ids = pl.format(f"{number}/{{}}", "text_id")
        parts.append(named(known, own).select("side", "text", text_id=ids))
    whole = pl.concat(parts).with_columns(first=pl.col("text_id").first().over("side", "text"))
    first = {
        side: dict(whole.filter(pl.col("side") == side).select("text_id", "first").iter_rows())
        for side in ("query", "passage")
    }
    renamed = []
    for number, own in enumerate(samples):
        name = f"{number}/{{}}"
        numbered = own.with_columns(
            pl.col("negative_ids").list.eval(pl.format(name, pl.element())),
            **{each: pl.format(name, each) for each in ("sample_id", "query_id", "positive_id")},
        )
        renamed.append(
            numbered.with_columns(
                pl.col("query_id").replace(first["query"]),
                pl.col("positive_id").replace(first["passage"]),
                pl.col("negative_ids").list.eval(pl.element().replace(first["passage"])),
            )
        )
    kept = whole.filter(pl.col("text_id") == pl.col("first")).drop("first")
    return kept, pl.concat(renamed)


def datasets_of(ids: Sequence[str]) -> np.ndarray:
    """[ids]: the number of the dataset that each id is of, as `joined` writes ids."""
    return np.array([int(each.partition("/")[0]) for each in ids])


def judged(scores: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """A teacher's scores of several datasets' samples, under the ids that `joined` gives."""
    return pl.concat(
        own.with_columns(sample_id=pl.format(f"{number}/{{}}", "sample_id"))
        for number, own in enumerate(scores)
    )


def part(samples: pl.DataFrame, fraction: float, seed: int) -> pl.DataFrame:
    """The samples without those training samples whose query is not learned from.

    fraction: of the training queries, those that come first in an order that is drawn from (seed,
    query id), and one at least: a smaller fraction's are among them. A query stays or goes with all
    its training samples, and other splits stay as they are.
    """
    if fraction == 1:
        return samples
    training = pl.col("split") == "train"
    order = shuffled(seed, samples.filter(training)["query_id"].unique().to_list(), "fraction")
    chosen = order[: max(1, round(fraction * len(order)))]
    return samples.filter(~training | pl.col("query_id").is_in(chosen))


def passages(samples: pl.DataFrame) -> list[str]:
    """The passages that are learned from: those of the training samples, hard negatives included,
    less those that answer a query of another split.

    samples: as `joined` gives them.
    """
    training = samples.filter(pl.col("split") == "train")
    kept = {*samples.filter(pl.col("split") != "train")["positive_id"]}
    named = [*training["positive_id"], *training["negative_ids"].explode().drop_nulls()]
    return [each for each in dict.fromkeys(named) if each not in kept]


def gather(
    samples: pl.DataFrame, texts: pl.DataFrame, split: str, negatives: int, seed: int = 0
) -> Examples:
    """The examples of a split.

    samples, texts: as `joined` gives them, all splits: a passage that answers a query in another
    split is no negative of that query here. Nor is one that has the text of the query, or of what
    answers it, up to case and white space. negatives: hard ones of each sample, the first of its
    distinct ones in an order that is drawn from (seed, sample id).

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
    form = {side: forms(texts, side) for side in ("query", "passage")}
    alike: dict[int, list[int]] = defaultdict(list)
    for passage, number in passages.items():
        alike[form["passage"][passage]].append(number)
    answers = {query: set(alike.get(form["query"][query], ())) for query in queries}
    for query, positive in samples.select("query_id", "positive_id").iter_rows():
        if query in answers:
            answers[query].update(alike.get(form["passage"][positive], ()))
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


def forms(texts: pl.DataFrame, side: str) -> dict[str, int]:
    """Id to what stands for a text of a side up to case and white space."""
    own = texts.filter(pl.col("side") == side)
    return dict(own.select("text_id", normal(pl.col("text")).hash(seed=0)).iter_rows())


def _drawn(
    seed: int, sample: str, positive: str, given: Sequence[str], count: int
) -> Sequence[str]:
    distinct = sorted({passage for passage in given if passage != positive})
    return shuffled(seed, distinct, "hard negatives", sample)[:count] if count else []


def _numbers(ids) -> Mapping[str, int]:
    return {each: number for number, each in enumerate(dict.fromkeys(ids))}
