"""Standardised vectors, and which of their dimensions are constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

_BLOCK = 8192  # rows at a time, so that no table is copied whole
_FLAT = 1e-5  # share of the table's root mean square below which a deviation is rounding


@dataclass(frozen=True)
class Moments:
    """Mean and deviation of each dimension over the training split's use of a table."""

    mean: torch.Tensor
    """float32 [H]."""
    deviation: torch.Tensor
    """float32 [H], 1 where the dimension is constant."""
    constant: torch.Tensor
    """bool [H], dimensions whose deviation is rounding: one value for every text."""

    def standardise(self, vectors: torch.Tensor) -> torch.Tensor:
        """float32 [U, H]: mean 0 and variance 1 on the training split; constant dimensions 0."""
        scale = torch.where(self.constant, 0.0, 1 / self.deviation)
        return (vectors - self.mean).mul_(scale)


def moments(vectors: torch.Tensor, rows: np.ndarray) -> Moments:
    """Moments of vectors [U, H] over the training samples' rows; texts count as often as used."""
    uses = torch.from_numpy(np.bincount(rows.ravel(), minlength=len(vectors))).to(vectors.device)
    shares = (uses.double() / uses.sum()).float().split(_BLOCK)
    # Sums run around one of the vectors: what is constant is exactly 0, and float32 is enough.
    anchor = vectors[rows.flat[0]]
    blocks = list(zip(shares, vectors.split(_BLOCK), strict=True))
    zero = torch.zeros_like(anchor)
    mean = sum((share @ (block - anchor) for share, block in blocks), zero)
    centre = anchor + mean
    squares = (share @ (block - anchor).sub_(mean).square_() for share, block in blocks)
    variance = sum(squares, zero)
    constant = variance.sqrt() <= _FLAT * (centre.square() + variance).mean().sqrt()
    return Moments(centre, torch.where(constant, 1.0, variance.sqrt()), constant)
