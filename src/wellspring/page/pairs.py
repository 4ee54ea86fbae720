"""What a chosen retriever is shown with: its own rows, its counterpart's and random twins'."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from wellspring.figures.tables import range_of
from wellspring.page.panels import Settings
from wellspring.page.series import COUNTERPART, RETRIEVER, TWINS


def chosen(settings: Settings, names: Iterable[str]) -> list[str]:
    """The retrievers that a reader chooses from, compared ones first.

    A counterpart stands beside the retriever that is set against it, and so do the further draws
    of a random twin.
    """
    further = {name for draws in settings.twins.values() for name in draws[1:]}
    names = [name for name in dict.fromkeys(names) if name not in further]
    compared = [name for name in names if name in settings.pairs]
    counterparts = {settings.pairs[name] for name in compared}
    alone = [name for name in names if name not in compared and name not in counterparts]
    return compared + alone


def paired(table: pl.DataFrame, settings: Settings, *cell: str) -> pl.DataFrame:
    """The rows of each retriever that can be chosen, those of its counterpart, and the range of the
    draws of a random twin where that is its counterpart.

    table: retriever, dataset, measure, estimate, low, high and more. cell: the columns beside the
    first three that name a number. `line` says whose a row is, `name` by name, and `retriever` for
    which choice it stands there.
    """
    frames = [table.clear().with_columns(line=pl.lit(""), name=pl.lit(""))]
    for retriever in chosen(settings, table["retriever"].unique(maintain_order=True)):
        other = settings.pairs.get(retriever)
        for name, line in ((retriever, RETRIEVER), (other, COUNTERPART)):
            if name is not None:
                own = table.filter(pl.col("retriever") == name)
                frames.append(_as(own, retriever, line, name))
        draws = settings.twins.get(other or "", ())
        if other is not None and len(draws) > 1:
            ranges = range_of(table, {other: draws}, *cell)
            frames.append(_as(ranges, retriever, TWINS, f"{len(draws)} random twins"))
    return pl.concat(frames, how="diagonal")


def _as(rows: pl.DataFrame, retriever: str, line: str, name: str) -> pl.DataFrame:
    return rows.with_columns(
        retriever=pl.lit(retriever), line=pl.lit(line), name=pl.lit(name, pl.String)
    )
