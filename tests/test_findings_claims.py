"""Claims 7 to 10 on planted tables and on planted activations."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellspring.findings import decentralisation
from wellspring.findings.claims import CLAIMS, SCHEMA, evaluate, published_setting
from wellspring.findings.verdicts import Setting, judge
from wellspring.randomness import generator

PUBLISHED = Setting("network-max", 0, 0.1)
SWEEP = [
    Setting(normaliser, left_out, threshold)
    for normaliser, thresholds in (
        ("network-max", (0.01, 0.1, 0.2)),
        ("sublayer-max", (0.01, 0.1, 0.2)),
        ("share-of-sum", (0.001, 0.002, 0.005)),
    )
    for left_out, threshold in product((0, 1), thresholds)
]
BOTH = "depends on the normaliser and the threshold"
COMPARABLE = {"norm"}
Rule = Callable[[Setting], int]


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (lambda s: 1, "supported"),
        (lambda s: -1, "contradicted"),
        (lambda s: 0, "not testable here"),
        # Undecided elsewhere does not matter, undecided at the published setting does.
        (lambda s: int(s == PUBLISHED), "supported"),
        (lambda s: -int(s.normaliser == "network-max"), "contradicted"),
        (lambda s: 1 if s.normaliser == "network-max" else -1, "depends on the normaliser"),
        (lambda s: -1 if s.left_out else 1, "depends on the normaliser"),
        (lambda s: int(s.normaliser == "sublayer-max"), "depends on the normaliser"),
        (lambda s: 1 if s.threshold in (0.01, 0.001) else -1, "depends on the threshold"),
        (lambda s: int(s.scale == PUBLISHED.scale and s != PUBLISHED), "depends on the threshold"),
        (lambda s: 1 if s == PUBLISHED else -1, BOTH),
        (lambda s: int(s != PUBLISHED), BOTH),
        # Only settings that share neither normaliser nor rank disagree.
        (lambda s: (s == PUBLISHED) - (s == Setting("share-of-sum", 0, 0.001)), BOTH),
        # The same rank, not the same number: .002 stands for .1.
        (lambda s: (s == PUBLISHED) - (s == SWEEP[13]), "depends on the normaliser"),
    ],
)
def test_every_verdict(rule: Rule, verdict: str) -> None:
    judgement = judge({setting: rule(setting) for setting in SWEEP}, PUBLISHED)
    assert judgement.verdict == verdict
    assert (judgement.reason is None) == (verdict != "not testable here")


def test_a_sweep_without_the_published_setting() -> None:
    states = {setting: 1 for setting in SWEEP if setting != PUBLISHED}
    judgement = judge(states, PUBLISHED)
    assert judgement.verdict == "not testable here"
    assert judgement.reason == (
        "the sweep lacks the published setting: network-max, 0 left out, threshold 0.1"
    )


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=len(SWEEP), max_size=len(SWEEP)))
def test_a_claim_and_its_opposite(states: list[int]) -> None:
    """What supports the one contradicts the other, and both depend on the same."""
    swapped = {"supported": "contradicted", "contradicted": "supported"}
    one = judge(dict(zip(SWEEP, states, strict=True)), PUBLISHED).verdict
    opposite = judge({s: -v for s, v in zip(SWEEP, states, strict=True)}, PUBLISHED).verdict
    assert opposite == swapped.get(one, one)
    in_reverse = reversed(list(zip(SWEEP, states, strict=True)))
    assert judge(dict(in_reverse), PUBLISHED).verdict == one


def planted(
    changes: dict[tuple[str, str], Rule],
    level: float = 0.2,
    *,
    layers: dict[int, float] | None = None,
    side: str = "query",
    sweep: list[Setting] = SWEEP,
) -> pl.DataFrame:
    """A table of the pair tuned, plain, with decisions by (sublayer, region) and setting."""
    rows = []

    def add(finding: str, retriever: str, sublayer: str, low: float, high: float, **place) -> None:
        other = None if finding == "level" else "plain"
        row = {"finding": finding, "retriever": retriever, "compared_with": other, **place}
        rows.append({**row, "sublayer": sublayer, "low": low, "high": high, **vars(setting)})

    for setting in sweep:
        for (sublayer, region), rule in changes.items():
            # What is left out moves a real change, too.
            middle = 0.05 * rule(setting) + 1e-4 * setting.left_out
            add("change", "tuned", sublayer, middle - 0.01, middle + 0.01, region=region)
            bounds = (middle / 0.2 - 0.05, middle / 0.2 + 0.05)
            add("relative_change", "tuned", sublayer, *bounds, region=region)
        for sublayer, retriever in product({name for name, _ in changes}, ("tuned", "plain")):
            for layer in range(1, 5):
                value = (layers or {}).get(layer, level)
                add("level", retriever, sublayer, value * 0.9, value * 1.1, layer=layer)
    fixed = {"attribution": "norm", "dataset": "toy", "side": side, "measure": "share_active"}
    frame = pl.DataFrame(rows, {**decentralisation.SCHEMA}, strict=False)
    frame = frame.with_columns(**{name: pl.lit(value) for name, value in fixed.items()})
    return frame.with_columns(estimate=(pl.col("low") + pl.col("high")) / 2)


def verdicts(table: pl.DataFrame, pooling: str = "cls") -> dict[int, dict[str, object]]:
    found = evaluate(table, {"tuned": pooling, "plain": pooling}, COMPARABLE)
    assert found.schema == pl.Schema(SCHEMA)
    assert found["claim"].to_list() == [7, 8, 9, 10]
    return {row["claim"]: row for row in found.iter_rows(named=True)}


def test_a_claim_of_two_parts_needs_both() -> None:
    def parts(intermediate: Rule, early: Rule) -> dict[str, object]:
        rules = {("intermediate", "all"): intermediate, ("output", "early"): early}
        return verdicts(planted(rules))[7]

    up, down, none = (lambda s: 1), (lambda s: -1), (lambda s: 0)
    held = parts(up, down)
    assert held["verdict"] == "supported" and held["reason"] is None
    assert (held["settings"], held["supporting"], held["contradicting"]) == (18, 18, 0)
    assert (held["estimate"], held["low"], held["high"]) == pytest.approx((0.25, 0.2, 0.3))
    assert (held["normaliser"], held["left_out"], held["threshold"]) == ("network-max", 0, 0.1)
    assert parts(up, up)["verdict"] == "contradicted"
    assert parts(down, down)["verdict"] == "contradicted"
    assert parts(none, up)["verdict"] == "contradicted"
    assert parts(up, none)["verdict"] == "not testable here"
    assert (
        parts(up, none)["reason"]
        == "no setting decides: at each an interval holds 0 or is not known"
    )
    turned = parts(up, lambda s: -1 if s.normaliser == "network-max" else 1)
    assert turned["verdict"] == "depends on the normaliser"
    assert (turned["supporting"], turned["contradicting"]) == (6, 12)


def test_output_activity_must_not_vanish_in_any_layer() -> None:
    rules = {("output", "late"): lambda s: 1}
    assert verdicts(planted(rules))[8]["verdict"] == "supported"
    assert verdicts(planted(rules, layers={2: 0.0}))[8]["verdict"] == "contradicted"
    # An interval from 0 upwards leaves it open.
    touching = planted(rules).with_columns(
        low=pl.when(pl.col("layer") == 2).then(0.0).otherwise("low")
    )
    assert verdicts(touching)[8]["verdict"] == "not testable here"
    unknown = planted(rules).with_columns(
        low=pl.when(pl.col("layer") == 2).then(None).otherwise("low"),
        high=pl.when(pl.col("layer") == 2).then(None).otherwise("high"),
    )
    assert verdicts(unknown)[8]["verdict"] == "not testable here"


def test_a_setting_where_nothing_is_active_decides_nothing() -> None:
    rules = {("output", "late"): lambda s: 0 if s.threshold in (0.2, 0.005) else 1}
    empty = (pl.col("finding") == "level") & pl.col("threshold").is_in([0.2, 0.005])
    table = planted(rules)
    for name in ("estimate", "low", "high"):
        table = table.with_columns(pl.when(empty).then(0.0).otherwise(name).alias(name))
    found = verdicts(table)[8]
    assert found["verdict"] == "supported"
    assert (found["supporting"], found["contradicting"], found["settings"]) == (12, 0, 18)
    # The counterpart alone is active there: R keeps no activity.
    plain = pl.when(empty & (pl.col("retriever") == "plain")).then(0.1).otherwise("estimate")
    lost = verdicts(table.with_columns(estimate=plain))[8]
    assert lost["verdict"] == "depends on the threshold" and lost["contradicting"] == 6


def test_nothing_active_at_any_setting() -> None:
    rules = {("intermediate", "all"): lambda s: 0, ("output", "late"): lambda s: 0}
    rules[("output", "early")] = lambda s: 0
    found = verdicts(planted(rules, level=0.0))
    assert {row["verdict"] for row in found.values()} == {"not testable here"}
    assert found[8]["reason"] == "no neuron of sub-layer output is active at any setting"
    assert found[9]["reason"] == "no neuron of sub-layer intermediate is active at any setting"


def test_a_sub_layer_that_was_not_attributed() -> None:
    found = verdicts(planted({("intermediate", "all"): lambda s: -1}))
    assert found[9]["verdict"] == found[10]["verdict"] == "supported"
    assert found[7]["reason"] == "the table holds no change of sub-layer output, early layers"
    assert found[8]["reason"] == "the table holds no change of sub-layer output, late layers"
    assert found[8]["settings"] == 0


@pytest.mark.parametrize(
    ("pooling", "side", "published"),
    [
        ("cls", "query", {7}),
        ("cls", "passage", {8}),
        ("mean", "query", {9}),
        ("mean", "passage", {9}),
        ("eos", "query", {10}),
        ("last-position", "query", {10}),
    ],
)
def test_which_rows_stand_for_the_published_pair(
    pooling: str, side: str, published: set[int]
) -> None:
    rules = {("intermediate", "all"): lambda s: -1 if s.threshold == 0.01 else 1}
    found = verdicts(planted(rules, side=side), pooling)
    assert {claim for claim, row in found.items() if row["as_published"]} == published
    decoder = pooling in ("eos", "last-position")
    assert found[9]["threshold"] == (0.01 if decoder else 0.1)
    # The effect is the one at the published setting.
    assert found[9]["estimate"] == pytest.approx(-0.25 if decoder else 0.25)
    assert found[7]["confounded"].startswith("published through the pooler")
    assert found[9]["confounded"] is None


def test_another_attribution_is_not_as_published() -> None:
    table = planted({("intermediate", "all"): lambda s: 1}, side="query")
    found = evaluate(table, {"tuned": "cls", "plain": "cls"}, set())
    assert not found["as_published"].any()


def test_a_counterpart_with_fresh_weights_is_not_as_published() -> None:
    table = planted({("intermediate", "all"): lambda s: -1}, side="query")
    given = (table, {"tuned": "mean", "plain": "mean"}, COMPARABLE)
    for fresh, published in (((), True), (("plain",), False), (("tuned",), False)):
        found = evaluate(*given, fresh).filter(claim=9)
        assert found["as_published"].to_list() == [published]
        assert found["verdict"].to_list() == ["supported"]


def test_an_outlier_of_another_sub_layer_counts_no_setting_twice() -> None:
    table = planted({("intermediate", "all"): lambda s: -1})
    ours = (pl.col("normaliser") == "sublayer-max") & (pl.col("left_out") == 1)
    same = table.filter(normaliser="sublayer-max", left_out=0)
    repeated = pl.concat([table.filter(~ours), same.with_columns(left_out=pl.lit(1, pl.Int64))])
    found = [verdicts(rows)[9] for rows in (table, repeated)]
    assert [row["settings"] for row in found] == [18, 15]
    assert [row["supporting"] for row in found] == [18, 15]


def test_a_study_without_pairs_has_a_row_a_claim() -> None:
    levels = planted({("intermediate", "all"): lambda s: 1}).filter(pl.col("finding") == "level")
    for table in (levels, levels.clear()):
        for row in verdicts(table).values():
            assert row["verdict"] == "not testable here"
            assert row["retriever"] is None and row["estimate"] is None
            assert "no retriever together with its counterpart" in row["reason"]


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_never_matters(seed: int) -> None:
    rules = {("intermediate", "all"): lambda s: 1 if s.left_out else -1}
    both = [planted(rules, side=side) for side in ("query", "passage")]
    table = pl.concat([*both, both[0].with_columns(dataset=pl.lit("other"))])
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed)
    pooling = {"tuned": "mean", "plain": "mean"}
    assert evaluate(shuffled, pooling, COMPARABLE).equals(evaluate(table, pooling, COMPARABLE))
    assert evaluate(table, pooling, COMPARABLE).height == 3 * len(CLAIMS)


def attributed(factor: Callable[[str, int, str], float]) -> pl.DataFrame:
    """The table of planted shares: the counterpart's, and `factor` times them.

    factor: of sub-layer, layer and normaliser.
    """
    rows = []
    for encoder, text, layer, sublayer in product(
        ("tuned", "plain"), range(40), (1, 2, 3, 4), ("intermediate", "output")
    ):
        for setting in SWEEP:
            name = (text, layer, sublayer, setting.normaliser, setting.left_out)
            share = 0.02 / (1 + 10 * setting.threshold)
            share *= generator(1, *name).gamma(8, 1 / 8)
            share *= generator(2, encoder, *name).gamma(20, 1 / 20)
            share *= factor(sublayer, layer, setting.normaliser) if encoder == "tuned" else 1
            rows.append((encoder, f"t{text:02}", layer, sublayer, *vars(setting).values(), share))
    names = ["encoder", "text_id", "layer", "sublayer", "normaliser", "left_out", "threshold"]
    frame = pl.DataFrame(rows, [*names, "value"], orient="row")
    fixed = {"attribution": "norm", "dataset": "toy", "side": "query", "measure": "share_active"}
    return decentralisation.build(
        frame.with_columns(**{name: pl.lit(value) for name, value in fixed.items()}),
        None,
        None,
        {name: {"query": name, "passage": name} for name in ("tuned", "plain")},
        {"tuned": "plain"},
        {"tuned": 4, "plain": 4},
        decentralisation.Settings(resamples=300),
    )


def test_planted_activity_at_every_setting() -> None:
    def factor(sublayer: str, layer: int, normaliser: str) -> float:
        return 1.5 if sublayer == "intermediate" else (0.6 if layer <= 2 else 1.4)

    found = verdicts(attributed(factor))
    assert found[7]["verdict"] == found[8]["verdict"] == "supported"
    assert found[9]["verdict"] == found[10]["verdict"] == "contradicted"
    assert found[7]["supporting"] == found[9]["contradicting"] == len(SWEEP)
    assert found[7]["low"] < 0.5 < found[7]["high"]
    assert found[7]["estimate"] == pytest.approx(0.5, abs=0.1)
    assert found[8]["estimate"] == pytest.approx(0.4, abs=0.1)


def test_planted_activity_that_flips_with_the_normaliser() -> None:
    def factor(sublayer: str, layer: int, normaliser: str) -> float:
        return 1.5 if normaliser == "network-max" else 0.7

    found = verdicts(attributed(factor))
    assert found[9]["verdict"] == "depends on the normaliser"
    assert (found[9]["supporting"], found[9]["contradicting"]) == (12, 6)
    # Early output rises with the rest at the published normaliser, intermediate falls at others.
    assert found[7]["verdict"] == "contradicted"


def test_the_published_setting() -> None:
    assert published_setting("cls") == PUBLISHED
    assert published_setting("eos") == Setting("network-max", 0, 0.01)
