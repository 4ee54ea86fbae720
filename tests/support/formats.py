"""What the tests of dataset formats share: planted sources, and what holds of every reading."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from wellspring.datasets.records import Records, Source
from wellspring.errors import SourceError

Example = tuple[str, list[str], list[str]]
"""Query, positives, hard negatives."""


def source(path: Path | dict[str | None, Path], **options: Any) -> Source:
    return Source(path if isinstance(path, dict) else {None: path}, "planted", options)


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def objects_of(path: Path) -> list[Any]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def folder(
    path: Path, corpus: list[Any], queries: list[Any], **qrels: list[tuple[str, str, Any]]
) -> Path:
    """A BEIR folder; one judgement in `test` where none are given."""
    write(path / "corpus.jsonl", *corpus)
    write(path / "queries.jsonl", *queries)
    for split, rows in (qrels or {"test": [("q1", "d1", 1)]}).items():
        lines = ["\t".join(map(str, row)) for row in rows]
        write(path / "qrels" / f"{split}.tsv", "query-id\tcorpus-id\tscore", *lines)
    return path


def doc(identity: str, text: str, title: str = "") -> dict[str, str]:
    return {"_id": identity, "title": title, "text": text}


def query(identity: str, text: str = "what") -> dict[str, str]:
    return {"_id": identity, "text": text}


def renamed(path: Path, lost: int, judgements: int = 200) -> Path:
    """A BEIR folder: a judgement a query, of which the first `lost` write the id another way."""
    corpus = [doc(f"CACM-{n}", f"text {n}") for n in range(1, judgements + 3)]
    queries = [query(f"q{n}", f"query {n}") for n in range(1, judgements + 1)]
    rows = [
        (f"q{n}", f"CACM-{n:04}" if n <= lost else f"CACM-{n}", 1) for n in range(1, judgements + 1)
    ]
    return folder(path, corpus, queries, test=rows)


def check(records: Records) -> None:
    """What holds of every format's records."""
    texts, judgements = records.texts, records.judgements
    assert not texts.select(pl.struct("text_id", "side").is_duplicated().any()).item()
    side = pl.col("side").cast(pl.Enum(["query", "passage", "paraphrase"]))
    assert texts.equals(texts.sort(side, "text_id"))
    assert not texts.select((pl.col("text").str.strip_chars() == "").any()).item()
    queries = set(texts.filter(side="query")["text_id"])
    passages = set(texts.filter(side="passage")["text_id"])
    assert set(judgements["query_id"]) == queries
    assert set(judgements["text_id"]) <= passages
    keys = pl.struct("query_id", "text_id", "split")
    assert not judgements.select(keys.is_duplicated().any()).item()
    assert judgements.schema["grade"] == pl.Int32
    assert records.counts["queries"] == len(queries)
    assert records.counts["passages"] == len(passages)
    assert records.counts["positives"] == judgements.filter(pl.col("grade") > 0).height
    assert records.counts["hard_negatives"] == judgements.filter(grade=0).height


def refused(read: Callable[[Source], Records], where: Source, *parts: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(where)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def judged(records: Records) -> dict[str, tuple[set[str], set[str]]]:
    """Query to its positives and its hard negatives, all as texts."""
    text = dict(records.texts.select("text_id", "text").iter_rows())
    found: dict[str, tuple[set[str], set[str]]] = {}
    for query, passage, grade, _ in records.judgements.iter_rows():
        found.setdefault(text[query], (set(), set()))[0 if grade else 1].add(text[passage])
    return found


def plainly(examples: Iterable[Example]) -> dict[str, tuple[set[str], set[str]]]:
    """The same from examples, in the plainest way."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for query, positives, negatives in examples:
        if query.strip():
            held = found.setdefault(query.strip(), (set(), set()))
            held[0].update(text.strip() for text in positives if text.strip())
            held[1].update(text.strip() for text in negatives if text.strip())
    return {query: (pos, neg - pos) for query, (pos, neg) in found.items() if pos}


def agree(read: Callable[..., Records], where: Any, examples: list[Example]) -> None:
    """The reading is the plain one, or is refused where that has nothing."""
    expected = plainly(examples)
    if expected:
        records = read(where)
        check(records)
        assert judged(records) == expected
    else:
        refused(read, where, "dataset planted: no query has a positive passage")
