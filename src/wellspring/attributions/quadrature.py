"""Rules for the integral over the scale α of a sub-layer's weights, from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

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

    def extended(self) -> Quadrature:
        """The rule with one point more than twice as many that keeps these points and is exact to
        the highest degree: from one point 3, 7, 15, … (Kronrod; Patterson 1968).

        Raises ValueError where no such rule has real points in [0, 1] and positive weights.
        """
        known = 2 * np.asarray(self.points) - 1
        size = len(known) + 1
        places, weights = legendre.leggauss(2 * size)
        # The new points are the roots of E with ∫ E(x) · Π (x − known) · P_k(x) dx = 0, k < size.
        values = weights * np.prod(2 * (places[:, None] - known), axis=1)
        basis = legendre.legvander(places, size)
        moments = basis[:, :size].T @ (values[:, None] * basis)
        roots = legendre.legroots([*np.linalg.solve(moments[:, :size], -moments[:, size]), 1.0])
        # Since numpy 2.5 real roots come as complex numbers, too.
        if np.imag(roots).any() or np.abs(roots).max() > 1:
            raise ValueError(f"a rule of {len(self)} points that cannot be extended")
        points = (*self.points, *((np.real(roots) + 1) / 2).tolist())
        points = np.array(sorted(points))
        basis = legendre.legvander(2 * points - 1, len(points) - 1)
        weights = np.linalg.solve(basis.T, np.eye(len(points))[0])
        if weights.min() <= 0:
            raise ValueError(f"a rule of {len(self)} points that cannot be extended")
        return Quadrature(tuple(points.tolist()), tuple(weights.tolist()))


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
