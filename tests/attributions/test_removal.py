"""Removing neurons one by one: edited weights, planted networks, and how small an effect shows."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.support.attributing import batch
from wellspring.attributions import suffix, targets
from wellspring.attributions.ablation import effects
from wellspring.attributions.methods import scorer
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.attributions.removal import removed, sampled
from wellspring.attributions.value import Method
from wellspring.errors import WellspringError
from wellspring.findings.agreement import agreement
from wellspring.models.architecture import Architecture, Sublayer, sublayer
from wellspring.models.load import Backbone
from wellspring.pooling import pool

NAMES = ("bert", "llama", "t5", "modernbert", "phi3")
TOKENS = (9, 8, 7, 6, 5, 11, 12)


@pytest.fixture(scope="module")
def loaded(loaded):
    return partial(loaded, layers=3)


@given(st.integers(2, 60), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_neurons_are_drawn_once_and_fewer_are_the_first_of_more(width, count, group, seed):
    if count * group > width:
        with pytest.raises(WellspringError, match=f"remove: {count} groups of {group} neurons, of"):
            sampled(width, count, group, seed, 1, "output")
        return
    found = sampled(width, count, group, seed, 1, "output")
    assert found.shape == (count, group) and len(np.unique(found)) == count * group
    assert found.min() >= 0 and found.max() < width
    np.testing.assert_array_equal(sampled(width, 1, group, seed, 1, "output"), found[:1])
    elsewhere = [sampled(width, count, group, seed, *place) for place in ((2, "output"), (1, "up"))]
    assert width < 20 or count * group < 4 or any((other != found).any() for other in elsewhere)


def edited(backbone, pooling, layer, name, neurons):
    """The text's vector by a model whose weights were set to zero."""
    linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
    before = {key: part.clone() for key, part in linear.state_dict().items()}
    for part in linear.parameters():
        part.data[rows][neurons] = 0
    ids = torch.tensor([TOKENS])
    states = backbone.states(ids, torch.ones_like(ids))[-1]
    linear.load_state_dict(before)
    return pool(states, torch.ones_like(ids), pooling)[0].detach().numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls", "eos"])
@pytest.mark.parametrize("name", NAMES)
def test_removal_equals_edited_weights(loaded, name, pooling):
    backbone = loaded(name)
    for layer in (1, 3):
        groups = {sub: sampled(32, 4, 2, 5, layer, sub) for sub in backbone.architecture.sublayers}
        whole, found = removed(backbone, TOKENS, pooling, layer, groups)
        ids = torch.tensor([TOKENS])
        states = backbone.states(ids, torch.ones_like(ids))[-1]
        plain = pool(states, torch.ones_like(ids), pooling)[0]
        np.testing.assert_allclose(whole, plain.detach(), atol=1e-5)
        for sub, vectors in found.items():
            assert vectors.shape == (5, 32)
            np.testing.assert_allclose(vectors[0], whole, atol=1e-5)
            expected = [edited(backbone, pooling, layer, sub, group) for group in groups[sub]]
            np.testing.assert_allclose(vectors[1:], expected, atol=1e-5)
            assert abs(vectors[1:] - whole).max() > 1e-3


def test_passes_and_padding_do_not_matter(loaded, monkeypatch):
    backbone = loaded("bert")
    groups = {"output": sampled(32, 9, 1, 0, 2, "output")}
    whole, once = removed(backbone, TOKENS, "mean", 2, groups)
    real, copies = suffix.Suffix.__call__, []

    def counted(self, z):
        copies.append(len(z))
        if len(z) > 4:
            raise torch.OutOfMemoryError("no memory")
        return real(self, z)

    monkeypatch.setattr(suffix.Suffix, "__call__", counted)
    for budget, expected in ((2048, [10, 5, 3, 2, 5, 3, 2]), (28, [4, 4, 2])):
        copies.clear()
        _, parts = removed(backbone, TOKENS, "mean", 2, groups, budget)
        assert copies == expected
        np.testing.assert_allclose(parts["output"], once["output"], atol=1e-9)
    wider, padded = removed(backbone, TOKENS, "mean", 2, groups, 60, width=15)
    np.testing.assert_allclose(wider, whole, atol=1e-6)
    np.testing.assert_allclose(padded["output"], once["output"], atol=1e-6)


def test_a_tiny_effect_survives_float32(loaded):
    """Of a neuron whose outgoing weights are all but zero, float32 and float64 find one effect."""
    found = []
    for double in (True, False):
        backbone = loaded("bert", double=double)
        linear, _ = sublayer(backbone.model, backbone.architecture, 1, "output")
        kept = linear.weight.data[:, 3].clone()
        linear.weight.data[:, 3] *= 1e-3
        whole, without = removed(backbone, TOKENS, "mean", 2, {"intermediate": np.array([[3]])})
        linear.weight.data[:, 3] = kept
        vectors = without["intermediate"]
        none = [np.zeros((0, 32))] * 2
        copies = whole[None].repeat(2, axis=0)
        found.append(effects(copies, vectors, copies, none, "cosine", "query").change)
    (_, exact), (floor, single) = found
    assert 1e-13 < exact < 1e-6 and floor < 1e-12
    assert single == pytest.approx(exact, rel=0.05)


class Reader(nn.Module):
    """A linear map whose outputs a second one reads; the rest is the identity."""

    def __init__(self, hidden, inner, read):
        super().__init__()
        self.wide, self.narrow = nn.Linear(hidden, inner), nn.Linear(inner, hidden, bias=False)
        self.narrow.weight.data[:, ~read] = 0

    def forward(self, states):
        return self.narrow(self.wide(states))


class Model(nn.Module):
    def __init__(self, table, block):
        super().__init__()
        self.table, self.stack = nn.Embedding.from_pretrained(table), nn.ModuleList([block])

    def forward(self, input_ids, attention_mask, output_hidden_states):
        states = self.table(input_ids)
        return SimpleNamespace(hidden_states=[states, self.stack[0](states)])


def planted(inner=80, matter=40):
    """A network of which some neurons write nothing."""
    torch.manual_seed(2)
    read = torch.arange(inner) < matter
    model = Model(torch.randn(60, 10), Reader(10, inner, read)).double().requires_grad_(False)
    places = {"intermediate": Sublayer(path="wide"), "output": Sublayer(path="narrow")}
    known = Architecture({}, "stack", places)
    return Backbone(model, None, known, 1, 10, 0, None, torch.device("cpu")), read


def test_the_right_scores_predict_what_removal_does_and_shuffled_ones_do_not():
    backbone, read = planted()
    ids, mask = batch(backbone, (6, 9, 7, 8))
    partners = torch.randn(4, 10, generator=torch.Generator().manual_seed(6)).double()
    names, groups = ["a", "b", "c", "d"], np.arange(80)[:, None]
    method = Method("mean", gauss_legendre(8), 1, ("intermediate",))
    losses = []
    for text, own in enumerate(ids):
        tokens = tuple(own[mask[text].bool()].tolist())
        whole, without = removed(backbone, tokens, "mean", 1, {"intermediate": groups})
        vectors = without["intermediate"]
        copies = len(vectors)
        found = effects(
            whole[None].repeat(copies, 0),
            vectors,
            partners[text : text + 1].numpy().repeat(copies, 0),
            # One negative at the origin: the margin is the dot product itself.
            [np.zeros((1, 10))] * copies,
            "dot",
            "query",
        )
        assert found.change[0] == pytest.approx(0, abs=1e-15)
        losses.append((found.margin - found.margin_before)[1:])
    losses = np.stack(losses)
    assert (abs(losses[:, ~read.numpy()]) < 1e-12).all()

    def fidelity(scores):
        table = agreement(names, scores, names, abs(losses), 0)
        return table["correlation"].mean(), table["shifted"].mean()

    target = targets.dot(partners)
    for kind in ("gradient-x-activation", "integrated-gradients"):
        scores = scorer(kind)(backbone, ids, mask, target, method)["intermediate"]
        correlation, shifted = fidelity(scores.absolute.round(12))
        # Loss of the margin is the signed score.
        np.testing.assert_allclose(scores.signed, -losses, atol=1e-6)
        assert correlation > 0.99 > 0.9 > shifted
    # What a neuron gives says nothing of whether it is read.
    blind = scorer("activation")(backbone, ids, mask, target, method)["intermediate"].absolute
    assert fidelity(blind)[0] < 0.5
    order = np.random.default_rng(0).permutation(80)
    assert abs(fidelity(scores.absolute[:, order])[0]) < 0.2
