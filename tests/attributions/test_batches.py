"""Attribution in batches: places, memory; texts without signal, and in half precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.attributing import LENGTHS, batch, gathered, loop, partners, texts_of
from tests.support.checkpoints import bert, make
from wellspring.attributions import suffix, targets
from wellspring.attributions.fused import Method, attribute, scores
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.errors import WellspringError
from wellspring.models.architecture import sublayer
from wellspring.models.load import load


def test_points_in_several_passes_give_the_same(loaded):
    backbone = loaded("modernbert")
    method = Method("mean", gauss_legendre(5), 2, ("intermediate", "output", "up"))
    whole = scores(backbone, *batch(backbone), targets.norm(), method)
    parts = scores(backbone, *batch(backbone), targets.norm(), method, at_once=2)
    for name in method.sublayers:
        np.testing.assert_allclose(parts[name].absolute, whole[name].absolute, rtol=1e-9)


def test_every_text_keeps_its_place_and_partner_in_any_batch(loaded):
    backbone = loaded("bert")
    tokens = texts_of(backbone, (4, 9, 2, 12, 9))
    target = targets.cosine(partners(5))
    method = Method("mean", gauss_legendre(3), 1, ("output",))
    once, parts, _ = gathered(backbone, tokens, target, method)
    assert parts == 1
    for budget, expected in ((1, 5), (60, 3)):
        found, parts, splits = gathered(backbone, tokens, target, method, budget=budget)
        assert (parts, splits) == (expected, 0)
        np.testing.assert_allclose(found, once, rtol=1e-8, atol=1e-12)
    alone = [
        scores(
            backbone,
            torch.tensor([ids]),
            torch.ones(1, len(ids), dtype=torch.long),
            target.select([row]),
            method,
        )["output"].absolute[0]
        for row, ids in enumerate(tokens)
    ]
    np.testing.assert_allclose(np.stack(alone), once, rtol=1e-8, atol=1e-12)


def test_another_method_runs_through_the_same_batches(loaded):
    backbone = loaded("bert")
    tokens = texts_of(backbone, (4, 9, 2))
    method = Method("mean", gauss_legendre(3), 1, ("output",))
    asked = []

    def doubled(*given):
        asked.append(given)
        found = scores(*given)["output"]
        return {"output": replace(found, absolute=2 * found.absolute)}

    once, *_ = gathered(backbone, tokens, targets.norm(), method, budget=27)
    twice, parts, _ = gathered(backbone, tokens, targets.norm(), method, budget=27, scorer=doubled)
    assert parts == len(asked) == 2
    np.testing.assert_allclose(twice, 2 * once)


def test_what_does_not_fit_into_memory_is_halved(loaded, monkeypatch):
    backbone = loaded("bert")
    tokens = texts_of(backbone, (4, 9, 2, 12))
    method = Method("mean", gauss_legendre(4), 1, ("output",))
    whole, *_ = gathered(backbone, tokens, targets.norm(), method)
    real = suffix.Suffix.__call__

    def limited(fits):
        def call(self, z):
            if z.shape[:2].numel() > fits:
                raise torch.OutOfMemoryError("no memory")
            return real(self, z)

        return call

    monkeypatch.setattr(suffix.Suffix, "__call__", limited(2))
    found, _, splits = gathered(backbone, tokens, targets.norm(), method)
    # Four texts to one (3 splits), and each one's four points to two.
    assert splits == 3 + 4
    np.testing.assert_allclose(found, whole, rtol=1e-8, atol=1e-12)
    monkeypatch.setattr(suffix.Suffix, "__call__", limited(0))
    with pytest.raises(WellspringError, match="text 3, of 12 tokens, does not fit into memory"):
        gathered(backbone, tokens, targets.norm(), method)


def quiet(backbone, tokens, target, method):
    """Which texts are quiet in any sub-layer, in their order."""
    found = {}
    for done in attribute(backbone, tokens, target, method):
        silent = np.any([part.quiet for part in done.scores.values()], axis=0)
        found.update(zip(done.rows, silent.tolist(), strict=True))
    return [found[row] for row in range(len(tokens))]


def test_texts_without_signal_are_quiet(tmp_path, loaded):
    # Fresh layer norms give every state the same length.
    silent = load(bert(tmp_path, hidden=48), "bert", 2)
    method, texts = Method("cls", gauss_legendre(4), 2, ("output",)), [(5, 6), (5, 6, 7)]
    assert quiet(silent, texts, targets.norm(), method) == [True, True]
    assert quiet(silent, texts, targets.norm(), replace(method, pooling="mean")) == [False, False]
    # One text of many: its partner is nothing.
    backbone = loaded("bert", double=False)
    found = partners(3)
    found[2] = 0
    given = (backbone, texts_of(backbone, LENGTHS), targets.dot(found), method)
    assert quiet(*given) == [False, False, True]


def test_the_length_behind_a_fresh_last_norm_is_quiet_for_every_text(tmp_path):
    """A fresh ModernBERT with CLS: its last norm fixes the length of every state."""
    backbone = load(make(tmp_path, "ModernBertModel"), "modernbert", 2)
    for module in backbone.model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.data.fill_(1)
    texts = texts_of(backbone, LENGTHS)
    for layer in (1, 2):
        method = Method("cls", gauss_legendre(4), layer, ("intermediate", "output"))
        assert quiet(backbone, texts, targets.norm(), method) == [True] * 3
        assert quiet(backbone, texts, targets.cosine(partners(3)), method) == [False] * 3


def test_a_target_whose_ends_are_equal_by_chance_has_a_signal(loaded):
    backbone = loaded("bert")
    tokens, method = texts_of(backbone, (7,)), Method("cls", gauss_legendre(8), 2, ("output",))
    ids = torch.tensor(tokens)
    linear, _ = sublayer(backbone.model, backbone.architecture, 1, "output")
    kept = [part.data for part in (linear.weight, linear.bias)]
    full = backbone.states(ids, torch.ones_like(ids))[-1][:, 0]
    linear.weight.data, linear.bias.data = map(torch.zeros_like, kept)
    moved = full - backbone.states(ids, torch.ones_like(ids))[-1][:, 0]
    linear.weight.data, linear.bias.data = kept
    across = partners(1).double()
    across -= (across @ moved.T) / (moved @ moved.T) * moved
    ((_, found),) = [
        part
        for done in attribute(backbone, tokens, targets.dot(across), method)
        for part in done.scores.items()
    ]
    assert abs(found.full - found.empty) < 1e-13
    absolute, _ = loop(
        backbone, ids, "cls", lambda v: v @ across[0], 2, "output", method.quadrature
    )
    np.testing.assert_allclose(found.absolute[0], absolute, rtol=1e-10)


STORIES = [
    "Once upon a time there was a girl",
    "The dog ran home",
    "Tom saw a big red ball in the park and he was happy",
    "One day, Lily and her mom went to the shop. They saw a cat and a bird.",
]


@pytest.mark.slow
def test_what_half_precision_costs_a_trained_decoder(shared):
    """Behind the last norm the length changes little, and coarse states hide it."""
    folder = shared("models/stories260k")

    def found(dtype):
        backbone = load(folder, "llama", 5, dtype)
        tokens = [tuple(backbone.tokenizer(story)["input_ids"]) for story in STORIES]
        methods = [Method("eos", gauss_legendre(8), layer, ("output",)) for layer in range(1, 6)]
        scored = [gathered(backbone, tokens, targets.norm(), method)[0] for method in methods]
        silent = [quiet(backbone, tokens, targets.norm(), method) for method in methods]
        return np.concatenate(scored, axis=1), np.array(silent)

    (exact, none), (half, also_none) = found("float32"), found("float16")
    apart = np.abs(half - exact).max(axis=1) / exact.max(axis=1)
    assert 0.001 < apart.max() < 0.005 and not none.any() and not also_none.any()
    coarse, silent = found("bfloat16")
    # In some layer, and not in every one: the rest of the text's scores are still near.
    assert 0 < silent.any(axis=0).sum() < 4 and not silent.all(axis=0).any()
    apart = np.abs(coarse - exact).max(axis=1) / exact.max(axis=1)
    assert apart.max() < 0.05


def test_scores_that_are_not_finite_are_an_error(loaded):
    backbone = loaded("bert")
    found = partners(3)
    found[1] = torch.nan
    method = Method("cls", gauss_legendre(2), 2, ("output",))
    with pytest.raises(WellspringError, match="scores of text 1 are not finite"):
        scores(backbone, *batch(backbone), targets.dot(found), method)
