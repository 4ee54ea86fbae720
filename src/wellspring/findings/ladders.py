"""The tables of a study's ladders: slopes, whether two of them differ, and curves; and the points
and lines that a figure draws.

A series is the models of one stage (with those before it), objective and paradigm: they differ in
size and seed alone. Two series are compared where they differ in one of the three, and one series
on two datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import polars as pl

from wellspring.findings import rates
from wellspring.findings.growth import BENT, growth, short
from wellspring.findings.scaling import (
    Contrast,
    Ladder,
    Outcome,
    Scale,
    bent,
    fitted,
    holm,
    level,
    levels,
    outcome,
    slope,
)
from wellspring.randomness import generator

SERIES = ("stages", "objective", "paradigm")
"""What the models of a series share."""
AXES = ("non_embedding", "trainable", "parameters", "flops", "tokens")
"""What a size may be: parameters without those of embedding tables, those that the last stage
trained, all; operations and tokens of all training here."""
SCALES: Sequence[Scale] = ("log-odds", "value")
LEAST = 1e-3
"""Doublings below which models have one size: a budget of operations is met to the last batch."""
SCHEMA = {
    "finding": pl.String,
    "dataset": pl.String,
    "stages": pl.String,
    "objective": pl.String,
    "paradigm": pl.String,
    "factor": pl.String,
    "compared_with": pl.String,
    "compared_objective": pl.String,
    "axis": pl.String,
    "measure": pl.String,
    "scale": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "detectable": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "sizes": pl.Int64,
    "seeds": pl.Int64,
    "queries": pl.Int64,
    "smallest": pl.Float64,
    "largest": pl.Float64,
    "warnings": pl.String,
}
POINTS = {
    "dataset": pl.String,
    "stages": pl.String,
    "objective": pl.String,
    "paradigm": pl.String,
    "measure": pl.String,
    "axis": pl.String,
    "scale": pl.String,
    "size": pl.String,
    "retriever": pl.String,
    "x": pl.Float64,
    "quality": pl.Float64,
    "fitted": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "queries": pl.Int64,
}


@dataclass(frozen=True)
class _Series:
    """A ladder of one series on one dataset, and its place in the table.

    Attributes:
        names, of_sizes: [M] the retriever and the size of each model.
    """

    place: Mapping[str, Any]
    ladder: Ladder
    names: tuple[str, ...]
    of_sizes: tuple[str, ...]

    @property
    def grows(self) -> bool:
        """Whether sizes differ: else there is no slope."""
        return self.ladder.sizes > 1 and bool(np.ptp(self.ladder.doublings) >= LEAST)

    @property
    def range(self) -> Mapping[str, Any]:
        sizes = 2**self.ladder.doublings
        return {
            "sizes": self.ladder.sizes,
            "seeds": self.ladder.seeds,
            "queries": len(self.ladder.values),
            "smallest": float(sizes.min()),
            "largest": float(sizes.max()),
        }


def kept(models: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The models whose learning rate was best on validation queries, and what that was: the table
    of `rates.chosen`, a row for each size of a series.

    models: retriever, size, SERIES, recipes (what else training has, in short), learning_rate,
    quality. Models that were not trained stay. Raises ValueError where models of one size and
    series were trained in several ways, which are no seeds of each other.
    """
    of = ["size", *SERIES]
    for _, cell in models.group_by(of, maintain_order=True):
        if cell["recipes"].n_unique() > 1:
            raise ValueError(
                f"{cell['retriever'][0]} and {cell['retriever'][-1]} have one size, stage, "
                "objective and paradigm, and other recipes: put them into studies of their own"
            )
    trained = models.drop_nulls("learning_rate")
    table = rates.chosen(trained, of)
    best = trained.join(
        table.select(*of, "learning_rate"), on=[*of, "learning_rate"], nulls_equal=True
    )
    return pl.concat([models.filter(pl.col("learning_rate").is_null()), best]), table


def table(values: pl.DataFrame, models: pl.DataFrame, seed: int, draws: int) -> pl.DataFrame:
    """SCHEMA: slopes, interactions and curves of every series, axis, measure and scale.

    p-values are adjusted (Holm) over all slopes of one axis, measure and scale, over all
    interactions, and over all advantages: one ladder's mean over sizes less that of another one
    with the same sizes.

    Args:
        values: dataset, measure, retriever, query_id, value between 0 and 1.
        models: retriever, size, SERIES, AXES; null where an axis means nothing.
        seed, draws: of the resampled curves; 0 draws: no curves.

    Raises ValueError where the models of a series did not answer the same queries.
    """
    rows: list[dict[str, Any]] = []
    for (measure,), some in values.group_by("measure", maintain_order=True):
        for axis in AXES:
            series = [each for each in _series(some, models, axis) if each.grows]
            for scale in SCALES:
                where = {"axis": axis, "measure": measure, "scale": scale}
                for family in (
                    _slopes(series, scale),
                    _compared(series, scale, "interaction", slope),
                    _compared(series, scale, "advantage", level),
                ):
                    rows += _adjusted([{**where, **row} for row in family])
                for each in series if draws else ():
                    rows += [{**where, **row} for row in _curve(each, scale, seed, draws, axis)]
    return pl.DataFrame(rows, SCHEMA, infer_schema_length=None)


def points(values: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """POINTS: the quality of each model on each scale over its size on each axis, and the line of
    its series there with its interval. Series of one size have no line.

    values, models: as of `table`, whose slopes are those of these lines. Raises ValueError where it
    does.
    """
    rows: list[dict[str, Any]] = []
    for (measure,), some in values.group_by("measure", maintain_order=True):
        for axis in AXES:
            for each, scale in product(_series(some, models, axis), SCALES):
                where = {"measure": measure, "axis": axis, "scale": scale}
                rows += [{**each.place, **where, **row} for row in _points(each, scale)]
    return pl.DataFrame(rows, POINTS, infer_schema_length=None)


def _points(each: _Series, scale: Scale) -> list[dict[str, Any]]:
    """A row for each model, the smallest one first."""
    ladder = each.ladder
    qualities, _ = levels(ladder.values, scale)
    sizes = np.unique(ladder.doublings) if each.grows else []
    lines = {at: outcome(fitted(ladder, at, scale)).interval for at in sizes}
    rows = []
    for at, model in sorted(zip(ladder.doublings, range(len(each.names)), strict=True)):
        line = lines.get(at)
        rows.append(
            {
                "size": each.of_sizes[model],
                "retriever": each.names[model],
                "x": float(2**at),
                "quality": float(qualities[model]),
                "fitted": line and float(line.estimate[0]),
                "low": line and float(line.low[0]),
                "high": line and float(line.high[0]),
                "queries": len(ladder.values),
            }
        )
    return rows


def _series(values: pl.DataFrame, models: pl.DataFrame, axis: str) -> Iterator[_Series]:
    """The ladders along one axis."""
    sized = models.filter(pl.col(axis) > 0)
    for keys, own in sized.group_by(SERIES, maintain_order=True):
        own = own.sort("size", "retriever")
        # A seed may change the number of tokens by a little: a size is where its models are.
        cells = np.unique(own["size"].to_numpy(), return_inverse=True)[1]
        doublings = np.log2(own[axis].to_numpy().astype(float))
        for (dataset,), some in values.group_by("dataset", maintain_order=True):
            names = own["retriever"].to_list()
            of_these = some.filter(pl.col("retriever").is_in(names))
            wide = of_these.pivot("retriever", index="query_id", values="value").sort("query_id")
            absent = [name for name in names if name not in wide.columns]
            if absent or any(wide[name].null_count() for name in names):
                without = absent or [name for name in names if wide[name].null_count()]
                raise ValueError(f"{without[0]} on {dataset}: lacks queries that others answered")
            place = {"dataset": dataset, **dict(zip(SERIES, keys, strict=True))}
            ladder = Ladder(wide.select(names).to_numpy(), doublings, cells)
            yield _Series(place, ladder, tuple(names), tuple(own["size"]))


def _slopes(series: Sequence[_Series], scale: Scale) -> Iterator[dict[str, Any]]:
    for each in series:
        warnings = short(each.ladder)
        if bent(each.ladder, scale) < BENT:
            warnings.append("sizes do not lie on a line: the slope is that of these sizes alone")
        told = {"warnings": "; ".join(warnings) or None}
        result = outcome(slope(each.ladder, scale))
        yield {"finding": "slope", **each.place, **each.range, **_numbers(result), **told}


def _compared(
    series: Sequence[_Series], scale: Scale, finding: str, quantity: Callable[..., Contrast]
) -> Iterator[dict[str, Any]]:
    """A quantity of one series less that of another one, for all that differ in one thing."""
    for first, second in combinations(series, 2):
        apart = _apart(first.place, second.place)
        if len(apart) != 1 or (finding == "advantage" and {*first.of_sizes} != {*second.of_sizes}):
            continue
        one, other = (quantity(each.ladder, scale) for each in (first, second))
        contrast = one.elsewhere(other) if apart == ["dataset"] else one.apart(other)
        warnings = dict.fromkeys([*short(first.ladder), *short(second.ladder)])
        yield {
            "finding": finding,
            **first.place,
            "factor": apart[0],
            "compared_with": second.place[apart[0]],
            "compared_objective": second.place["objective"],
            **first.range,
            "seeds": min(first.ladder.seeds, second.ladder.seeds),
            **_numbers(outcome(contrast)),
            "warnings": "; ".join(warnings) or None,
        }


def _apart(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """In what two series differ. Stages bring objectives along: one that a stage lacks is none."""
    apart = [name for name in first if first[name] != second[name]]
    if "stages" in apart:
        apart = [name for name in apart if first[name] is not None and second[name] is not None]
    return apart


def _curve(
    each: _Series, scale: Scale, seed: int, draws: int, axis: str
) -> Iterator[dict[str, Any]]:
    ids = (axis, scale, *map(str, each.place.values()))
    grown = growth(each.ladder, generator(seed, *ids), scale, draws)
    for name, estimate, ends in (
        ("exponent", grown.law.exponent, grown.exponents),
        ("limit", grown.law.limit, grown.limits),
        ("preference", grown.preference, (None, None)),
    ):
        yield {
            "finding": name,
            **each.place,
            **each.range,
            "estimate": estimate,
            **dict(zip(("low", "high"), ends, strict=True)),
            "warnings": "; ".join(grown.warnings) or None,
        }


def _numbers(result: Outcome) -> dict[str, float]:
    interval = result.interval
    ends = {name: float(getattr(interval, name)[0]) for name in ("estimate", "low", "high")}
    return {**ends, "detectable": result.detectable, "p_value": result.p_value}


def _adjusted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    adjusted = holm([row["p_value"] for row in rows])
    return [{**row, "p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]
