"""What is never a negative: a query's positives and its own document; and where none is found."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.formats import source, write
from tests.support.sampling import (
    MINED,
    PLAIN,
    RANDOM,
    argued,
    chinese,
    drawing,
    foreign,
    many,
    tables,
)
from wellspring.config.vocabulary import Miner
from wellspring.datasets import beir
from wellspring.datasets.negatives import normal
from wellspring.datasets.samples import Samples, Sampling, make
from wellspring.errors import WellspringError

MINERS = get_args(Miner)


def negatives_of(made: Samples) -> dict[str, set[str]]:
    rows = made.frame.select("query_id", "negative_ids").iter_rows()
    return {query: set(chosen) for query, chosen in rows}


@pytest.mark.parametrize("miner", MINERS)
def test_a_querys_own_document_is_never_mined(tmp_path: Path, miner: str) -> None:
    records = beir.read(source(argued(tmp_path)))
    # As deep as the corpus: everything that a miner finds is drawn.
    sampling = drawing(PLAIN, mined=miner, depth=240, count=30)
    made = make(records.texts, records.judgements, sampling)
    assert made.counts["samples"] == 120
    assert made.counts["own_documents_by_id"] == made.counts["own_documents_by_text"] == 120
    for own, chosen in negatives_of(made).items():
        assert own not in chosen and chosen
    # Those of other queries are negatives all the same.
    drawn = {text for chosen in negatives_of(made).values() for text in chosen}
    assert any(text.startswith("arg-") for text in drawn)


def test_own_documents_are_known_by_id_where_their_texts_differ(tmp_path: Path) -> None:
    path = argued(tmp_path)
    lines = (path / "corpus.jsonl").read_text().splitlines()
    write(path / "corpus.jsonl", *(line.replace("number7 pro", "number7 pro.") for line in lines))
    records = beir.read(source(path))
    made = make(records.texts, records.judgements, drawing(MINED, depth=240, count=60))
    assert made.counts["own_documents_by_text"] == 119
    assert "arg-007" not in negatives_of(made)["arg-007"]


def test_given_negatives_that_are_the_query_are_left_out() -> None:
    rows = [*many(20), ("q0", "self", 0, None), ("q1", "q1", 0, None)]
    rows += [("q2", "loud", 0, None), ("q3", "copy", 0, None)]
    text = {
        "self": " Text  of q0\n",
        "q1": "whatever",
        "loud": "TEXT OF Q2-P0",
        "copy": "text of q3",
    }
    made = make(*tables(rows, text), drawing(PLAIN, count=9))
    chosen = negatives_of(made)
    for n in range(4):
        assert chosen[f"q{n}"] == {f"q{n}-n{m}" for m in range(6)}
    assert made.counts["given_negatives_that_are_their_query"] == 3
    assert made.counts["given_negatives_that_are_positives"] == 1
    assert made.counts["own_documents_by_id"] == 1
    assert made.counts["own_documents_by_text"] == 3


def test_sides_that_are_both_counted_from_0_share_no_document() -> None:
    """As in FiQA and MS MARCO: a passage with the query's number is another text."""
    texts, judgements = tables(many(20))
    renamed = {f"q{n}-n0": f"q{n}" for n in range(20)}
    passage = pl.col("side") == "passage"
    texts = texts.with_columns(
        text_id=pl.when(passage).then(pl.col("text_id").replace(renamed)).otherwise("text_id"),
        text=pl.when(passage).then(pl.format("body {} here", "text_id")).otherwise("text"),
    )
    judgements = judgements.with_columns(pl.col("text_id").replace(renamed))
    made = make(texts, judgements, drawing(PLAIN, count=6))
    assert made.counts["own_documents_by_id"] == made.counts["oversampled"] == 0
    assert all(f"q{n}" in negatives_of(made)[f"q{n}"] for n in range(20))


def test_a_positive_that_is_the_query_stays_a_positive() -> None:
    rows = [*many(20), ("q0", "echo", 1, None)]
    made = make(*tables(rows, {"echo": "Text of q0"}), PLAIN)
    assert made.frame.filter(query_id="q0", positive_id="echo").height == 1
    assert made.counts["given_negatives_that_are_their_query"] == 0


@given(st.text(alphabet="aB \t\n\u00a0É", max_size=8), st.text(alphabet="aB \t\nÉ", max_size=8))
def test_the_normal_form_is_words_in_lower_case(one: str, other: str) -> None:
    found = pl.DataFrame({"text": [one, other]}).select(normal(pl.col("text")))["text"]
    assert found.to_list() == [" ".join(text.lower().split()) for text in (one, other)]


def test_random_negatives_follow_seed_and_query() -> None:
    texts, judgements = tables(many(30))
    made = make(texts, judgements, drawing(RANDOM, depth=20))
    other = make(texts, judgements, drawing(RANDOM, depth=20, seed=1))
    assert made.frame.drop("negative_ids").equals(other.frame.drop("negative_ids"))
    assert not made.frame.equals(other.frame)
    for query_id, chosen in negatives_of(made).items():
        assert not {f"{query_id}-p0", f"{query_id}-p1"} & chosen
    both = made.frame.filter(query_id="q3")["negative_ids"].to_list()
    assert set(both[0]) != set(both[1])


@pytest.mark.parametrize("miner", ["bm25", "word-tfidf", "character-tfidf", "character-bm25"])
def test_every_scorer_mines_what_is_written_without_spaces(miner: Miner) -> None:
    made = make(*chinese(), drawing(MINED, count=2, mined=miner))
    assert made.counts["samples"] == 6
    assert made.warnings == ()


def test_where_no_word_is_shared_the_cause_is_named() -> None:
    message = (
        "split of 0 samples is empty: bm25 found no negative for 6 of 6 queries, whose samples are "
        "dropped: set negatives.mined to character-tfidf, which matches parts of words"
    )
    with pytest.raises(WellspringError, match=message):
        make(*foreign(), drawing(MINED, count=2))
    made = make(*foreign(), drawing(MINED, count=2, mined="character-tfidf"))
    assert made.counts["samples"] == 6


def test_queries_for_which_nothing_is_found_are_told() -> None:
    rows = [*many(20), ("odd", "odd-p", 1, None)]
    made = make(*tables(rows, {"odd": "strange", "odd-p": "weird"}), MINED)
    assert made.counts["queries_without_a_mined_negative"] == 1
    assert made.counts["dropped_without_negatives"] == 1
    assert made.warnings == (
        "bm25 found no negative for 1 of 21 queries, whose samples are dropped: set "
        "negatives.mined to character-tfidf, which matches parts of words",
    )
    few = [*many(100), *rows[-1:]]
    quiet = make(*tables(few, {"odd": "strange", "odd-p": "weird"}), MINED)
    assert quiet.counts["queries_without_a_mined_negative"] == 1
    assert quiet.warnings == ()


def test_a_split_whose_queries_have_no_given_negatives_is_named() -> None:
    rows = [*many(9, "train"), *(row for row in many(9, "test", "t") if row[2])]
    with pytest.raises(WellspringError, match="test split of 18 samples is empty: no query in it"):
        make(*tables(rows), Sampling())
