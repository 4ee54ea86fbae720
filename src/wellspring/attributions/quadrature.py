"""Rules for the integral over the scale α of a sub-layer's weights, from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAPER_POINTS = 20
PAPER_FIRST = 1e-6


@dataclass(frozen=True)
class Quadrature:
    """∫₀¹ g(α) dα ≈ Σ_s weights[s] · g(points[s])."""

    points: tuple[float, ...]
    """Scales in [0, 1], rising."""
    weights: tuple[float, ...]
    """A weight a point; they sum to 1."""

    def __len__(self) -> int:
        return len(self.points)


def gauss_legendre(points: int = 8) -> Quadrature:
    """Exact for polynomials of degree 2 · points − 1; both ends are left out.

    Raises ValueError when there is no point.
    """
    places, weights = np.polynomial.legendre.leggauss(points)
    return Quadrature(tuple(((places + 1) / 2).tolist()), tuple((weights / 2).tolist()))


def paper() -> Quadrature:
    """The published rule (arXiv 2505.07166): 20 even points from 1e-6 to 1, each with weight 1/20.

    Both ends count in full, as no rule of even steps has it: its error falls with 1/points only.
    """
    points = np.linspace(PAPER_FIRST, 1.0, PAPER_POINTS)
    return Quadrature(tuple(points.tolist()), (1 / PAPER_POINTS,) * PAPER_POINTS)
