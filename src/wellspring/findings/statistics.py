"""Tests, intervals and effect sizes for accuracies that are compared on the same samples.

Shapes: n samples, Q queries (a query has one sample or several), S seeds of the probe, C cells.
A cell is one layer at one number of passages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
# Sums run in float32: this much of rounding still counts as a tie, which is the careful side.
TIE = 1e-5
# Numbers held at once while weights of resamples meet values: 64 MB in float32.
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


@dataclass(frozen=True)
class Interval:
    """An estimate of each cell with its 95 % percentile interval.

    Attributes:
        estimate, low, high: [C]; NaN where the quantity is not defined.
    """

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Resamples:
    """How often each query and each seed was drawn, with replacement, in each of B resamples.

    One object serves every quantity of a dataset, so both sides of a difference share it.

    Attributes:
        queries: [B, Q] uint8, rows sum to Q.
        seeds: [B, S] uint8, rows sum to S.
    """

    queries: np.ndarray
    seeds: np.ndarray


def published_test(a: np.ndarray, b: np.ndarray) -> Significance:
    """The test of arXiv 2505.07166: unpaired two-sided t-test, Bonferroni over the layers.

    It takes the two sides for independent samples, though they are the same ones, and a query's
    samples for independent as well. Kept for comparison with the published stars.

    Args:
        a, b: [n, L] correctness per sample at every layer of one panel (one N).

    Returns:
        [L]; where neither side varies and the means agree, p = 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.ttest_ind_from_stats(
            a.mean(0), a.std(0, ddof=1), len(a), b.mean(0), b.std(0, ddof=1), len(b)
        ).pvalue
    p = np.where(np.isnan(p), 1.0, p)
    return Significance(p, np.minimum(1.0, p * p.size))


def sign_flip_max_t(
    differences: np.ndarray,
    *,
    permutations: int,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> Significance:
    """Paired sign-flip test over queries with single-step max-T over the cells.

    Under the null hypothesis a query's difference is as likely to have the other sign, in all
    cells at once: flipping whole queries keeps the dependence between layers and between passage
    counts, and the largest |t| of the cells controls the family-wise error (Westfall & Young
    1993). The sum of squares does not change with signs, so Σ s·d / √Σ d² orders the flips as t
    does, in every cell alike, and one product gives all statistics.

    Args:
        differences: [Q, C] mean difference of a query's samples, averaged over seeds.
        weights: [Q] samples per query, so that the statistic is the difference of accuracies
            over samples; equal weights where absent.

    Returns:
        [C] p-values (1 + hits) / (1 + permutations); 1 in a cell without any difference.
    """
    units = differences if weights is None else differences * weights[:, None]
    norms = np.sqrt(np.square(units).sum(0))
    columns = np.divide(units, norms, out=np.zeros(units.shape), where=norms > TIE)
    columns = columns.astype(np.float32)
    total = columns.sum(0)
    threshold = np.abs(total) - TIE * np.maximum(1, np.abs(total))
    queries = len(columns)
    alone, family = np.ones(total.size), np.ones(total.size)
    for rows in _blocks(permutations, queries):
        packed = rng.integers(0, 256, (rows.stop - rows.start, -(-queries // 8)), dtype=np.uint8)
        kept = np.unpackbits(packed, axis=1, count=queries).astype(np.float32)
        flipped = np.abs(2 * (kept @ columns) - total)
        alone += (flipped >= threshold).sum(0)
        family += (flipped.max(1, keepdims=True) >= threshold).sum(0)
    return Significance(alone / (1 + permutations), family / (1 + permutations))


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


def draw_resamples(queries: int, seeds: int, count: int, rng: np.random.Generator) -> Resamples:
    """Draws `count` resamples of the queries and, crossed with them, of the seeds.

    The queries are drawn first: they are the same for every number of seeds.
    """
    return Resamples(_multiplicities(queries, count, rng), _multiplicities(seeds, count, rng))


def bootstrap(numerators: np.ndarray, denominators: np.ndarray, resamples: Resamples) -> Interval:
    """Percentile interval of a ratio of sums over queries, resampling queries and seeds.

    Queries and seeds are crossed factors, and the crossed bootstrap is somewhat too wide rather
    than too narrow (Owen 2007, "The pigeonhole bootstrap"). Few seeds tell little of their own
    spread: with S seeds, its share of the variance comes out at (S − 1) / S.

    Args:
        numerators: [Q, S, C] sum over a query's samples, for instance of correctness.
        denominators: [Q, C] or [Q, 1], for instance the query's number of samples.

    Returns:
        [C] the ratio of total to total, the numerator averaged over seeds.
    """
    _, seeds, cells = numerators.shape
    flat = numerators.reshape(len(numerators), seeds * cells)
    top = _sums(flat, resamples).reshape(-1, seeds, cells)
    top = np.einsum("bs,bsc->bc", resamples.seeds / seeds, top)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = numerators.mean(1).sum(0) / denominators.sum(0)
        return _percentiles(estimate, top / _sums(denominators, resamples))


def cohen_d_z(differences: np.ndarray, resamples: Resamples) -> Interval:
    """Cohen's d_z: mean over standard deviation of the queries' differences (Lakens 2013).

    The interval resamples queries alone. The standard deviation belongs to an average over these
    S seeds; a resample repeats some of them, which would inflate it and shrink every draw.

    Args:
        differences: [Q, C] mean difference of a query's samples, averaged over seeds.

    Returns:
        [C]; 0 where no query differs, NaN where all differ alike.
    """
    totals = differences.sum(0), np.square(differences).sum(0)
    draws = _sums(differences, resamples), _sums(np.square(differences), resamples)
    queries = len(differences)
    return _percentiles(_d_z(*totals, queries), _d_z(*draws, queries))


def _d_z(total: np.ndarray, square: np.ndarray, queries: int) -> np.ndarray:
    """d_z from the sum and the sum of squares of `queries` differences."""
    mean = total / queries
    variance = (square - queries * mean**2) / max(1, queries - 1)
    constant = variance <= TIE * square / queries
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mean / np.sqrt(variance)
    return np.where(constant, np.where(square > 0, np.nan, 0.0), ratio)


def _percentiles(estimate: np.ndarray, draws: np.ndarray) -> Interval:
    """The percentile interval [C] of draws [B, C]; NaN where a draw is not defined."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail), axis=0)
    return Interval(estimate, low, high)


def _multiplicities(items: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, items] uint8: how often each item comes in `items` draws with replacement."""
    drawn = np.empty((count, items), dtype=np.uint8)
    for rows in _blocks(count, items):
        size = rows.stop - rows.start
        places = rng.integers(0, items, (size, items)) + np.arange(size)[:, None] * items
        drawn[rows] = np.bincount(places.ravel(), minlength=size * items).reshape(size, items)
    return drawn


def _sums(values: np.ndarray, resamples: Resamples) -> np.ndarray:
    """[B, K] float64: the sum over queries of values [Q, K], each as often as it was drawn."""
    values = values.astype(np.float32)
    count, queries = resamples.queries.shape
    sums = np.empty((count, values.shape[1]))
    for rows in _blocks(count, queries):
        sums[rows] = resamples.queries[rows].astype(np.float32) @ values
    return sums


def _blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices of `rows` rows of `width` numbers that fit into BLOCK."""
    step = max(1, BLOCK // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))
