"""The table of evidence: what probes, attributions, ablation, retrieval and similarity say of each
layer of a retriever, on the same queries where enough are shared, beside what each is set
against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.findings.curves import (
    BOUNDS,
    EXACT,
    Against,
    Control,
    Curve,
    Given,
    Line,
    Measured,
    Name,
)
from wellspring.findings.sharing import FEWEST_SHARED
from wellspring.intervals import Interval

SCHEMA = {
    "dataset": pl.String,
    "retriever": pl.String,
    "compared_with": pl.String,
    "layer": pl.Int64,
    "measure": pl.String,
    "of": pl.String,
    "side": pl.String,
    "control": pl.String,
    "other": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "lead": pl.Float64,
    "lead_low": pl.Float64,
    "lead_high": pl.Float64,
    "unit": pl.String,
    "texts": pl.Int64,
    "shared_queries": pl.Int64,
}


@dataclass(frozen=True)
class Evidence:
    """What a study holds of its retrievers on one dataset.

    Attributes:
        dataset: its name.
        lines: each retriever's measures, with the controls that it brings itself.
        pairs: retriever to what it is compared with.
        twins: retriever to the random twin that stands further down, behind its counterpart.
    """

    dataset: str
    lines: Mapping[str, Sequence[Measured]]
    pairs: Mapping[str, str]
    twins: Mapping[str, str]


def shared_queries(evidence: Evidence) -> np.ndarray:
    """The queries that every measure over queries has, of every retriever; sorted."""
    ids = [
        line.ids
        for lines in evidence.lines.values()
        for line, _ in lines
        if isinstance(line, Curve) and line.unit == "query"
    ]
    return reduce(np.intersect1d, ids) if ids else np.array([], dtype=object)


def on_the_same(evidence: Evidence) -> Evidence:
    """The same evidence with every measure over queries on those that all of them share; as it is
    where they share fewer than FEWEST_SHARED."""
    shared = shared_queries(evidence)
    if shared.size < FEWEST_SHARED:
        return evidence

    def kept(line: Line) -> Line:
        if isinstance(line, Given) or line.unit != "query":
            return line
        return line.on(shared)

    lines = {
        retriever: [
            Measured(kept(line), [c._replace(curve=kept(c.curve)) for c in controls])
            for line, controls in measured
        ]
        for retriever, measured in evidence.lines.items()
    }
    return replace(evidence, lines=lines)


def build(evidence: Evidence) -> pl.DataFrame:
    """Every measure of every retriever at every layer, one row a number.

    Returns:
        The columns of SCHEMA. A row without `control` is a measure. A row with one is that of the
        control on the texts that both have, and `lead` the measure less the control there, with
        its paired interval. A control that is known (chance) has no interval of its own.
    """
    evidence = on_the_same(evidence)
    shared = shared_queries(evidence)
    frames = [pl.DataFrame(schema=SCHEMA)]
    for retriever, measured in evidence.lines.items():
        for line, controls in measured:
            every = [*controls, *_of_others(evidence, retriever, line)]
            for frame in _rows(line, every, shared):
                where = {
                    "dataset": evidence.dataset,
                    "retriever": retriever,
                    "compared_with": evidence.pairs.get(retriever),
                }
                frames.append(_tidy(frame.with_columns(**{k: pl.lit(v) for k, v in where.items()})))
    return pl.concat(frames)


def _of_others(evidence: Evidence, retriever: str, line: Line) -> Iterator[Control]:
    """The same measure of the counterpart, and of the random twin behind it."""
    others: dict[Against, Mapping[str, str]] = {
        "counterpart": evidence.pairs,
        "twin": evidence.twins,
    }
    for kind, names in others.items():
        other = names.get(retriever)
        theirs = named(evidence.lines.get(other or "", ())).get(line.name)
        if other is not None and isinstance(theirs, Curve):
            yield Control(kind, other, theirs)


def named(measured: Sequence[Measured]) -> dict[Name, Line]:
    """A retriever's lines by what they measure."""
    return {line.name: line for line, _ in measured}


def _rows(line: Line, controls: Sequence[Control], shared: np.ndarray) -> Iterator[pl.DataFrame]:
    lower, upper = BOUNDS.get(line.name.measure, (0, 1))
    common = {**line.name._asdict(), "unit": line.unit}
    if isinstance(line, Given):
        yield _frame(line.layers, line.interval, **common, texts=line.texts, shared_queries=0)
        return
    own = intervals.interval(
        line.estimate(), lower, upper, proportion=line.name.measure == "accuracy"
    )
    counts = {
        "texts": line.estimate().clusters,
        "shared_queries": int(np.isin(line.ids, shared).sum()),
    }
    yield _frame(line.layers, own, **common, **counts)
    for kind, other, curve in controls:
        first, second = paired(line, curve)
        theirs, apart = second.estimate(), first.estimate() - second.estimate()
        alone = intervals.interval(theirs, lower, upper, proportion=line.name.measure == "accuracy")
        if kind in EXACT:
            unknown = np.full(len(first.layers), np.nan)
            alone = Interval(alone.estimate, unknown, unknown)
        lead = intervals.interval(apart, lower - upper, upper - lower)
        yield _frame(
            first.layers,
            alone,
            **common,
            control=kind,
            other=other,
            lead=lead.estimate,
            lead_low=lead.low,
            lead_high=lead.high,
            texts=apart.clusters,
            shared_queries=int(np.isin(first.ids, shared).sum()),
        )


def paired(a: Curve, b: Curve) -> tuple[Curve, Curve]:
    """Both on the same texts, in one order, and at the layers that both have: what one of them did
    not observe counts in neither. Seeds are as one where they differ in them. A curve that loses
    nothing is given as it is."""
    layers = tuple(layer for layer in a.layers if layer in b.layers)
    a, b = (each if each.layers == layers else each.at(layers) for each in (a, b))
    if not np.array_equal(a.ids, b.ids):
        both = np.intersect1d(a.ids, b.ids)
        a, b = a.on(both), b.on(both)
    if a.numerators.shape[1] != b.numerators.shape[1]:
        a, b = a.over_seeds(), b.over_seeds()
    return a.where(b.denominators != 0), b.where(a.denominators != 0)


def _frame(layers: Sequence[int], interval: Interval, **columns: object) -> pl.DataFrame:
    values = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    return pl.DataFrame({"layer": list(layers), **values}).with_columns(
        **{
            name: pl.Series(value) if isinstance(value, np.ndarray) else pl.lit(value)
            for name, value in columns.items()
        }
    )


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the columns of SCHEMA; null for what is absent or not defined."""
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in SCHEMA.items()
    ]
    return frame.select(columns).with_columns(pl.col(pl.Float64).fill_nan(None))
