"""What the figures ask of a findings table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from wellspring.errors import ConfigError

SIDES = ("query", "passage")
# The sub-layers of a block, in the order in which a text passes them.
SUBLAYERS = ("intermediate", "up", "output")
# What a threshold is a share of, in words.
NORMALISED = {
    "network-max": "the text's largest",
    "sublayer-max": "the sub-layer's largest",
    "sublayer-mean": "the sub-layer's mean",
    "share-of-sum": "the sub-layer's sum",
}


def rows_of(table: pl.DataFrame, **where: object) -> pl.DataFrame:
    """The rows whose columns have these values."""
    return table.filter([pl.col(column) == value for column, value in where.items()])


def values_of(rows: pl.DataFrame, column: str) -> list[str]:
    """The values of a column, in their order."""
    return rows[column].unique(maintain_order=True).to_list()


def named_measure(before: str = "") -> pl.Expr:
    """A measure of the table of evidence with what it is of: `gini (norm, output, query)`.

    before: how the names of the columns begin.
    """
    of = pl.concat_str(f"{before}of", f"{before}side", separator=", ", ignore_nulls=True)
    measure = pl.col(f"{before}measure")
    return (
        pl.when(of == "")
        .then(measure)
        .otherwise(pl.format("{} ({})", measure, of))
        .alias(f"{before}measure")
    )


def with_shifted(rows: pl.DataFrame, index: Sequence[str]) -> pl.DataFrame:
    """Rows of findings about correlations with their `shifted` beside them, by the index."""
    shifted = rows_of(rows, measure="correlation_shifted").select(*index, shifted="estimate")
    plain = rows_of(rows, measure="correlation").select(*index, "estimate", "low", "high")
    return plain.join(shifted, on=list(index), how="left")


def pairs(table: pl.DataFrame) -> dict[str, str]:
    """Each retriever and what it is compared with, where the table compares them."""
    rows = table.filter(pl.col("compared_with").is_not_null())
    return dict(rows.select("retriever", "compared_with").unique().sort("retriever").iter_rows())


def retrievers_of(table: pl.DataFrame) -> list[str]:
    """All retrievers, compared ones first: the order gives styles, alike in every figure."""
    compared = set(pairs(table))
    return sorted(set(table["retriever"]), key=lambda name: (name not in compared, name))


Twins = Mapping[str, Sequence[str]]
"""A random twin to the names of all its draws, itself the first."""


def first_draws(table: pl.DataFrame, twins: Twins) -> pl.DataFrame:
    """The rows of a table without those of further draws of random twins."""
    further = [name for names in twins.values() for name in names[1:]]
    return table.filter(~pl.col("retriever").is_in(further))


def range_of(table: pl.DataFrame, twins: Twins, *cell: str) -> pl.DataFrame:
    """The least and the greatest estimate of all draws of each random twin, as low and high.

    cell: the columns beside retriever, dataset and measure that name a number.
    """
    of_first = {name: first for first, names in twins.items() for name in names}
    drawn = table.filter(pl.col("retriever").is_in(list(of_first)))
    first = pl.col("retriever").replace(of_first)
    keys = ["retriever", "dataset", "measure", *cell]
    return (
        drawn.with_columns(first)
        .group_by(keys, maintain_order=True)
        .agg(low=pl.col("estimate").min(), high=pl.col("estimate").max())
    )


def about(
    dataset: str,
    names: Sequence[str],
    others: Mapping[str, str],
    counted: str,
    *,
    probes: Sequence[str] = (),
    attributions: Sequence[str] = (),
) -> str:
    """What a figure shows, in a line: the dataset, each retriever with its counterpart, what was
    measured, and on how much."""
    parts = [f"dataset {dataset}", _compared(names, others)]
    for noun, measured in (("probe", probes), ("attribution", attributions)):
        if measured:
            parts.append(f"{noun}{'s' * (len(measured) > 1)} {_listed(measured)}")
    return "; ".join(filter(None, [*parts, counted]))


def _compared(names: Sequence[str], others: Mapping[str, str]) -> str:
    """Retrievers by their counterpart. A retriever that is another's is not named twice."""
    others = {name: other for name, other in others.items() if name in names}
    groups: dict[str | None, list[str]] = {}
    for name in names:
        if name in others or name not in others.values():
            groups.setdefault(others.get(name), []).append(name)
    parts = [
        _listed(group) + (f" (compared with {other})" if other else "")
        for other, group in groups.items()
    ]
    return f"retriever{'s' * (sum(map(len, groups.values())) > 1)} {', '.join(parts)}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def samples_of(rows: pl.DataFrame) -> str:
    """How many samples of how many questions are behind rows of findings about probes."""
    samples, queries = (_span(rows, column) for column in ("samples", "queries"))
    if not samples or not queries:
        return ""
    seeds = rows.select(pl.max("seeds")).item() or 1
    spread = f" (over {seeds} seeds)" if seeds > 1 else ""
    return f"{samples} test samples of {queries} questions{spread}"


def of_attribution(
    rows: pl.DataFrame,
    dataset: str,
    names: Sequence[str],
    others: Mapping[str, str],
    *attributions: str,
) -> str:
    """What a figure of attributions shows, and of how many texts of each side.

    rows: retriever, side, texts.
    """
    sides = {"query": "queries", "passage": "passages"}
    counts = {name: _span(rows_of(rows, side=side), "texts") for side, name in sides.items()}
    counted = " and ".join(f"{count} {name}" for name, count in counts.items() if count)
    return about(dataset, names, others, counted, attributions=attributions)


def _span(rows: pl.DataFrame, column: str) -> str:
    """The greatest count of each retriever, or the least and the greatest of them; nothing where
    there is none."""
    counts = rows.group_by("retriever").agg(pl.max(column))[column]
    least, most = counts.min(), counts.max()
    if most is None:
        return ""
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def pair_of(
    table: pl.DataFrame, dataset: str, attribution: str, retriever: str
) -> tuple[pl.DataFrame, list[str]]:
    """A retriever's and its counterpart's rows under one attribution, and their names.

    Raises:
        ConfigError: there are none of the retriever.
    """
    rows = rows_of(table, dataset=dataset, attribution=attribution)
    retrievers = sorted(set(rows["retriever"]))
    if retriever not in retrievers:
        raise ConfigError(
            f"figures: the findings hold no attribution {attribution} of retriever {retriever} on "
            f"dataset {dataset}; they hold it of {', '.join(retrievers) or 'none'}"
        )
    names = [retriever]
    other = pairs(rows).get(retriever)
    if other is not None and other in retrievers:
        names.append(other)
    return rows.filter(pl.col("retriever").is_in(names)), names


def held_of(table: pl.DataFrame, column: str, known: Sequence[str]) -> list[str]:
    """Which of the known values the column holds, in their order."""
    return [name for name in known if name in set(table[column])]


def places_of(rows: pl.DataFrame) -> list[tuple[str, str]]:
    """Each side and sub-layer that the rows hold."""
    present = set(rows.select("side", "sublayer").iter_rows())
    return [(a, b) for a in SIDES for b in SUBLAYERS if (a, b) in present]
