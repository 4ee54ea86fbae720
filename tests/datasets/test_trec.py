"""Format `trec` against the same collection as a BEIR folder, and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.formats import check, doc, folder, query, refused, source, write
from wellspring.datasets import beir, trec

DOCUMENTS = [("d1", "On wings", "lift and drag"), ("d2", "", "heat"), ("d3", "Flow", "past a body")]
TOPICS = [("1", "what is lift"), ("2", "how does heat flow")]
QRELS = [("1", "d1", 2), ("1", "d2", 0), ("2", "d2", 1), ("2", "d3", 1)]
FILES = {"documents": "docs", "topics": "topics", "qrels": "qrels.txt"}


def objects(rows: list[Any], *names: str) -> list[Any]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def separated(rows: list[Any]) -> list[str]:
    return ["\t".join(row) for row in rows]


def smart(rows: list[Any]) -> list[str]:
    return [
        line
        for identity, *title, text in rows
        for line in (f".I {identity}", ".T", *title, ".A", "no one", ".W", *text.split(" "))
    ]


def marked(rows: list[Any]) -> list[str]:
    return [
        line
        for number, text in rows
        for line in (
            "<top>",
            f"<num> Number: {number}",
            f"<title> {text}",
            "",
            "<desc> Description:",
            "More words.",
            "</top>",
        )
    ]


def closed(rows: list[Any]) -> list[str]:
    return [
        line
        for number, text in rows
        for line in ("<top>", f"<num>{number}</num>", f"<title>{text}</title>", "</top>")
    ]


def collection(path: Path, documents: list[Any], topics: list[Any]) -> Path:
    write(path / "docs", *documents)
    write(path / "topics", *topics)
    write(path / "qrels.txt", *(f"{topic} 0 {name} {grade}" for topic, name, grade in QRELS))
    return path


@pytest.mark.parametrize(
    "documents",
    [
        objects(DOCUMENTS, "_id", "title", "text"),
        objects(DOCUMENTS, "docno", "title", "contents"),
        separated(DOCUMENTS),
        smart(DOCUMENTS),
    ],
)
@pytest.mark.parametrize(
    "topics",
    [
        objects(TOPICS, "qid", "query"),
        separated(TOPICS),
        smart(TOPICS),
        marked(TOPICS),
        closed(TOPICS),
    ],
)
def test_a_collection_is_what_it_is_as_a_beir_folder(
    tmp_path: Path, documents: list[Any], topics: list[Any]
) -> None:
    path = collection(tmp_path / "trec", documents, topics)
    found = trec.read(source(path, **FILES))
    check(found)
    corpus = [doc(name, text, title) for name, title, text in DOCUMENTS]
    asked = [query(name, text) for name, text in TOPICS]
    expected = beir.read(source(folder(tmp_path / "beir", corpus, asked, test=QRELS)))
    assert found.texts.equals(expected.texts)
    assert found.judgements.drop("split").equals(expected.judgements.drop("split"))
    assert found.judgements["split"].null_count() == 4
    assert found.counts == expected.counts
    both = trec.read(source(path, **FILES | {"qrels": {"train": "qrels.txt", "test": "qrels.txt"}}))
    assert both.judgements["split"].to_list() == ["train"] * 4 + ["test"] * 4


def test_options_of_a_collection(tmp_path: Path) -> None:
    path = collection(tmp_path, smart([*DOCUMENTS, ("d4", "", "judged by none")]), marked(TOPICS))
    assert trec.read(source(path, **FILES)).counts["passages"] == 4
    found = trec.read(source(path, **FILES, judged_only=True, positive_from=2))
    assert found.counts["passages"] == 2
    assert found.counts["queries_without_positive_dropped"] == 1
    with (path / "qrels.txt").open("a") as file:
        file.write("2 0 d9 1\n")
    refused(trec.read, source(path, **FILES), "(20.0 %) are lost", "'d9', are not in docs, which")
    assert len(trec.read(source(path, **FILES, lost_judgements=0.2)).warnings) == 1


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("qrels.txt", ["1 d1 1"], "qrels.txt:1: expected four fields (topic iteration document"),
        ("qrels.txt", ["1 0 d1 0.5"], "qrels.txt:1: field 'score' must be a small whole number"),
        ("topics", ["1 what is lift"], "topics:1: expected an id and a text (or an id, a title"),
        ("topics", ["<top>", "<title> x", "</top>"], "topics:1: a topic without <num>"),
        ("docs", [".I", ".W", "x"], "docs:1: .I names no id"),
        ("docs", [{"name": "d1"}], "docs:1: none of the fields _id, id, docid, docno, qid,"),
        ("docs", [{"id": "d1"}], "docs:1: none of the fields text, contents, body, query is"),
        ("docs", ['[{"id": "d1"}]'], "docs:1: the file is one JSON array"),
        ("docs", [".I d1", ".W", "x", ".I d1", ".W", "y"], "docs:4: repeats the id 'd1' of line 1"),
        ("topics", [], "are not in topics"),
    ],
)
def test_collections_that_cannot_be_read(
    tmp_path: Path, name: str, lines: list[Any], message: str
) -> None:
    path = collection(tmp_path, smart(DOCUMENTS), marked(TOPICS))
    write(path / name, *lines)
    refused(trec.read, source(path, **FILES), message)


@given(st.lists(st.text("ab .I<\t", max_size=6), min_size=1, max_size=4))
def test_smart_reads_what_was_written(tmp_path_factory: Any, texts: list[str]) -> None:
    """A line that begins with a mark aside, which no writer of the format can express."""
    path = tmp_path_factory.mktemp("smart") / "docs"
    rows = [(f"d{n}", f"x{text}") for n, text in enumerate(texts)]
    write(path, *(line for name, text in rows for line in (f".I {name}", ".W", text)))
    assert [(name, text) for _, name, text in trec._rows(path)] == [
        (name, text.strip()) for name, text in rows
    ]
