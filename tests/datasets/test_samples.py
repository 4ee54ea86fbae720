"""Samples: negatives that are drawn, splits that leak nothing, and nothing that order changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sampling import (
    BY_CHARACTERS,
    BY_SAMPLE,
    MINED,
    PLAIN,
    RANDOM,
    Judgement,
    apart,
    check_apart,
    check_names,
    drawing,
    many,
    sizes,
    tables,
)
from wellspring.datasets import beir, dpr, jsonl
from wellspring.datasets.negatives import draw
from wellspring.datasets.records import Records, Source
from wellspring.datasets.samples import Sampling, make
from wellspring.errors import WellspringError

Shared = Callable[[str], Path]


# draw


@given(
    negatives=st.lists(st.text(max_size=3), unique=True, min_size=1, max_size=9),
    count=st.integers(1, 6),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_draw(negatives: list[str], count: int, seed: int, data: st.DataObject) -> None:
    drawn = draw(negatives, count, seed, "sample")
    assert len(drawn) == count
    assert set(drawn) <= set(negatives)
    # Without replacement while there are enough, all of them where there are not.
    assert len(set(drawn)) == min(count, len(negatives))
    again = data.draw(st.permutations([*negatives, negatives[0]]))
    assert drawn == draw(again, count, seed, "sample")


def test_draw_is_uniform_and_follows_seed_and_sample() -> None:
    names = list("abcdef")
    drawn = [draw(names, 2, 42, f"sample{n}") for n in range(3000)]
    first = Counter(pair[0] for pair in drawn)
    second = Counter(pair[1] for pair in drawn)
    for counter in (first, second):
        # Binomial(3000, 1/6): 500 ± 20.4; five deviations.
        assert all(400 < counter[name] < 600 for name in names)
    assert drawn != [draw(names, 2, 43, f"sample{n}") for n in range(3000)]
    refilled = Counter(draw(["a", "b"], 3, 42, f"sample{n}")[2] for n in range(1000))
    assert 420 < refilled["a"] < 580


def test_nothing_to_draw() -> None:
    assert draw([], 4, 42, "sample") is None


# make


def test_one_sample_for_each_positive() -> None:
    texts, judgements = tables(many(40))
    made = make(texts, judgements, PLAIN)
    frame = made.frame
    positives = judgements.filter(pl.col("grade") > 0)
    assert set(frame.select("query_id", "positive_id").iter_rows()) == set(
        positives.select("query_id", "text_id").iter_rows()
    )
    assert frame["sample_id"].is_unique().all()
    assert frame["sample_id"].str.contains("^[0-9a-f]{16}$").all()
    assert frame["negative_ids"].list.len().eq(4).all()
    assert frame["negative_ids"].list.n_unique().eq(4).all()
    for query, chosen in frame.select("query_id", "negative_ids").iter_rows():
        assert all(name.startswith(f"{query}-n") for name in chosen)
    tested = frame.filter(split="test")
    assert made.counts == {
        "samples": 80,
        "train": 44,
        "validation": 16,
        "test": 20,
        "oversampled": 0,
        "dropped_without_negatives": 0,
        "given_negatives_that_are_positives": 0,
        "given_negatives_that_are_their_query": 0,
        "own_documents_by_id": 0,
        "own_documents_by_text": 0,
        "duplicates": 0,
        "leaks_dropped": 0,
        "queries_on_both_sides": 0,
        "test_candidates": len(set(tested.explode("negative_ids")["negative_ids"])) + 20,
        "test_passages_seen_in_train": 0,
    }
    assert sizes(frame) == {"train": 44, "validation": 16, "test": 20}


def test_few_negatives_are_oversampled_and_none_drop_the_sample() -> None:
    rows = many(20)
    rows += [("few", "few-p", 1, None), ("few", "few-n0", 0, None), ("few", "few-n1", 0, None)]
    rows += [("none", "none-p0", 1, None), ("none", "none-p1", 2, None)]
    assert make(*tables(many(20)), drawing(PLAIN, count=6)).counts["oversampled"] == 0
    made = make(*tables(rows), PLAIN)
    assert made.counts["oversampled"] == 1
    assert made.counts["dropped_without_negatives"] == 2
    assert made.counts["samples"] == 41
    assert "none" not in made.frame["query_id"]
    chosen = made.frame.filter(query_id="few")["negative_ids"].item().to_list()
    assert len(chosen) == 4
    assert set(chosen) == {"few-n0", "few-n1"}


def test_a_text_that_is_a_positive_is_no_negative_whatever_its_id() -> None:
    rows = [*many(20), ("q0", "alias", 0, None), ("q0-twin", "q0-n0", 1, None)]
    texts, judgements = tables(rows, {"alias": "text of q0-p1", "q0-twin": "text of q0"})
    given = make(texts, judgements, drawing(PLAIN, count=7)).frame.filter(query_id="q0")
    for chosen in given["negative_ids"].to_list():
        assert set(chosen) == {f"q0-n{n}" for n in range(1, 6)}


def test_explicit_negatives_of_equal_text_count_once() -> None:
    rows = [*many(20), ("q0", "q0-n0-copy", 0, None)]
    texts, judgements = tables(rows, {"q0-n0-copy": "text of q0-n0"})
    frame = make(texts, judgements, drawing(PLAIN, count=6)).frame
    for chosen in frame.filter(query_id="q0")["negative_ids"].to_list():
        assert set(chosen) == {f"q0-n{n}" for n in range(6)}


def test_mined_negatives_come_from_the_whole_corpus() -> None:
    texts, judgements = tables(many(30))
    made = make(texts, judgements, MINED)
    assert made.counts["samples"] == 60
    for query, positive, chosen in made.frame.select(
        "query_id", "positive_id", "negative_ids"
    ).iter_rows():
        assert positive.startswith(f"{query}-p")
        assert not any(name.startswith(f"{query}-p") for name in chosen)
        assert len(set(chosen)) == 4
    without = judgements.filter(pl.col("grade") > 0)
    assert make(texts, without, MINED).frame.equals(made.frame)
    assert made.counts["given_negatives_not_used"] == 30 * 6


@settings(max_examples=60)
@given(
    edges=st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 9), st.integers(0, 2)),
        min_size=12,
        max_size=40,
        unique_by=lambda edge: edge[:2],
    ),
    words=st.lists(st.sampled_from(["wing", "lift", "drag", "flow"]), min_size=18, max_size=18),
    sampling=st.sampled_from(
        [PLAIN, BY_SAMPLE, MINED, RANDOM, BY_CHARACTERS, *map(apart, (PLAIN, MINED, RANDOM))]
    ),
    seed=st.integers(0, 5),
)
def test_neither_order_nor_seed_of_rows_matters(
    edges: list[tuple[int, int, int]], words: list[str], sampling: Sampling, seed: int
) -> None:
    """Few words, so texts repeat: no sample has its own positive, by id or text, as a negative."""
    text = {f"q{n}": words[n] for n in range(8)} | {f"d{n}": words[8 + n] for n in range(10)}
    text |= {"d0": "wing lift", "d1": "lift drag", "d2": "wing drag flow"}
    rows: list[Judgement] = [(f"q{q}", f"d{d}", grade, None) for q, d, grade in edges]
    texts, judgements = tables(rows, text)
    try:
        made = make(texts, judgements, sampling)
    except WellspringError:
        with pytest.raises(WellspringError):
            make(texts[::-1], judgements[::-1], sampling)
        return
    mixed = (table.sample(fraction=1, shuffle=True, seed=seed) for table in (texts, judgements))
    other = make(*mixed, sampling)
    assert other.frame.equals(made.frame)
    assert other.counts == made.counts
    positives: dict[str, set[str]] = {}
    for query, passage, grade, _ in rows:
        if grade:
            positives.setdefault(text[query], set()).add(text[passage])
    for query, chosen in made.frame.select("query_id", "negative_ids").iter_rows():
        assert not {text[name] for name in chosen} & (positives[text[query]] | {text[query]})
    pairs = [
        (text[q], text[p]) for q, p in made.frame.select("query_id", "positive_id").iter_rows()
    ]
    assert len(pairs) == len(set(pairs))
    check_names(texts, made.frame)
    if sampling.splits.passages == "disjoint":
        check_apart(made.frame)


def test_passages_that_test_shares_with_train_are_counted_by_text() -> None:
    rows = [*many(20, "train", "a"), *many(20, "dev", "b"), *many(20, "test", "c")]
    # Shared: a positive by id, a negative by text, and one that stands in validation alone.
    rows += [("c0", "a0-p0", 1, "test")]
    text = {"c1-n0": "text of a1-n0", "c2-n0": "text of a2-p0", "c3-p0": "text of b3-p0"}
    made = make(*tables(rows, text), drawing(PLAIN, count=6))
    assert made.counts["queries_on_both_sides"] == 0
    assert made.counts["test_passages_seen_in_train"] == 3


# real data


def check(records: Records, sampling: Sampling) -> pl.DataFrame:
    made = make(records.texts, records.judgements, sampling)
    text = dict(records.texts.filter(side="passage").select("text_id", "text").iter_rows())
    positives = {
        query: {text[name] for name in group["text_id"]}
        for (query,), group in records.judgements.filter(pl.col("grade") > 0).group_by("query_id")
    }
    for query, positive, chosen in made.frame.select(
        "query_id", "positive_id", "negative_ids"
    ).iter_rows():
        assert text[positive] in positives[query]
        assert not {text[name] for name in chosen} & positives[query]
    assert made.counts["samples"] == records.counts["positives"] - made.counts["duplicates"]
    return made.frame


def test_hotpotqa_with_mined_negatives(shared: Shared) -> None:
    records = beir.read(Source({None: shared("data/hotpotqa-sample")}, "hotpotqa"))
    frame = check(records, drawing(Sampling(), mined="bm25"))
    assert sizes(frame) == {"train": 140, "validation": 20, "test": 40}


def test_cranfield_with_its_own_negatives(shared: Shared) -> None:
    records = beir.read(Source({None: shared("data/cranfield")}, "cranfield"))
    check(records, drawing(Sampling(), mined="bm25"))
    made = make(records.texts, records.judgements, Sampling())
    assert made.counts["oversampled"] == made.counts["samples"]


def test_flagembedding_with_its_own_negatives(shared: Shared) -> None:
    records = jsonl.read(Source({None: shared("data/flagembedding/nq.jsonl")}, "nq"))
    assert sizes(check(records, PLAIN)) == {"train": 5, "validation": 2, "test": 3}


def test_dpr_with_its_own_negatives(shared: Shared) -> None:
    path = shared("data/dpr-sample/sample.json")
    records = dpr.read(Source({None: path}, "nq"))
    frame = check(records, BY_SAMPLE)
    published = {record["question"]: record for record in json.loads(path.read_text())}
    text = dict(records.texts.select("text_id", "text").iter_rows())
    for query, chosen in frame.select("query_id", "negative_ids").iter_rows():
        listed = published[text[query]]["hard_negative_ctxs"]
        assert {text[name] for name in chosen} <= {f"{c['title']} {c['text']}" for c in listed}
