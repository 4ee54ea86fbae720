"""Whether two results folders hold the same numbers: `python -m benchmarks.compare BEFORE AFTER`.

Parquet files are compared by content, column by column, whatever their provenance says. Names of an
earlier version are known. Exit status 1 where something differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

FILES = {".holders.parquet": ".top_neurons.parquet"}
"""Ends of file names that have changed."""
COLUMNS = {"left_out": "excluded_outliers"}
"""Names of columns that have changed."""


def differences(before: Path, after: Path) -> Iterator[str]:
    """A line for each file that only one folder holds, or whose contents differ."""
    ours, theirs = (files(folder) for folder in (before, after))
    for name in sorted(ours.keys() ^ theirs.keys()):
        yield f"{name}: only {'before' if name in ours else 'after'}"
    for name in sorted(ours.keys() & theirs.keys()):
        if line := difference(ours[name], theirs[name]):
            yield f"{name}: {line}"


def files(folder: Path) -> dict[str, Path]:
    """Every Parquet file, by its path as it is named today."""
    named = {}
    for path in sorted(folder.rglob("*.parquet")):
        name = str(path.relative_to(folder))
        for old, new in FILES.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        named[name] = path
    return named


def difference(before: Path, after: Path) -> str | None:
    """How the contents of two files differ; None where they do not."""
    # Not polars' reader: it has no fixed-size lists of float16.
    ours, theirs = (pq.ParquetFile(path).read() for path in (before, after))
    ours = ours.rename_columns([COLUMNS.get(name, name) for name in ours.column_names])
    if ours.column_names != theirs.column_names:
        return f"columns {ours.column_names} and {theirs.column_names}"
    if ours.num_rows != theirs.num_rows:
        return f"{ours.num_rows} and {theirs.num_rows} rows"
    unequal = [name for name in ours.column_names if not equal(ours[name], theirs[name])]
    return f"other values in {', '.join(unequal[:6])}" if unequal else None


def equal(ours: object, theirs: object) -> bool:
    """Whether two columns hold the same, NaN for NaN."""
    if ours.combine_chunks().equals(theirs.combine_chunks()):
        return True
    try:
        return pl.Series(ours).equals(pl.Series(theirs), null_equal=True)
    except (pl.exceptions.PolarsError, NotImplementedError):
        return False


def main() -> None:
    """Print what differs, and how much was compared."""
    before, after = map(Path, sys.argv[1:])
    lines = list(differences(before, after))
    print("\n".join([*lines, f"{len(files(after))} files, {len(lines)} differ"]))
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
