"""How well each kind of evidence about layers predicts the others: rank correlations over layers.

The layers stay what they are, and queries are drawn anew, jointly: a draw gives each query one
weight, whatever is measured on it (Rubin's 1981 Bayesian bootstrap). So an interval says what other
queries would have shown of this network. It says nothing of other networks. There is no p-value
from the number of layers either: neighbouring layers are alike, so they cannot be exchanged.

Pairs of retrievers differ in level, which says nothing of layers. So several pairs together have
the mean of their own correlations, and each end of the interval is the mean of theirs: it is no
narrower than they are, because noise pulls all of them the same way.

Noise pulls a rank correlation towards 0, and resampling adds noise to noise. So the interval is the
hull of the draws' quantiles and of their mirror image about the estimate. Of 7 layers it holds the
true correlation in 95 % of simulations or more (`tests/findings/test_prediction.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import polars as pl
from scipy.stats import rankdata

from wellspring.findings.curves import Curve, Given, Line, Name
from wellspring.findings.evidence import Evidence, named, on_the_same, paired
from wellspring.intervals import CONFIDENCE
from wellspring.randomness import generator

Over = Literal["layers", "differences"]
Answer = Literal["together", "opposed", "no evidence", "not testable here"]

FEWEST_LAYERS = 5
"""A rank correlation over fewer takes a handful of values."""
FEWEST_PAIRS = 2
"""Of one pair alone its own row tells."""
LEAST_RELIABILITY = 0.5
"""Less of a curve's variance over layers is more noise than difference between layers."""
DRAWS = 1000
BLOCK = 4096
"""Texts whose weights are held at once: 32 MB."""

SCHEMA = {
    "dataset": pl.String,
    "retriever": pl.String,
    "compared_with": pl.String,
    "over": pl.String,
    "measure": pl.String,
    "of": pl.String,
    "side": pl.String,
    "other_measure": pl.String,
    "other_of": pl.String,
    "other_side": pl.String,
    "points": pl.Int64,
    "layers": pl.Int64,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "reliability": pl.Float64,
    "other_reliability": pl.Float64,
    "shared_texts": pl.Int64,
    "same_outcomes": pl.Boolean,
    "answer": pl.String,
    "reason": pl.String,
}
OUTCOMES = ("accuracy", "selectivity")
"""Measures of one probe that are made of the same outcomes."""


@dataclass(frozen=True)
class Points:
    """A measure's values at P points (layers, or layers of several pairs), and as other queries
    would have them.

    Attributes:
        places: what each point is: a retriever and one of its layers.
        value: [P].
        drawn: [B, P]; B is 1 where the measure is no ratio over texts and stays as it is.
        texts: the ids that are drawn.
    """

    name: Name
    places: tuple[tuple[str, int], ...]
    value: np.ndarray
    drawn: np.ndarray
    texts: frozenset[str]

    def each(self) -> list[Points]:
        """Those of each retriever."""
        retrievers = dict.fromkeys(retriever for retriever, _ in self.places)
        return [self.at([p for p in self.places if p[0] == name]) for name in retrievers]

    def at(self, places: Sequence[tuple[str, int]]) -> Points:
        """The same at some of its points."""
        columns = [self.places.index(place) for place in places]
        return Points(
            self.name, tuple(places), self.value[columns], self.drawn[:, columns], self.texts
        )

    def __sub__(self, other: Points) -> Points:
        """The differences at the points that both have."""
        places = [place for place in self.places if place in other.places]
        a, b = self.at(places), other.at(places)
        texts = a.texts | b.texts
        return Points(a.name, a.places, a.value - b.value, a.drawn - b.drawn, texts)

    def reliability(self) -> float:
        """The share of the variance over the points of each retriever that is not noise; NaN where
        nothing is drawn, or no point differs."""
        if len(self.drawn) == 1 or self.is_constant():
            return np.nan
        noise = sum(_spread(part.drawn - part.value).mean() for part in self.each())
        return max(0.0, float(1 - noise / sum(_spread(part.value) for part in self.each())))

    def is_constant(self) -> bool:
        """Whether no point of some retriever differs."""
        return any(is_constant(part.value) for part in self.each())


def correlations(evidence: Evidence, seed: int, draws: int = DRAWS) -> pl.DataFrame:
    """Spearman's correlation between every two measures of a retriever.

    Over the retriever's layers; over the layers' differences from its counterpart on the same texts
    (a measure that is given has none: it is of both already); and, where
    several pairs of a dataset have both measures, over the differences of each of them, without a
    retriever.

    Args:
        seed: with a text's id it decides the weights that the text is drawn with.

    Returns:
        The columns of SCHEMA. 95 % intervals, where a side is drawn at all. `together` or `opposed`
        where the interval excludes 0.
    """
    evidence = on_the_same(evidence)
    lines = {retriever: named(measured) for retriever, measured in evidence.lines.items()}

    def drawn(line: Line, retriever: str) -> Points:
        return points_of(line, retriever, evidence.dataset, seed, draws)

    points = {
        retriever: {name: drawn(line, retriever) for name, line in own.items()}
        for retriever, own in lines.items()
    }

    def differences(retriever: str, other: str) -> Iterator[Points]:
        for name, line in lines[retriever].items():
            beside = lines.get(other, {}).get(name)
            if isinstance(line, Curve) and isinstance(beside, Curve):
                own, theirs = paired(line, beside)
                first = points[retriever][name] if own is line else drawn(own, retriever)
                second = points[other][name] if theirs is beside else drawn(theirs, other)
                yield first - _moved(second, retriever)

    rows: list[dict[str, object]] = []
    apart: dict[str, dict[Name, Points]] = {}
    for retriever, own in points.items():
        other = evidence.pairs.get(retriever)
        where = {"dataset": evidence.dataset, "retriever": retriever, "compared_with": other}
        rows += [{**where, "over": "layers", **row} for row in _between(own)]
        apart[retriever] = {each.name: each for each in differences(retriever, other or "")}
        rows += [{**where, "over": "differences", **row} for row in _between(apart[retriever])]
    where = {"dataset": evidence.dataset, "over": "differences"}
    rows += [{**where, **row} for row in _between(_pooled(apart), FEWEST_PAIRS)]
    return pl.DataFrame(rows, SCHEMA, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))


def points_of(line: Line, retriever: str, dataset: str, seed: int, draws: int) -> Points:
    """A line's values at its layers, and what each of the draws makes of them."""
    places = tuple((retriever, layer) for layer in line.layers)
    if isinstance(line, Given):
        value = line.interval.estimate
        return Points(line.name, places, value, value[None], frozenset())
    value = line.estimate().value
    sums = np.zeros((2, draws, len(places)))
    parts = line.numerators.sum(1), line.denominators.sum(1)
    side = "passage" if line.unit == "passage text" else "query"
    for start in range(0, len(line.ids), BLOCK):
        some = slice(start, start + BLOCK)
        weights = np.stack(
            [
                generator(seed, "evidence", dataset, side, i).exponential(size=draws)
                for i in line.ids[some]
            ]
        )
        for total, part in zip(sums, parts, strict=True):
            total += weights.T @ part[some]
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = sums[0] / sums[1]
    return Points(line.name, places, value, drawn, frozenset(f"{side} {i}" for i in line.ids))


def _moved(points: Points, retriever: str) -> Points:
    """A counterpart's points under the places of the retriever that is compared with it."""
    places = tuple((retriever, layer) for _, layer in points.places)
    return Points(points.name, places, points.value, points.drawn, points.texts)


def _pooled(apart: dict[str, dict[Name, Points]]) -> dict[Name, Points]:
    """The points of all pairs as one."""
    pooled: dict[Name, list[Points]] = {}
    for own in apart.values():
        for name, points in own.items():
            pooled.setdefault(name, []).append(points)
    return {
        name: Points(
            name,
            tuple(place for points in parts for place in points.places),
            np.concatenate([points.value for points in parts]),
            np.concatenate([points.drawn for points in parts], axis=1),
            frozenset().union(*(points.texts for points in parts)),
        )
        for name, parts in pooled.items()
    }


def _between(points: dict[Name, Points], fewest: int = 1) -> Iterator[dict[str, object]]:
    """A row for every two measures that so many retrievers have both of."""
    for first, second in combinations(points.values(), 2):
        places = [p for p in first.places if p in second.places]
        if len({retriever for retriever, _ in places}) < fewest:
            continue
        a, b = first.at(places), second.at(places)
        yield {
            **a.name._asdict(),
            **{f"other_{key}": value for key, value in b.name._asdict().items()},
            "points": len(places),
            "layers": len({layer for _, layer in places}),
            "shared_texts": len(a.texts & b.texts),
            "same_outcomes": a.name.of == b.name.of
            and {a.name.measure, b.name.measure} <= {*OUTCOMES},
            **compared(a, b),
        }


def compared(a: Points, b: Points) -> dict[str, object]:
    """The correlation, its interval, and what follows from them: of several pairs their means."""
    pairs = list(zip(a.each(), b.each(), strict=True))
    ends = [(float(spearman(x.value, y.value)), *interval(x, y)) for x, y in pairs]
    weights = [len(x.value) for x, _ in pairs]
    estimate, low, high = np.clip(np.average(ends, axis=0, weights=weights), -1, 1).tolist()
    reliabilities = a.reliability(), b.reliability()
    values: dict[str, object] = {
        "estimate": estimate,
        "low": low,
        "high": high,
        "reliability": reliabilities[0],
        "other_reliability": reliabilities[1],
    }
    if (reason := _untestable(a, b, reliabilities)) is not None:
        return {**values, "answer": "not testable here", "reason": reason}
    answer: Answer = "together" if low > 0 else "opposed" if high < 0 else "no evidence"
    return {**values, "answer": answer}


def _untestable(a: Points, b: Points, reliabilities: tuple[float, float]) -> str | None:
    layers = min(len(part.places) for part in a.each())
    if layers < FEWEST_LAYERS:
        return f"{layers} layers: a rank correlation needs {FEWEST_LAYERS}"
    for points, reliability in zip((a, b), reliabilities, strict=True):
        label = points.name.measure
        if np.isnan(points.value).any():
            return f"{label} is not defined at every layer"
        if points.is_constant():
            return f"{label} is the same at every layer"
        if reliability < LEAST_RELIABILITY:
            return f"{label} differs between layers by less than its noise"
    if len(a.drawn) == len(b.drawn) == 1:
        return "neither side is measured text by text"
    return None


def interval(a: Points, b: Points) -> tuple[float, float]:
    """The 95 % interval of the correlation of two measures at the same points of one retriever, NaN
    where nothing is drawn: the hull of the draws' quantiles and of their mirror image about the
    estimate, which may lie beyond 1."""
    if len(a.drawn) == len(b.drawn) == 1:
        return np.nan, np.nan
    estimate = float(spearman(a.value, b.value))
    drawn = spearman(*np.broadcast_arrays(a.drawn, b.drawn))
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size or np.isnan(estimate):
        return np.nan, np.nan
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return min(low, 2 * estimate - high), max(high, 2 * estimate - low)


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rank correlations [...] over the last axis of a and b [..., P]; equal values share the mean
    of their ranks. NaN where a side is constant or not defined."""
    ranks = []
    for side in (a, b):
        own = rankdata(side, axis=-1, nan_policy="propagate")
        own = own - own.mean(-1, keepdims=True)
        ranks.append(own)
    size = np.sqrt(np.square(ranks[0]).sum(-1) * np.square(ranks[1]).sum(-1))
    product = (ranks[0] * ranks[1]).sum(-1)
    return np.divide(product, size, out=np.full(np.shape(size), np.nan), where=size > 0)


def _spread(values: np.ndarray) -> np.ndarray:
    """Sums of squares [...] of values [..., P] about their mean."""
    return np.square(values - values.mean(-1, keepdims=True)).sum(-1)


def is_constant(values: np.ndarray) -> bool:
    """Whether all values are the same, but for rounding."""
    return bool(np.ptp(values) <= 1e-9 * max(1e-30, float(np.abs(values).max())))
