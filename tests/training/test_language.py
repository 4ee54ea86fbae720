"""Stages that learn words: what is asked, the loss by hand, learning, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.support import checkpoints, training
from tests.support.slow import slow
from wellspring.config import Lora, Recipe
from wellspring.errors import WellspringError
from wellspring.models import sources
from wellspring.models.architecture import knowing
from wellspring.models.directions import is_bidirectional
from wellspring.models.load import load
from wellspring.specs import EncodingSpec, TrainSpec
from wellspring.training import loop
from wellspring.training.adaptation import unwrapped
from wellspring.training.examples import joined, passages
from wellspring.training.language import UNTOLD, Question, looked_at
from wellspring.training.material import Material
from wellspring.training.run import prepare

STAGES = [
    ("mlm", "BertModel"),
    slow("mlm", "ModernBertForMaskedLM"),
    ("clm", "LlamaModel"),
    slow("clm", "Qwen2ForCausalLM"),
    slow("mntp", "LlamaForCausalLM"),
    ("mntp", "Gemma3ForCausalLM"),
]
SPECIAL = frozenset({0, 1, 2})


def text(name: str) -> str:
    """Words that the small tokenizers know, each told by the one before it."""
    first = sum(name.encode()) % 40
    return " ".join(f"w{(first + step) % 60}" for step in range(6 + first % 8))


def material() -> Material:
    texts = training.texts()
    written = [text(each) for each in texts["text_id"]]
    return Material(texts.with_columns(text=pl.Series(written)), training.samples())


def spec(backbone, architecture: str, recipe: Recipe) -> TrainSpec:
    sides = (
        EncodingSpec(
            model="base",
            architecture=architecture,
            layers=backbone.layers,
            side=side,
            pooling="mean",
            template="{text}",
            length=24,
            normalise=False,
            dtype="float32",
            storage="float32",
        )
        for side in ("query", "passage")
    )
    return TrainSpec(recipe=recipe, **dict(zip(("query", "passage"), sides, strict=True)))


def prepared(
    folder, stage="mlm", named="BertModel", tokens=2048, eager=False, given=None, **options
):
    """A run of a tiny model on the made-up passages, and the model as it was loaded."""
    if not (folder / "config.json").is_file():
        checkpoints.make(folder, named)
    architecture = knowing(named)
    assert architecture
    backbone = load(folder, architecture, 2)
    if eager:
        # The counter sees no kernel of attention on a CPU.
        backbone.model.set_attn_implementation("eager")
    if stage != "clm" and backbone.tokenizer.mask_token is None:
        # One that the small tokenizers know and no text has.
        options.setdefault("mask_token", "query")
    settings = {"datasets": ["made-up"], "batch": 8, "steps": 6, "learning_rate": 5e-3, **options}
    recipe = Recipe.model_validate({"stage": stage, **settings})
    sides = spec(backbone, architecture, recipe)
    return prepare(backbone, folder, sides, given or material(), tokens), backbone


def quality(run) -> float:
    """What validation texts cost, in nats a token."""
    return run.learner.measure()["quality"]


def weights(module) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in module.parameters()])


def optimised(run, state=None, save=lambda state: None) -> list[float]:
    return run.optimise(state, save, lambda step, loss: None)


@pytest.mark.parametrize(("share", "count"), [(0.15, 3), (0.01, 1), (0.9, 18)])
def test_a_share_of_the_words_is_hidden_and_never_a_special_token(share, count):
    tokens = np.array([1, *range(10, 30), 2])
    question = Question("mlm", 0, share, mask=5, special=SPECIAL, vocabulary=60)
    for draw in range(50):
        read, targets = question.ask(tokens, 0, f"text-{draw}")
        told = targets != UNTOLD
        assert told.sum() == question.told(tokens) == count
        assert np.array_equal(targets[told], tokens[told])
        assert np.array_equal(read[~told], tokens[~told])
        assert not told[[0, -1]].any()
    assert question.told(np.array([1, 2])) == 0


def test_eight_of_ten_hidden_tokens_are_masked_and_one_is_another():
    tokens = np.arange(100, 600)
    question = Question("mlm", 0, 0.3, mask=5, special=SPECIAL, vocabulary=10_000)
    parts = np.zeros(3)
    for draw in range(40):
        read, targets = question.ask(tokens, draw, "text")
        hidden = targets != UNTOLD
        masked, kept = read[hidden] == 5, read[hidden] == targets[hidden]
        parts += [masked.sum(), kept.sum(), (~masked & ~kept).sum()]
        assert not np.isin(read, list(SPECIAL)).any()
    assert parts.sum() == 40 * 150
    np.testing.assert_allclose(parts / parts.sum(), [0.8, 0.1, 0.1], atol=0.02)


def test_what_is_hidden_depends_on_seed_epoch_and_text_alone(tmp_path):
    run, _ = prepared(tmp_path, batch=8)
    other, _ = prepared(tmp_path, batch=4, steps=12)

    def seen(run):
        rows = {}
        for step, batch in enumerate(run.learner.batches):
            for (epoch, row), ids, targets in zip(
                run.learner.batches._rows(step),
                batch["text_input_ids"],
                batch["text_targets"],
                strict=True,
            ):
                length = len(run.learner.batches.tokens[row])
                rows[epoch, row] = (ids[:length].tolist(), targets[:length].tolist())
        return rows

    assert seen(run) == seen(other)
    question = run.learner.batches.question
    tokens = run.learner.batches.tokens[0]
    drawn = [question.ask(tokens, epoch, "a")[1].tolist() for epoch in range(20)]
    assert len({*map(tuple, drawn)}) > 1


def test_the_next_token_is_told_and_padding_is_not():
    question = Question("clm", 0)
    read, targets = question.ask(np.array([1, 7, 8, 9]), 0, "text")
    assert read.tolist() == [1, 7, 8, 9]
    assert targets.tolist() == [7, 8, 9, UNTOLD]
    assert question.told(np.array([1, 7, 8, 9])) == 3
    assert question.told(np.array([1])) == 0


def test_a_hidden_token_is_told_by_the_position_before():
    question = Question("mntp", 0, 0.9, mask=5, special=SPECIAL, vocabulary=60)
    tokens = np.array([10, 11, 12, 2, 13])
    read, targets = question.ask(tokens, 0, "text")
    # The first token has nothing before it, and the fourth is a special one.
    assert targets.tolist() == [11, 12, UNTOLD, 13, UNTOLD]
    assert read[[0, 3]].tolist() == [10, 2]


@pytest.mark.parametrize(("stage", "named"), STAGES)
@pytest.mark.parametrize("tokens", [2048, 30])
def test_the_loss_is_the_cross_entropy_of_transformers(stage, named, tokens, tmp_path):
    run, _ = prepared(tmp_path, stage, named, tokens)
    whole: Any = run.learner.module.model
    whole.eval()
    batch = {name.removeprefix("text_"): each for name, each in run.learner.batches[0].items()}
    with torch.no_grad():
        own = run.learner.module(batch)["losses"]
        logits = whole(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    told = batch["targets"] != UNTOLD
    chances = logits.float().log_softmax(-1)
    by_hand = [
        -chances[text, place, batch["targets"][text, place]].item()
        for text, place in told.nonzero().tolist()
    ]
    assert len(own) == len(by_hand) == run.learner.batches.told(0)
    np.testing.assert_allclose(sorted(own.tolist()), sorted(by_hand), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stage", "named"), STAGES)
def test_a_run_learns_words_and_what_is_stored_says_the_same(stage, named, tmp_path):
    run, _ = prepared(tmp_path / "base", stage, named, steps=60)
    before = quality(run)
    losses = optimised(run)
    after = quality(run)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    assert after < 0.8 * before
    merged = run.learner.merged()
    sources.store(merged, tmp_path / "base", tmp_path / "stored")
    again, backbone = prepared(tmp_path / "stored", stage, named)
    assert is_bidirectional(backbone.model.config) == (stage == "mntp")
    # Its head came with it: a next stage goes on where this one ended.
    assert quality(again) == after


@pytest.mark.parametrize(("stage", "named"), [("mlm", "BertModel"), ("clm", "LlamaModel")])
def test_lora_moves_the_trunk_and_trains_a_fresh_head_in_full(stage, named, tmp_path):
    target = "query" if stage == "mlm" else "q_proj"
    lora = Lora(rank=4, targets=[target])
    run, backbone = prepared(tmp_path, stage, named, lora=lora, steps=10)
    model: Any = unwrapped(run.learner.module.model)
    moved = {name for name, each in model.named_parameters() if each.requires_grad}
    head = {name for name in moved if not name.startswith(f"{model.base_model_prefix}.")}
    assert head and all("lora_" in name for name in moved - head)
    tied = training.is_tied(model)
    assert tied == (stage == "mlm")
    kept = backbone.model.get_input_embeddings().weight.clone()
    optimised(run)
    measured = quality(run)
    whole = run.learner.merged()
    assert torch.equal(kept, whole.get_input_embeddings().weight)
    assert training.is_tied(whole) == tied
    assert not any("lora_" in name for name, _ in whole.named_parameters())
    assert quality(run) == pytest.approx(measured, abs=2e-4)


@pytest.mark.parametrize("lora", [slow(None), Lora(rank=4, targets=["query"])])
def test_what_goes_on_is_what_was_not_ended(tmp_path, lora, monkeypatch):
    monkeypatch.setattr(loop, "SAVED", 0.0)
    states = []

    def save(state):
        copies = {name: each.clone() for name, each in state.tensors.items()}
        states.append(loop.State(state.step, copies, list(state.losses)))

    run, _ = prepared(tmp_path, lora=lora, steps=4)
    losses = optimised(run, save=save)
    # What happened before in this process must not matter.
    torch.manual_seed(1)
    other, _ = prepared(tmp_path, lora=lora, steps=4)
    rest = optimised(other, states[1])
    np.testing.assert_allclose(rest, losses, rtol=0, atol=1e-6)
    assert torch.equal(weights(run.learner.module), weights(other.learner.module))


@pytest.mark.parametrize("lora", [slow(False), True])
@pytest.mark.parametrize(("stage", "named"), STAGES)
def test_a_run_costs_what_was_told(stage, named, lora, tmp_path):
    target = {"BertModel": "query", "ModernBertForMaskedLM": "Wo"}.get(named, "q_proj")
    chosen = Lora(rank=4, targets=[target]) if lora else None
    run, _ = prepared(tmp_path, stage, named, tokens=60, eager=True, lora=chosen, steps=3)
    with FlopCounterMode(display=False) as counter:
        optimised(run)
    assert run.ledger.total == pytest.approx(counter.get_total_flops(), rel=0.02)
    assert {*run.ledger.flops} == {"encoder", "head"} and run.ledger.steps == 3
    assert (run.in_full > run.ledger.total) == lora


def test_a_budget_is_met(tmp_path):
    run, _ = prepared(tmp_path, steps=20)
    met, _ = prepared(tmp_path, steps=None, budget_flops=1.02 * run.ledger.total)
    assert abs(met.ledger.total / (1.02 * run.ledger.total) - 1) < 0.05


def mixed() -> Material:
    """Two datasets, of which the second is the smaller one."""
    own = material().texts
    frames = [training.samples(), training.samples(8, held=2)]
    others = own.with_columns(pl.col("text") + " w1")
    return Material(*joined([own, others], frames))


def test_what_validation_looks_at_is_not_read():
    samples = mixed().samples
    held = looked_at(samples, seed=0)
    assert held and not {*held} & {*passages(samples)}
    assert sorted(held) == sorted(looked_at(samples.reverse(), seed=0))


def test_a_fraction_and_a_mixture_are_read(tmp_path):
    whole, _ = prepared(tmp_path, datasets=["one", "two"], given=mixed())
    half, _ = prepared(tmp_path, datasets=["one", "two"], given=mixed(), fraction=0.5)
    assert {*half.learner.batches.ids} < {*whole.learner.batches.ids}
    assert half.learner.measure() == whole.learner.measure()
    weights = {"one": 1, "two": 3}
    mixture, _ = prepared(
        tmp_path, datasets=["one", "two"], given=mixed(), weights=weights, steps=200
    )
    batches = mixture.learner.batches
    ids = [batches.ids[row] for step in range(200) for _, row in batches._rows(step)]
    assert np.mean([each.startswith("1/") for each in ids]) == pytest.approx(0.75, abs=0.04)


def test_the_next_word_of_what_reads_in_both_directions_is_no_question(tmp_path):
    run, _ = prepared(tmp_path / "base", "mntp", "LlamaModel", steps=1)
    sources.store(run.learner.merged(), tmp_path / "base", tmp_path / "both")
    with pytest.raises(WellspringError, match="it sees the next word"):
        prepared(tmp_path / "both", "clm", "LlamaForCausalLM")


def test_a_model_without_such_a_head_or_token_is_refused(tmp_path):
    with pytest.raises(WellspringError, match="knows no masked head"):
        prepared(tmp_path / "llama", "mlm", "LlamaModel", mask_token="w1")
    with pytest.raises(WellspringError, match="mask_token: '_' is no token of the model"):
        prepared(tmp_path / "modern", "mlm", "ModernBertForMaskedLM", mask_token=None)
    with pytest.raises(WellspringError, match="batch: 500 texts a batch"):
        prepared(tmp_path / "bert", batch=500)
