"""Format `beir`: corpus, queries and judgements in files of their own, as BEIR has them.

A folder or an archive holds corpus.jsonl, queries.jsonl and qrels/<split>.tsv; or each of them is
named by itself. Texts are JSON lines, plain or gzip, or Parquet, with `_id`, `text` and perhaps
`title`; judgements are TSV with a header, JSON lines or Parquet, with `query-id`, `corpus-id` and
`score`. A passage is its title, a space and its text. The ids are the source's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from wellspring.config.places import PARTS
from wellspring.datasets import parquet
from wellspring.datasets.archives import Member
from wellspring.datasets.collection import Listing, Qrels, assemble
from wellspring.datasets.files import File, lines, objects
from wellspring.datasets.folders import Folder
from wellspring.datasets.records import (
    Records,
    Source,
    content_field,
    kind,
    text_field,
    titled,
)
from wellspring.errors import SourceError

HEADER = ["query-id", "corpus-id", "score"]
LISTS = (".jsonl", ".jsonl.gz", ".parquet")
"""How a file of texts may end; the first that is there is read."""
JUDGED = (".tsv", ".tsv.gz", *LISTS)


def read(source: Source) -> Records:
    """Reads the folder or archive under the key None of `source.files`, with all its qrels files,
    or the files `corpus`, `queries`, and `qrels` or one a split.

    The name of a qrels file is the split of its judgements. Options as of `collection.assemble`;
    `inside`: the folder in the archive; `qrels`: the splits whose judgements are read. Raises
    SourceError for what cannot be read, and as that does.
    """
    folder = Folder(source)
    corpus, queries = (
        folder.file(part, *(f"{part}{suffix}" for suffix in LISTS)) for part in PARTS["beir"]
    )
    return assemble(
        source,
        Listing(queries, partial(_texts, queries, titles=False)),
        Listing(corpus, partial(_texts, corpus, titles=True)),
        _qrels(folder, source.options.get("qrels")),
    )


def _qrels(folder: Folder, wanted: list[str] | None) -> Qrels:
    if folder.whole is None:
        files = {split: folder.file(part) for split, part in folder.splits(PARTS["beir"]).items()}
        place = next(iter(files.values()))
    else:
        place, found = folder.below("qrels", JUDGED)
        files = {str(path).rpartition("/")[2].partition(".")[0]: path for path in found}
        if not files:
            raise SourceError(
                f"{place}: no qrels: expected a file for each split, such as test.tsv"
            )
    if wanted is not None:
        for split in (split for split in wanted if split not in files):
            there = ", ".join(map(str, files))
            raise SourceError(f"{place}: no qrels of {split!r}; there is {there}")
        files = {split: files[split] for split in wanted}
    qrels = Qrels(place, ", ".join(HEADER))
    for split, path in files.items():
        add(qrels, path, split)
    return qrels


def add(qrels: Qrels, path: File, split: str | None) -> None:
    """Reads a file of judgements."""
    rows = str(path).removesuffix(".gz").endswith((".jsonl", ".parquet"))
    for location, query, passage, grade in (_graded if rows else _separated)(path):
        qrels.append(location, query, passage, grade, split)


def _separated(path: File) -> Iterator[tuple[str, str, str, str]]:
    """The location of each judgement, its query, its passage and its grade."""
    for index, (location, line) in enumerate(lines(path)):
        cells = line.split("\t")
        if index == 0 and cells != HEADER:
            trec = len(line.split()) == 4
            raise SourceError(
                f"{location}: expected the header {' '.join(HEADER)}, separated by tabs"
                + ("; lines of four fields are read by format trec" if trec else "")
            )
        if index == 0:
            continue
        if len(cells) != len(HEADER):
            raise SourceError(
                f"{location}: expected {len(HEADER)} fields separated by tabs, found {len(cells)}"
            )
        query, passage, grade = cells
        yield location, query, passage, grade


def _graded(path: File) -> Iterator[tuple[str, str, str, str]]:
    """The same of objects; a judgement without a score is of grade 1."""
    for location, row in _rows(path, HEADER, optional=HEADER[2:]):
        query, passage = (text_field(row, name, location) for name in HEADER[:2])
        grade = row.get(HEADER[2], 1)
        if isinstance(grade, bool) or not isinstance(grade, int | float | str):
            raise SourceError(f"{location}: field 'score' must be a number, found {kind(grade)}")
        yield location, query, passage, str(grade)


def _texts(path: File, titles: bool) -> Iterator[tuple[str, str, str]]:
    for location, row in _rows(path, ["_id", "title", "text"], optional=["title"]):
        identity = text_field(row, "_id", location)
        title = text_field(row, "title", location, missing="") if titles else ""
        yield location, identity, titled(title, content_field(row, "text", location))


def _rows(path: File, names: list[str], optional: list[str]) -> Iterator[tuple[str, Any]]:
    if path.suffix != ".parquet":
        yield from objects(path)
        return
    if isinstance(path, Member):
        raise SourceError(f"{path}: Parquet in an archive is not read: unpack it")
    there = parquet.columns(path)
    yield from parquet.rows(path, [name for name in names if name in there or name not in optional])
