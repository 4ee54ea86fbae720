"""A run: what it learns, that it repeats and goes on, and what stops it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tests.support import checkpoints, training
from tests.support.slow import slow
from wellspring.config import Lora
from wellspring.errors import WellspringError
from wellspring.models import sources
from wellspring.models.load import load
from wellspring.sparse import on
from wellspring.training import adaptation, loop, quality
from wellspring.training.batches import Batches
from wellspring.training.encoding import SparseEncoding
from wellspring.training.objectives import Aim, Objective, Regulariser

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


@pytest.mark.parametrize(("lora", "share"), [slow(None, 0.5), (LORA, 0.85)])
def test_a_run_learns_its_examples_and_repeats(folder, lora, share):
    encoding, losses = run(folder, steps=60, lora=lora)
    assert np.mean(losses[-10:]) < share * np.mean(losses[:5])
    again, same = run(folder, steps=60, lora=lora)
    assert losses == same
    assert torch.equal(weights(encoding), weights(again))


@pytest.mark.parametrize("lora", [slow(None), LORA])
@pytest.mark.parametrize("cache", [slow(None), 2])
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


def words(
    folder, *, steps=8, lora=None, flops=(0.05, 0.04, 0.5), settings=SETTINGS, full=False, **options
):
    """Train the same model with a fresh vocabulary head; gives it and the losses.

    full: all words have a weight to begin with.
    """
    whole = training.sparse(folder)
    if full:
        torch.nn.init.zeros_(whole.model.get_output_embeddings().bias)
    unused = whole.backbone.architecture.unused
    batches = training.batches(whole.backbone, training.gathered(), size=4, steps=steps)
    model = adaptation.prepare(whole.model, lora, unused, seed=0, fresh=whole.fresh)
    encoding = SparseEncoding(model, whole.scale)
    objective = partial(Objective, aim=Aim("infonce", "dot", 1.0), regulariser=Regulariser(*flops))
    return encoding, loop.optimise(encoding, objective, batches, settings, **options)


@pytest.mark.parametrize("lora", [slow(None), LORA])
def test_a_sparse_run_goes_on_as_if_it_was_not_ended(folder, lora, monkeypatch):
    monkeypatch.setattr(loop, "SAVED", 0.0)
    states = []

    def save(state):
        copies = {name: each.clone() for name, each in state.tensors.items()}
        states.append(loop.State(state.step, copies, list(state.losses)))

    encoding, losses = words(folder, steps=6, lora=lora, save=save)
    other, rest = words(folder, steps=6, lora=lora, state=states[2])
    np.testing.assert_allclose(rest, losses, rtol=0, atol=1e-6)
    assert torch.equal(weights(encoding), weights(other))


def test_lora_updates_the_trunk_and_trains_what_is_fresh_of_a_head(folder, tmp_path):
    before = training.sparse(folder)
    encoding, _ = words(folder, lora=LORA)
    tokens = list(training.batches(before.backbone, training.gathered()).passage_tokens)
    trained = {name for name, each in encoding.named_parameters() if each.requires_grad}
    # The bias of the head has two names.
    heads = {f"model.base_model.model.{name}" for name in before.fresh if "decoder" not in name}
    assert {name for name in trained if "lora_" not in name} == heads
    assert all(".bert." in name for name in trained - heads)
    vectors = quality.sparse_vectors(encoding, tokens, before.backbone.padding, None)
    whole = adaptation.merged(encoding.model, LORA)
    assert training.is_tied(whole)
    sources.store(whole, folder, tmp_path / "stored")
    again = on(load(tmp_path / "stored", "bert", 2), tmp_path / "stored", seed=9)
    assert not again.fresh and training.is_tied(again.model)
    assert torch.equal(
        again.model.get_output_embeddings().weight, before.model.get_input_embeddings().weight
    )
    found = again.encode(tokens)
    np.testing.assert_allclose(found.toarray(), vectors.toarray(), atol=1e-5)


def test_a_decoder_learns_by_lora_and_its_head_stays(tmp_path):
    folder = checkpoints.make(tmp_path / "llama", "LlamaForCausalLM")
    whole = on(load(folder, "llama", 2), folder, seed=0)
    lora = Lora(rank=4, targets=["q_proj", "v_proj", "down_proj"])
    unused = whole.backbone.architecture.unused
    words = [f"w{row} w{row + 7} w{row * 3 % 50}" for row in range(40)]
    examples = training.gathered()
    names = [*examples.query_ids, *examples.passage_ids]
    tokens = whole.tokenise([words[row % 40] for row in range(len(names))], "{text}", 12)
    count = len(examples.query_ids)
    batches = Batches(examples, tokens[:count], tokens[count:], size=4, steps=60, seed=0, padding=0)
    head = whole.model.get_output_embeddings().weight.clone()
    model = adaptation.prepare(whole.model, lora, unused, seed=0, fresh=whole.fresh)
    encoding = SparseEncoding(model, whole.scale)
    objective = partial(
        Objective, aim=Aim("infonce", "dot", 1.0), regulariser=Regulariser(1e-3, 1e-3, 1 / 3)
    )
    losses = loop.optimise(encoding, objective, batches, SETTINGS)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    merged = adaptation.merged(model, lora)
    assert torch.equal(merged.get_output_embeddings().weight, head)


def test_vectors_of_zeros_stop_the_run(folder):
    whole = training.sparse(folder)
    bias = whole.model.get_output_embeddings().bias
    batches = training.batches(whole.backbone, training.gathered(), size=4, steps=2)
    model = adaptation.prepare(whole.model, None, (), seed=0, fresh=whole.fresh)
    with torch.no_grad():
        bias.fill_(-100)
    objective = partial(
        Objective, aim=Aim("infonce", "dot", 1.0), regulariser=Regulariser(0.05, 0.04, 0.5)
    )
    with pytest.raises(
        WellspringError, match=r"no query of step 1 has a word .* lower flops.query"
    ):
        loop.optimise(SparseEncoding(model, 1.0), objective, batches, SETTINGS)


def test_vectors_that_stay_full_stop_the_run_when_the_regulariser_has_had_its_time(folder):
    still = loop.Settings(loop.Schedule(1e-9, 0.0, "constant"), 0.0, 1.0, False, 0)
    with pytest.raises(WellspringError, match=r"not sparse: at step 5 .* raise flops.query"):
        words(folder, steps=8, flops=(0.05, 0.04, 0.25), settings=still, full=True)
    # Without a regulariser nobody asked for anything else.
    words(folder, steps=8, flops=(0.0, 0.0, 0.25), settings=still, full=True)


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
