"""Tests of differences that are measured on the same samples.

Shapes: n samples, Q clusters (distinct questions or texts), C cells. A cell is one layer at one
number of passages, or one setting and part of a claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

# Sums run in float32: this much of rounding still counts as a tie, which is the careful side.
TIE = 1e-5
# A cell whose differences are this small beside the largest ones differs by rounding.
ROUNDING = 1e-7
# Numbers in memory at once while flips are multiplied with differences: 64 MB in float32.
BLOCK = 16_000_000


@dataclass(frozen=True)
class Significance:
    """What a test says of each cell.

    Attributes:
        p_value: [C], two-sided, for the cell alone.
        p_adjusted: [C], corrected for the family of cells that the test names.
    """

    p_value: np.ndarray
    p_adjusted: np.ndarray


Moments = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Means, standard deviations and numbers of samples, all [C]."""


def moments(correct: np.ndarray) -> Moments:
    """The moments of correctness [n, C] per sample."""
    samples = len(correct)
    deviation = correct.std(0, ddof=1) if samples > 1 else np.zeros(correct.shape[1])
    return correct.mean(0), deviation, np.full(correct.shape[1], samples)


def moments_of_counts(correct: np.ndarray, samples: np.ndarray) -> Moments:
    """The moments of `samples` answers, `correct` of which are right, both [C]."""
    share = correct / samples
    return share, np.sqrt(share * (1 - share) * samples / (samples - 1)), samples


def published_test(a: Moments, b: Moments) -> Significance:
    """The test of arXiv 2505.07166: unpaired two-sided t-test, Bonferroni over the layers.

    It takes the two sides for independent samples, though they are the same ones, and a query's
    samples for independent as well. Kept for comparison with the published stars.

    Args:
        a, b: moments of the samples at every layer of one panel (one N), under one seed.

    Returns:
        [C]; where neither side varies and the means agree, p = 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.ttest_ind_from_stats(*a, *b).pvalue
    p = np.where(np.isnan(p), 1.0, p)
    return Significance(p, np.minimum(1.0, p * p.size))


def sign_flip_max_t(
    differences: np.ndarray,
    *,
    permutations: int,
    rng: np.random.Generator,
    reliability: np.ndarray | float = 1.0,
    freedom: np.ndarray | float = np.inf,
    floor: float = 0.0,
) -> Significance:
    """Paired sign-flip test over clusters with single-step max-T over the cells.

    Under the null hypothesis a cluster's difference is as likely to have the other sign, in all
    cells at once: flipping whole clusters keeps the dependence between the cells, and the largest
    |t| of them controls the family-wise error (Westfall & Young 1993). The sum of squares does not
    change with signs, so Σ s·d / √Σ d² orders the flips as t does, in every cell alike, and one
    product gives all statistics. Where there are no more flips than `permutations`, each is taken
    once and the p-values are exact.

    Args:
        differences: [Q, C] summed difference of a cluster's samples.
        reliability: [C] share of the estimate's standard error that clusters explain, 1 where
            nothing else varies it. The rest (repetitions of the probes) makes t smaller.
        freedom: [C] degrees of freedom with which that rest is known: few of them give t heavier
            tails.
        floor: the root of a cell's sum of squares below which its differences are rounding, where
            their unit is known. Else rounding is what is small beside the other cells.

    Returns:
        [C] p-values; 1 in a cell without any difference.
    """
    norms = np.sqrt(np.square(differences).sum(0))
    there = norms > max(floor, ROUNDING * norms.max(initial=0))
    columns = np.divide(differences, norms, out=np.zeros(differences.shape), where=there)
    columns = columns.astype(np.float32)
    total = columns.sum(0)
    observed = _discounted(np.abs(total), reliability, freedom)
    threshold = observed - TIE * np.maximum(1, observed)
    alone, family, count = np.zeros(total.size), np.zeros(total.size), 0
    for kept in _flips(len(columns), permutations, rng):
        flipped = np.abs(2 * (kept @ columns) - total)
        alone += (flipped >= threshold).sum(0)
        family += (flipped.max(1, keepdims=True) >= threshold).sum(0)
        count += len(kept)
    return Significance(alone / count, family / count)


def _discounted(
    t: np.ndarray, reliability: np.ndarray | float, freedom: np.ndarray | float
) -> np.ndarray:
    """The |t| [C] of clusters alone that is as unlikely as this one, once repetitions count."""
    return np.minimum(t, stats.norm.isf(stats.t.sf(t * reliability, freedom)))


def mcnemar(a: np.ndarray, b: np.ndarray) -> float | None:
    """Exact two-sided McNemar test of one cell: are the discordant samples evenly split?

    It needs independent samples: one a query, one seed.

    Args:
        a, b: [n] correctness of the same samples.

    Returns:
        The p-value (1 where no sample is discordant), or None where the test does not apply:
        a credit is not 0 or 1, so a tie was shared.
    """
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        return None
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def _flips(clusters: int, permutations: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Which clusters keep their sign [flips, Q], float32: the data as they are, then other flips.

    Two flips that differ in every sign are one, as tests are two-sided.
    """
    if clusters - 1 <= np.log2(1 + permutations):
        numbers = np.arange(2 ** (clusters - 1), dtype=np.int64)[:, None]
        yield (1 - (numbers >> np.arange(clusters) & 1)).astype(np.float32)
        return
    yield np.ones((1, clusters), np.float32)
    for rows in _blocks(permutations, clusters):
        packed = rng.integers(0, 256, (rows.stop - rows.start, -(-clusters // 8)), dtype=np.uint8)
        yield np.unpackbits(packed, axis=1, count=clusters).astype(np.float32)


def _blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices of `rows` rows of `width` numbers that fit into BLOCK."""
    step = max(1, BLOCK // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))
