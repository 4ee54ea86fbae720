"""Padding as published: what a plain loop over batches of so many texts gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.attributing import gathered, texts_of
from tests.support.checkpoints import make
from wellspring.attributions import targets
from wellspring.attributions.ablation import ablated
from wellspring.attributions.fused import Method
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.attributions.selection import widths
from wellspring.models.architecture import sublayer
from wellspring.models.load import load

LENGTHS = (4, 9, 2, 12, 5, 3, 7, 6, 8, 2, 11)
BATCH, RULE = 4, gauss_legendre(3)


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 9))
def test_a_text_is_as_wide_as_the_longest_of_its_batch(lengths, batch):
    found = widths(lengths, batch)
    assert len(found) == len(lengths)
    for row, width in enumerate(found):
        first = row - row % batch
        assert width == max(lengths[first : first + batch])


def batches(backbone, tokens, side="right", token=None):
    """Ids and mask of every BATCH texts in turn, padded to the longest of them."""
    token = backbone.padding if token is None else token
    for start in range(0, len(tokens), BATCH):
        some = tokens[start : start + BATCH]
        width = max(map(len, some))
        rows, masks = [], []
        for ids in some:
            blank = [token] * (width - len(ids))
            row = [*blank, *ids] if side == "left" else [*ids, *blank]
            mask = [0] * len(blank) + [1] * len(ids)
            rows.append(row)
            masks.append(mask if side == "left" else mask[::-1])
        yield torch.tensor(rows), torch.tensor(masks)


def slow(backbone, tokens, layer, name, vector, **padding):
    """Scores [texts, neurons], step by step on the whole model, a batch at a time."""
    linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
    learned = {key: part.data for key, part in linear.named_parameters()}
    found = []
    linear.weight.requires_grad_(True)
    try:
        for ids, mask in batches(backbone, tokens, **padding):
            total = torch.zeros(len(ids), *learned["weight"].shape)
            for point, share in zip(RULE.points, RULE.weights, strict=True):
                for key, part in learned.items():
                    getattr(linear, key).data = part * point
                lengths = vector(backbone.states(ids, mask)[-1]).norm(dim=-1)
                for text, length in enumerate(lengths):
                    (gradient,) = torch.autograd.grad(length, linear.weight, retain_graph=True)
                    total[text] += share * gradient
            found.append((total * learned["weight"]).abs().sum(dim=-1)[:, rows])
    finally:
        linear.weight.requires_grad_(False)
        for key, part in learned.items():
            getattr(linear, key).data = part
    return torch.cat(found).detach().numpy()


@pytest.mark.parametrize("budget", [1, 70, 10_000])
def test_the_padded_mean_is_that_of_batches_in_order(loaded, budget):
    backbone = loaded("bert")
    tokens = texts_of(backbone, LENGTHS)
    expected = slow(backbone, tokens, 2, "output", lambda states: states.mean(dim=1))
    given = (backbone, tokens, targets.padded_mean_norm(), Method("mean", RULE, 2, ("output",)))
    found, *_ = gathered(*given, budget=budget, widths=widths(LENGTHS, BATCH))
    close = {"rtol": 0, "atol": 1e-5 * expected.max()}
    np.testing.assert_allclose(found, expected, **close)
    longest, *_ = gathered(*given, widths=[max(LENGTHS)] * len(LENGTHS))
    assert abs(longest - expected).max() > 0.01 * expected.max()


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_last_position_is_that_of_batches_in_order(tmp_path, side):
    backbone = load(make(tmp_path, "LlamaModel", side=side), "llama", 2)
    backbone.model.double()
    tokens = texts_of(backbone, LENGTHS)
    method = Method("last-position", RULE, 1, ("output",))
    expected = slow(
        backbone,
        tokens,
        1,
        "output",
        lambda states: states[:, -1],
        side=side,
        token=backbone.tokenizer.pad_token_id,
    )
    for budget in (50, 10_000):
        found, *_ = gathered(
            backbone, tokens, targets.norm(), method, budget=budget, widths=widths(LENGTHS, BATCH)
        )
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())
    # Ablation sees the same vectors.
    wanted = [
        backbone.states(ids, mask)[-1][:, -1].detach().numpy()
        for ids, mask in batches(backbone, tokens, side, backbone.tokenizer.pad_token_id)
    ]
    vectors = ablated(
        backbone, tokens, "last-position", {}, budget=60, widths=widths(LENGTHS, BATCH)
    )
    np.testing.assert_allclose(vectors, np.concatenate(wanted), atol=1e-5)
