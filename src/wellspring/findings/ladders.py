"""The tables of a study's ladders: slopes, whether two of them differ, and curves; and the points
and lines that a figure draws.

A series is the models of one family, stage (with those before it), objective, paradigm, recipe and
encoder: they differ in size and seed alone. Two series are compared where they differ in one of
these alone, and one series on two datasets.
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
from wellspring.findings.series import SERIES, apart, told_apart
from wellspring.randomness import generator

AXES = ("non_embedding", "trainable", "parameters", "flops", "tokens")
"""What a size may be: parameters without those of embedding tables, those that the last stage
trained, all; operations and tokens of all training here."""
TOLD = ("family", "stages", "objective", "paradigm")
"""What tables say of a series; the rest stands with the retriever that its ladder is called by."""
SCALES: Sequence[Scale] = ("log-odds", "value")
LEAST = 0.15
"""Doublings below which models have one size: a budget of operations is met within 5 %."""
KNOWN = {
    **dict.fromkeys(("objective", "measure"), pl.String),
    **dict.fromkeys(("learning_rate", "quality", *AXES), pl.Float64),
}
"""Columns of models that may be null, and of no type where all are."""
PLACE = dict.fromkeys(("dataset", "ladder", "family", "stages", "objective", "paradigm"), pl.String)
"""Which ladder a row is about."""
SCHEMA = {
    "finding": pl.String,
    **PLACE,
    "factor": pl.String,
    "compared_with": pl.String,
    "compared_ladder": pl.String,
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
    **PLACE,
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
    """A ladder of one series on one dataset.

    Attributes:
        kind: what tells it from others: see `wellspring.findings.series.apart`.
        names, of_sizes: [M] the retriever and the size of each model.
        tried: learning rates of a size, at most; None where nothing was trained.
    """

    kind: Mapping[str, Any]
    ladder: Ladder
    names: tuple[str, ...]
    of_sizes: tuple[str, ...]
    tried: int | None

    @property
    def place(self) -> Mapping[str, Any]:
        """Where it stands in the table."""
        return {name: self.kind[name] for name in PLACE}

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
    """The models whose learning rate was best on validation data, and what that was: the table of
    `rates.chosen`, a row for each size of a ladder that was trained.

    models: retriever, size, SERIES but for recipes, trainings (what its recipes say but for seeds
    and the last learning rate, as JSON), learning_rate, measure, quality. Models that were not
    trained stay. The result has what `table` reads. Raises ValueError where models of one size and
    series were trained at other costs, which are no seeds of each other.
    """
    models = told_apart(models.cast({name: each for name, each in KNOWN.items() if name in models}))
    of = ["size", "ladder"]
    for _, cell in models.group_by(of, maintain_order=True):
        if cell["trainings"].n_unique() > 1:
            one, other = cell.unique("trainings", maintain_order=True)["retriever"][:2]
            raise ValueError(
                f"{one} and {other} are of one size and ladder, but their recipes differ in "
                "budgets or in earlier learning rates: put them into studies of their own"
            )
    table = rates.chosen(models.drop_nulls("learning_rate"), of)
    best = table.select(*of, "learning_rate", tried="rates")
    found = models.drop("tried", strict=False).join(
        best, on=of, how="left", suffix="_best", maintain_order="left"
    )
    # What was not trained has no rate, nor a best one.
    stays = pl.col("learning_rate").eq_missing(pl.col("learning_rate_best"))
    told = models.select("ladder", *TOLD).unique()
    table = table.join(told, on="ladder", maintain_order="left")
    return found.filter(stays).drop("learning_rate_best"), table.select(*of, *TOLD, *rates.SCHEMA)


def table(values: pl.DataFrame, models: pl.DataFrame, seed: int, draws: int) -> pl.DataFrame:
    """SCHEMA: slopes, interactions and curves of every series, axis, measure and scale.

    p-values are adjusted (Holm) over all slopes of one axis, measure and scale, over all
    interactions, and over all advantages: one ladder's mean over sizes less that of another one
    with the same sizes.

    Args:
        values: dataset, measure, retriever, query_id, value between 0 and 1.
        models: as of `kept`, with AXES; null where an axis means nothing.
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
        trainings = own.select("size", "trainings")
        # A seed may change the number of tokens by a little: a size is where its models are.
        cells = np.unique(own["size"].to_numpy(), return_inverse=True)[1]
        doublings = np.log2(own[axis].to_numpy().astype(float))
        names = own["retriever"].to_list()
        # Not all are measured by everything: no layer of sparse models is probed.
        measured = values.filter(pl.col("retriever").is_in(names))
        for (dataset,), of_these in measured.group_by("dataset", maintain_order=True):
            wide = of_these.pivot("retriever", index="query_id", values="value").sort("query_id")
            absent = [name for name in names if name not in wide.columns]
            if absent or any(wide[name].null_count() for name in names):
                without = absent or [name for name in names if wide[name].null_count()]
                raise ValueError(f"{without[0]} on {dataset}: lacks queries that others answered")
            kind = {"dataset": dataset, **dict(zip(SERIES, keys, strict=True))}
            kind |= {"ladder": own["ladder"][0], "trainings": dict(trainings.rows())}
            ladder = Ladder(wide.select(names).to_numpy(), doublings, cells)
            sizes = tuple(own["size"])
            tried = max(own["tried"].drop_nulls().to_list(), default=None)
            yield _Series(kind, ladder, tuple(names), sizes, tried)


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
        differing = apart(first.kind, second.kind)
        same_sizes = {*first.of_sizes} == {*second.of_sizes}
        if len(differing) != 1 or (finding == "advantage" and not same_sizes):
            continue
        (factor,) = differing
        one, other = (quantity(each.ladder, scale) for each in (first, second))
        contrast = one.elsewhere(other) if factor == "dataset" else one.apart(other)
        warnings = dict.fromkeys([*short(first.ladder), *short(second.ladder)])
        if first.tried and second.tried and first.tried != second.tried:
            warnings[
                f"{first.tried} and {second.tried} learning rates were tried: a ladder that is "
                "tuned more may seem better"
            ] = None
        # What recipes and encoders are is too long to be told.
        told = second.place.get(factor, second.place["ladder"])
        yield {
            "finding": finding,
            **first.place,
            "factor": factor,
            "compared_with": told,
            "compared_ladder": second.place["ladder"],
            **first.range,
            "seeds": min(first.ladder.seeds, second.ladder.seeds),
            **_numbers(outcome(contrast)),
            "warnings": "; ".join(warnings) or None,
        }


def _curve(
    each: _Series, scale: Scale, seed: int, draws: int, axis: str
) -> Iterator[dict[str, Any]]:
    ids = (axis, scale, *map(str, each.place.values()))
    grown = growth(each.ladder, generator(seed, *ids), scale, draws)
    law = {
        "exponent": (grown.law.exponent, *grown.exponents),
        "limit": (grown.law.limit, *grown.limits),
    }
    unknown = None, None, None
    preference = None if np.isnan(grown.preference) else grown.preference
    for name, numbers in (
        *((name, own if grown.told else unknown) for name, own in law.items()),
        ("preference", (preference, None, None)),
    ):
        yield {
            "finding": name,
            **each.place,
            **each.range,
            **dict(zip(("estimate", "low", "high"), numbers, strict=True)),
            "warnings": "; ".join(grown.warnings) or None,
        }


def _numbers(result: Outcome) -> dict[str, float]:
    interval = result.interval
    ends = {name: float(getattr(interval, name)[0]) for name in ("estimate", "low", "high")}
    return {**ends, "detectable": result.detectable, "p_value": result.p_value}


def _adjusted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    adjusted = holm([row["p_value"] for row in rows])
    return [{**row, "p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]
