"""A run: what it learns, that it repeats and goes on, and what stops it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tests.support import training
from wellspring.config import Lora
from wellspring.errors import WellspringError
from wellspring.training import adaptation, loop, quality
from wellspring.training.objectives import Aim, Objective

LORA = Lora(rank=4, targets=["query", "value", "dense"])
SETTINGS = loop.Settings(loop.Schedule(5e-3, 0.2, "linear"), 0.01, 1.0, False, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bert")


def run(folder, *, steps=8, lora=None, cache=None, settings=SETTINGS, **options):
    """Train a fresh model; gives it and the losses."""
    backbone = training.backbone(folder)
    batches = training.batches(backbone, training.gathered(), size=4, steps=steps)
    model = adaptation.prepare(backbone.model, lora, backbone.architecture.unused, seed=0)
    encoding = training.encoding(model)
    objective = partial(Objective, aim=Aim("infonce", "cosine", 0.05), gradient_cache=cache)
    return encoding, loop.optimise(encoding, objective, batches, settings, **options)


def weights(encoding) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in encoding.parameters()])


@pytest.mark.parametrize(("lora", "share"), [(None, 0.5), (LORA, 0.85)])
def test_a_run_learns_its_examples_and_repeats(folder, lora, share):
    encoding, losses = run(folder, steps=60, lora=lora)
    assert np.mean(losses[-10:]) < share * np.mean(losses[:5])
    again, same = run(folder, steps=60, lora=lora)
    assert losses == same
    assert torch.equal(weights(encoding), weights(again))


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("cache", [None, 2])
def test_what_goes_on_is_what_was_not_ended(folder, lora, cache, monkeypatch):
    monkeypatch.setattr(loop, "SAVED", 0.0)
    states = []

    def save(state):
        copies = {name: each.clone() for name, each in state.tensors.items()}
        states.append(loop.State(state.step, copies, list(state.losses)))

    encoding, losses = run(folder, lora=lora, cache=cache, save=save)
    for state in (states[0], states[4], states[7]):
        # What happened before in this process must not matter.
        torch.manual_seed(1)
        other, rest = run(folder, lora=lora, cache=cache, state=state)
        np.testing.assert_allclose(rest, losses, rtol=0, atol=1e-6)
        assert torch.equal(weights(encoding), weights(other))


def test_what_is_merged_gives_the_vectors_that_were_trained(folder):
    encoding, _ = run(folder, lora=LORA)
    backbone = training.backbone(folder)
    batches = training.batches(backbone, training.gathered())
    tokens = list(batches.passage_tokens)
    before = quality.vectors(encoding, tokens, backbone.padding)
    whole = adaptation.merged(encoding.model, LORA)
    after = quality.vectors(training.encoding(whole), tokens, backbone.padding)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
    names = {name for name, _ in whole.named_parameters()}
    assert names == {name for name, _ in backbone.model.named_parameters()}


def test_rates_rise_and_fall():
    schedule = loop.Schedule(1.0, 0.2, "linear")
    shares = [schedule.share(step, 10) for step in range(10)]
    assert shares[:2] == [0.5, 1.0]
    np.testing.assert_allclose(shares[2:], 1 - np.arange(8) / 8)
    assert loop.Schedule(1.0, 0.0, "constant").share(9, 10) == 1
    assert loop.Schedule(1.0, 0.0, "cosine").share(5, 10) == pytest.approx(0.5)


def test_a_loss_that_is_no_number_stops_the_run(folder):
    wild = loop.Settings(loop.Schedule(1e30, 0.0, "constant"), 0.0, 1e30, False, 0)
    with pytest.raises(WellspringError, match=r"the loss of step .* lower learning_rate"):
        run(folder, settings=wild)


def test_vectors_that_are_no_numbers_are_refused(folder):
    backbone = training.backbone(folder)
    batches = training.batches(backbone, training.gathered())
    encoding = training.encoding(backbone.model)
    next(encoding.parameters()).data.fill_(torch.nan)
    with pytest.raises(WellspringError, match="vectors that are no numbers"):
        quality.vectors(encoding, list(batches.query_tokens), backbone.padding)


def test_vectors_that_all_point_one_way_stop_the_run(folder):
    backbone = training.backbone(folder)
    batches = training.batches(backbone, training.gathered(), size=4, steps=2)
    model = adaptation.prepare(backbone.model, None, (), seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # A last norm with a bias alone makes one vector of every text.
            if name.endswith("layer.1.output.LayerNorm.weight"):
                weight.zero_()
            if name.endswith("layer.1.output.LayerNorm.bias"):
                weight.fill_(1)
    encoding = training.encoding(model)
    objective = partial(Objective, aim=Aim("infonce", "cosine", 0.05))
    with pytest.raises(WellspringError, match="point the same way"):
        loop.optimise(encoding, objective, batches, SETTINGS)


def test_a_target_that_the_model_lacks_is_named(folder):
    backbone = training.backbone(folder)
    with pytest.raises(WellspringError, match=r"lora.targets: 'q_proj' .* dense, key, query"):
        adaptation.prepare(backbone.model, Lora(targets=["query", "q_proj"]), (), seed=0)
