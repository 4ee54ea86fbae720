"""What the figures ask of a findings table."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.errors import ConfigError

SIDES = ("query", "passage")
# Of a block, in the order in which a text meets them.
SUBLAYERS = ("intermediate", "up", "output")


def rows_of(table: pl.DataFrame, **where: object) -> pl.DataFrame:
    """The rows whose columns have these values."""
    return table.filter([pl.col(column) == value for column, value in where.items()])


def pairs(table: pl.DataFrame) -> dict[str, str]:
    """Each retriever and what it is compared with, where the table compares them."""
    rows = table.filter(pl.col("compared_with").is_not_null())
    return dict(rows.select("retriever", "compared_with").unique().sort("retriever").iter_rows())


def retrievers_of(table: pl.DataFrame) -> list[str]:
    """All retrievers, compared ones first: the order gives styles, alike in every figure."""
    compared = set(pairs(table))
    return sorted(set(table["retriever"]), key=lambda name: (name not in compared, name))


def pair_of(
    table: pl.DataFrame, dataset: str, attribution: str, retriever: str
) -> tuple[pl.DataFrame, list[str]]:
    """A retriever's and its counterpart's rows under one attribution, and their names.

    Raises:
        ConfigError: there are none of the retriever.
    """
    found = rows_of(table, dataset=dataset, attribution=attribution)
    held = sorted(set(found["retriever"]))
    if retriever not in held:
        raise ConfigError(
            f"figures: the findings hold no attribution {attribution} of retriever {retriever} on "
            f"dataset {dataset}; they hold it of {', '.join(held) or 'none'}"
        )
    names = [retriever]
    if (other := pairs(found).get(retriever)) in held:
        names.append(other)
    return found.filter(pl.col("retriever").is_in(names)), names


def held_of(table: pl.DataFrame, column: str, known: Sequence[str]) -> list[str]:
    """Which of the known values the column holds, in their order."""
    return [name for name in known if name in set(table[column])]


def places_of(rows: pl.DataFrame) -> list[tuple[str, str]]:
    """Each side and sub-layer that the rows hold."""
    held = set(rows.select("side", "sublayer").iter_rows())
    return [(a, b) for a in SIDES for b in SUBLAYERS if (a, b) in held]
