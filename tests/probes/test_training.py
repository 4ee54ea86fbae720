"""Logits, gradients and optimiser against PyTorch and scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from tests.support.probing import marked, question_of, relational, settings, tiled
from wellspring.probes import concat, kinds, tasks, training

TRAINED = {
    "concat": concat.ConcatByTable,
    "concat-direct": concat.ConcatDirect,
    "passage-scorer": kinds.ScorerByTable,
    "passage-scorer-direct": kinds.ScorerDirect,
    "interaction": lambda task: kinds.Interaction(task, kinds.ScorerByTable),
    "interaction-direct": lambda task: kinds.Interaction(task, kinds.ScorerDirect),
    "bilinear": lambda task: kinds.Bilinear(task, 3),
}


def concatenated(task, seed):
    """[q; p₁; …; p_N] of all samples of one seed, float32 [S, (N+1) H]."""
    queries = task.queries[task.query_rows[seed]]
    return torch.cat([queries[:, None], task.passages[task.rows[seed]]], 1).flatten(1)


def random_weights(probe, seeds=2):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn((seeds, *shape), generator=generator)
        for name, (shape, _) in probe.start().items()
    }


def to_the_end(kind, probe, question, rows, held, chosen):
    """The weights of the last epoch, not of the best one, and the fit."""
    rows, held = tiled(rows, held)
    weights = kinds.initial(kind, probe, chosen, question.seeds, torch.from_numpy(rows))
    return weights, training.train(probe, weights, question, rows, held, chosen)


@pytest.fixture(scope="module")
def shared_texts():
    return relational(count=120, hidden=6, noise=2.0)


@pytest.mark.parametrize("name", TRAINED)
def test_logits_equal_their_definition(shared_texts, name):
    task = question_of(shared_texts).task()
    probe = TRAINED[name](task)
    weights = random_weights(probe)
    samples = torch.tensor([[5, 3, 60, 5], [7, 8, 9, 119]])
    found = probe.logits(probe.project(weights), probe.features(samples))
    for seed in range(2):
        for place, sample in enumerate(samples[seed]):
            query = task.queries[task.query_rows[seed, sample]]
            passages = task.passages[task.rows[seed, sample]]
            if name.startswith("concat"):
                layer = torch.nn.functional.linear
                joined = torch.cat([query, *passages])
                wanted = layer(joined, weights["weight"][seed].flatten(1), weights["bias"][seed])
            elif name == "bilinear":
                matrix = weights["query"][seed].T @ weights["passage"][seed]
                wanted = passages @ (query @ matrix)
            elif name.startswith("passage-scorer"):
                wanted = passages @ weights["weight"][seed]
            else:
                cosines = torch.cosine_similarity(passages, query[None])
                wanted = weights["cosine"][seed] * cosines + passages @ weights["passage"][seed]
                wanted += (passages * query) @ weights["weight"][seed]
            logits = found[seed, place]  # up to one number a sample, which no softmax sees
            torch.testing.assert_close(
                logits - logits[-1], wanted - wanted[-1], rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_equal_autograd(shared_texts, name):
    task = question_of(shared_texts).task()
    probe = TRAINED[name](task)
    weights = {key: value.requires_grad_() for key, value in random_weights(probe).items()}
    samples = torch.stack([torch.arange(40), torch.arange(30, 70)])
    features = probe.features(samples)
    logits = probe.logits(probe.project(weights), features)
    target = task.pick(task.target, samples)
    cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum").backward()
    slope = logits.detach().softmax(-1)
    slope -= torch.nn.functional.one_hot(target, 3)
    with torch.no_grad():
        found = probe.collect(probe.gradient(probe.project(weights), features, slope))
    for key, value in weights.items():
        torch.testing.assert_close(found[key], value.grad, rtol=1e-4, atol=1e-4)


def test_both_ways_are_chosen_by_the_sharing_of_texts():
    shared, own = (question_of(data(200)).task() for data in (relational, marked))
    chosen = settings("concat")
    assert type(kinds.build("concat", shared, chosen, 120)) is concat.ConcatByTable
    assert type(kinds.build("concat", own, chosen, 120)) is concat.ConcatDirect
    for task, way in ((shared, kinds.ScorerByTable), (own, kinds.ScorerDirect)):
        assert type(kinds.build("passage-scorer", task, chosen, 120)) is way
        assert type(kinds.build("shuffled-query", task, chosen, 120).scorer) is way


@pytest.mark.parametrize("batch_size", [1000, 30])
@pytest.mark.parametrize("kind", ["concat", "passage-scorer", "interaction"])
def test_both_ways_train_alike(shared_texts, kind, batch_size):
    question = question_of(shared_texts)
    chosen = settings(kind, epochs=10, batch_size=batch_size)
    fits = []
    for way in (kind, f"{kind}-direct"):
        probe, rows = TRAINED[way](question.task()), (np.arange(70), np.arange(70, 120))
        fits.append(to_the_end(kind, probe, question, *rows, chosen)[1])
    np.testing.assert_allclose(fits[0].train_loss, fits[1].train_loss, rtol=1e-5)
    np.testing.assert_allclose(fits[0].validation_loss, fits[1].validation_loss, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "bilinear"])
def test_blocks_change_nothing(shared_texts, monkeypatch, name):
    question = question_of(shared_texts)
    chosen = settings("concat", epochs=5)
    losses = []
    for bytes_ in (2**23, 2000):
        monkeypatch.setitem(tasks._BLOCK, "cpu", bytes_)
        monkeypatch.setattr(training, "_KEPT", bytes_)
        probe = TRAINED[name](question.task())
        weights = {key: torch.zeros_like(value) for key, value in random_weights(probe).items()}
        rows = tiled(np.arange(70), np.arange(70, 120))
        fit = training.train(probe, weights, question, *rows, chosen)
        losses.append(np.stack([fit.train_loss, fit.validation_loss]))
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1000, 32])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_training_equals_torch(shared_texts, batch_size, schedule):
    """A linear layer, torch.optim.Adam and its penalty, on the same batches."""
    question = question_of(shared_texts)
    task = question.task()
    chosen = settings(
        "concat", epochs=6, batch_size=batch_size, schedule=schedule, initial="uniform"
    )
    probe = kinds.build("concat", task, chosen, batch_size)
    rows, held = tiled(np.arange(72), np.arange(72, 96))
    weights = kinds.initial("concat", probe, chosen, question.seeds, torch.from_numpy(rows))
    started = {key: value.clone() for key, value in weights.items()}
    training.train(probe, weights, question, rows, held, chosen)
    batches = training.Batches(probe, question, rows, chosen)
    steps = [batch.samples for epoch in range(6) for _, batch in batches.of(epoch)]
    assert len(steps) == 6 * math.ceil(72 / batch_size)
    for seed in range(2):
        layer = torch.nn.Linear(24, 3)
        with torch.no_grad():
            layer.weight.copy_(started["weight"][seed].flatten(1))
            layer.bias.copy_(started["bias"][seed])
        groups = [{"params": [layer.weight], "weight_decay": 0.01}, {"params": [layer.bias]}]
        adam = torch.optim.Adam(groups, lr=0.03)
        inputs = concatenated(task, seed)
        for number, batch in enumerate(steps):
            if schedule == "cosine":
                place = number // (len(steps) // 6) + number % (len(steps) // 6) * batch_size / 72
                for group in adam.param_groups:
                    group["lr"] = 0.015 * (1 + math.cos(math.pi * place / 6))
            adam.zero_grad()
            cross_entropy(layer(inputs[batch[seed]]), task.target[seed, batch[seed]]).backward()
            adam.step()
        torch.testing.assert_close(
            weights["weight"][seed].flatten(1), layer.weight.data, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(weights["bias"][seed], layer.bias.data, rtol=1e-4, atol=1e-5)


def test_mini_batches_part_each_epoch_by_seed_and_epoch(shared_texts):
    question = question_of(shared_texts)
    chosen = settings("concat", batch_size=25)
    rows = np.stack([np.arange(10, 82), np.arange(30, 102)])
    probe = kinds.build("concat", question.task(), chosen, 25)
    batches = training.Batches(probe, question, rows, chosen)
    epochs = [torch.cat([batch.samples for _, batch in batches.of(epoch)], 1) for epoch in range(2)]
    for epoch in epochs:
        assert np.sort(epoch.numpy(), 1).tolist() == rows.tolist()
    orders = {tuple(order - order.min()) for epoch in epochs for order in epoch.numpy()}
    assert len(orders) == 4


@pytest.mark.parametrize("make", [marked, relational])
def test_concat_is_multinomial_regression(make):
    """scikit-learn's optimum: the same features, the same penalty."""
    question = question_of(make(count=500, hidden=6))
    task, decay, rows = question.task(), 0.02, np.arange(300)
    chosen = settings("concat", learning_rate=0.03, epochs=800, weight_decay=decay)
    probe = kinds.build("concat", task, chosen, len(rows))
    weights, fit = to_the_end("concat", probe, question, rows, np.arange(300, 500), chosen)
    assert fit.converged.all()
    scores = torch.from_numpy(training.logits(probe, weights, *tiled(np.arange(500))))
    for seed in range(2):
        inputs, target = concatenated(task, seed).numpy(), task.target[seed].numpy()
        other = LogisticRegression(C=1 / (len(rows) * decay), tol=1e-8, max_iter=5000)
        other.fit(inputs[rows], target[rows])
        wanted = other.predict_proba(inputs)
        loss = -np.log(wanted[rows, target[rows]]).mean() + decay / 2 * (other.coef_**2).sum()
        assert fit.train_loss[seed, -1] == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(weights["weight"][seed].flatten(1), other.coef_, atol=1e-2)
        np.testing.assert_allclose(torch.softmax(scores[seed], -1), wanted, atol=2e-3)


def test_concat_averaged_over_slots_is_the_passage_scorer():
    """Random order makes slots alike: own slot less other slots is one shared scorer."""
    question = question_of(marked(count=4000, hidden=8, strength=0.5))
    task, held = question.task(), np.arange(3200, 4000)
    chosen = settings("concat", learning_rate=0.03, epochs=150, weight_decay=1e-3)
    weights = {}
    for kind in ("concat", "passage-scorer"):
        probe = kinds.build(kind, task, chosen, 3200)
        last, _ = to_the_end(kind, probe, question, np.arange(3200), held, chosen)
        weights[kind] = last["weight"]
    slots = weights["concat"][:, :, 1:]
    own = slots.diagonal(dim1=1, dim2=2).mean(-1)
    others = (slots.sum((1, 2)) - 3 * own) / 6
    shared = weights["passage-scorer"]
    assert (torch.cosine_similarity(own - others, shared) > 0.99).all()
    for seed in range(2):
        passages, target = task.passages[task.rows[seed, held]], task.target[seed, held]
        ranked = [(passages @ w[seed]).argmax(-1) for w in (own - others, shared)]
        right = [(first == target).float().mean().item() for first in ranked]
        assert right[0] == pytest.approx(right[1], abs=0.01)
        assert (ranked[0] == ranked[1]).float().mean() > 0.97


def test_the_end_of_a_curve():
    steady, decaying = settings(epochs=41, schedule="constant"), settings(epochs=41)
    line = 2 - 0.01 * np.arange(41)
    assert training.curve_end(line, steady) == pytest.approx(0.25)
    # The same steady progress, as slow at the end as its learning rate.
    spent = np.cumsum([0, *(1 + np.cos(np.pi * np.arange(40) / 41))])
    assert training.curve_end(2 - 0.01 * spent, decaying) == pytest.approx(0.25, abs=0.03)
    settled = 1 + np.exp(-0.5 * np.arange(41))
    assert abs(training.curve_end(settled, steady)) < 0.01
    assert training.curve_end(line[::-1], steady) == math.inf
    assert training.curve_end(line[:1], steady) == math.inf


@pytest.mark.parametrize("kind", ["concat", "interaction"])
def test_patience_stops_each_seed_by_itself(kind):
    data = relational(count=400, hidden=16)
    if kind == "interaction":  # nothing to learn beyond the cosine: the start may be the best
        data = marked(count=400, hidden=16, strength=0.0)
    chosen = settings(kind, seeds=(0, 1), epochs=60, patience=4)
    split = data.split[0]
    rows = [np.flatnonzero(split == name)[None] for name in ("train", "validation")]
    fits = []
    for seeds in ((0, 1), (0,), (1,)):
        parts = [np.repeat(samples, len(seeds), 0) for samples in rows]
        fits += training.fit(kind, [question_of(data, seeds=seeds)], *parts, chosen)
    together, alone = fits[0], fits[1:]
    assert (together.epochs == together.best_epoch + 4).all()
    assert together.converged.all()
    for seed in range(2):
        assert alone[seed].best_epoch[0] == together.best_epoch[seed]
        torch.testing.assert_close(
            alone[seed].weights["weight"][0], together.weights["weight"][seed], atol=1e-5, rtol=1e-4
        )
    for seed, (end, best) in enumerate(zip(together.epochs, together.best_epoch, strict=True)):
        losses = together.validation_loss[seed]
        assert np.isnan(losses[end:]).all()
        assert not best or np.argmin(losses[:end]) + 1 == best


@pytest.mark.parametrize("name", ["passage-scorer", "interaction", "bilinear"])
def test_targets_that_share_their_features_train_as_if_alone(shared_texts, name):
    """Two targets of the same lists in one fit, of which one is random."""
    question = question_of(shared_texts)
    lots = np.random.default_rng(0).integers(1, 2**60, (2, 120)).astype(np.uint64)
    questions = [question, replace(question, lots=(lots,))]
    chosen = settings(name, epochs=8, batch_size=32, rank=3)
    rows = tiled(np.arange(70), np.arange(70, 120))
    joint = training.fit(name, questions, *rows, chosen)
    alone = [training.fit(name, [each], *rows, chosen)[0] for each in questions]
    assert (joint[0].validation_loss != joint[1].validation_loss).all()
    for ours, theirs in zip(joint, alone, strict=True):
        np.testing.assert_allclose(ours.train_loss, theirs.train_loss, rtol=1e-5)
        np.testing.assert_allclose(ours.validation_loss, theirs.validation_loss, rtol=1e-5)
        everyone = tiled(np.arange(120))
        np.testing.assert_allclose(ours.scores(*everyone), theirs.scores(*everyone), atol=1e-4)


@pytest.mark.parametrize("name", ["concat", "passage-scorer", "interaction", "bilinear"])
def test_tables_of_the_used_texts_alone_change_nothing(name, monkeypatch):
    """A fit to a part of the samples leaves out the vectors of the others."""
    question = question_of(marked(count=400, hidden=6))
    rows, chosen = tiled(np.arange(40), np.arange(40, 80)), settings(name, epochs=6, rank=3)
    sizes = len(question.task().restricted(np.concatenate(rows, 1)).passages)
    assert sizes < 80 * 4 < 1600 == len(question.passages)
    fits = training.fit(name, [question], *rows, chosen)
    monkeypatch.setattr(tasks.Task, "restricted", lambda task, samples: task)
    fits += training.fit(name, [question], *rows, chosen)
    np.testing.assert_allclose(fits[0].train_loss, fits[1].train_loss, rtol=1e-5)
    found, wanted = (fit.scores(*tiled(np.arange(400))) for fit in fits)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_another_turn_draws_other_negatives_in_another_order(shared_texts):
    question = question_of(shared_texts, passages=2)
    once, again, other = (question.task(turn) for turn in (0, 0, 1))
    positives = torch.from_numpy(shared_texts.candidate_rows[:, 0])
    for task in (once, other):
        wanted = task.rows.gather(-1, task.target[..., None])[..., 0]
        assert torch.equal(wanted, positives.expand(2, -1))
        listed = torch.from_numpy(shared_texts.candidate_rows)[None, :, None]
        assert (task.rows[..., None] == listed).any(-1).all()
        columns = (task.rows[..., None] == listed).int().argmax(-1)
        every = question.cosines.expand(2, -1, -1)
        assert torch.equal(task.cosines, every.gather(-1, columns))
    assert torch.equal(once.rows, again.rows) and torch.equal(once.target, again.target)
    same = (once.rows.sort(-1).values == other.rows.sort(-1).values).all(-1).float().mean()
    assert 0.2 < same < 0.47  # one of three negatives: a third by chance
    assert 0.4 < (once.target == other.target).float().mean() < 0.6


def test_redrawn_negatives_bring_seeds_together():
    """Where passages tell, a new draw in every epoch teaches what all negatives teach: the probe
    comes closer to the best, and its seeds closer to each other."""
    found = {}
    for order in ("fixed", "redrawn"):
        data = marked(count=500, hidden=24, strength=0.4, negatives=6)
        chosen = settings("concat", order=order, epochs=80, weight_decay=0.0)
        question = question_of(data, seeds=tuple(range(6)))
        rows = [np.tile(np.arange(*ends), (6, 1)) for ends in ((0, 150), (150, 200))]
        (fit,) = training.fit("concat", [question], *rows, chosen)
        test = np.tile(np.arange(200, 500), (6, 1))
        right = fit.scores(test).argmax(-1) == question.target[:, test[0]]
        found[order] = right.mean(1)
    assert found["redrawn"].mean() > found["fixed"].mean() + 0.02, found
    assert found["redrawn"].std() < found["fixed"].std(), found
