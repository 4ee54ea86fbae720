"""Format `beir`: a folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv.

A passage is its title, a space and its text. The ids are the source's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from wellspring.datasets.collection import Listing, Qrels, assemble
from wellspring.datasets.files import lines, objects
from wellspring.datasets.records import Records, Source, content_field, text_field, titled
from wellspring.errors import SourceError

HEADER = ["query-id", "corpus-id", "score"]


def read(source: Source) -> Records:
    """Reads the folder under the key None of `source.files`, with all its qrels files.

    The name of a qrels file is the split of its judgements. Options as of `collection.assemble`.
    Raises SourceError for what cannot be read, and as that does.
    """
    folder = source.files[None]
    queries, corpus = folder / "queries.jsonl", folder / "corpus.jsonl"
    return assemble(
        source,
        Listing(queries, partial(_rows, queries, titles=False)),
        Listing(corpus, partial(_rows, corpus, titles=True)),
        _qrels(folder / "qrels"),
    )


def _qrels(folder: Path) -> Qrels:
    paths = sorted(folder.glob("*.tsv"))
    if not paths:
        raise SourceError(f"{folder}: no qrels: expected a file for each split, such as test.tsv")
    qrels = Qrels(folder, ", ".join(HEADER))
    for path in paths:
        add(qrels, path)
    return qrels


def add(qrels: Qrels, path: Path) -> None:
    """Reads a file of judgements, whose name is their split."""
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
        qrels.append(location, query, passage, grade, path.stem)


def _rows(path: Path, titles: bool) -> Iterator[tuple[str, str, str]]:
    for location, line in objects(path):
        identity = text_field(line, "_id", location)
        title = text_field(line, "title", location, missing="") if titles else ""
        yield location, identity, titled(title, content_field(line, "text", location))
