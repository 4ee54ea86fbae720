"""What takes an ablated output's place, against passes of each text alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wellspring.attributions import replacement
from wellspring.attributions.ablation import ablated
from wellspring.errors import ModelError, WellspringError
from wellspring.models.architecture import sublayer
from wellspring.pooling import pool

NAMES = ("bert", "llama", "t5", "modernbert", "phi3")
TOKENS = [(5, 6, 7), (9, 8, 7, 6, 5, 11, 12), (40,), (31, 32, 33, 34, 35)]
IDS = ["a", "b", "c", "d"]
LAYERS = [1, 2]


@pytest.fixture(scope="module")
def loaded(loaded):
    return partial(loaded, double=False, layers=2)


def seen(backbone, ids):
    """Outputs [tokens, neurons] of every sub-layer, and what the output map takes in, of one
    text."""
    found = {}
    hooks = []
    for layer in LAYERS:
        for name in backbone.architecture.sublayers:
            linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)

            def hook(module, arguments, output, place=(layer, name), rows=rows):
                found[place] = output[0, :, rows].detach().numpy()
                if place[1] == "output":
                    found[place[0], "inner"] = arguments[0][0].detach().numpy()

            hooks.append(linear.register_forward_hook(hook))
    tokens = torch.tensor([ids])
    backbone.states(tokens, torch.ones_like(tokens))
    for hook in hooks:
        hook.remove()
    return found


def watched(backbone, **options):
    names = tuple(backbone.architecture.sublayers)
    return replacement.watch(backbone, TOKENS, IDS, "mean", LAYERS, names, 3, **options)


@pytest.mark.parametrize("name", NAMES)
def test_means_pools_and_magnitudes_are_those_of_texts_alone(loaded, name):
    backbone = loaded(name)
    found = watched(backbone)
    alone = [seen(backbone, ids) for ids in TOKENS]
    assert len(found.owners) == sum(map(len, TOKENS))
    for (layer, sub), outputs in found.outputs.items():
        every = np.concatenate([text[layer, sub] for text in alone])
        np.testing.assert_allclose(outputs.mean, every.mean(axis=0), atol=1e-5)
        # Each token of each text is in the pool once.
        order = np.lexsort(outputs.pool.T.round(3)), np.lexsort(every.T.round(3))
        np.testing.assert_allclose(outputs.pool[order[0]], every[order[1]], atol=1e-4)
        for row, text in enumerate(alone):
            own = outputs.pool[found.owners == row]
            apart = abs(own[:, None] - text[layer, sub]).max(axis=2)
            assert (apart.min(axis=1) < 1e-4).all() and len(own) == len(TOKENS[row])
            if sub == "output":
                size = abs(text[layer, sub]).mean(axis=0)
            else:
                linear, _ = sublayer(backbone.model, backbone.architecture, layer - 1, "output")
                columns = linear.weight.detach().norm(dim=0).numpy()
                size = abs(text[layer, "inner"]).mean(axis=0) * columns
            np.testing.assert_allclose(outputs.magnitude[row], size, atol=1e-4)


def test_inner_magnitudes_of_a_bert_are_behind_its_nonlinearity(loaded):
    backbone = loaded("bert")
    found, text = watched(backbone).outputs[1, "intermediate"], seen(backbone, TOKENS[1])
    activation = torch.nn.functional.gelu(torch.from_numpy(text[1, "intermediate"]))
    linear, _ = sublayer(backbone.model, backbone.architecture, 0, "output")
    size = activation.abs().mean(dim=0) * linear.weight.norm(dim=0)
    np.testing.assert_allclose(found.magnitude[1], size.numpy(), atol=1e-4)


@pytest.mark.parametrize("budget", [1, 9])
def test_batches_do_not_matter(loaded, budget):
    backbone = loaded("modernbert")
    once, parts = watched(backbone), watched(backbone, budget=budget)
    np.testing.assert_array_equal(once.owners, parts.owners)
    for place, outputs in once.outputs.items():
        for kind in ("mean", "pool", "magnitude"):
            ours, theirs = (getattr(each, kind) for each in (outputs, parts.outputs[place]))
            np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_the_pool_is_bounded_and_drawn_by_the_texts_alone(loaded, monkeypatch):
    backbone = loaded("bert")
    every = watched(backbone)
    monkeypatch.setattr(replacement, "POOLED", 5)
    few = watched(backbone)
    np.testing.assert_array_equal(few.owners, every.owners[:5])
    taken = 4 * sum(len(each.mean) for each in every.outputs.values())
    monkeypatch.setattr(replacement, "POOL_BYTES", 3 * taken + 1)
    assert len(watched(backbone).owners) == 3
    for place, outputs in few.outputs.items():
        np.testing.assert_allclose(outputs.pool, every.outputs[place].pool[:5], atol=2e-5)
        np.testing.assert_allclose(outputs.mean, every.outputs[place].mean, atol=1e-6)


@given(st.integers(1, 30), st.integers(0, 5))
def test_a_donor_is_never_of_the_own_text(positions, seed):
    owners = np.random.default_rng(seed).integers(0, 3, 12)
    owners[:3] = [0, 1, 2]
    found = replacement.donors_of(["a", "b", "c"], owners, 1, positions, seed)
    assert found.shape == (3, positions)
    assert all((owners[row] != text).all() for text, row in enumerate(found))
    alone = replacement.donors_of(["a", "b", "c"], owners, 2, positions, seed)
    again = replacement.donors_of(["a", "b", "c"], owners, 1, positions, seed)
    np.testing.assert_array_equal(found, again)
    assert positions < 8 or (found != alone).any()


def test_donors_are_drawn_evenly_and_there_must_be_some():
    owners = np.repeat([0, 1], [4, 6])
    found = replacement.donors_of(["a", "b"], owners, 1, 6000, 0)
    assert abs(np.bincount(found[0], minlength=10) - np.repeat([0, 1000], [4, 6])).max() < 120
    assert abs(np.bincount(found[1], minlength=10) - np.repeat([1500, 0], [4, 6])).max() < 150
    with pytest.raises(WellspringError, match="resample needs tokens of another text"):
        replacement.donors_of(["a"], np.zeros(3, int), 1, 2, 0)


def replaced_by_hand(backbone, ids, masks, values, pooling):
    """The vector of one text, its outputs [tokens, neurons] replaced where the mask says."""
    hooks = []
    for (layer, name), mask in masks.items():
        linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)

        def hook(module, arguments, output, place=(layer, name), mask=mask, rows=rows):
            output = output.clone()
            part = output[0, :, rows]
            part[:, torch.from_numpy(mask)] = values(place, len(part))[:, torch.from_numpy(mask)]
            return output

        hooks.append(linear.register_forward_hook(hook))
    tokens = torch.tensor([ids])
    vector = pool(backbone.states(tokens, torch.ones_like(tokens))[-1], tokens * 0 + 1, pooling)
    for hook in hooks:
        hook.remove()
    return vector[0].detach().numpy()


@pytest.mark.parametrize("by", ["mean", "resample"])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_equals_texts_whose_outputs_are_replaced_one_by_one(loaded, name, by):
    backbone = loaded(name)
    pooling = "eos" if "up" in backbone.architecture.sublayers else "mean"
    found, draw = watched(backbone), np.random.default_rng(4)
    masks = {place: draw.random((8, len(each.mean))) < 0.2 for place, each in found.outputs.items()}
    donors = {layer: replacement.donors_of(IDS, found.owners, layer, 7, 5) for layer in LAYERS}
    replacements = {
        place: replacement.mean(each)
        if by == "mean"
        else replacement.resampled(each, donors[place[0]])
        for place, each in found.outputs.items()
    }
    # Two copies of each text under other masks.
    vectors = ablated(backbone, TOKENS * 2, pooling, masks, 30, None, replacements)
    for row, ids in enumerate(TOKENS * 2):

        def values(place, tokens, row=row):
            each = found.outputs[place]
            if by == "mean":
                return torch.from_numpy(each.mean).float().expand(tokens, -1)
            return torch.from_numpy(each.pool[donors[place[0]][row % 4, :tokens]])

        own = {place: mask[row] for place, mask in masks.items()}
        expected = replaced_by_hand(backbone, ids, own, values, pooling)
        np.testing.assert_allclose(vectors[row], expected, atol=5e-5)
    zero = ablated(backbone, TOKENS * 2, pooling, masks)
    assert (abs(zero - vectors).max(axis=1) > 1e-3).all()


def test_positions_are_counted_from_a_text_s_end_where_padding_is_on_the_left():
    outputs = replacement.Outputs(np.zeros(1), np.arange(5, dtype=np.float32)[:, None], None)
    donors = np.array([[0, 1, 2], [3, 4, 0]])
    right = replacement.resampled(outputs, donors)([1, 2], 2)
    left = replacement.resampled(outputs, donors, left=True)([1, 2], 2)
    assert right[..., 0].tolist() == [[3, 4], [0, 1]]
    assert left[..., 0].tolist() == [[4, 3], [1, 0]]


def test_an_inner_map_that_does_not_fit_the_output_map_is_refused(loaded, monkeypatch):
    backbone = loaded("bert")
    real = sublayer

    def narrowed(model, architecture, block, name):
        linear, rows = real(model, architecture, block, name)
        return linear, slice(0, 7) if name == "intermediate" else rows

    monkeypatch.setattr(replacement, "sublayer", narrowed)
    with pytest.raises(ModelError, match="layer 1: the output map takes 48 numbers, sub-layer 'in"):
        watched(backbone)
