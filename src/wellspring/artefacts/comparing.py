"""Two files of a kind, compared part by part: for `wellspring inspect --with`."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from wellspring import shards
from wellspring.artefacts import provenance
from wellspring.artefacts.contents import leaves
from wellspring.errors import StaleArtefact
from wellspring.inspection import Section
from wellspring.inspection.differences import Differences
from wellspring.plurals import counted

ROWS = 4096
"""Rows of both files that are compared at a time."""


def compared(own: Path, other: Path) -> Iterator[Section]:
    """What the two say of themselves, their columns, and their rows in order.

    Raises StaleArtefact where one of them is not a result that can be read.
    """
    parts = _said(own), _said(other)
    yield Section(
        "said",
        "What the files say of themselves",
        [
            {"part": name, "same": not unlike, "first_difference": _told(unlike)}
            for name in provenance.PARTS
            for unlike in [_parted(*(each.get(name) for each in parts))]
        ]
        + [{"part": "bytes", "same": filecmp.cmp(own, other, False), "first_difference": ""}],
    )
    if own.suffix == other.suffix == ".parquet":
        yield from _tables(own, other)
    elif own.suffix == other.suffix == ".json":
        rows = _parted(*(json.loads(path.read_text("utf-8")) for path in (own, other)))
        yield Section("values", "Values that differ", rows)


def _parted(own: Any, other: Any) -> list[dict[str, object]]:
    """The leaves of nested mappings that differ."""
    here, there = ({row["name"]: row["value"] for row in leaves(each)} for each in (own, other))
    return [
        {"name": name, "here": here.get(name), "there": there.get(name)}
        for name in sorted({*here, *there}, key=str)
        if here.get(name) != there.get(name)
    ]


def _told(unlike: Sequence[Mapping[str, object]]) -> str:
    if not unlike:
        return ""
    first = unlike[0]
    name = f"{first['name']}: " if first["name"] else ""
    return f"{name}{first['here']} here, {first['there']} there"


def _said(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".parquet":
        shards.provenance(path)
    elif provenance.read(path) is None:
        raise StaleArtefact(f"{path}: does not say how it was made, or cannot be read")
    return provenance.content(path)


def _tables(own: Path, other: Path) -> Iterator[Section]:
    """Columns that differ, then the differences of each column that both have."""
    here, there = pq.read_schema(own), pq.read_schema(other)
    types = [{field.name: str(field.type) for field in schema} for schema in (here, there)]
    unlike = [
        {"column": name, "here": types[0].get(name), "there": types[1].get(name)}
        for name in dict.fromkeys([*types[0], *types[1]])
        if types[0].get(name) != types[1].get(name)
    ]
    if unlike:
        yield Section("columns", "Columns that differ", unlike)
    counts = [pq.read_metadata(path).num_rows for path in (own, other)]
    if counts[0] != counts[1]:
        note = f"{counted(counts[0], 'row')} here and {counts[1]:,} there: they are not compared"
        yield Section("differences", "Rows", [], note)
        return
    columns = [name for name, kind in types[0].items() if types[1].get(name) == kind]
    differences, parted = _differences(own, other, columns)
    rows = [
        {
            "column": name,
            "differing_rows": column.differing,
            "first_row": column.first,
            "largest_difference": column.largest,
            "at_row": column.at,
            "cosine_mean": differences.cosine(name),
            "cosine_min": column.cosine_min,
        }
        for name, column in differences.columns.items()
    ]
    note = f"{counted(counts[0], 'row')}, in their order; they count from 0"
    if parted is not None:
        first = differences.columns[parted].first
        note = f"from row {first:,} on {parted} differs: nothing is compared behind that"
    yield Section("differences", "Columns that both have", rows, note)


def _differences(own: Path, other: Path, columns: list[str]) -> tuple[Differences, str | None]:
    """The differences, and the column of ids in which rows stand for other things, where they do:
    nothing behind that is compared."""
    differences = Differences()
    ids = [name for name in columns if name.endswith("_id")]
    for here, there in _together(own, other, columns):
        for name in [*ids, *(name for name in columns if name not in ids)]:
            differences.add(name, _values(here.column(name)), _values(there.column(name)))
            if name in ids and differences.columns[name].differing:
                return differences, name
        differences.advance(len(here))
    return differences, None


def _together(
    own: Path, other: Path, columns: list[str]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """The same rows of both, however each file is cut into row groups."""
    readers = [shards.batches(path, columns, ROWS) for path in (own, other)]
    here = there = None
    while True:
        here = here if here else next(readers[0], None)
        there = there if there else next(readers[1], None)
        if not here or not there:
            return
        rows = min(len(here), len(there))
        yield here.slice(0, rows), there.slice(0, rows)
        here, there = here.slice(rows), there.slice(rows)


def _values(column: pa.Array) -> Any:
    """A column for `Differences`: vectors as an array, all others as a series."""
    if pa.types.is_fixed_size_list(column.type):
        return shards.matrix(column)
    return pl.Series(column)
