"""Rank correlations over layers: planted relations, and how often intervals hold the truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wellspring.findings.curves import Curve, Given, Measured, Name
from wellspring.findings.evidence import Evidence
from wellspring.findings.prediction import (
    SCHEMA,
    Points,
    compared,
    correlations,
    points_of,
    spearman,
)
from wellspring.intervals import Interval
from wellspring.randomness import generator

LAYERS = 7


def curve(name: str, values: np.ndarray, unit="query", first: int = 0, ids=None) -> Curve:
    """values: [Q, L]"""
    if ids is None:
        ids = [f"q{number:04}" for number in range(len(values))]
    numbers = np.asarray(values, dtype=np.float64)[:, None]
    layers = tuple(range(first, first + numbers.shape[-1]))
    return Curve(Name(name), unit, layers, np.array(ids, object), numbers, np.ones_like(numbers))


def noisy(levels, queries: int, *ids: str, shared: np.ndarray | None = None) -> np.ndarray:
    """[Q, L]: the levels and noise of variance 1, a third of it alike in all layers; half of it
    is `shared`, where that is given."""
    rng = generator(0, "noisy", *ids)
    own = np.sqrt(2 / 3) * rng.normal(size=(queries, len(levels)))
    own += np.sqrt(1 / 3) * rng.normal(size=(queries, 1))
    if shared is not None:
        own = np.sqrt(0.5) * own + np.sqrt(0.5) * shared
    return np.asarray(levels) + own


def of(*lines, draws: int = 300, **others):
    measured = {"own": [Measured(line) for line in lines], **others}
    pairs = {"own": "other"} if "other" in others else {}
    return correlations(Evidence("toy", measured, pairs, {}), 0, draws)


def test_spearman_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (20, 9)).astype(float), rng.normal(size=(20, 9))
    known = [stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert spearman(a, b) == pytest.approx(np.array(known))
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_a_planted_monotone_relation_is_found():
    rising = noisy(np.arange(LAYERS), 400, "a")
    falling = noisy(-np.exp(np.arange(LAYERS)), 400, "b")
    table = of(curve("a", rising), curve("b", rising**3), curve("c", falling))
    assert dict(table.schema) == SCHEMA
    assert table["estimate"].to_list() == [1, -1, -1]
    assert table["answer"].to_list() == ["together", "opposed", "opposed"]
    assert set(table["points"]) == {LAYERS}
    assert table["shared_texts"].to_list() == [400] * 3


def test_queries_are_drawn_jointly():
    """The same numbers twice: every draw ranks the layers alike, however much noise there is."""
    values = noisy(0.3 * np.arange(LAYERS), 30, "noise")
    row = of(curve("a", values), curve("b", values)).row(0, named=True)
    assert (row["low"], row["estimate"], row["high"]) == (pytest.approx(1),) * 3
    other = curve("b", values, ids=[f"other{number}" for number in range(30)], unit="query text")
    apart = of(curve("a", values), other).row(0, named=True)
    assert apart["low"] < 0.9
    assert apart["shared_texts"] == 0


def test_neither_order_nor_another_measure_changes_a_correlation():
    a, b, c = (curve(name, noisy(np.arange(LAYERS), 20, name)) for name in "abc")
    one = of(a, b).row(0)
    assert of(a, b, c).row(0) == one
    turned = curve("b", b.numerators[:, 0])
    assert of(a, turned).row(0) == one


def test_layers_are_those_that_both_have():
    """Attributions begin with block 1."""
    a, b = (
        curve("a", noisy(np.arange(7), 50, "a")),
        curve("b", noisy(np.arange(6), 50, "b"), first=1),
    )
    assert of(a, b)["points"].item() == 6


@pytest.mark.parametrize(
    ("b", "reason"),
    [
        (curve("b", noisy(np.arange(4), 50, "b")), "4 layers: a rank correlation needs 5"),
        (curve("b", np.ones((50, LAYERS))), "b is the same at every layer"),
        (
            curve("b", noisy(np.zeros(LAYERS), 50, "b")),
            "b differs between layers by less than its noise",
        ),
    ],
)
def test_what_cannot_be_tested_says_so(b, reason):
    row = of(curve("a", noisy(np.arange(LAYERS), 50, "a")), b).row(0, named=True)
    assert (row["answer"], row["reason"]) == ("not testable here", reason)


def test_a_measure_that_is_given_stays_as_it_is():
    values = np.arange(LAYERS, dtype=float)
    given = [
        Given(Name("cka", None, side), tuple(range(LAYERS)), Interval(values, values, values), 9)
        for side in "ab"
    ]
    table = of(curve("a", noisy(values, 50, "a")), *given)
    assert table["answer"].to_list()[:2] == ["together"] * 2
    last = table.row(2, named=True)
    assert (last["estimate"], last["low"]) == (1, None)
    assert last["reason"] == "neither side is measured text by text"


def test_differences_are_those_from_the_counterpart():
    """Both rise alike; what the retriever adds in one measure, it loses in the other."""
    layers, base = np.arange(LAYERS), noisy(9 * np.arange(LAYERS), 200, "base")
    own = [curve("a", base + layers), curve("b", base - layers)]
    other = [Measured(curve(name, base)) for name in "ab"]
    table = of(*own, other=other)
    answers = dict(table.filter(retriever="own").select("over", "answer").iter_rows())
    assert answers == {"layers": "together", "differences": "opposed"}
    assert table["retriever"].null_count() == 0


def test_differences_are_on_the_same_texts():
    """The retriever has texts of its own that fall; on those that both have, it rises."""
    layers, base = np.arange(LAYERS), noisy(np.zeros(LAYERS), 100, "base")
    ids = [f"p{number:03}" for number in range(200)]
    own = {"a": np.concatenate([base + layers, base - 9 * layers]), "b": base + layers}
    lines = {
        "own": [Measured(curve(m, v, "passage text", ids=ids[: len(v)])) for m, v in own.items()],
        "other": [Measured(curve(m, base, "passage text", ids=ids[:100])) for m in "ab"],
    }
    table = correlations(Evidence("toy", lines, {"own": "other"}, {}), 0, 100)
    answers = dict(table.filter(retriever="own").select("over", "answer").iter_rows())
    assert answers == {"layers": "opposed", "differences": "together"}


def test_a_measure_that_is_given_has_no_differences():
    """Similarity with the counterpart less the counterpart's with another is of three models."""
    layers = np.arange(LAYERS, dtype=float)
    lines = {}
    for number, name in enumerate(("tuned", "plain", "random")):
        cka = Given(Name("cka"), tuple(range(LAYERS)), Interval(*[number - layers] * 3), 9)
        accuracy = curve("accuracy", noisy((3 - number) * layers, 100, name))
        lines[name] = [Measured(accuracy), Measured(cka)]
    table = correlations(Evidence("toy", lines, {"tuned": "plain", "plain": "random"}, {}), 0, 100)
    assert set(table["over"]) == {"layers"}


def test_differences_of_all_pairs_stand_together():
    layers, base = np.arange(LAYERS), noisy(np.zeros(LAYERS), 100, "base")
    lines = {
        name: [Measured(curve(m, base + step * layers)) for m in "ab"]
        for name, step in (("one", 1), ("two", -2), ("base", 0))
    }
    table = correlations(Evidence("toy", lines, {"one": "base", "two": "base"}, {}), 0, 100)
    pooled = table.filter(table["retriever"].is_null()).row(0, named=True)
    assert (pooled["points"], pooled["layers"]) == (2 * LAYERS, LAYERS)
    assert pooled["answer"] == "together"


def pairs_of(**pairs: dict[str, np.ndarray]) -> pl.DataFrame:
    """Correlations over the differences of all pairs; each has the levels of its measures."""
    base = [Measured(curve(m, noisy(np.zeros(LAYERS), 300, "base", m))) for m in "ab"]
    lines = {
        pair: [Measured(curve(m, noisy(level, 300, pair, m))) for m, level in levels.items()]
        for pair, levels in pairs.items()
    }
    held = Evidence("toy", {**lines, "base": base}, dict.fromkeys(pairs, "base"), {})
    return correlations(held, 0, 200).filter(over="differences")


def test_levels_of_pairs_do_not_make_them_related():
    """Simpson's paradox: in both pairs one measure falls where the other rises, and one pair is
    higher in both."""
    layers = np.arange(LAYERS)
    table = pairs_of(
        one={"a": -layers, "b": layers},
        two={"a": 30 - layers, "b": 30 + layers},
    )
    assert table["estimate"].to_list() == [-1, -1, -1]
    assert table["answer"].to_list() == ["opposed"] * 3


def test_pairs_together_are_the_mean_of_the_pairs():
    swapped = np.array([1, 0, 2, 4, 3, 6, 5])
    table = pairs_of(
        one={"a": 5 * np.arange(LAYERS), "b": 5 * swapped},
        two={"a": 5 * np.arange(LAYERS), "b": -5 * np.arange(LAYERS)},
    )
    own = table.drop_nulls("retriever")["estimate"]
    pooled = table.filter(table["retriever"].is_null())["estimate"].item()
    assert own.to_list() == pytest.approx([1 - 6 * 6 / 336, -1])
    assert pooled == pytest.approx(own.mean())


def test_levels_of_pairs_do_not_make_them_reliable():
    flat = np.zeros(LAYERS)
    table = pairs_of(one={"a": flat, "b": flat}, two={"a": flat + 30, "b": flat + 30})
    pooled = table.filter(table["retriever"].is_null()).row(0, named=True)
    assert max(pooled["reliability"], pooled["other_reliability"]) < 0.5
    assert pooled["answer"] == "not testable here"


def test_measures_that_one_pair_alone_has_both_of_are_not_pooled():
    layers = np.arange(LAYERS)
    table = pairs_of(one={"a": layers, "b": layers}, two={"a": layers}, three={"b": layers})
    assert table["retriever"].to_list() == ["one"]


def test_every_pair_has_enough_layers():
    """Another pair has enough of them, but adds no layer to this one."""
    layers = np.arange(LAYERS)
    table = pairs_of(one={"a": layers[:4], "b": layers[:4]}, two={"a": layers, "b": layers})
    answers = dict(table.select("retriever", "answer").iter_rows())
    assert answers == {
        "one": "not testable here",
        "two": "together",
        None: "not testable here",
    }
    assert table["reason"].to_list()[-1] == "4 layers: a rank correlation needs 5"


def drawn(values: np.ndarray, weights: np.ndarray, name: str, pairs: int = 1) -> Points:
    """What weights [B, Q] of the queries make of their values [Q, L], of pairs one by one."""
    layers = values.shape[1] // pairs
    places = tuple((f"own{pair}", layer) for pair in range(pairs) for layer in range(layers))
    means = weights @ values / weights.sum(1, keepdims=True)
    return Points(Name(name), places, values.mean(0), means, frozenset())


def test_draws_are_weighted_means():
    """Of many draws of three queries: mean and variance of Rubin's weights, s² / (n + 1)."""
    values = np.array([[0.0, 1], [1, 5], [5, 0]])
    points = points_of(curve("a", values), "own", "toy", 0, 20_000)
    assert points.drawn.mean(0) == pytest.approx(values.mean(0), abs=0.05)
    assert points.drawn.var(0) == pytest.approx(values.var(0) / 4, rel=0.05)


def coverage(
    kind: str, queries: int, shared: bool, trials: int, layers: int = LAYERS, pairs: int = 1
) -> dict:
    """How often the interval holds the true correlation, and how often a verdict is given. Several
    pairs differ in level, and have the noise of one counterpart in common."""
    held = said = 0
    counterpart = layers * (pairs > 1)
    for trial in range(trials):
        rng = generator(trial, kind, queries, layers)
        step = {"weak": 1, "strong": 3, "unrelated": 1, "flat": 0}[kind] / np.sqrt(queries)
        orders = [np.tile(np.arange(layers), pairs)] * 2
        if kind == "unrelated":
            orders = [np.concatenate([rng.permutation(layers) for _ in range(pairs)]) for _ in "ab"]
        levels = [step * order for order in orders]
        size = queries, layers * pairs + counterpart
        common = rng.normal(size=size) if shared else None
        weights = rng.exponential(size=(300, queries))
        both = []
        for name, level in zip("ab", levels, strict=True):
            every = np.append(level + np.repeat(np.arange(pairs), layers), np.zeros(counterpart))
            values = noisy(every, queries, kind, name, str(trial), shared=common)
            if counterpart:
                values = values[:, :-layers] - np.tile(values[:, -layers:], pairs)
            both.append(drawn(values, weights, name, pairs))
        row = compared(*both)
        own = (np.split(level, pairs) for level in levels)
        truth = 0 if kind == "flat" else float(spearman(*map(np.array, own)).mean())
        held += row["low"] - 1e-9 <= truth <= row["high"] + 1e-9
        said += row["answer"] in ("together", "opposed")
    return {"held": held / trials, "said": said / trials}


@pytest.mark.parametrize(("kind", "pairs"), [("weak", 1), ("unrelated", 1), ("weak", 2)])
def test_intervals_hold_the_truth(kind, pairs):
    assert coverage(kind, 40, True, 150, pairs=pairs)["held"] >= 0.92


def test_flat_curves_are_seldom_called_related():
    assert coverage("flat", 40, True, 150)["said"] <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("layers", [5, 7, 13])
@pytest.mark.parametrize("queries", [16, 100, 400])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("pairs", [1, 2])
def test_intervals_hold_the_truth_everywhere(pairs, queries, shared, layers):
    for kind in ("weak", "strong", "unrelated"):
        assert coverage(kind, queries, shared, 500, layers, pairs)["held"] >= 0.93, kind
    assert coverage("flat", queries, shared, 500, layers, pairs)["said"] <= 0.05
