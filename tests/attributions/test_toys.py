"""Quadrature, targets and toy models with known answers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from wellspring.attributions import targets
from wellspring.attributions.fused import Method, scores
from wellspring.attributions.quadrature import gauss_legendre, paper
from wellspring.models.architecture import Architecture, Sublayer
from wellspring.models.load import Backbone
from wellspring.pooling import pool


@given(st.data())
def test_gauss_legendre_is_exact_to_its_degree(data):
    points = data.draw(st.integers(1, 20))
    size = st.integers(1, 2 * points)
    coefficients = data.draw(
        size.flatmap(lambda n: st.lists(st.floats(-9, 9), min_size=n, max_size=n))
    )
    rule = gauss_legendre(points)
    found = np.dot(rule.weights, np.polynomial.polynomial.polyval(rule.points, coefficients))
    exact = sum(c / (power + 1) for power, c in enumerate(coefficients))
    assert found == pytest.approx(exact, abs=1e-11 * (1 + sum(map(abs, coefficients))))
    assert sum(rule.weights) == pytest.approx(1)
    assert all(0 < point < 1 for point in rule.points)


def test_gauss_legendre_is_not_exact_beyond():
    rule = gauss_legendre(3)
    assert np.dot(rule.weights, np.power(rule.points, 6)) != pytest.approx(1 / 7, abs=1e-6)
    assert len(gauss_legendre()) == 8


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8])
def test_an_extended_rule_keeps_its_points_and_is_exact_to_its_degree(first):
    rule = gauss_legendre(first)
    for _ in range(2):
        longer = rule.extended()
        assert len(longer) == 2 * len(rule) + 1
        assert set(rule.points) < set(longer.points)
        assert list(longer.points) == sorted(longer.points)
        assert min(longer.weights) > 0
        assert longer.points[0] > 0 and longer.points[-1] < 1
        degree = 3 * len(rule) + 1
        for power in range(degree + 1):
            found = np.dot(longer.weights, np.power(longer.points, power))
            assert found == pytest.approx(1 / (power + 1), abs=1e-12)
        rule = longer


def test_extended_rules_are_those_in_print():
    # Kronrod's 7 and 15 points of the Gauss rule with 3 and 7, on [−1, 1].
    seven = gauss_legendre(3).extended()
    assert 2 * seven.points[-1] - 1 == pytest.approx(0.960491268708020, abs=1e-13)
    assert 2 * seven.weights[3] == pytest.approx(0.450916538658474, abs=1e-13)
    fifteen = gauss_legendre(7).extended()
    assert 2 * fifteen.points[-1] - 1 == pytest.approx(0.991455371120813, abs=1e-13)
    assert 2 * fifteen.weights[7] == pytest.approx(0.209482141084728, abs=1e-13)
    with pytest.raises(ValueError, match="20 points that cannot be extended"):
        paper().extended()


def test_the_published_rule():
    rule = paper()
    assert len(rule) == 20
    assert rule.points[0] == 1e-6 and rule.points[-1] == 1
    assert set(rule.weights) == {0.05}
    assert np.dot(rule.weights, rule.points) == pytest.approx(0.5, abs=1e-6)
    # Both ends count in full: α² comes out as 0.342, not as 1/3.
    assert np.dot(rule.weights, np.square(rule.points)) == pytest.approx(0.3421, abs=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "mean", "eos", "last-position"])
def test_pooled_is_the_pooling_function(pooling):
    states = torch.randn(2, 3, 5, 4)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0]])
    found = targets.pooled(states, targets.norm().shares(mask, pooling))
    for point in range(2):
        torch.testing.assert_close(found[point], pool(states[point], mask, pooling))
    padded = targets.pooled(states, targets.padded_mean_norm().shares(mask, pooling))
    torch.testing.assert_close(padded, states.mean(dim=2))
    assert targets.pooled(states.bfloat16(), torch.ones(3, 5) / 5).dtype == torch.float32


def test_the_one_position_that_is_read():
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    for pooling, expected in (
        ("cls", [0, 0]),
        ("eos", [2, 1]),
        ("last-position", [2, 2]),
        ("mean", None),
    ):
        found = targets.one_position(targets.norm().shares(mask, pooling))
        assert (None if found is None else found.tolist()) == expected
    assert targets.one_position(targets.padded_mean_norm().shares(mask, "cls")) is None
    assert targets.one_position(targets.pooler_norm().shares(mask, "mean")).tolist() == [0, 0]


@given(st.floats(0.1, 50))
def test_a_cosine_does_not_see_lengths(scale):
    vectors, partners = torch.randn(2, 3, 4).double()
    found = targets.cosine(partners).values(scale * vectors)
    torch.testing.assert_close(found, torch.cosine_similarity(vectors, partners))
    assert (targets.cosine(partners).magnitude(scale * vectors) - 1).abs().max() < 1e-6
    bound = targets.dot(partners).magnitude(vectors)
    assert (targets.dot(partners).values(vectors).abs() <= bound * (1 + 1e-9)).all()


class Block(nn.Module):
    """z = W x + b, then `above`."""

    def __init__(self, linear, above):
        super().__init__()
        self.linear, self.above = linear, above

    def forward(self, states):
        return self.above(self.linear(states))


class Toy(nn.Module):
    """Token embeddings, then blocks."""

    def __init__(self, table, *stack):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table)
        self.stack = nn.ModuleList(stack)

    def forward(self, input_ids, attention_mask, output_hidden_states):
        states = [self.table(input_ids)]
        for block in self.stack:
            states.append(block(states[-1]))
        return SimpleNamespace(hidden_states=states)


def toy(weight, bias=None, above=None):
    """One block over the embeddings [[1, 2], [3, −1]] of the tokens 0 and 1."""
    linear = nn.Linear(2, len(weight), bias=bias is not None)
    linear.weight.data = torch.tensor(weight).double()
    if bias is not None:
        linear.bias.data = torch.tensor(bias).double()
    table = torch.tensor([[1.0, 2.0], [3.0, -1.0]]).double()
    model = Toy(table, Block(linear, above or nn.Identity())).requires_grad_(False)
    known = Architecture({}, "stack", {"output": Sublayer(path="linear")})
    return Backbone(model, None, known, 1, 2, 0, None, torch.device("cpu"))


def attributed(backbone, target, pooling="cls", points=8, tolerance=None):
    ids = torch.tensor([[0, 1]])
    method = Method(pooling, gauss_legendre(points), 1, ("output",), tolerance)
    return scores(backbone, ids, torch.ones_like(ids), target, method)["output"]


WEIGHT = [[2.0, -1.0], [0.5, 3.0]]


def test_a_linear_target_attributes_each_weight_its_product():
    # F = v₁ = 2·1 − 1·2 + 5: neuron 1 gets |2| + |−2|, neuron 0's twin nothing.
    target = targets.dot(torch.tensor([[1.0, 0.0]]))
    found = attributed(toy(WEIGHT, [5.0, 7.0]), target, points=1)
    np.testing.assert_allclose(found.absolute, [[4, 0]], atol=1e-12)
    np.testing.assert_allclose(found.signed, [[0, 0]], atol=1e-12)
    assert (found.full.item(), found.empty.item()) == (5, 0)
    assert found.residual.item() == pytest.approx(0, abs=1e-12)


def test_a_sum_over_tokens_is_taken_before_the_absolute_value():
    # Mean pooling: x̄ = (2, 0.5), so IG(W₁) = (2·2, −1·0.5).
    target = targets.dot(torch.tensor([[1.0, 0.0]]))
    found = attributed(toy(WEIGHT), target, "mean", points=1)
    np.testing.assert_allclose(found.absolute, [[4.5, 0]], atol=1e-12)
    np.testing.assert_allclose(found.signed, [[3.5, 0]], atol=1e-12)


def test_the_norm_of_a_linear_map():
    # F(α) = α‖z‖ with z = Wx = (0, 6.5): IG(W_ij) = W_ij x_j z_i / ‖z‖.
    found = attributed(toy(WEIGHT), targets.norm(), points=1)
    np.testing.assert_allclose(found.absolute, [[0, 6.5]], atol=1e-6)
    assert found.full.item() == pytest.approx(6.5)


class Square(nn.Module):
    def forward(self, states):
        return states**2


def test_a_square_above_the_map():
    # F = z₂² with z₂ = 6.5: G = 6.5, IG(W₂) = 6.5 · (0.5·1, 3·2); one point is the midpoint, exact.
    target = targets.dot(torch.tensor([[0.0, 1.0]]))
    found = attributed(toy(WEIGHT, above=Square()), target, points=1)
    np.testing.assert_allclose(found.signed, [[0, 6.5 * 6.5]], atol=1e-12)
    assert found.residual.item() == pytest.approx(0, abs=1e-12)


class Cube(nn.Module):
    def forward(self, states):
        return states**3


@pytest.mark.parametrize(("above", "points"), [(nn.Identity, 3), (Square, 3), (Cube, 7)])
def test_a_tolerance_stops_when_nothing_changes(above, points):
    # One point is exact for the first two; the cube is exact at 3, which 7 tell.
    target = targets.dot(torch.tensor([[0.0, 1.0]]))
    found = attributed(toy(WEIGHT, above=above()), target, points=1, tolerance=1e-9)
    assert found.points.tolist() == [points]
    assert found.residual.item() == pytest.approx(0, abs=1e-9)


def test_the_residual_is_the_error_of_the_quadrature():
    # F = z³: G = ∫ 3(αz)² dα = z²; the midpoint gives 0.75 z².
    target = targets.dot(torch.tensor([[0.0, 1.0]]))
    found = attributed(toy(WEIGHT, above=Cube()), target, points=1)
    assert found.residual.item() == pytest.approx(-0.25 * 6.5**3)
    assert attributed(toy(WEIGHT, above=Cube()), target, points=2).residual.item() == pytest.approx(
        0, abs=1e-9
    )
