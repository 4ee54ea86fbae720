"""Parquet files that say what they are: streaming writes, checked reads.

Each file carries one metadata value with three parts: `identity` (what the file stands for: step,
spec, weights, texts), `circumstances` (versions, device, code) and `facts` (counts and such).
A reader checks the identity alone. No time, host or path is stored, so equal inputs give equal
bytes.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wellspring.atomic import replacing
from wellspring.errors import StaleArtefact, StorageError, WellspringError

KEY = b"wellspring"


@dataclass(frozen=True)
class Provenance:
    """Where an artefact comes from."""

    identity: Mapping[str, Any]
    """What it stands for; compared by readers."""
    circumstances: Mapping[str, Any] = field(default_factory=dict)
    """Under which versions, code and device it was made; reported, never compared."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Counts that the step reports."""
    key: str | None = None
    """What stands for all that it was made from (`wellspring.artefacts.plan`)."""

    def content(self) -> dict[str, Any]:
        """Its parts by name."""
        content = {
            "identity": dict(self.identity),
            "circumstances": dict(self.circumstances),
            "facts": dict(self.facts),
        }
        return content | ({"key": self.key} if self.key else {})

    def standing_for(self, **identity: Any) -> Provenance:
        """The same of a file that stands for this, too."""
        return replace(self, identity={**self.identity, **identity})

    def encode(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(self.content(), sort_keys=True, separators=(",", ":")).encode()


@cache
def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of the named distributions."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def write(path: Path, table: pa.Table, provenance: Provenance) -> None:
    """Write a whole table atomically."""
    with replacing(path) as part:
        table = table.replace_schema_metadata({KEY: provenance.encode()})
        # Small row groups: who streams the file holds one of them.
        pq.write_table(
            table, part, compression="zstd", row_group_size=16_384, write_page_checksum=True
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read(path: Path, columns: Sequence[str] | None = None, **expected: Any) -> pa.Table:
    """Read a table after checking that its identity holds every `expected` value.

    Raises StaleArtefact with the command that mends it when the file is truncated, foreign or
    stale.
    """
    check(path, **expected)
    return _table(path, columns)


def provenance(path: Path) -> Provenance:
    """The provenance of a file; StaleArtefact where it has none or cannot be read."""
    with _mendable(path):
        metadata = pq.read_metadata(path).metadata or {}
    if KEY not in metadata:
        raise StaleArtefact(f"{path}: holds no provenance, so it was not made here; {mend(path)}")
    try:
        return Provenance(**json.loads(metadata[KEY]))
    except (ValueError, TypeError):
        raise StaleArtefact(f"{path}: its provenance cannot be read; {mend(path)}") from None


def check(path: Path, spec_digest: str | None = None, /, **expected: Any) -> Provenance:
    """Compare the file's identity with what the reader expects; gives its provenance.

    spec_digest: `Spec.digest` of the expected spec, where the spec itself is not at hand.
    """
    stored = provenance(path)
    if spec_digest is not None and spec_digest != digest(stored.identity.get("spec")):
        raise StaleArtefact(f"{path}: was made with another spec; {mend(path)}")
    for key, value in expected.items():
        if stored.identity.get(key) != value:
            raise StaleArtefact(
                f"{path}: its {key} is not the one asked for "
                f"({difference(value, stored.identity.get(key))}); {mend(path)}"
            )
    return stored


def digest(spec: Any) -> str:
    """16 hexadecimal digits for a spec as it stands in an identity: equals `Spec.digest`."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def batches(path: Path, columns: Sequence[str], rows: int) -> Generator[pa.RecordBatch, None, None]:
    """Stream a file in batches of at most `rows` rows."""
    with opened(path, columns) as file:
        yield from file.iter_batches(batch_size=rows, columns=list(columns))


def sound(path: Path, columns: Sequence[str] | None = None) -> Path:
    """The path for a reader that compares no checksums, as polars is, after comparing those of
    the columns."""
    with opened(path, columns) as file:
        for _ in file.iter_batches(columns=list(columns) if columns is not None else None):
            pass
    return path


def layer_name(layer: int) -> str:
    """The column of a layer's vectors."""
    return f"layer_{layer:02d}"


def shard_name(shard: int) -> str:
    """The file of a shard, inside its side's folder."""
    return f"shard-{shard:03d}.parquet"


def read_vectors(path: Path, layer: int) -> tuple[list[str], np.ndarray]:
    """The ids and vectors [texts, hidden] (as stored) of one layer of one shard."""
    name = layer_name(layer)
    with _mendable(path):
        if name not in pq.read_schema(path).names:
            raise WellspringError(f"{path}: has no {name}")
    table = _table(path, ["text_id", name])
    return table["text_id"].to_pylist(), matrix(table[name])


def row_groups(path: Path, columns: Sequence[str]) -> Generator[pa.Table, None, None]:
    """Stream a file a row group at a time, as it was written."""
    with opened(path, columns) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=list(columns))


def column(path: Path, name: str) -> np.ndarray:
    """A column of texts, as numpy holds them: sorted and compared by code points."""
    return np.array(_table(path, [name])[name].to_pylist(), dtype=np.dtypes.StringDType())


def _table(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with opened(path, columns) as file:
        return file.read(columns=list(columns) if columns is not None else None)


@contextmanager
def opened(path: Path, columns: Sequence[str] | None = None) -> Iterator[pq.ParquetFile]:
    """The file, whose pages are compared with their checksums as they are read.

    Not pq.read_table, which reads whole datasets and loads pandas for that: half a second a job.
    Arrow passes over columns that are not there.
    """
    with _mendable(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        if missing := set(columns or ()) - set(file.schema_arrow.names):
            raise StaleArtefact(f"{path}: has no {min(missing)}; {mend(path)}")
        yield file


class TableWriter:
    """Streams row groups into one file. Use through `stream`; `facts` may be filled until then."""

    def __init__(self, part: Path, schema: pa.Schema) -> None:
        self.schema = schema
        # Compression gains 9 % on float16 vectors and dictionaries nothing.
        self.file = pq.ParquetWriter(
            part,
            schema,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        self.facts: dict[str, Any] = {}

    def write(self, columns: Sequence[pa.Array | np.ndarray]) -> None:
        """Append a row group, a column each; [rows, width] becomes fixed-size lists."""
        arrays = [
            _column(values, field.type) for values, field in zip(columns, self.schema, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        # Else pyarrow begins another one after a million rows.
        self.file.write_table(table, row_group_size=max(1, len(table)))


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    """The values as a column; [rows, width] becomes fixed-size lists."""
    if isinstance(values, pa.Array):
        return values
    if pa.types.is_fixed_size_list(kind):
        flat = _column(np.ascontiguousarray(values).reshape(-1), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    # From buffers, because pa.array loads pandas to ask whether the values are a series.
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if number and isinstance(values, np.ndarray) and pa.from_numpy_dtype(values.dtype) == kind:
        numbers = np.ascontiguousarray(values)
        return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])
    if pa.types.is_string(kind) and None not in values:
        encoded = [text.encode() for text in values]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        parts = (pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))
        return pa.StringArray.from_buffers(len(encoded), *parts)
    return pa.array(values, kind)


@contextmanager
def stream(path: Path, schema: pa.Schema, provenance: Provenance) -> Iterator[TableWriter]:
    """Open a file for streaming; it appears under its name when the block succeeds, with the
    writer's facts beside those of `made`."""
    with replacing(path) as part:
        writer = TableWriter(part, schema)
        try:
            yield writer
            whole = replace(provenance, facts={**provenance.facts, **writer.facts})
            writer.file.add_key_value_metadata({KEY.decode(): whole.encode().decode()})
        finally:
            writer.file.close()


def fixed(values: np.dtype | str, width: int) -> pa.DataType:
    """Fixed-size lists of numbers: a vector a row."""
    return pa.list_(pa.from_numpy_dtype(np.dtype(values)), width)


def matrix(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """[rows, width] of a column of fixed-size lists."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    # Not to_numpy, which loads pandas.
    return np.from_dlpack(column.flatten()).reshape(-1, column.type.list_size)


class VectorWriter:
    """Gathers the vectors of all layers into row groups of one shard. Use through `vectors`."""

    def __init__(self, table: TableWriter, storage: str, rows: int) -> None:
        self.table, self.storage, self.rows = table, np.dtype(storage), rows
        self.facts = table.facts
        self._ids: list[str] = []
        self._blocks: list[np.ndarray] = []

    def write(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Append vectors [layers, len(ids), hidden]; StorageError where storage overflows."""
        with np.errstate(over="ignore"):  # reported below
            block = vectors.astype(self.storage, copy=False)
        if not np.isfinite(block).all():
            raise StorageError(ids[0], self.storage)
        self._ids.extend(ids)
        self._blocks.append(block)
        if len(self._ids) >= self.rows:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered as one row group."""
        if self._ids:
            whole = self._blocks[0] if len(self._blocks) == 1 else np.hstack(self._blocks)
            self.table.write([self._ids, *whole])
            self._ids, self._blocks = [], []


@contextmanager
def vectors(
    path: Path, layers: int, hidden: int, storage: str, provenance: Provenance
) -> Iterator[VectorWriter]:
    """Open a shard for streaming; it appears under its name when the block succeeds."""
    # About 64 MB a row group, however wide the vectors.
    rows = max(1, min(4096, (64 << 20) // (layers * hidden * np.dtype(storage).itemsize)))
    names = [layer_name(layer) for layer in range(layers)]
    schema = [("text_id", pa.string()), *((name, fixed(storage, hidden)) for name in names)]
    with stream(path, pa.schema(schema), provenance) as table:
        writer = VectorWriter(table, storage, rows)
        yield writer
        writer.flush()


@contextmanager
def _mendable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StaleArtefact(f"{path}: does not exist; {mend(path)}") from None
    # Names that are no UTF-8 any more, and what else a flipped bit makes of a footer.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StaleArtefact(f"{path}: cannot be read ({reason}); {mend(path)}") from None


def mend(path: Path) -> str:
    """What a user does about a file that is not what it should be."""
    # A job would take it from the shared cache again.
    first = f"remove the shared file {path.resolve()} and " if path.is_symlink() else ""
    return (
        f"{first}make it again: snakemake --cores all --forcerun {path} "
        "(with the --configfile of your study)"
    )


def difference(expected: Any, stored: Any) -> str:
    """The first leaf at which two values part, in words."""
    key, ours, theirs = next(differences(expected, stored))
    return f"{f'{key}: ' if key else ''}expected {short(ours)}, found {short(theirs)}"


def differences(expected: Any, stored: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The leaves at which two values part: the key with dots, what is expected, what is stored."""
    if isinstance(expected, Mapping) and isinstance(stored, Mapping):
        for name in sorted({*expected, *stored}):
            inner = f"{key}.{name}" if key else str(name)
            yield from differences(expected.get(name), stored.get(name), inner)
    elif expected != stored:
        yield key, expected, stored


def short(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 80 else text[:77] + "…"
