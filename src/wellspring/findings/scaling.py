"""What a doubling of size brings, and whether that differs between two ladders of models.

A ladder is a few sizes with a few seeds each: a model a seed. All models answer the same queries,
and what is asked is the slope of their quality over log2 of the size. A cell is the models of one
size. Two things vary the slope:

- the choice of queries, which all models share: the slope is a mean over queries, so its variance
  over queries covers how unequally these are answered;
- the luck of a seed, which moves a whole model: it is known from how the models of a cell differ.
  Sizes differ in that luck, so each has a variance of its own, and the degrees of freedom of their
  weighted sum are Satterthwaite's (1946), as in Welch's test. Three seeds leave two in a cell.

The part of a query in a model that neither explains is in both. It is subtracted once. The degrees
of freedom come from the variances before that, so a small sum by chance does not pass for a sure
one. The slope is that of the sizes which are there: how far a straight line is from them is another
matter, and `bent` tests it.

nDCG, recall and reciprocal ranks end at 1. Near it a better model can hardly gain, so two ladders
that grow alike seem to differ, and another scale may remove such an interaction (Loftus 1978). Two
measures have no ceiling: the log-odds of a mean, and the contrastive entropy, which Fang et al.
(2024, arXiv 2403.18684) call contrastive perplexity and found to follow a power law of model size.

Shapes: Q queries, M models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special

from wellspring import intervals
from wellspring.intervals import Estimate, Interval, Spread

Scale = Literal["value", "log-odds"]
"""What is linear in log2 of the size: the mean over queries, or the log-odds of that mean, for
values between 0 and 1, which has no ceiling."""


TEMPERATURES = (1e-4, 1e4)
"""Where a temperature is searched, as shares of the spread of scores."""


@dataclass(frozen=True)
class Ladder:
    """Models of several sizes that answer the same queries.

    Attributes:
        values: [Q, M] how well each query is answered.
        doublings: [M] log2 of the size.
        cells: [M] the number of the model's size.
    """

    values: np.ndarray
    doublings: np.ndarray
    cells: np.ndarray

    @property
    def sizes(self) -> int:
        """How many sizes there are."""
        return len(np.unique(self.cells))

    @property
    def seeds(self) -> int:
        """The fewest models of a size."""
        return int(np.unique(self.cells, return_counts=True)[1].min())


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of models' qualities.

    Attributes:
        value: the sum.
        influence: [Q, M] by how much a query's answer of a model moves it; a model's sum over
            queries is by how much its seed does.
        weights: [M] of the models.
        cells: [M] models that differ in their seeds alone have one number.
    """

    value: float
    influence: np.ndarray
    weights: np.ndarray
    cells: np.ndarray

    def apart(self, other: Contrast) -> Contrast:
        """This less another one of other models on the same queries."""
        return Contrast(
            self.value - other.value,
            np.hstack([self.influence, -other.influence]),
            np.concatenate([self.weights, -other.weights]),
            np.concatenate([self.cells, other.cells + self.cells.max() + 1]),
        )

    def elsewhere(self, other: Contrast) -> Contrast:
        """This less the same one on other queries: models come in the same order, and a seed's luck
        on both sides cancels as far as it is the same."""
        return Contrast(
            self.value - other.value,
            np.vstack([self.influence, -other.influence]),
            self.weights,
            self.cells,
        )


@dataclass(frozen=True)
class Outcome:
    """A contrast with its interval.

    Attributes:
        interval: one cell.
        detectable: the smallest true value that such an interval excludes 0 for, at 80 % power.
        p_value: two-sided, of Student's t.
        freedom: its degrees of freedom.
    """

    interval: Interval
    detectable: float
    p_value: float
    freedom: float


def levels(values: np.ndarray, scale: Scale = "value") -> tuple[np.ndarray, np.ndarray]:
    """Each model's quality [M] on a scale, and by how much it moves with the mean of values [Q, M].

    The log-odds are of (Q m + 1/2) / (Q + 1), so that a mean of 0 or 1 has some (Haldane 1956,
    Anscombe 1956). Raises ValueError where log-odds are asked of values outside 0 and 1.
    """
    means = values.mean(0)
    if scale == "value":
        return means, np.ones_like(means)
    if values.min() < 0 or values.max() > 1:
        raise ValueError("log-odds are of values between 0 and 1")
    queries = len(values)
    shares = (queries * means + 0.5) / (queries + 1)
    return special.logit(shares), queries / (queries + 1) / (shares * (1 - shares))


def contrastive_entropy(
    scores: np.ndarray, relevant: np.ndarray, temperature: float = 1.0
) -> np.ndarray:
    """[Q]: −log2 of the probability of a query's relevant candidates, in bits.

    Args:
        scores: [Q, C] of each query's candidates; NaN where a query has fewer.
        relevant: [Q, C] which of them are relevant; of several one is expected to be found, and
            their probabilities add up.
        temperature: what scores are divided by. A model's scores have a unit of their own: compare
            models at the temperature of each (`temperature`).

    Raises ValueError for a query without a relevant candidate.
    """
    present = ~np.isnan(scores)
    if not (relevant & present).any(1).all():
        raise ValueError("a query has no relevant candidate: its entropy is not defined")
    scaled = np.where(present, scores, -np.inf) / temperature
    of_relevant = special.logsumexp(np.where(relevant, scaled, -np.inf), axis=1)
    return (special.logsumexp(scaled, axis=1) - of_relevant) / np.log(2)


def temperature(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The temperature at which a model's mean contrastive entropy is lowest (Guo et al. 2017).

    To be found on validation queries: shapes as for `contrastive_entropy`.
    """
    spread = float(np.nanstd(scores)) or 1.0

    def lost(logarithm: float) -> float:
        return float(contrastive_entropy(scores, relevant, spread * np.exp(logarithm)).mean())

    bounds = tuple(np.log(TEMPERATURES))
    search = optimize.minimize_scalar(lost, bounds=bounds, method="bounded")
    return spread * float(np.exp(search.x))


def slope(ladder: Ladder, scale: Scale = "value") -> Contrast:
    """What a doubling brings: the slope of least squares over all models.

    Raises ValueError where all models have one size.
    """
    return _weighted(ladder, _steepness(ladder), scale)


def fitted(ladder: Ladder, doublings: float, scale: Scale = "value") -> Contrast:
    """The quality at so many doublings on the line whose slope that is.

    Raises ValueError where all models have one size.
    """
    away = doublings - ladder.doublings.mean()
    return _weighted(ladder, 1 / len(ladder.doublings) + away * _steepness(ladder), scale)


def _steepness(ladder: Ladder) -> np.ndarray:
    """[M]: the weights of models in the slope."""
    away = ladder.doublings - ladder.doublings.mean()
    if not np.square(away).sum() > 0:
        raise ValueError("all models have the same size: there is no slope")
    return away / np.square(away).sum()


def level(ladder: Ladder, scale: Scale = "value") -> Contrast:
    """The mean quality of the sizes, each with one weight."""
    _, index, counts = np.unique(ladder.cells, return_inverse=True, return_counts=True)
    return _weighted(ladder, 1 / (counts[index] * len(counts)), scale)


def _weighted(ladder: Ladder, weights: np.ndarray, scale: Scale) -> Contrast:
    """The sum of models' qualities with weights [M]."""
    qualities, moved = levels(ladder.values, scale)
    lucks = qualities - _of_cells(qualities, ladder.cells)
    answers = moved * (ladder.values - ladder.values.mean(0))
    influence = weights * (lucks + answers) / len(ladder.values)
    return Contrast(float(weights @ qualities), influence, weights, ladder.cells)


def spread(contrast: Contrast) -> Spread:
    """The variance of a contrast, from queries and from seeds; see the module.

    A size with one model gets the variance of the others' seeds. Where no size has two, seeds are
    taken to add nothing: the contrast is one of these very models.
    """
    queries = len(contrast.influence)
    correction = queries / max(queries - 1, 1)
    totals = contrast.influence.sum(1)
    of_queries = correction * np.square(totals - totals.mean()).sum()
    seeds, shared, squares, alone = [], 0.0, [], 0.0
    for cell in np.unique(contrast.cells):
        inside = contrast.cells == cell
        models, weight = inside.sum(), np.square(contrast.weights[inside]).sum()
        if models == 1:
            alone += weight
            continue
        own = contrast.influence[:, inside]
        repeated = models / (models - 1)
        seeds.append((repeated * np.square(own.sum(0)).sum(), models - 1))
        squares.append(weight)
        rest = own - own.mean(1, keepdims=True)
        rest -= rest.mean(0)
        shared += repeated * correction * np.square(rest).sum()
    variances, degrees = np.array(seeds).reshape(-1, 2).T
    extra = 1 + alone / sum(squares) if sum(squares) > 0 else 1.0
    of_seeds, shared = extra * variances.sum(), extra * shared
    added = max(0.0, of_seeds - shared)
    uncertain = np.square(extra * variances / np.sqrt(degrees)).sum()
    own = max(0.0, of_queries - shared)
    uncertain_of_all = own**2 / max(queries - 1, 1) + uncertain
    variance = of_queries + added
    freedom = variance**2 / uncertain_of_all if uncertain_of_all > 0 else max(queries - 1, 1)
    of_repetitions = of_seeds**2 / uncertain if uncertain > 0 else np.inf
    each = (of_queries, added, freedom, of_repetitions)
    return Spread(*(np.array([number], np.float64) for number in each))


def outcome(contrast: Contrast) -> Outcome:
    """The interval and the test of a contrast."""
    variance = spread(contrast)
    influence = contrast.influence.sum(1)
    influence = (influence - influence.mean())[:, None, None]
    estimate = Estimate(np.array([contrast.value]), influence, np.array([len(influence)]))
    error, freedom = variance.error[0], variance.freedom[0]
    p_value = 2 * special.stdtr(freedom, -abs(contrast.value) / error) if error > 0 else np.nan
    return Outcome(
        intervals.interval(estimate, variance=variance),
        float(intervals.detectable(estimate, variance=variance)[0]),
        float(p_value),
        float(freedom),
    )


def bent(ladder: Ladder, scale: Scale = "value") -> float:
    """The p-value of a test that sizes lie on a line, against the luck of seeds; NaN where fewer
    than three sizes, or no size with two models, leave nothing to test.

    The F test of lack of fit, of one variance for all seeds. The choice of queries moves all models
    alike and is no part of it.
    """
    qualities, _ = levels(ladder.values, scale)
    centres = _of_cells(qualities, ladder.cells)
    line = np.polynomial.Polynomial.fit(ladder.doublings, qualities, 1)(ladder.doublings)
    beyond, repeated = ladder.sizes - 2, len(qualities) - ladder.sizes
    noise = np.square(qualities - centres).sum()
    if beyond < 1 or repeated < 1 or noise == 0:
        return float("nan")
    ratio = np.square(centres - line).sum() / beyond / (noise / repeated)
    return float(special.fdtrc(beyond, repeated, ratio))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values [K], adjusted for their family (Holm 1979); NaN stays, and counts as no test."""
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def _of_cells(numbers: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """[M]: the mean of each model's cell."""
    _, index, counts = np.unique(cells, return_inverse=True, return_counts=True)
    return (np.bincount(index, numbers) / counts)[index]
