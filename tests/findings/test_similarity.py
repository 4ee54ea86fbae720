"""Similarity of representations, against kernels and loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from wellspring.findings import similarity
from wellspring.findings.similarity import is_constant
from wellspring.intervals import Interval, interval
from wellspring.randomness import generator

# Texts (1, z) with z normal around 1: the expected cosine of two is the squared length of the
# expected unit vector, here by quadrature.
_z = np.linspace(-7, 9, 20_001)
_p = np.exp(-((_z - 1) ** 2) / 2)
_p /= _p.sum()
_length = np.sqrt(1 + _z**2)
TRUTH = float((_p @ (1 / _length)) ** 2 + (_p @ (_z / _length)) ** 2)


def linear_cka(x: np.ndarray, y: np.ndarray, **options: bool) -> float:
    return similarity.linear_cka(x, y, **options).value.item()


def anisotropy(x: np.ndarray) -> Interval:
    return interval(similarity.anisotropy(x), -1, 1)


def hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Biased HSIC of two kernel matrices, up to a factor (Gretton et al. 2005)."""
    n = len(k)
    centre = np.eye(n) - 1 / n
    return float(np.trace(k @ centre @ m @ centre))


def unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """HSIC_1 of Song et al. 2012, equation 5, up to a factor."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    means = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return float(np.trace(k @ m) + means - 2 / (n - 2) * (k @ m).sum())


def slow_cka(x: np.ndarray, y: np.ndarray, measure=hsic) -> float:
    k, m = x @ x.T, y @ y.T
    return measure(k, m) / np.sqrt(measure(k, k) * measure(m, m))


@pytest.fixture(params=[(40, 6, 9), (12, 30, 20)], ids=["tall", "wide"])
def sides(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    n, first, second = request.param
    rng = generator(1, "cka", n)
    x = rng.normal(2, 1, (n, first))
    return x, x @ rng.normal(size=(first, second)) + 3 * rng.normal(size=(n, second))


def test_cka_equals_its_kernel_form(sides: tuple[np.ndarray, np.ndarray]) -> None:
    assert linear_cka(*sides) == pytest.approx(slow_cka(*sides), rel=1e-5)


def test_debiased_cka_equals_its_kernel_form(sides: tuple[np.ndarray, np.ndarray]) -> None:
    expected = slow_cka(*sides, measure=unbiased_hsic)
    assert linear_cka(*sides, debiased=True) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_ignores_rotation_scale_and_shift(
    sides: tuple[np.ndarray, np.ndarray], debiased: bool
) -> None:
    x, y = sides
    turned = 7.5 * x @ ortho_group.rvs(x.shape[1], random_state=3) + 100
    expected = linear_cka(x, y, debiased=debiased)
    assert linear_cka(turned, y, debiased=debiased) == pytest.approx(expected, abs=1e-5)
    assert linear_cka(x, turned, debiased=debiased) == pytest.approx(1, abs=1e-5)


def test_cka_of_unrelated_vectors_is_zero_once_debiased() -> None:
    rng = generator(2, "unrelated")
    x, y = rng.normal(size=(300, 100)), rng.normal(size=(300, 100))
    assert linear_cka(x, y) == pytest.approx(100 / 400, abs=0.03)
    assert linear_cka(x, y, debiased=True) == pytest.approx(0, abs=0.03)


def test_cka_takes_half_precision() -> None:
    rng = generator(3, "half")
    x = 50 * rng.normal(size=(200, 30))
    y = x[:, :10] + 20 * rng.normal(size=(200, 10))
    half = linear_cka(x.astype(np.float16), y.astype(np.float16))
    assert half == pytest.approx(linear_cka(x, y), abs=1e-3)


def test_cka_of_a_constant_side_is_not_defined() -> None:
    x = generator(4, "constant").normal(size=(10, 4)).astype(np.float32)
    constant = np.tile(x[:1], (10, 1))
    assert is_constant(constant) and is_constant(constant * (1 + 1e-8)) and not is_constant(x)
    assert np.isnan(linear_cka(constant, x)) and np.isnan(linear_cka(x, constant))
    assert np.isnan(linear_cka(np.zeros((10, 4)), x))


def test_cka_wants_the_same_texts() -> None:
    with pytest.raises(ValueError, match="10 and 9 texts"):
        linear_cka(np.eye(10), np.eye(9))


def test_anisotropy_is_the_mean_over_pairs() -> None:
    x = generator(5, "cosine").normal(0.4, 1, (25, 8))
    units = [row / np.linalg.norm(row) for row in x]
    pairs = [units[i] @ units[j] for i in range(25) for j in range(25) if i != j]
    assert anisotropy(x).estimate == pytest.approx(np.mean(pairs))


def test_anisotropy_of_known_shapes() -> None:
    assert anisotropy(np.eye(5)).estimate == pytest.approx(0)
    assert anisotropy(np.array([[1.0, 0], [-2, 0]])).estimate == pytest.approx(-1)
    same = anisotropy(np.tile([[3.0, 4.0]], (6, 1)))
    assert same.estimate == pytest.approx(1) and same.high == 1 and 0 < same.low < 1
    assert anisotropy(np.array([[0.0, 0], [1, 0], [1, 0]])).estimate == pytest.approx(1 / 3)
    assert np.isnan(anisotropy(np.ones((1, 4))).estimate)


def test_anisotropy_s_interval_covers_the_truth() -> None:
    inside = 0
    for trial in range(200):
        z = generator(6, "cover", trial).normal(1, 1, 120)
        x = np.stack([np.ones(120), z], 1)
        found = anisotropy(x)
        inside += bool(found.low <= TRUTH <= found.high)
    assert 178 <= inside <= 199


@pytest.mark.parametrize("debiased", [False, True])
def test_a_text_s_influence_on_cka_is_what_leaving_it_out_says(debiased: bool) -> None:
    rng = generator(7, "influence")
    x = rng.normal(size=(400, 5))
    y = x @ rng.normal(size=(5, 7)) + rng.normal(size=(400, 7))
    found = similarity.linear_cka(x, y, debiased=debiased)
    for row in (0, 13, 399):
        kept = np.arange(400) != row
        without = linear_cka(x[kept], y[kept], debiased=debiased)
        assert found.influence[row, 0, 0] == pytest.approx(found.value[0] - without, abs=3e-5)


def test_cka_s_interval_covers_the_truth() -> None:
    """The truth is that of 200,000 texts."""

    def sides(texts: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
        rng = generator(8, "cka", turn)
        x = rng.normal(size=(texts, 6)) * [3, 2, 1, 1, 1, 1]
        noise = rng.standard_t(6, size=(texts, 4))
        return x, x @ np.linspace(-1, 1, 24).reshape(6, 4) + 2 * noise

    truth = linear_cka(*sides(200_000, -1))
    inside = 0
    for turn in range(200):
        found = interval(similarity.linear_cka(*sides(100, turn), debiased=True), -1, 1)
        inside += bool(found.low[0] <= truth <= found.high[0])
    assert 180 <= inside <= 200
