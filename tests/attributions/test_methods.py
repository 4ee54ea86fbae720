"""The other attribution methods against slow loops, captum itself and toys with known answers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tests.attributions.test_toys import WEIGHT, Square, toy
from tests.support.attributing import LENGTHS, batch, output_gradients, texts_of
from wellspring.attributions import fused, suffix, targets
from wellspring.attributions.fused import Method, attribute
from wellspring.attributions.methods import scorer
from wellspring.attributions.quadrature import Quadrature, gauss_legendre
from wellspring.errors import WellspringError
from wellspring.models.architecture import sublayer
from wellspring.models.load import load
from wellspring.pooling import pool

NAMES = ("bert", "dpr", "llama", "t5", "modernbert", "phi3")
KINDS = ("integrated-gradients", "conductance", "gradient-x-activation", "activation", "relp")
RULE = gauss_legendre(4)


@pytest.fixture(scope="module")
def loaded(loaded):
    return partial(loaded, layers=2)


def pooling_of(backbone):
    return "eos" if "up" in backbone.architecture.sublayers else "mean"


def loop(backbone, ids, pooling, layer, name, rule, bias_scaled):
    """Σ_j W_ij ∫ ∂F/∂W_ij [neurons] of one text's length F, and of its bias where that is scaled
    with the weights: step by step on the whole model."""
    linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
    learned = {key: value.data for key, value in linear.named_parameters()}
    scaled = ["weight"] + ["bias"] * (bias_scaled and "bias" in learned)
    total = 0
    linear.requires_grad_(True)
    try:
        for point, share in zip(rule.points, rule.weights, strict=True):
            for key in scaled:
                getattr(linear, key).data = learned[key].clone()
                getattr(linear, key).data[rows] *= point
            mask = torch.ones_like(ids)
            value = pool(backbone.states(ids, mask)[-1], mask, pooling).norm()
            for key in scaled:
                (gradient,) = torch.autograd.grad(value, getattr(linear, key), retain_graph=True)
                products = (learned[key] * gradient)[rows]
                total += share * products.reshape(len(products), -1).sum(dim=1)
    finally:
        linear.requires_grad_(False)
        for key, value in learned.items():
            getattr(linear, key).data = value
    return total.numpy()


def close(found, expected, tolerance=1e-5):
    assert abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * abs(expected).max())


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("name", NAMES)
def test_integrals_of_a_padded_batch_equal_the_loop_over_texts_alone(loaded, name, kind):
    backbone = loaded(name)
    pooling, subs = pooling_of(backbone), tuple(backbone.architecture.sublayers)
    ids, mask = batch(backbone)
    method = Method(pooling, RULE, 1, subs)
    found = scorer(kind)(backbone, ids, mask, targets.norm(), method)
    assert list(found) == list(subs)
    for sub in subs:
        for text, length in enumerate(LENGTHS):
            alone = ids[text : text + 1, :length]
            both = kind == "integrated-gradients"
            expected = loop(backbone, alone, pooling, 1, sub, RULE, bias_scaled=both)
            close(found[sub].signed[text], expected)
            np.testing.assert_array_equal(found[sub].absolute, abs(found[sub].signed))


@pytest.mark.parametrize("name", NAMES)
def test_integrated_gradients_are_the_signed_weights_and_the_bias(loaded, name):
    backbone = loaded(name)
    subs = tuple(backbone.architecture.sublayers)
    given = backbone, *batch(backbone), targets.norm()
    method = Method(pooling_of(backbone), RULE, 2, subs)
    weights = fused.scores(*given, method)
    found = scorer("integrated-gradients")(*given, method)
    for sub in subs:
        np.testing.assert_allclose(found[sub].full, weights[sub].full)
        np.testing.assert_allclose(found[sub].empty, weights[sub].empty)
        size = abs(found[sub].full - found[sub].empty).max()
        np.testing.assert_allclose(found[sub].residual, weights[sub].residual, atol=1e-5 * size)
        if sublayer(backbone.model, backbone.architecture, 1, sub)[0].bias is None:
            close(found[sub].signed, weights[sub].signed)
        else:
            assert abs(found[sub].signed - weights[sub].signed).max() > 1e-3 * size


def test_a_real_decoder_equals_captum_on_the_whole_model(shared):
    backbone = load(shared("models/stories260k"), "llama", 5)
    ids, mask = batch(backbone)
    method = Method("eos", RULE, 3, ("intermediate", "output", "up"))
    # Loading captum takes seconds, which workers without these tests save.
    from captum.attr import IntegratedGradients

    found = scorer("integrated-gradients")(backbone, ids, mask, targets.norm(), method)
    weights = fused.scores(backbone, ids, mask, targets.norm(), method)
    for sub in method.sublayers:
        linear, _ = sublayer(backbone.model, backbone.architecture, 2, sub)
        z = []
        handle = linear.register_forward_hook(lambda m, a, output, z=z: z.append(output))
        backbone.states(ids, mask)
        handle.remove()

        def value(given, linear=linear):
            handle = linear.register_forward_hook(lambda *_: given)
            copies = len(given) // len(ids)
            states = backbone.states(ids.repeat(copies, 1), mask.repeat(copies, 1))[-1]
            handle.remove()
            return pool(states, mask.repeat(copies, 1), "eos").norm(dim=1)

        whole = IntegratedGradients(value).attribute(z[0].detach(), n_steps=len(RULE))
        close(found[sub].signed, whole.sum(dim=1).detach().numpy())
        close(found[sub].signed, weights[sub].signed)


@pytest.mark.parametrize("sub", ["intermediate", "output"])
def test_conductance_is_the_limit_of_captums_differences(loaded, sub):
    from captum.attr import LayerConductance

    backbone = loaded("bert")
    ids, mask = batch(backbone, (5,))
    linear, _ = sublayer(backbone.model, backbone.architecture, 0, sub)
    inputs = []
    handle = linear.register_forward_hook(lambda m, a, output: inputs.append(a[0].detach()))
    backbone.states(ids, mask)
    handle.remove()

    def value(x):
        handle = linear.register_forward_pre_hook(lambda *_: (x,))
        copies = (ids.repeat(len(x), 1), mask.repeat(len(x), 1))
        found = pool(backbone.states(*copies)[-1], copies[1], "mean").norm(dim=1)
        handle.remove()
        return found

    method = Method("mean", gauss_legendre(16), 1, (sub,))
    found = scorer("conductance")(backbone, ids, mask, targets.norm(), method)[sub].signed
    slow = LayerConductance(value, linear)
    errors = [
        abs(
            slow.attribute(inputs[0], n_steps=steps, method="riemann_trapezoid").sum(dim=1)
            - torch.from_numpy(found)
        ).max()
        for steps in (50, 200)
    ]
    assert errors[0] < 0.05 * abs(found).max()
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("name", NAMES)
def test_gradient_and_activation_equal_hooks_on_texts_alone(loaded, name):
    backbone = loaded(name)
    pooling, subs = pooling_of(backbone), tuple(backbone.architecture.sublayers)
    ids, mask = batch(backbone)
    method = Method(pooling, RULE, 1, subs)
    gradient, activation = (
        scorer(kind)(backbone, ids, mask, targets.norm(), method) for kind in KINDS[2:4]
    )
    for sub in subs:
        linear, rows = sublayer(backbone.model, backbone.architecture, 0, sub)
        for text, length in enumerate(LENGTHS):
            alone = ids[text : text + 1, :length], mask[text : text + 1, :length]
            last = Quadrature((1.0,), (1.0,))
            expected = output_gradients(backbone, *alone, pooling, 1, sub, last).numpy()
            close(gradient[sub].signed[text], expected)
            outputs = []
            handle = linear.register_forward_hook(lambda m, a, z, out=outputs: out.append(z))
            backbone.states(*alone)
            handle.remove()
            close(activation[sub].signed[text], outputs[0][0, :, rows].sum(dim=0).numpy())
        for found in (gradient, activation):
            assert np.isnan(found[sub].residual).all()
            np.testing.assert_array_equal(found[sub].absolute, abs(found[sub].signed))


@pytest.mark.parametrize("name", ["bert", "modernbert"])
@pytest.mark.parametrize("kind", KINDS[:2])
def test_integrals_sum_to_the_change_of_the_target(loaded, name, kind):
    backbone = loaded(name)
    subs = ("intermediate", "output")
    given = backbone, *batch(backbone), targets.norm()
    residuals = []
    for points in (2, 24):
        found = scorer(kind)(*given, Method("mean", gauss_legendre(points), 1, subs))
        for sub in subs:
            size = abs(found[sub].full - found[sub].empty).max()
            whole = found[sub].signed.sum(axis=1) - (found[sub].full - found[sub].empty)
            np.testing.assert_allclose(found[sub].residual, whole, atol=1e-9 * size)
            residuals.append(abs(found[sub].residual).max() / size)
    assert max(residuals[2:]) < 1e-4
    assert max(residuals[:2]) > 10 * max(residuals[2:])


def toyed(kind, bias=None, above=None, points=2):
    target = targets.dot(torch.tensor([[0.0, 1.0]]))
    ids = torch.tensor([[0, 1]])
    method = Method("cls", gauss_legendre(points), 1, ("output",))
    backbone = toy(WEIGHT, bias, above)
    return scorer(kind)(backbone, ids, torch.ones_like(ids), target, method)["output"]


def test_a_linear_target():
    # z = (5, 13.5) of which b = (5, 7), and F = z₂ at the first token; the second adds (12, 5.5).
    expected = {
        "integrated-gradients": [0, 13.5],
        "conductance": [0, 6.5],
        "gradient-x-activation": [0, 13.5],
        "activation": [17, 19],
    }
    for kind, signed in expected.items():
        found = toyed(kind, [5.0, 7.0])
        np.testing.assert_allclose(found.signed, [signed], atol=1e-5)
        assert found.full.item() == 13.5
        assert found.empty.item() == (7 if kind == "conductance" else 0)


def test_a_square_above_the_map():
    # F = z₂²: the integrals give its change from 0 and from b, the gradient 2 z₂ · z₂.
    expected = {
        "integrated-gradients": 13.5**2,
        "conductance": 13.5**2 - 7**2,
        "gradient-x-activation": 2 * 13.5**2,
    }
    for kind, signed in expected.items():
        found = toyed(kind, [5.0, 7.0], Square())
        np.testing.assert_allclose(found.signed, [[0, signed]], rtol=1e-6)


def test_signs_survive_in_the_signed_scores_alone():
    found = toyed("gradient-x-activation", [5.0, -20.0])
    assert (found.signed[0, 1], found.absolute[0, 1]) == (-13.5, 13.5)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_points_in_several_passes_give_the_same(loaded, kind, monkeypatch):
    backbone = loaded("modernbert")
    real, points = suffix.Suffix.__call__, []

    def counted(self, z):
        points.append(len(z))
        return real(self, z)

    monkeypatch.setattr(suffix.Suffix, "__call__", counted)
    method = Method("mean", gauss_legendre(5), 1, ("intermediate", "output"))
    given = (backbone, *batch(backbone), targets.norm(), method)
    whole, parts = (scorer(kind)(*given, at_once=at_once) for at_once in (None, 2))
    for sub in method.sublayers:
        np.testing.assert_allclose(parts[sub].signed, whole[sub].signed, rtol=1e-6, atol=1e-9)
    # F where the path begins, then the points, of two sub-layers.
    assert points == [1, 5] * 2 + [1, 2, 2, 1] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_signal_is_quiet(loaded, kind):
    backbone = loaded("bert")
    partners = torch.randn(3, 32, generator=torch.Generator().manual_seed(1)).double()
    method = Method("cls", RULE, 1, ("intermediate",))
    given = backbone, *batch(backbone)
    partners[2] = 0
    found = scorer(kind)(*given, targets.dot(partners), method)["intermediate"]
    assert found.quiet.tolist() == [False, False, True]
    partners[1] = torch.nan
    with pytest.raises(WellspringError, match="layer 1, intermediate: the scores of text 5 are no"):
        scorer(kind)(*given, targets.dot(partners), method, names=[4, 5, 9])


@pytest.mark.parametrize("kind", KINDS)
def test_batches_under_a_budget_keep_every_texts_place(loaded, kind):
    backbone, lengths = loaded("bert"), (4, 9, 2)
    tokens = texts_of(backbone, lengths)
    partners = torch.randn(3, 32, generator=torch.Generator().manual_seed(1)).double()
    method = Method("mean", RULE, 1, ("output",))
    target = targets.cosine(partners)
    whole = scorer(kind)(backbone, *batch(backbone, lengths), target, method)["output"]
    done = list(attribute(backbone, tokens, target, method, budget=40, scorer=scorer(kind)))
    assert len(done) == 2
    for part in done:
        found = part.scores["output"].signed
        np.testing.assert_allclose(found, whole.signed[part.rows], rtol=1e-6, atol=1e-9)
