"""What the vectors of a layer look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellspring import intervals
from wellspring.findings import similarity
from wellspring.intervals import Interval


@dataclass(frozen=True)
class Spread:
    """Lengths of the vectors of one layer, and how they fill their space."""

    mean: float
    low: float
    high: float
    """Mean, smallest and largest Euclidean norm of the finite vectors; NaN where there are none."""
    broken: float
    """Share of the vectors that hold a NaN or an infinity."""
    anisotropy: Interval
    """Mean cosine over pairs of the sampled texts, as `findings.similarity` has it."""


def norms(block: np.ndarray) -> np.ndarray:
    """float32 [n], the Euclidean norms of vectors [n, H] of any float type; not finite where a
    vector is not."""
    values = block.astype(np.float32)
    return np.sqrt(np.einsum("ij,ij->i", values, values))


def spread(lengths: np.ndarray, sample: np.ndarray) -> Spread:
    """lengths: [N], norms of all vectors that were read; sample: [n, H], some of the vectors."""
    finite = lengths[np.isfinite(lengths)]
    ends = (finite.mean(dtype=np.float64), finite.min(), finite.max()) if len(finite) else ()
    mean, low, high = map(float, ends or [np.nan] * 3)
    sound = sample[np.isfinite(sample).all(1)]
    return Spread(
        *(mean, low, high),
        1 - len(finite) / len(lengths) if len(lengths) else np.nan,
        intervals.interval(similarity.anisotropy(sound), -1, 1),
    )


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float64 [n], the cosine of row i of x with row i of y, both [n, H]; 0 for a zero vector."""
    return np.einsum("ij,ij->i", _units(x), _units(y))


def neighbours(x: np.ndarray, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other vector of each of some rows.

    Args:
        x: [n, H] with n ≥ 2.

    Returns:
        int64 [len(rows)], which row of x it is, the first of equals; float64, their cosine.
    """
    units = _units(x)
    alike = units[list(rows)] @ units.T
    alike[np.arange(len(rows)), list(rows)] = -np.inf
    nearest = alike.argmax(1)
    return nearest, alike[np.arange(len(rows)), nearest]


def _units(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
