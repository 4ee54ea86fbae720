"""What differs between two tables whose rows stand for the same things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.inspection import vectors


@dataclass
class Column:
    """How far a column of one table is from that of the other."""

    differing: int = 0
    """Rows in which it is another value; two nulls are alike, and so are two NaN."""
    first: int | None = None
    """The first of them; rows count from 0."""
    largest: float | None = None
    """Largest absolute difference of numbers that both are finite; None of other columns."""
    at: int | None = None
    """The row of it."""
    cosine_sum: float = 0.0
    cosine_min: float | None = None
    """Over the rows of vectors; None of other columns."""

    def unlike(self, rows: np.ndarray, start: int) -> None:
        """rows: bool [n], which rows differ; start: the number of the first one."""
        if self.first is None and rows.any():
            self.first = start + int(rows.argmax())
        self.differing += int(rows.sum())

    def far(self, own: np.ndarray, other: np.ndarray, start: int) -> None:
        """own, other: float [n, H]."""
        same = (own == other) | (np.isnan(own) & np.isnan(other))
        self.unlike(~same.all(1), start)
        finite = np.isfinite(own) & np.isfinite(other)
        distances = np.abs(np.where(finite, own, 0) - np.where(finite, other, 0)).max(1)
        if self.largest is None or distances.max() > self.largest:
            self.largest, self.at = float(distances.max()), start + int(distances.argmax())


class Differences:
    """Goes through two tables, the same rows of both at a time."""

    def __init__(self) -> None:
        self.rows = 0
        self.columns: dict[str, Column] = {}

    def add(self, name: str, own: pl.Series | np.ndarray, other: pl.Series | np.ndarray) -> None:
        """Compare the next rows of a column: vectors [n, H], or values [n] of the same type.

        n is at least 1. All columns get the same rows before `advance`.
        """
        column = self.columns.setdefault(name, Column())
        if isinstance(own, np.ndarray) and isinstance(other, np.ndarray):
            column.far(own.astype(np.float32), other.astype(np.float32), self.rows)
            cosines = vectors.cosines(own, other)
            lowest = float(cosines.min())
            column.cosine_sum += float(cosines.sum())
            if column.cosine_min is None or lowest < column.cosine_min:
                column.cosine_min = lowest
        elif isinstance(own, pl.Series) and isinstance(other, pl.Series):
            if own.dtype.is_numeric():
                numbers = (each.cast(pl.Float64).fill_null(np.nan) for each in (own, other))
                own_numbers, other_numbers = (each.to_numpy()[:, None] for each in numbers)
                column.far(own_numbers, other_numbers, self.rows)
            else:
                column.unlike(own.ne_missing(other).to_numpy(), self.rows)

    def advance(self, rows: int) -> None:
        """Go on behind so many rows."""
        self.rows += rows

    def cosine(self, name: str) -> float | None:
        """Mean cosine of a column of vectors; None of other columns."""
        column = self.columns[name]
        return None if column.cosine_min is None else column.cosine_sum / max(self.rows, 1)
