"""Which texts are attributed: every text once, in an order that only seed and ids decide."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellspring.attributions.selection import candidates, select
from wellspring.config import Negatives, Splits
from wellspring.datasets.records import TEXTS
from wellspring.datasets.samples import Sampling, make
from wellspring.datasets.splits import qrels, splits
from wellspring.errors import WellspringError
from wellspring.randomness import key

JUDGED = {"split": pl.String, "query_id": pl.String, "text_id": pl.String, "grade": pl.Int32}
SAMPLED = {
    "sample_id": pl.String,
    "split": pl.String,
    "query_id": pl.String,
    "positive_id": pl.String,
    "negative_ids": pl.List(pl.String),
}


def tables(rows, same=()):
    """Texts and judgements of (split, query, passage, grade); a text is "text of ID" unless `same`
    maps the id to another's."""
    named = {id_: id_ for _, *ids, _ in rows for id_ in ids} | dict(same)
    sides = {(row[1], "query") for row in rows} | {(row[2], "passage") for row in rows}
    texts = [(id_, side, f"text of {named[id_]}") for id_, side in sorted(sides)]
    return (
        pl.DataFrame(texts, schema=TEXTS, orient="row"),
        pl.DataFrame(rows, schema=JUDGED, orient="row"),
    )


MANY = [
    (split, f"{split}-q{query}", f"{split}-p{query}-{passage}", int(passage < 3))
    for split in ("train", "test")
    for query in range(12)
    for passage in range(5)
]


def test_test_queries_and_their_positive_passages():
    texts, judgements = tables(MANY)
    queries = select(texts, judgements, "query", None, 1)
    assert queries.columns == ["text_id", "text", "partner_id", "partner_text"]
    assert set(queries["text_id"]) == {f"test-q{query}" for query in range(12)}
    passages = select(texts, judgements, "passage", None, 1)
    assert set(passages["text_id"]) == {f"test-p{q}-{p}" for q in range(12) for p in range(3)}
    for text_id, text, partner_id, partner_text in passages.iter_rows():
        assert (text, partner_text) == (f"text of {text_id}", f"text of {partner_id}")
        assert partner_id == "test-q" + text_id.removeprefix("test-p").split("-")[0]
    # One of three positives, not always the same one.
    picked = {
        (query.removeprefix("test-q"), *partner.removeprefix("test-p").split("-"))
        for query, _, partner, _ in queries.iter_rows()
    }
    assert all(query == own for query, own, _ in picked)
    assert {place for *_, place in picked} == {"0", "1", "2"}


@settings(max_examples=25)
@given(st.integers(0, 99), st.integers(0, 60), st.sampled_from(["query", "passage"]), st.randoms())
def test_order_of_rows_and_count_do_not_matter(seed, count, side, random):
    texts, judgements = tables(MANY)
    every = select(texts, judgements, side, None, seed)
    mixed = [
        frame[random.sample(range(frame.height), frame.height)] for frame in (texts, judgements)
    ]
    if count:
        assert select(*mixed, side, count, seed).equals(every[:count])
    ids = every["text_id"].to_list()
    assert ids == sorted(ids, key=lambda text: key(seed, text))
    for text, _, partner, _ in every.iter_rows():
        others = judgements.filter((pl.col("split") == "test") & (pl.col("grade") > 0))
        own, other = ("query_id", "text_id") if side == "query" else ("text_id", "query_id")
        others = others.filter(pl.col(own) == text)[other].to_list()
        pairs = {(text, p) if side == "query" else (p, text): p for p in others}
        assert pairs[min(pairs, key=lambda pair: key(seed, *pair))] == partner


def test_seeds_differ():
    given = tables(MANY)
    one, other = (select(*given, "query", None, seed) for seed in (1, 2))
    assert one["text_id"].to_list() != other["text_id"].to_list()
    assert not one.sort("text_id").equals(other.sort("text_id"))


def test_equal_texts_are_attributed_once():
    rows = [("test", "q1", "p1", 1), ("test", "q2", "p2", 1), ("train", "q0", "p0", 1)]
    texts, judgements = tables(rows, same={"q2": "q1", "q0": "q1", "p2": "p1"}.items())
    # The lowest id that the dataset has for the text, whatever split it is in.
    queries = select(texts, judgements, "query", None, 1)
    assert queries.rows() == [("q0", "text of q1", "p1", "text of p1")]
    passages = select(texts, judgements, "passage", None, 1)
    assert passages.rows() == [("p1", "text of p1", "q0", "text of q1")]


def test_ids_that_both_sides_use_are_told_apart():
    texts = [("1", "query", "a question"), ("1", "passage", "an answer")]
    texts = pl.DataFrame(texts, schema=TEXTS, orient="row")
    _, judgements = tables([("test", "1", "1", 1)])
    found = select(texts, judgements, "query", 5, 1)
    assert found.rows() == [("1", "a question", "1", "an answer")]
    found = select(texts, judgements, "passage", 5, 1)
    assert found.rows() == [("1", "an answer", "1", "a question")]


def test_a_test_split_without_positives_is_an_error():
    texts, judgements = tables([("train", "q", "p", 1), ("test", "q", "r", 0)])
    with pytest.raises(WellspringError, match="the test split has no query with a positive"):
        select(texts, judgements, "query", None, 1)


def sampled(*rows):
    return pl.DataFrame(rows, schema=SAMPLED, orient="row")


ROWS = [
    ("test", "q1", "p1", 1),
    ("test", "q1", "p2", 1),
    ("test", "q2", "p2", 1),
    ("test", "q1", "n1", 0),
    ("test", "q1", "n2", 0),
    ("test", "q1", "n3", 0),
]
SAMPLES = sampled(
    ("a", "test", "q1", "p1", ["n3", "n1", "n3"]),
    ("b", "test", "q1", "p2", ["n2", "n1"]),
    ("c", "train", "q2", "p2", ["n1"]),
)


def chosen(*pairs):
    rows = [(text, "", partner, "") for text, partner in pairs]
    return pl.DataFrame(
        rows, schema=["text_id", "text", "partner_id", "partner_text"], orient="row"
    )


def test_candidates_of_a_query_are_those_of_the_sample_with_its_partner():
    texts, _ = tables(ROWS)
    for partner, negatives in (("p1", ["n3", "n1"]), ("p2", ["n2", "n1"]), ("p9", ["n3", "n1"])):
        found = candidates(SAMPLES, texts, chosen(("q1", partner)), "query")
        positive = "p1" if partner == "p9" else partner
        expected = ("q1", "q1", "text of q1", positive, f"text of {positive}")
        assert found.rows() == [(*expected, [f"text of {name}" for name in negatives])]
    assert found.columns == [
        "text_id",
        "query_id",
        "query_text",
        "positive_id",
        "positive_text",
        "negative_texts",
    ]


def test_candidates_of_a_passage_are_its_querys():
    texts, _ = tables(ROWS)
    found = candidates(SAMPLES, texts, chosen(("p2", "q1"), ("p1", "q1")), "passage")
    assert found.select("text_id", "query_id", "positive_id").rows() == [
        ("p2", "q1", "p2"),
        ("p1", "q1", "p1"),
    ]
    # Its only sample for that query is in training: another query's stands in.
    found = candidates(SAMPLES, texts, chosen(("p2", "q2")), "passage")
    assert found["query_id"].to_list() == ["q1"]


def test_a_text_without_a_test_sample_has_no_candidates():
    texts, _ = tables(ROWS)
    found = candidates(SAMPLES, texts, chosen(("q2", "p2"), ("q1", "p2")), "query")
    assert found["text_id"].to_list() == ["q1"]
    assert candidates(SAMPLES, texts, chosen(("q2", "p2")), "query").is_empty()


def test_equal_negatives_count_once_and_equal_queries_are_one():
    texts, _ = tables([*ROWS, ("test", "q0", "p1", 1)], same={"n3": "n1", "q0": "q1"}.items())
    found = candidates(SAMPLES, texts, chosen(("q0", "p1")), "query")
    assert found["query_text"].to_list() == ["text of q1"]
    assert found["negative_texts"].to_list() == [["text of n1"]]


@settings(max_examples=15)
@given(st.randoms(), st.sampled_from(["query", "passage"]))
def test_candidates_of_real_samples_belong_to_their_pair(random, side):
    texts, judgements = tables(MANY)
    judgements = judgements.select("query_id", "text_id", "grade", split=pl.lit(None, pl.String))
    settings = Sampling(splits=Splits(test=0.3, validation=0.2), negatives=Negatives(count=2))
    samples = make(texts, judgements, settings).frame
    named = qrels(texts, judgements, splits(texts, judgements, settings.splits))
    picked = select(texts, named, side, 6, 3)
    found = candidates(samples, texts, picked, side)
    assert found["text_id"].to_list() == picked["text_id"].to_list()
    partner = "positive_id" if side == "query" else "query_id"
    assert found[partner].to_list() == picked["partner_id"].to_list()
    mixed = samples[random.sample(range(samples.height), samples.height)]
    assert candidates(mixed, texts, picked, side).equals(found)
    for query, negatives in found.select("query_text", "negative_texts").iter_rows():
        own = query.replace("-q", "-p")
        assert sorted(negatives) == [f"{own}-3", f"{own}-4"]
