"""Test texts that stand in training texts, against sets of words."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from wellspring.findings import leakage
from wellspring.findings.leakage import leakage as measured

WORDS, NEAR = 5, 0.8


def dataset(queries: dict[str, str], passages: dict[str, str], split: str):
    """Texts, and a sample for each query with the passage of the same place."""
    rows = [("query", *each) for each in queries.items()]
    rows += [("passage", *each) for each in passages.items()]
    texts = pl.DataFrame(rows, ["side", "text_id", "text"], orient="row")
    samples = pl.DataFrame(
        {"split": split, "query_id": list(queries), "positive_id": list(passages)}
    )
    return texts, samples


def by_sets(tested: list[str], trained: list[str]) -> tuple[int, int]:
    """Exact and near duplicates by Python's own sets."""

    def words(text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())

    def pieces(text: str) -> set[tuple[str, ...]]:
        own = words(text)
        count = max(1, len(own) - WORDS + 1)
        return {tuple(own[start : start + WORDS]) for start in range(count)}

    exact = near = 0
    for text in tested:
        if any(words(text) == words(other) for other in trained):
            exact += 1
            continue
        own = pieces(text)
        near += any(
            len(own & pieces(other)) / len(own | pieces(other)) >= NEAR for other in trained
        )
    return exact, near


@pytest.mark.parametrize("held", [20_000, 7])
def test_counts_are_those_of_sets(held, monkeypatch):
    monkeypatch.setattr(leakage, "TEXTS", held)
    rng = np.random.default_rng(0)
    vocabulary = [f"w{number}" for number in range(40)]

    def text(length: int) -> str:
        return " ".join(rng.choice(vocabulary, length))

    learned = [text(rng.integers(1, 60)) for _ in range(30)]
    tested = [text(rng.integers(1, 60)) for _ in range(20)]
    # The same in other capitals; with the last word changed; with the middle one changed.
    tested += [f"{learned[0].upper()}!", learned[1] + " end", "Only, these"]
    for number in range(2, 12):
        own = learned[number].split()
        own[int(rng.integers(len(own)))] = "other"
        tested.append(" ".join(own))
    learned.append("only these")
    names = {f"t{number}": each for number, each in enumerate(tested)}
    theirs = {f"l{number}": each for number, each in enumerate(learned)}
    passages = {f"p-{name}": text(8) for name in names}
    table = measured(
        *dataset(names, passages, "test"),
        *dataset(theirs, {f"p-{name}": text(8) for name in theirs}, "train"),
        words=WORDS,
        near=NEAR,
    )
    query = table.row(by_predicate=pl.col("side") == "query", named=True)
    assert query["texts"] == len(tested)
    assert (query["exact"], query["near"]) == by_sets(tested, learned)
    assert query["exact"] >= 2 and query["near"] >= 2


def test_many_copies_hide_nothing(monkeypatch):
    monkeypatch.setattr(leakage, "COMMON", 3)
    same = " ".join(f"w{number}" for number in range(30))
    theirs = {f"l{number}": f"{same} end{number}" for number in range(10)}
    table = measured(
        *dataset({"q": f"{same} start"}, {"p": "a b c d e"}, "test"),
        *dataset(theirs, {f"p-{name}": "f g h i j" for name in theirs}, "train"),
        words=WORDS,
        near=NEAR,
    )
    assert table["near"].to_list() == [1, 0]


def test_only_test_and_training_texts_count():
    texts, samples = dataset({"q": "one two three"}, {"p": "four five six"}, "test")
    none = measured(texts, samples, texts, samples, words=WORDS, near=NEAR)
    assert none["exact"].to_list() == [0, 0] and none["texts"].to_list() == [1, 1]
    trained = samples.with_columns(split=pl.lit("train"))
    both = measured(texts, samples, texts, trained, words=WORDS, near=NEAR)
    assert both["exact"].to_list() == [1, 1] and both["near"].to_list() == [0, 0]
