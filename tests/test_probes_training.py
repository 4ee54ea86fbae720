"""Logits, gradients and optimiser against PyTorch and scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from probing import marked, relational, settings
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from wellspring.probes import candidates, concat, kinds, tasks, training

TRAINED = {
    "concat": concat.ConcatByTable,
    "concat-direct": concat.ConcatDirect,
    "passage-scorer": kinds.PassageScorer,
    "interaction": kinds.Interaction,
    "bilinear": lambda task: kinds.Bilinear(task, 3),
}


def task_of(data, passages=3, seeds=(0, 1)):
    """The task of `concat`, and its draw."""
    draw = candidates.draw(data.candidate_rows, data.sample_ids, seeds, passages)
    rows = np.tile(data.query_rows, (len(seeds), 1))
    arrays = (torch.from_numpy(array) for array in (rows, draw.rows, draw.target))
    return tasks.Task(data.queries, data.passages, *arrays), draw


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


@pytest.fixture(scope="module")
def shared_texts():
    return relational(count=120, hidden=6)


@pytest.mark.parametrize("name", TRAINED)
def test_logits_equal_their_definition(shared_texts, name):
    task, _ = task_of(shared_texts)
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
            else:
                inputs = passages if name == "passage-scorer" else passages * query
                wanted = inputs @ weights["weight"][seed]
            logits = found[seed, place]  # up to one number a sample, which no softmax sees
            torch.testing.assert_close(
                logits - logits[-1], wanted - wanted[-1], rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_equal_autograd(shared_texts, name):
    task, _ = task_of(shared_texts)
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
        found = probe.gradient(probe.project(weights), features, slope)
    for key, value in weights.items():
        torch.testing.assert_close(found[key], value.grad, rtol=1e-4, atol=1e-4)


def test_both_ways_of_concat_are_chosen_by_the_sharing_of_texts():
    shared, own = task_of(relational(200))[0], task_of(marked(200))[0]
    chosen = settings("concat")
    assert type(kinds.build("concat", shared, chosen, 120)) is concat.ConcatByTable
    assert type(kinds.build("concat", own, chosen, 120)) is concat.ConcatDirect


@pytest.mark.parametrize("batch_size", [1000, 30])
def test_both_ways_of_concat_train_alike(shared_texts, batch_size):
    task, draw = task_of(shared_texts)
    chosen = settings("concat", epochs=10, batch_size=batch_size)
    fits = []
    for way in (concat.ConcatByTable, concat.ConcatDirect):
        probe = way(task)
        weights = kinds.initial(probe, "concat", chosen)
        rows = np.arange(70), np.arange(70, 120)
        fits.append(training.train(probe, weights, *rows, draw.keys, chosen))
    np.testing.assert_allclose(fits[0].train_loss, fits[1].train_loss, rtol=1e-5)
    np.testing.assert_allclose(fits[0].validation_loss, fits[1].validation_loss, rtol=1e-5)


@pytest.mark.parametrize("name", ["concat", "concat-direct", "interaction"])
def test_blocks_change_nothing(shared_texts, monkeypatch, name):
    task, draw = task_of(shared_texts)
    chosen = settings("concat", epochs=5)
    losses = []
    for bytes_ in (2**23, 2000):
        monkeypatch.setitem(tasks._BLOCK, "cpu", bytes_)
        monkeypatch.setattr(training, "_KEPT", bytes_)
        probe = TRAINED[name](task)
        weights = {key: torch.zeros_like(value) for key, value in random_weights(probe).items()}
        fit = training.train(probe, weights, np.arange(70), np.arange(70, 120), draw.keys, chosen)
        losses.append(np.stack([fit.train_loss, fit.validation_loss]))
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1000, 32])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_training_equals_torch(shared_texts, batch_size, schedule):
    """A linear layer, torch.optim.Adam and its penalty, on the same batches."""
    task, draw = task_of(shared_texts)
    chosen = settings(
        "concat", epochs=6, batch_size=batch_size, schedule=schedule, initial="uniform"
    )
    probe = kinds.build("concat", task, chosen, batch_size)
    weights = kinds.initial(probe, "concat", chosen)
    started = {key: value.clone() for key, value in weights.items()}
    rows = np.arange(72)
    training.train(probe, weights, rows, np.arange(72, 96), draw.keys, chosen)
    batches = training.Batches(probe, rows, draw.keys, chosen)
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
    task, draw = task_of(shared_texts)
    chosen = settings("concat", batch_size=25)
    rows = np.arange(10, 82)
    probe = kinds.build("concat", task, chosen, 25)
    batches = training.Batches(probe, rows, draw.keys, chosen)
    epochs = [torch.cat([batch.samples for _, batch in batches.of(epoch)], 1) for epoch in range(2)]
    for epoch in epochs:
        assert all(sorted(order.tolist()) == rows.tolist() for order in epoch)
    orders = {tuple(order.tolist()) for epoch in epochs for order in epoch}
    assert len(orders) == 4


@pytest.mark.parametrize("make", [marked, relational])
def test_concat_is_multinomial_regression(make):
    """scikit-learn's optimum: the same features, the same penalty."""
    data = make(count=500, hidden=6)
    task, draw = task_of(data)
    decay, rows = 0.02, np.arange(300)
    chosen = settings("concat", learning_rate=0.03, epochs=800, weight_decay=decay)
    probe = kinds.build("concat", task, chosen, len(rows))
    weights = kinds.initial(probe, "concat", chosen)
    fit = training.train(probe, weights, rows, np.arange(300, 500), draw.keys, chosen)
    assert fit.converged.all()
    for seed in range(2):
        inputs, target = concatenated(task, seed).numpy(), task.target[seed].numpy()
        other = LogisticRegression(C=1 / (len(rows) * decay), tol=1e-8, max_iter=5000)
        other.fit(inputs[rows], target[rows])
        wanted = other.predict_proba(inputs)
        loss = -np.log(wanted[rows, target[rows]]).mean() + decay / 2 * (other.coef_**2).sum()
        assert fit.train_loss[seed, -1] == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(weights["weight"][seed].flatten(1), other.coef_, atol=1e-2)
        found = torch.softmax(torch.from_numpy(training.scores(probe, weights)[seed]), -1)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_concat_averaged_over_slots_is_the_passage_scorer():
    """Random order makes slots alike: own slot less other slots is one shared scorer."""
    data = marked(count=4000, hidden=8, strength=0.5)
    task, draw = task_of(data)
    chosen = settings("concat", learning_rate=0.03, epochs=150, weight_decay=1e-3)
    rows, held = np.arange(3200), np.arange(3200, 4000)
    weights = {}
    for kind in ("concat", "passage-scorer"):
        probe = kinds.build(kind, task, chosen, len(rows))
        weights[kind] = kinds.initial(probe, kind, chosen)
        training.train(probe, weights[kind], rows, held, draw.keys, chosen)
    slots = weights["concat"]["weight"][:, :, 1:]
    own = slots.diagonal(dim1=1, dim2=2).mean(-1)
    others = (slots.sum((1, 2)) - 3 * own) / 6
    shared = weights["passage-scorer"]["weight"]
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


def test_patience_stops_each_seed_by_itself():
    data = relational(count=400, hidden=16)  # nothing to learn for concat: validation turns soon
    chosen = settings("concat", seeds=(0, 1), epochs=60, patience=4)
    fits = []
    for seeds in ((0, 1), (0,), (1,)):
        task, draw = task_of(data, seeds=seeds)
        mine = replace(chosen, seeds=seeds)
        probe = concat.ConcatByTable(task)
        weights = kinds.initial(probe, "concat", mine)
        rows = np.flatnonzero(data.split == "train"), np.flatnonzero(data.split == "validation")
        fits.append(training.train(probe, weights, *rows, draw.keys, mine))
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
        assert np.argmin(losses[:end]) + 1 == best


@pytest.mark.parametrize("name", TRAINED)
def test_redrawn_orders_move_slots_and_never_what_is_asked(shared_texts, name):
    task, draw = task_of(shared_texts)
    probe = TRAINED[name](task)
    once, again, other = (training._reordered(probe, draw.keys, turn).task for turn in (0, 0, 1))
    for moved in (once, other):
        wanted = task.rows.gather(-1, task.target[..., None])
        assert torch.equal(moved.rows.gather(-1, moved.target[..., None]), wanted)
        assert torch.equal(moved.rows.sort(-1).values, task.rows.sort(-1).values)
    assert torch.equal(once.rows, again.rows) and not torch.equal(once.rows, other.rows)
    assert probe.task is task


def test_redrawn_orders_bring_concat_to_one_scorer_for_all_slots():
    """With an order a pass, slots cannot be fitted: their weights come close to each other."""
    spreads = {}
    for order in ("fixed", "redrawn"):
        task, draw = task_of(marked(count=300), seeds=(0,))
        probe = concat.ConcatByTable(task)
        chosen = settings("concat", order=order, seeds=(0,), epochs=150, weight_decay=0.0)
        samples = np.arange(task.sizes[1])
        weights = kinds.initial(probe, "concat", chosen)
        fit = training.train(probe, weights, samples[:200], samples[200:], draw.keys, chosen)
        own = torch.stack([fit.weights["weight"][0, n, n + 1] for n in range(3)])
        spreads[order] = float(own.std(0).norm() / own.mean(0).norm())
    assert spreads["redrawn"] < 0.6 * spreads["fixed"], spreads
