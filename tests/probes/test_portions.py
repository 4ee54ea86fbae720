"""The online code and the fits to portions that it is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.support.probing import (
    changed,
    data,
    for_seeds,
    marked,
    permuted,
    relational,
    run,
    settings,
)
from wellspring import probes
from wellspring.probes import candidates, metrics, portions, training

PORTIONS = (0.125, 0.25, 0.5)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=60),
    st.lists(st.floats(0.01, 0.99), max_size=6, unique=True).map(sorted),
    st.integers(0, 9),
)
def test_portions_are_nested_blocks_of_whole_queries(queries, shares, seed):
    samples = np.arange(100, 100 + len(queries))
    ids = np.array([f"q{number}" for number in queries])
    found = portions.cut(samples, ids, seed, tuple(shares))
    order = np.random.default_rng(0).permutation(len(queries))
    moved = portions.cut(samples[order], ids[order], seed, tuple(shares))
    for part, again in zip(found, moved, strict=True):
        assert {*part.samples.tolist()} == {*again.samples.tolist()}
    query = dict(zip(samples.tolist(), ids.tolist(), strict=True))
    ends = [len(part.samples) for part in found]
    assert ends == sorted({*ends}) and len(queries) not in ends
    for number, part in enumerate(found):
        joined = [*part.samples.tolist(), *part.following.tolist()]
        expected = found[number + 1].samples if number + 1 < len(found) else samples
        assert sorted(joined) == sorted(expected.tolist())
        inside = {query[sample] for sample in part.samples.tolist()}
        assert not inside & {query[s] for s in query if s not in {*part.samples.tolist()}}
        # It ends with the query that reaches its share.
        last = query[part.samples[-1]]
        before = sum(query[sample] != last for sample in part.samples.tolist())
        assert before < part.share * len(queries) <= len(part.samples) + 1e-6


def by_hand(features, target, blocks, decay):
    """Bits of all samples in the order of `blocks`: a fit of scikit-learn, to its optimum, to what
    came before each block but the first."""
    count = target.max() + 1
    bits = {int(sample): np.log2(count) for sample in blocks[0]}
    whole = sum(map(len, blocks))
    for number in range(1, len(blocks)):
        before = np.concatenate(blocks[:number])
        # The penalty of n samples is decay · whole / n, so that C does not depend on n.
        model = LogisticRegression(C=1 / (decay * whole), tol=1e-9, max_iter=10_000)
        model.fit(features[before], target[before])
        for sample in blocks[number]:
            (probabilities,) = model.predict_proba(features[sample : sample + 1])
            bits[int(sample)] = -np.log2(probabilities[target[sample]])
    return bits


def asked(given, passages):
    """Standardised vectors, candidates and target of the first seed."""
    train = given.split[0] == "train"
    rows = given.query_rows, given.candidate_rows
    queries, answers = (
        StandardScaler().fit(side[used[train].ravel()].numpy()).transform(side.numpy())
        for side, used in zip((given.queries, given.passages), rows, strict=True)
    )
    keys = candidates.keys_of((0,), given.sample_ids)
    draw = candidates.draw(given.candidate_rows, keys, passages)
    return queries[given.query_rows], answers[draw.rows[0]], draw


def blocks_of(given):
    train = np.flatnonzero(given.split[0] == "train")
    parts = portions.cut(train, np.asarray(given.query_ids)[train], 0, PORTIONS)
    return [parts[0].samples, *(part.following for part in parts)]


@pytest.fixture
def to_the_optimum(monkeypatch):
    """Every fit ends where it converges, whatever validation says."""

    def newest(best, weights, score, epoch, patience):
        best.weights = {name: value.clone() for name, value in weights.items()}

    monkeypatch.setattr(training._Best, "update", newest)


def test_the_code_of_concat_is_that_of_a_slow_loop_over_scikit_learn(to_the_optimum):
    given, decay = marked(count=400, hidden=4, strength=0.8), 0.05
    chosen = settings("concat", seeds=(0,), portions=PORTIONS, epochs=400, weight_decay=decay)
    result = run(given, 3, chosen)
    queries, answers, draw = asked(given, 3)
    features = np.concatenate([queries[:, None], answers], axis=1).reshape(len(queries), -1)
    wanted = by_hand(features, draw.target[0], blocks_of(given), decay)
    found = {int(name[1:]): bits for name, bits in result.codes["sample_id", "bits"].iter_rows()}
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose([found[s] for s in wanted], [*wanted.values()], atol=2e-3)
    mean = result.metrics["code_length"].item()
    assert mean == pytest.approx(np.mean([*wanted.values()]), abs=1e-3)
    assert mean == pytest.approx(result.codes["bits"].mean(), rel=1e-6)
    assert result.metrics["uniform_length"].item() == pytest.approx(np.log2(3))


def test_the_code_of_an_interaction_is_that_of_another_optimiser(to_the_optimum):
    given, decay = relational(count=400, hidden=4, noise=1.0), 0.1
    chosen = settings("interaction", seeds=(0,), portions=PORTIONS, epochs=500, weight_decay=decay)
    result = run(given, 3, chosen)
    queries, answers, draw = asked(given, 3)
    raw = given.queries[given.query_rows][:, None], given.passages[torch.from_numpy(draw.rows[0])]
    cosines = torch.cosine_similarity(*raw, dim=-1).numpy()[..., None]
    features = np.concatenate([queries[:, None] * answers, answers, cosines], -1)
    target, blocks = draw.target[0], blocks_of(given)
    whole = sum(map(len, blocks))

    def scores(weights, samples):
        logits = features[samples] @ weights
        chosen = np.take_along_axis(logits, target[samples][:, None], -1)[:, 0]
        return logsumexp(logits, -1) - chosen

    def loss(weights, samples):
        penalty = decay * whole / len(samples) / 2 * (weights[:-1] ** 2).sum()
        return scores(weights, samples).mean() + penalty

    wanted = [np.full(len(blocks[0]), np.log2(3))]
    for number in range(1, len(blocks)):
        before = np.concatenate(blocks[:number])
        best = minimize(loss, np.zeros(9), args=(before,), tol=1e-9)
        wanted.append(scores(best.x, blocks[number]) / np.log(2))
    found = dict(result.codes["sample_id", "bits"].iter_rows())
    found = [found[given.sample_ids[sample]] for sample in np.concatenate(blocks)]
    np.testing.assert_allclose(found, np.concatenate(wanted), atol=2e-3)


@pytest.mark.slow
def test_codes_are_long_where_nothing_is_to_learn_and_short_where_much_is():
    kinds = ("concat", "passage-scorer", "interaction", "bilinear", "shuffled-query")
    chosen = settings(*kinds, "random-label", seeds=(0,), portions=PORTIONS, weight_decay=1.0)
    lengths = {}
    for name, planted in {
        "nothing": marked(count=1000, strength=0.0),
        "passages": marked(count=1000, strength=1.5),
        "the query": relational(count=1000),
    }.items():
        found = run(planted, 3, chosen).metrics.select("probe", "code_length")
        lengths[name] = dict(found.iter_rows())
    assert {*lengths["nothing"]} > {*kinds, "random-label-interaction"}
    uniform = np.log2(3)
    for kind in kinds:
        assert uniform - 0.02 < lengths["nothing"][kind] < uniform + 0.3, kind
        assert lengths["passages"][kind] < 0.75 * uniform or kind == "bilinear", kind
    assert lengths["the query"]["interaction"] < 0.3 * uniform
    for kind in ("concat", "passage-scorer", "shuffled-query"):
        assert lengths["the query"][kind] > uniform - 0.02, kind
    random = [name for name in lengths["nothing"] if name.startswith("random-label")]
    assert len(random) == 4 and all(lengths["nothing"][name] is None for name in random)


def test_sizes_tell_accuracy_over_the_training_split():
    given = marked(count=2000, strength=0.7, hidden=24)
    chosen = settings("concat", "cosine", seeds=(4, 5), portions=PORTIONS)
    result = run(given, 3, chosen)
    sizes, row = result.sizes, result.metrics.row(0, named=True)
    assert sizes["portion"].to_list() == [*PORTIONS, 1.0]
    assert sizes["train_samples"].to_list() == [150, 300, 600, 1200]
    assert sizes["probe"].unique().to_list() == ["concat"]
    assert sizes["seed"].unique().to_list() == [4]
    shared = ("samples", "accuracy", "chance", "above_chance", "low", "high")
    assert {name: sizes.row(-1, named=True)[name] for name in shared} == {
        name: row[name] for name in shared
    }
    accuracies = sizes["accuracy"].to_list()
    assert accuracies[0] + 0.05 < accuracies[-1] and sorted(accuracies) == accuracies
    # A portion by itself, as the training split of a job of its own.
    part = portions.cut(np.arange(1200), np.asarray(given.query_ids)[:1200], 4, PORTIONS)[1]
    split = given.split.copy()
    split[0, :1200] = np.where(np.isin(np.arange(1200), part.samples), "train", "left out")
    alone = changed(chosen, kinds=("concat",), seeds=(4,), portions=(), standardise=False)
    wanted = run(given, 3, changed(alone, seeds=(4, 5), portions=PORTIONS)).sizes
    scaled = changed(alone, weight_decay=4 * alone.weight_decay)
    accuracy = run(replace(given, split=split), 3, scaled).metrics["accuracy"].item()
    assert accuracy == wanted.filter(portion=0.25)["accuracy"].item()


def test_without_portions_there_is_no_code():
    result = run(relational(count=200), 3, settings("concat"))
    assert result.codes.is_empty() and result.sizes.is_empty()
    assert result.codes.schema == pl.Schema(portions.CODES)
    assert result.sizes.schema == pl.Schema(portions.SIZES)
    assert result.metrics["code_length"].null_count() == 2


def test_vectors_that_are_all_alike_cost_the_uniform_code():
    given = relational(count=200, hidden=6)
    given.passages[:] = 1.0
    result = run(given, 4, settings("concat", "interaction", "cosine", portions=PORTIONS))
    assert result.codes["bits"].unique().to_list() == [2.0]
    assert result.sizes.is_empty()
    lengths = result.metrics.filter(seed=0).select("probe", "code_length").rows()
    assert lengths == [("concat", 2.0), ("interaction", 2.0), ("cosine", None)]


def test_codes_and_sizes_depend_on_ids_alone():
    given = for_seeds(relational(count=300), 2)
    chosen = settings("concat", "interaction", portions=PORTIONS, epochs=10)
    one, other = (probes.run(each, 3, chosen) for each in (given, permuted(given)))
    assert one.codes.equals(other.codes) and one.sizes.equals(other.sizes)
    train = (given.split[0] == "train").sum()
    assert one.codes.height == 2 * train and one.codes.n_unique(["probe", "sample_id"]) == 2 * train
    assert one.codes["seed"].unique().to_list() == [0]


def test_too_few_samples_for_a_portion_leave_it_out():
    rng = np.random.default_rng(0)
    few = data(rng.normal(size=(12, 3)), rng.normal(size=(48, 3)), np.arange(48).reshape(12, 4))
    result = run(few, 3, settings("concat", seeds=(0,), portions=(0.01, 0.02, 0.5)))
    assert result.sizes["train_samples"].to_list() == [1, 4, 8]
    assert set(result.metrics.columns) == {*metrics.METRICS}
