"""Rows of Parquet files, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wellspring.errors import SourceError

# A batch must fit into memory where every row has many long passages.
BATCH = 256
BUFFER = 1 << 20

Made = TypeVar("Made")


def rows(path: Path, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The named columns of each row, with the row's location ("path: row n", n from 1).

    A dotted name reaches into a struct, or into the structs of a list: the row then has what it
    leads through. Holds about one batch of rows at a time, however long a row group is. Raises
    SourceError for a file that is cut short or no Parquet file, and for a column that is not there
    or there twice.
    """
    for number, row in enumerate(_each(path, names, pa.RecordBatch.to_pylist), 1):
        yield f"{path}: row {number}", row


def present(path: Path, name: str) -> Iterator[bool]:
    """Whether a column, or a field of a struct (a dotted name), holds a value in each row. What it
    holds is never taken out of its batch. Errors as of `rows`."""

    def are_there(batch: pa.RecordBatch) -> list[bool]:
        head, *fields = name.split(".")
        column = batch.column(head)
        return pc.is_valid(pc.struct_field(column, fields) if fields else column).to_pylist()

    return _each(path, [name], are_there)


def _each(
    path: Path, names: list[str], of: Callable[[pa.RecordBatch], list[Made]]
) -> Iterator[Made]:
    """What a function makes of each row of the named columns, a batch at a time."""
    number = 0
    try:
        with pq.ParquetFile(
            path, buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True
        ) as file:
            columns = [_selection(file.schema_arrow, name, path) for name in names]
            batches = file.iter_batches(batch_size=BATCH, columns=columns, use_threads=False)
            for batch in batches:
                for made in of(batch):
                    number += 1
                    yield made
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        location = f"{path}: row {number + 1} or after it" if number else f"{path}"
        reason = " ".join(str(error).split())
        raise SourceError(f"{location}: cannot be read as Parquet: {reason}") from None


def columns(path: Path) -> list[str]:
    """The dotted names of the columns that hold values; SourceError for what is no Parquet file."""
    try:
        return list(_names(pq.read_schema(path)))
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{path}: cannot be read as Parquet: {reason}") from None


def _selection(schema: pa.Schema, name: str, path: Path) -> str:
    """What pyarrow calls the columns that a name leads to."""
    steps, columns = _steps(schema, name), list(_names(schema))
    if steps is None or columns.count(name) > 1:
        problem = "there is no column" if steps is None else "more than one column is named"
        raise SourceError(f"{path}: {problem} {name!r}; its columns are {', '.join(columns)}")
    return ".".join(steps)


def _steps(fields: Iterable[pa.Field], name: str) -> list[str] | None:
    """The structs that a name leads through, up to the first list of structs; None: nowhere."""
    types = {field.name: field.type for field in fields}
    if name in types:
        return [name]
    head, _, rest = name.partition(".")
    inner = types.get(head)
    if inner is not None and _is_list(inner):
        return [head] if _is_within(inner.value_type, rest) else None
    if inner is not None and pa.types.is_struct(inner):
        steps = _steps(inner, rest)
        return [head, *steps] if steps else None
    return None


def _is_within(inner: pa.DataType, name: str) -> bool:
    return pa.types.is_struct(inner) and _steps(inner, name) is not None


def _names(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[str]:
    """The dotted names of all columns that hold values."""
    for field in fields:
        inner = field.type.value_type if _is_list(field.type) else field.type
        if pa.types.is_struct(inner):
            yield from _names(inner, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
