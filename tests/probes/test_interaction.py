"""The probe that sees query and passage together: it can only find more than the cosine does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from tests.support.probing import data, marked, relational, run, settings
from wellspring.probes.interaction import best_scale


def loss(scale, cosines, target):
    """Cross-entropy over all lists, and one more of which any slot is the target."""
    scores = scale * cosines
    total = logsumexp(scores, -1)
    given = (total - np.take_along_axis(scores, target[:, None], -1)[:, 0]).sum()
    return (given + (total - scores.mean(-1)).mean()) / (len(target) + 1)


@given(st.integers(0, 2**32), st.integers(2, 5), st.sampled_from([0.05, 1.0, 30.0]))
def test_the_start_has_the_scale_of_least_cross_entropy(seed, passages, unit):
    rng = np.random.default_rng(seed)
    cosines = unit * rng.normal(size=(2, 60, passages))
    target = rng.integers(passages, size=(2, 60))
    cosines[0] += unit * 0.7 * np.eye(passages)[target[0]]
    cosines[1] -= unit * 0.7 * np.eye(passages)[target[1]]
    found = best_scale(torch.from_numpy(cosines), torch.from_numpy(target))
    assert found[0] > found[1]
    for scale, lists, wanted in zip(found.double().tolist(), cosines, target, strict=True):
        best = minimize_scalar(loss, (-1 / unit, 1 / unit), args=(lists, wanted))
        assert loss(scale, lists, wanted) == pytest.approx(best.fun, abs=1e-8)
        assert scale == pytest.approx(best.x, rel=1e-3, abs=1e-4 / unit)


def test_a_scale_is_finite_where_all_lists_agree():
    """Cosines that rank every target first, every one last, or are all the same. Of n lists of two
    and one more that counts as half right, (2 n + 1) / (2 n + 2) are right: s is its log odds."""
    target = torch.zeros(3, 50, dtype=torch.int64)
    cosines = torch.tensor([[1.0, 0.9], [0.0, 1.0], [0.4, 0.4]])[:, None].expand(3, 50, 2)
    found = best_scale(cosines, target).tolist()
    assert found == pytest.approx([np.log(101) / 0.1, -np.log(101), 0], rel=1e-5)
    alone = best_scale(cosines[:, :1], target[:, :1]).tolist()
    assert alone == pytest.approx([np.log(3) / 0.1, -np.log(3), 0], rel=1e-5)


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_without_a_step_it_ranks_exactly_as_the_cosine(noise):
    given = relational(count=600, noise=noise)
    chosen = settings("interaction", "cosine", learning_rate=1e-12, epochs=3)
    result = run(given, 3, chosen)
    ours, theirs = (result.samples.filter(probe=p)["correct"] for p in ("interaction", "cosine"))
    assert ours.to_list() == theirs.to_list()


def test_a_probe_that_only_gets_worse_stays_at_the_cosine():
    """The cosine is the truth; steps of this length lead away from it at once."""
    given = relational(count=400, noise=3.0)
    chosen = settings("interaction", "cosine", learning_rate=5.0, weight_decay=0.0, epochs=5)
    result = run(given, 4, chosen)
    rows = result.metrics.filter(probe="interaction")
    assert rows["best_epoch"].to_list() == [0, 0] and rows["epochs"].to_list() == [5, 5]
    ours, theirs = (result.samples.filter(probe=p)["correct"] for p in ("interaction", "cosine"))
    assert ours.to_list() == theirs.to_list()


def turned(count=1500, seed=0):
    """The cosine misleads: half of the dimensions agree and half disagree, a little more."""
    given = relational(count=count, hidden=16, noise=1.0, seed=seed)
    signs = torch.ones(16)
    signs[:9] = -1
    return replace(given, passages=given.passages * signs)


def empty(count=1500, seed=0):
    """Nothing tells."""
    return marked(count=count, hidden=16, strength=0.0, seed=seed)


CASES = {
    "the cosine is the truth": lambda seed: relational(hidden=48, noise=2.5, seed=seed),
    "products are, and the cosine misleads": lambda seed: turned(seed=seed),
    "passages alone tell": lambda seed: marked(count=1500, strength=0.6, seed=seed),
    "nothing tells": lambda seed: empty(seed=seed),
}


def contrast(samples, one, other):
    """Mean difference of two probes over test samples, and its standard error."""
    means = samples.group_by("probe", "sample_id").agg(pl.col("correct").mean())
    wide = means.pivot("probe", index="sample_id", values="correct")
    difference = wide[one] - wide[other]
    return difference.mean(), difference.std() / len(difference) ** 0.5


@pytest.mark.parametrize("weight_decay", [1.0, 0.01])
@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_there_is_and_never_less_than_the_cosine(case, weight_decay):
    kinds = ("interaction", "shuffled-query", "cosine", "passage-scorer")
    found = {}
    for seed in range(2):
        given = CASES[case](seed)
        chosen = settings(*kinds, learning_rate=0.01, epochs=60, weight_decay=weight_decay)
        samples = run(given, 4, chosen).samples
        difference, error = contrast(samples, "interaction", "cosine")
        # One-sided, 16 comparisons: .02 in all.
        assert difference >= -3 * error, (case, seed, difference, error)
        for name, mean in samples.group_by("probe").agg(pl.col("correct").mean()).iter_rows():
            found.setdefault(name, []).append(mean)
        query, noise = contrast(samples, "interaction", "shuffled-query")
        if case in ("passages alone tell", "nothing tells"):
            assert abs(query) < 3 * noise, (case, seed, query, noise)
        else:
            assert query > 0.15
    means = {name: np.mean(values) for name, values in found.items()}
    if case == "products are, and the cosine misleads":
        assert means["cosine"] < 0.25 < 0.6 < means["interaction"], means
    if case == "passages alone tell":
        assert means["cosine"] < 0.3 < 0.5 < means["shuffled-query"], means
        assert means["interaction"] == pytest.approx(means["passage-scorer"], abs=0.03)
    if case == "nothing tells":
        assert abs(means["shuffled-query"] - 0.25) < 0.03, means


def test_a_query_is_another_one_in_all_three_terms():
    """With the right query in the cosine alone the control would not be blind."""
    given = relational(count=900, noise=0.3)
    samples = run(given, 4, settings("shuffled-query", "interaction", "cosine")).samples
    means = dict(samples.group_by("probe").agg(pl.col("correct").mean()).iter_rows())
    assert means["interaction"] > 0.98 and means["cosine"] > 0.98
    assert abs(means["shuffled-query"] - 0.25) < 0.06


def test_vectors_that_are_not_standardised_are_read_too():
    given = data(*marked_vectors(), shares=(0.6, 0.2))
    result = run(given, 3, settings("interaction", standardise=False))
    assert result.metrics["accuracy"].min() > 0.6
    assert result.metrics["label"].unique().to_list() == ["ok"]


def marked_vectors():
    given = marked(count=900, strength=0.7)
    return given.queries.numpy() + 3, given.passages.numpy() - 2, given.candidate_rows
