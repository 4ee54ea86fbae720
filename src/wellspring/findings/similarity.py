"""How alike two representations of the same texts are, and how one fills its space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellspring.randomness import shuffled

# A coordinate that varies by less than this share of the largest value is rounding.
ROUNDING = 1e-5
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Anisotropy:
    """Mean cosine between two different texts, with its 95 % interval; NaN where not defined."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Similarity:
    """How two retrievers' vectors of the same texts compare, on one side and layer."""

    texts: int
    cka: float
    """Debiased linear CKA of the two."""
    own: Anisotropy
    other: Anisotropy


def chosen(ids: Sequence[str], count: int, seed: int) -> list[str]:
    """At most `count` of the ids, by hash: the same ones for every layer and retriever."""
    return shuffled(seed, list(ids), "similarity")[:count]


def compare(x: np.ndarray, y: np.ndarray) -> Similarity:
    """x [n, H1] of the retriever, y [n, H2] of its counterpart; row i of both is text i."""
    cka = linear_cka(x, y, debiased=True)
    return Similarity(len(x), cka, anisotropy(x), anisotropy(y))


def linear_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool = False) -> float:
    """Linear centred kernel alignment of two representations of the same n texts.

    ‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖) on centred columns (Kornblith et al. 2019, section 3). It
    does not change under rotation or isotropic scaling of either side. Plain CKA of unrelated
    vectors is about H / (n + H), not 0: `debiased` takes the unbiased estimate of each product
    (Song et al. 2012), which may fall below 0 and needs four texts.

    Args:
        x: [n, H1], y: [n, H2]; row i of both is text i.

    Returns:
        At most 1; NaN where a side is constant (layer 0 under CLS pooling) and CKA not defined.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} texts: CKA compares the same texts")
    if is_constant(x) or is_constant(y) or (debiased and len(x) < 4):
        return float("nan")
    x, y = _centred(x), _centred(y)
    across, within_x, within_y = _products(x, y)
    if debiased:
        norms_x, norms_y = np.square(x).sum(1), np.square(y).sum(1)
        across = _unbiased(across, norms_x, norms_y)
        within_x = _unbiased(within_x, norms_x, norms_x)
        within_y = _unbiased(within_y, norms_y, norms_y)
        if within_x <= 0 or within_y <= 0:
            return float("nan")
    return float(across / np.sqrt(within_x * within_y))


def anisotropy(x: np.ndarray) -> Anisotropy:
    """Mean cosine over all pairs of different texts (Ethayarajh 2019 samples pairs).

    With unit vectors u, (‖Σ u‖² − n) / (n (n − 1)). The interval is that of a U-statistic of two
    arguments (Hoeffding 1948): twice the standard error of each text's mean cosine to the others.

    Args:
        x: [n, H], n ≥ 2; a zero vector has cosine 0 to every other.
    """
    x = np.asarray(x, dtype=np.float64)
    n = len(x)
    if n < 2:
        return Anisotropy(float("nan"), float("nan"), float("nan"))
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    units = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    to_others = (units @ units.sum(0) - np.square(units).sum(1)) / (n - 1)
    estimate = float(to_others.mean())
    half = NORMAL_95 * 2 * float(to_others.std(ddof=1)) / np.sqrt(n)
    return Anisotropy(estimate, max(-1.0, estimate - half), min(1.0, estimate + half))


def is_constant(x: np.ndarray) -> bool:
    """Whether every text has the same vector [n, H], but for rounding."""
    return bool((np.ptp(x, axis=0) <= ROUNDING * max(1e-30, float(np.abs(x).max()))).all())


def _centred(x: np.ndarray) -> np.ndarray:
    """Columns less their mean, scaled to a mean square of 1 so that float32 products stay sound."""
    x = np.asarray(x, dtype=np.float64)
    x = x - x.mean(0)
    return (x / np.sqrt(np.square(x).mean())).astype(np.float32)


def _products(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """‖Yᵀ X‖², ‖Xᵀ X‖², ‖Yᵀ Y‖², through texts or coordinates, whichever is the smaller."""
    if len(x) < min(x.shape[1], y.shape[1]):
        x, y = x @ x.T, y @ y.T
        pairs = ((x, y), (x, x), (y, y))
        across, within_x, within_y = (np.vdot(a, b) for a, b in pairs)
    else:
        across, within_x, within_y = (
            np.square(a.T @ b, dtype=np.float64).sum() for a, b in ((y, x), (x, x), (y, y))
        )
    return float(across), float(within_x), float(within_y)


def _unbiased(product: float, norms_x: np.ndarray, norms_y: np.ndarray) -> float:
    """The product without the pairs of a text with itself, for centred x and y (up to a factor).

    Args:
        product: ‖Yᵀ X‖²; norms_x, norms_y: [n] squared norms of the texts' vectors.
    """
    n = len(norms_x)
    own = n / (n - 2) * np.vdot(norms_x, norms_y)
    return float(product - own + norms_x.sum() * norms_y.sum() / ((n - 1) * (n - 2)))
