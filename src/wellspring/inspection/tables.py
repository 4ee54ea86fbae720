"""What stands in the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl


def numbers(table: pl.DataFrame) -> Iterator[dict[str, object]]:
    """Of each column of numbers: nulls, NaN, minimum, median, maximum; NaN counts in none of the
    last three."""
    for column in table:
        if column.dtype.is_numeric():
            floating = column.dtype.is_float()
            values = column.fill_nan(None) if floating else column
            yield {
                "column": column.name,
                "nulls": column.null_count(),
                "nan": values.null_count() - column.null_count(),
                "min": values.min(),
                "median": values.median(),
                "max": values.max(),
            }


def words(table: pl.DataFrame) -> Iterator[dict[str, object]]:
    """Of each column of text or truth values: nulls, distinct values, the most frequent of them
    (the first of equals in order; None where all stand once) and how often it stands."""
    for column in table:
        if column.dtype in (pl.String, pl.Boolean):
            values = column.drop_nulls()
            counts = values.value_counts(sort=False)
            first = counts.sort(["count", column.name], descending=[True, False]).head(1)
            times = first["count"].sum()
            yield {
                "column": column.name,
                "nulls": column.null_count(),
                "distinct": counts.height,
                "most_frequent": first[column.name][0] if times > 1 else None,
                "times": times,
            }
