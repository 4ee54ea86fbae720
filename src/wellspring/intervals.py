"""The one interval of every estimate: a share, a mean, a ratio, a difference, an effect size.

An estimate comes with its influences: by how much each cluster (a question, a text) and each
repetition (a seed of the probes) moves it, to first order. Their variance gives the standard error,
their skewness corrects it, and nothing is resampled: the same data give the same bits.

- Below a few hundred clusters a percentile bootstrap is too narrow. These intervals are the hull of
  Student's and of Hall's (1992, "On the removal of skewness by transformation"), with the degrees
  of freedom of the clusters, and with few repetitions those of Satterthwaite (1946).
- A share of right answers has Wilson's (1927) interval at its effective sample size p(1 − p)/v, v
  the clusters' variance (Korn & Graubard 1998; Dean & Pagano 2015).
- Where no cluster differs, the variance says nothing. A quantity with bounds then has the interval
  of Clopper & Pearson (1934) for an event that n clusters never showed: at most 1 − (α/2)^(1/n) of
  all clusters may differ, by as much as the bounds allow. Without bounds there is no interval. No
  interval has zero width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95
POWER = 0.8
ROUNDING = 1e-9
"""A standard error below this share of the estimate, or of the room between bounds, is rounding."""


@dataclass(frozen=True)
class Estimate:
    """Estimates of C cells, and what moves them.

    Attributes:
        value: [C]; NaN where the quantity is not defined.
        influence: [Q, S, C] first-order effect of cluster q in repetition s on the value; they add
            up to 0 over both. 0 where a cluster has no observation.
        clusters: [C] clusters with an observation.
    """

    value: np.ndarray
    influence: np.ndarray
    clusters: np.ndarray

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two estimates of the same clusters and repetitions."""
        return Estimate(
            self.value - other.value,
            self.influence - other.influence,
            np.minimum(self.clusters, other.clusters),
        )

    def contributions(self) -> np.ndarray:
        """[Q, C]: what each cluster adds to the estimate; of a mean its value over n."""
        return self.value / len(self.influence) + self.influence.sum(1)

    def kept(self, cells: np.ndarray | Sequence[int]) -> Estimate:
        """Some of the cells, by index or by mask."""
        return Estimate(self.value[cells], self.influence[..., cells], self.clusters[cells])

    def weighted(self, weights: np.ndarray) -> Estimate:
        """Sums of cells: weights [C, K] give K new ones; NaN where a cell that counts is NaN."""
        counts = weights != 0
        undefined = (np.isnan(self.value)[:, None] & counts).any(0)
        value = np.where(undefined, np.nan, np.nan_to_num(self.value) @ weights)
        clusters = np.array([self.clusters[column].min() for column in counts.T])
        return Estimate(value, self.influence @ weights, clusters)


@dataclass(frozen=True)
class Interval:
    """An estimate of each cell with its 95 % interval, all [C]; NaN where not defined."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Spread:
    """The variance of estimates and its parts, all [C].

    Attributes:
        clusters: variance from the choice of clusters.
        repetitions: what repetitions add to it; 0 with one of them.
        freedom: degrees of freedom of their sum.
        of_repetitions: those that few repetitions alone would leave; ∞ where they add nothing.
    """

    clusters: np.ndarray
    repetitions: np.ndarray
    freedom: np.ndarray
    of_repetitions: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """The standard error."""
        return np.sqrt(self.clusters + self.repetitions)

    @property
    def reliability(self) -> np.ndarray:
        """The share of the standard error that clusters explain; 1 where there is none."""
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(np.sqrt(self.clusters) / self.error, nan=1.0)


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Estimate:
    """Sum of numerators over sum of denominators.

    Args:
        numerators: [Q, S, C] sums of each cluster in each repetition, for instance of correctness.
        denominators: of the same shape, or one that broadcasts to it: for instance the numbers of
            samples, 0 where a cluster was not observed. Its numerators are then 0, too.
    """
    denominators = np.broadcast_to(denominators, numerators.shape)
    total = denominators.sum((0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = numerators.sum((0, 1)) / total
        influence = (numerators - value * denominators) / total
    observed = (denominators != 0).any(1).sum(0)
    return Estimate(value, np.nan_to_num(influence, posinf=0, neginf=0), observed)


def mean(values: np.ndarray, over: np.ndarray | None = None) -> Estimate:
    """Mean of values [Q, C] over clusters, or their sum over the sum of `over` [Q, C].

    A cluster whose value is NaN does not count in that cell.
    """
    present = ~np.isnan(values)
    over = present.astype(np.float64) if over is None else np.where(present, over, 0)
    estimate = ratio(np.where(present, values, 0)[:, None], over[:, None])
    # A denominator may be 0 where a cluster was observed.
    return Estimate(estimate.value, estimate.influence, present.sum(0))


def clustered(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of values [n, C] over each cluster, and how many there are, both [Q, C]: what `mean`
    takes, so that each of the n counts once.

    clusters: [n] names; the Q distinct ones, sorted, are the clusters. A value of NaN does not
    count, and a sum without any value is NaN.
    """
    names, index = np.unique(clusters, return_inverse=True)
    present = ~np.isnan(values)
    sums, counts = (np.zeros((len(names), values.shape[1])) for _ in range(2))
    np.add.at(sums, index, np.where(present, values, 0))
    np.add.at(counts, index, present)
    return np.where(counts > 0, sums, np.nan), counts


def cohen_d_z(numerators: np.ndarray, denominators: np.ndarray) -> Estimate:
    """Cohen's d_z: mean over standard deviation of the clusters' differences (Lakens 2013).

    numerators, denominators: as for `ratio`; a cluster's difference is the sum of its numerators
    over that of its denominators, which is above 0. 0 where no cluster differs, NaN where all
    differ alike. The standard deviation belongs to differences that are averages over these
    repetitions.
    """
    clusters, total = len(numerators), denominators.sum(1)
    differences = numerators.sum(1) / total
    centre, spread = differences.mean(0), differences.std(0, ddof=1 if clusters > 1 else 0)
    constant = spread <= 1e-5 * np.abs(differences).max(0, initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = (differences - centre) / spread
        value = np.where(constant, np.where(centre == 0, 0.0, np.nan), centre / spread)
        curved = value / 2 * (np.square(away) - np.square(away).mean(0))
        # Each repetition moves the mean by its own differences, and the deviation by its share.
        moved = (numerators - denominators * centre) / spread - denominators * curved[:, None]
        influence = moved / total[:, None] / clusters
    influence = np.where(constant, 0, influence)
    return Estimate(value, influence, np.full(len(value), clusters))


def spread(estimate: Estimate) -> Spread:
    """The variance of an estimate over clusters and over repetitions.

    Clusters carry their own variance through all repetitions. What repetitions add (other splits,
    negatives, starts) is what their totals vary beyond what independent clusters explain. Few
    repetitions are a rough estimate of it: as a share of the clusters' variance it is taken from
    all cells together. Cells may all deviate alike, so the degrees of freedom count repetitions
    alone.
    """
    clusters, repetitions = estimate.clusters, estimate.influence.shape[1]
    of_clusters = _inflation(clusters) * np.square(estimate.influence.sum(1)).sum(0)
    share = _of_repetitions(estimate, of_clusters) if repetitions > 1 else 0.0
    weight = share / (1 + share)
    of_repetitions = np.full(len(clusters), (repetitions - 1) / weight**2 if weight else np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = 1 / ((1 - weight) ** 2 / (clusters - 1) + 1 / of_repetitions)
    freedom = np.where(clusters > 1, freedom, 1)
    return Spread(of_clusters, share * of_clusters, freedom, of_repetitions)


def _of_repetitions(estimate: Estimate, of_clusters: np.ndarray) -> float:
    """The variance that repetitions add, as a share of the clusters'."""
    repetitions = estimate.influence.shape[1]
    away = estimate.influence - estimate.influence.mean(1, keepdims=True)
    beyond = np.square(away.sum(0)).sum(0) - np.square(away).sum((0, 1))
    varies = of_clusters > 0
    if not varies.any():
        return 0.0
    shares = repetitions / (repetitions - 1) * beyond[varies] / of_clusters[varies]
    return max(0.0, float(shares.mean()))


def interval(
    estimate: Estimate,
    lower: float | np.ndarray = -np.inf,
    upper: float | np.ndarray = np.inf,
    *,
    proportion: bool = False,
    confidence: float = CONFIDENCE,
    variance: Spread | None = None,
) -> Interval:
    """The interval of each cell; see the module for how it is built.

    Args:
        lower, upper: what the quantity cannot fall below or exceed, [C] or one for all.
        proportion: the quantity is a share of successes between 0 and 1.
        variance: of the estimates, where it is known better than from clusters and repetitions.

    Raises ValueError where an estimate lies outside its bounds.
    """
    room = ROUNDING + 1e-6 * np.abs(np.nan_to_num(estimate.value))
    if np.any(estimate.value < lower - room) or np.any(estimate.value > upper + room):
        raise ValueError("an estimate lies outside the bounds that it cannot exceed")
    value, variance = estimate.value, variance or spread(estimate)
    error, freedom = variance.error, variance.freedom
    quantile = special.stdtrit(freedom, (1 + confidence) / 2)
    if proportion:
        low, high = _wilson(value, error, quantile)
    else:
        low, high = _hull(estimate, variance, confidence, quantile)
    silent = _silent(estimate, error, lower, upper)
    share = _unseen(estimate.clusters, confidence)
    with np.errstate(invalid="ignore"):
        low = np.where(silent, value - share * (value - lower), low)
        high = np.where(silent, value + share * (upper - value), high)
        low, high = np.maximum(low, lower), np.minimum(high, upper)
    defined = np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
    defined &= estimate.clusters > 1
    return Interval(value, *(np.where(defined, end, np.nan) for end in (low, high)))


def detectable(
    estimate: Estimate, confidence: float = CONFIDENCE, variance: Spread | None = None
) -> np.ndarray:
    """[C]: the smallest true effect for which such an interval excludes 0 at 80 % power.

    variance: as for `interval`.
    """
    variance = variance or spread(estimate)
    tails = [special.stdtrit(variance.freedom, share) for share in ((1 + confidence) / 2, POWER)]
    effect = sum(tails) * variance.error
    return np.where(effect > ROUNDING * np.maximum(np.abs(estimate.value), 1e-6), effect, np.nan)


def _inflation(clusters: np.ndarray) -> np.ndarray:
    """n / (n − 1)."""
    return np.divide(
        clusters, clusters - 1, out=np.ones(len(clusters), np.float64), where=clusters > 1
    )


def _unseen(clusters: np.ndarray, confidence: float) -> np.ndarray:
    """The largest share of clusters that may differ where none was seen to."""
    return 1 - ((1 - confidence) / 2) ** (1 / np.maximum(clusters, 1))


def _silent(
    estimate: Estimate, error: np.ndarray, lower: float | np.ndarray, upper: float | np.ndarray
) -> np.ndarray:
    """Whether no cluster differs, but for rounding."""
    room = np.nan_to_num(np.subtract(upper, lower), posinf=0)
    scale = np.maximum(np.abs(np.nan_to_num(estimate.value)), room)
    return error <= ROUNDING * scale


def _wilson(
    share: np.ndarray, error: np.ndarray, quantile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        size = share * (1 - share) / np.square(error)
        shrink = np.square(quantile) / size
        centre = (share + shrink / 2) / (1 + shrink)
        half = np.sqrt(share * (1 - share) * shrink + np.square(shrink) / 4) / (1 + shrink)
    return centre - half, centre + half


def _hull(
    estimate: Estimate, variance: Spread, confidence: float, quantile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The wider end, on each side, of Student's interval and of Hall's."""
    error, clusters = variance.error, np.maximum(estimate.clusters, 1)
    root = np.sqrt(clusters)
    moved = estimate.influence.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The skewness of the whole distribution: what repetitions add is assumed to be symmetric.
        skewness = root * np.power(moved, 3).sum(0) / np.square(moved).sum(0) ** 1.5
        skewness *= (variance.clusters / np.square(error)) ** 1.5
    skewness = np.nan_to_num(skewness)
    tails = np.array([(1 + confidence) / 2, (1 - confidence) / 2])
    far = special.stdtrit(variance.freedom[:, None], tails)
    ends = estimate.value - error * root * _unskewed(far.T / root, skewness, clusters)
    half = quantile * error
    return np.minimum(ends[0], estimate.value - half), np.maximum(ends[1], estimate.value + half)


def _unskewed(quantiles: np.ndarray, skewness: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Quantiles of the studentised mean over √n, from those [2, C] of its monotone transform
    w + γw²/3 + γ²w³/27 + γ/(6n) (Hall 1992), which has no skewness to the first order."""
    flat = np.abs(skewness) < 1e-6
    bent = np.where(flat, 1.0, skewness)
    inner = 1 + bent * (quantiles - bent / (6 * clusters))
    return np.where(flat, quantiles, 3 / bent * (np.cbrt(inner) - 1))
