"""Format `table`: Parquet, JSON (lines of objects or one array), CSV or TSV, by suffix, with the
columns that are named.

A column of passages holds a text or a list of texts. A dotted name reaches into a struct
(`passages.text`), and takes the field from each struct of a list. A column
whose own name has a dot comes first. Several names stand for their texts, joined by a space: lists
are joined item by item, and a single text is joined with each item. Texts of CSV and TSV
stand plain or in double quotes, in which a double quote is doubled.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from wellspring.datasets import arrays, parquet
from wellspring.datasets.files import first_line, objects, opened
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    as_content,
    as_text,
    kind,
    present,
)
from wellspring.errors import SourceError

Rows = Iterator[tuple[str, dict[str, Any]]]

# Longer than any passage: a quote that is never closed is found before it fills the memory.
FIELD = 1 << 24


def read(source: Source) -> Records:
    """Reads every file in bounded memory; a text's id is the hash of the text.

    Option `columns`: the names of `query`, `positives` and `negatives` (None: there are none).
    Option `max_negatives`: keep that many hard negatives of a query, chosen by hash (None: all).
    The passages of a repeated query are put together, so a row may be a triple. Null stands for an
    empty text or, where a list is expected, for no passages. Raises SourceError for what cannot be
    read, with line or row and column.
    """
    collector = Collector(source.options.get("max_negatives"))
    columns = source.options["columns"]
    query, positives, negatives = (
        _names(columns.get(name)) for name in ("query", "positives", "negatives")
    )
    names = [*query, *positives, *negatives]
    for split, path in source.files.items():
        for location, row in rows(path, names):
            collector.example(
                query=_joined(
                    as_content(reach(row, name, location), name, location) for name in query
                ),
                positives=_texts(row, positives, location),
                negatives=_texts(row, negatives, location),
                split=split,
            )
    return collector.records(source.name)


def rows(path: Path, names: Sequence[str]) -> Rows:
    """Each row of a table, with its location, with these columns and perhaps more.

    Raises SourceError for what cannot be read.
    """
    return _reader(path)(path, list(names))


def reach(row: Any, name: str, location: str) -> Any:
    """What a dotted name leads to in a row: a value, or the list of it in the objects of a list.

    Null where it leads through null. Raises SourceError where a part of it is not there.
    """
    if isinstance(row, dict):
        head, dot, rest = name.partition(".")
        if name in row or not dot:
            return present(row, name, location)
        return reach(present(row, head, location), rest, f"{location}: {head}")
    if isinstance(row, list):
        return [reach(item, name, f"{location}[{index}]") for index, item in enumerate(row)]
    if row is None:
        return None
    raise SourceError(f"{location}: expected an object with {name!r}, found {kind(row)}")


def _names(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def _joined(texts: Iterable[str]) -> str:
    return " ".join(filter(None, map(str.strip, texts)))


def _texts(row: dict[str, Any], names: list[str], location: str) -> list[str]:
    """The passages in these columns; several columns are joined."""
    parts = [_column(reach(row, name, location), name, location) for name in names]
    sizes = {len(part) for part in parts if isinstance(part, list)}
    if len(sizes) > 1:
        raise SourceError(f"{location}: the lists in {' and '.join(names)} are not equally long")
    if not sizes:
        texts = [part for part in parts if isinstance(part, str)]
        return [_joined(texts)] if texts else []
    lists = [part if isinstance(part, list) else [part or ""] * max(sizes) for part in parts]
    return list(map(_joined, zip(*lists, strict=True)))


def _column(value: Any, name: str, location: str) -> str | list[str] | None:
    if isinstance(value, list):
        return [as_content(item, f"{name}[{index}]", location) for index, item in enumerate(value)]
    return None if value is None else as_text(value, name, location)


def _reader(path: Path) -> Callable[[Path, list[str]], Rows]:
    if path.suffix == ".parquet":
        return parquet.rows
    match _suffix(path):
        case ".jsonl" | ".json":
            return _json
        case ".csv" | ".tsv":
            return _separated
    raise SourceError(
        f"{path}: a table's name ends in .parquet, or in .jsonl, .json, .csv or .tsv and perhaps "
        ".gz"
    )


def _suffix(path: Path) -> str:
    """The suffix of a file once it is unpacked."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _json(path: Path, names: list[str]) -> Rows:
    return arrays.objects(path) if first_line(path).startswith("[") else objects(path)


def _separated(path: Path, names: list[str]) -> Rows:
    """The rows of a CSV or TSV file, each with the line where it begins."""
    delimiter = "\t" if _suffix(path) == ".tsv" else ","
    line = 0
    try:
        with opened(path) as stream, TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            csv.field_size_limit(FIELD)
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            header = next(reader, [])
            _check_header(header, names, path)
            line = reader.line_num
            for cells in reader:
                location = f"{path}:{line + 1}"
                line = reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise SourceError(
                        f"{location}: expected {len(header)} fields, found {len(cells)}"
                    )
                yield location, dict(zip(header, cells, strict=True))
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}:{line + 1} or after it: not UTF-8: {error.reason}") from None
    except csv.Error as error:
        raise SourceError(
            f"{path}:{line + 1}: malformed quotes: {error}: a field that begins with a double "
            "quote must end with one, and double those inside"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}:{line + 1}: cannot be read: {error}") from None


def _check_header(header: list[str], names: list[str], path: Path) -> None:
    for name in names:
        if header.count(name) != 1:
            problem = (
                "there is no column" if name not in header else "more than one column is named"
            )
            headless = not {*names} & {*header}
            mend = (
                "; if this line is data, write the names of the columns above it"
                if headless
                else ""
            )
            raise SourceError(
                f"{path}:1: {problem} {name!r}; its columns are {', '.join(header)[:200]}{mend}"
            )
