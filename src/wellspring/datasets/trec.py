"""Format `trec`: the documents, topics and qrels of a test collection.

A file of texts is one of four kinds, which its first line shows: an object a line; SMART, where
`.I` begins a text and `.T` and `.W` its title and its words; TREC's topics, of which `<title>` is
the query; or fields separated by tabs. The ids are the source's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from wellspring.datasets.collection import Listing, Qrels, assemble
from wellspring.datasets.files import first_line, lines, objects
from wellspring.datasets.records import Records, Source, as_content, text_field, titled
from wellspring.errors import SourceError
from wellspring.plurals import counted

Row = tuple[str, str, str]
COLUMNS = "topic iteration document grade"
IDS = ("_id", "id", "docid", "docno", "qid", "query_id")
CONTENTS = ("text", "contents", "body", "query")


def read(source: Source) -> Records:
    """Reads the folder under the key None of `source.files`.

    Options: `documents`, `topics` and `qrels` (one name, or split to name) are files in it, the
    others as of `collection.assemble`. Raises SourceError for what cannot be read, and as that
    does.
    """
    folder, options = source.files[None], source.options
    documents, topics = folder / options["documents"], folder / options["topics"]
    return assemble(
        source,
        Listing(topics, partial(_rows, topics)),
        Listing(documents, partial(_rows, documents)),
        _qrels(folder, options["qrels"]),
    )


def _qrels(folder: Path, names: str | dict[str, str]) -> Qrels:
    files = {None: names} if isinstance(names, str) else names
    qrels = Qrels(folder / names if isinstance(names, str) else folder, COLUMNS)
    for split, name in files.items():
        add(qrels, folder / name, split)
    return qrels


def add(qrels: Qrels, path: Path, split: str | None = None) -> None:
    """Reads a file of judgements."""
    for location, line in lines(path):
        cells = line.split()
        if len(cells) != 4:
            raise SourceError(f"{location}: expected four fields ({COLUMNS}), found {len(cells)}")
        qrels.append(location, cells[0], cells[2], cells[3], split)


def _rows(path: Path) -> Iterator[Row]:
    """The location of each text, its id and its text."""
    first = first_line(path)
    if first.startswith(("{", "[")):
        return _objects(path)
    if first.startswith(".I"):
        return _smart(path)
    return _marked(path) if first.startswith("<") else _separated(path)


def _objects(path: Path) -> Iterator[Row]:
    for location, line in objects(path):
        identity = text_field(line, _one_of(line, IDS, location), location)
        name = _one_of(line, CONTENTS, location)
        text = as_content(line[name], name, location)
        yield location, identity, titled(text_field(line, "title", location, missing=""), text)


def _one_of(line: dict[str, Any], names: tuple[str, ...], location: str) -> str:
    name = next((name for name in names if name in line), None)
    if name is None:
        raise SourceError(f"{location}: none of the fields {', '.join(names)} is there")
    return name


def _smart(path: Path) -> Iterator[Row]:
    location, identity, section = "", "", ""
    parts: dict[str, list[str]] = {}

    def row() -> Row:
        title, text = (" ".join(parts.get(name, [])) for name in (".T", ".W"))
        return location, identity, titled(title, text)

    for here, line in lines(path):
        mark = re.match(r"\.([A-Z])(\s|$)", line)
        if mark and mark[1] == "I":
            if identity:
                yield row()
            location, identity, section, parts = here, line[2:].strip(), "", {}
            if not identity:
                raise SourceError(f"{here}: .I names no id")
        elif mark:
            section = line[:2]
        else:
            parts.setdefault(section, []).append(line.strip())
    if identity:
        yield row()


def _marked(path: Path) -> Iterator[Row]:
    """TREC's topics: a field ends where the next mark begins, closed or not."""
    location, field, parts = "", "", {}
    for here, line in lines(path):
        mark = re.match(r"\s*<(/?\w+)>", line)
        name = mark[1].lower() if mark else field
        if name == "top":
            location, parts = here, {}
        elif name == "/top":
            number, title = (" ".join(parts.get(key, [])) for key in ("num", "title"))
            number = re.sub(r"^number:\s*", "", number.strip(), flags=re.IGNORECASE).strip()
            if not number:
                raise SourceError(f"{location}: a topic without <num>")
            title = re.sub(r"^topic:\s*", "", title.strip(), flags=re.IGNORECASE)
            yield location, number, " ".join(title.split())
        else:
            rest = re.sub(r"</\w+>\s*$", "", line[mark.end() :] if mark else line)
            parts.setdefault(name, []).append(rest.strip())
        field = name


def _separated(path: Path) -> Iterator[Row]:
    for location, line in lines(path):
        cells = line.split("\t")
        if len(cells) not in (2, 3):
            raise SourceError(
                f"{location}: expected an id and a text (or an id, a title and a text) separated "
                f"by tabs, found {counted(len(cells), 'field')}"
            )
        yield location, cells[0].strip(), titled(cells[1] if len(cells) == 3 else "", cells[-1])
