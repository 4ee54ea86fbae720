"""The rows of a panel: few digits, choices as text, and no more than the page has room for."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

DIGITS = 4
"""Significant digits of a number on the page."""
ROOM = 1_500_000
"""Bytes that the rows of a panel may take, as `weight` counts them."""
NUMBER = 7
"""Bytes of a number of so many digits, with what separates it from the next."""
INTERVAL = ("estimate", "low", "high")

Thinning = tuple[str, pl.Expr]
"""What is left out, in a sentence, and which rows stay."""


def as_text(*columns: str) -> list[pl.Expr]:
    """Numbers as a choice names them: 2, 0.1."""
    return [
        pl.col(name).cast(pl.Float64).map_elements("{:g}".format, pl.String).alias(name)
        for name in columns
    ]


def counted_in(column: str, one: str, many: str) -> pl.Expr:
    """A count with its noun, as text."""
    noun = pl.when(pl.col(column) == 1).then(pl.lit(one)).otherwise(pl.lit(many))
    return pl.format("{} {}", column, noun)


def ordered(column: str, names: Sequence[str]) -> list[pl.Expr]:
    """What to sort by, so that a column's values come in the order of `names`, others last."""
    place = {name: number for number, name in enumerate(names)}
    return [pl.col(column).replace_strict(place, default=len(place)), pl.col(column)]


def short(data: pl.DataFrame) -> pl.DataFrame:
    """The same with few digits."""
    return data.with_columns(pl.col(pl.Float64).round_sig_figs(DIGITS))


def weight(data: pl.DataFrame) -> int:
    """About how many bytes the rows take on the page, where each text is a number."""
    bytes_per_row = 0
    for column in data.iter_columns():
        if column.dtype.is_float():
            bytes_per_row += NUMBER
        else:
            bytes_per_row += 1 + len(str(column.n_unique()))
    return bytes_per_row * data.height


def thinned(
    data: pl.DataFrame, thinnings: Sequence[Thinning], room: int = ROOM
) -> tuple[pl.DataFrame, str]:
    """As many of the rows as there is room for, and what was left out, in sentences.

    thinnings: what goes first, second, …; each is used only where the rows still take too much, and
    where it leaves some.
    """
    sentences = []
    for sentence, stays in thinnings:
        if weight(data) <= room:
            break
        fewer = data.filter(stays)
        if 0 < fewer.height < data.height:
            data = fewer
            sentences.append(sentence)
    return data, " ".join(sentences)


def outermost(*columns: str) -> pl.Expr:
    """The first and the last value of a column, of each group of the other columns before it."""
    *groups, column = columns
    value = pl.col(column)
    least, most = value.min(), value.max()
    if groups:
        least, most = least.over(groups), most.over(groups)
    return value.is_null() | (value == least) | (value == most)
