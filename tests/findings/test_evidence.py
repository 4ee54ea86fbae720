"""The table of evidence: small frames worked out by hand, and what must not change it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest

from wellspring import intervals
from wellspring.findings import curves
from wellspring.findings.curves import Curve, Given, Measured, Name
from wellspring.findings.evidence import SCHEMA, Evidence, build, shared_queries
from wellspring.findings.sharing import FEWEST_SHARED, apart
from wellspring.findings.table import Settings
from wellspring.findings.table import build as findings
from wellspring.intervals import Interval
from wellspring.randomness import generator


def outcomes(levels: dict[str, float], queries: int = 30, seeds: int = 2) -> pl.DataFrame:
    """Random outcomes of a retriever's probes at three layers; `lexical` is alike at each."""
    rows = []
    for probe, layer, seed in product(levels, range(3), range(seeds)):
        place = 0 if probe == "lexical" else layer
        hits = generator(seed, probe, place).random(queries) < levels[probe]
        rows += [
            (layer, 3, probe, seed, f"s{i:03}", f"q{i // 2:03}", float(hit), 1 / 3)
            for i, hit in enumerate(hits)
        ]
    names = ["layer", "passages", "probe", "seed", "sample_id", "query_id", "correct", "chance"]
    return pl.DataFrame(rows, names, orient="row")


def by_query(name: str, values: dict[str, list[float]], layers=(0, 1)) -> Curve:
    """A measure of test queries: its values at every layer."""
    numbers = np.array([values[query] for query in sorted(values)], dtype=np.float64)[:, None]
    ids = np.array(sorted(values), dtype=object)
    return Curve(Name(name), "query", layers, ids, numbers, np.ones_like(numbers))


def by_text(values: dict[str, list[float]], layers=(0, 1)) -> Curve:
    """A measure of attributed passages; NaN where one was not observed."""
    line = by_query("gini", values, layers)
    present = ~np.isnan(line.numerators)
    numerators = np.nan_to_num(line.numerators)
    return replace(line, unit="passage text", numerators=numerators, denominators=present * 1.0)


def evidence(lines, pairs=None, twins=None) -> Evidence:
    return Evidence("toy", lines, pairs or {}, twins or {})


def row(table: pl.DataFrame, **where: object) -> dict:
    chosen = table.filter([pl.col(k).eq_missing(pl.lit(v)) for k, v in where.items()])
    return chosen.row(0, named=True)


def queries(first: int, after: int, *values: float) -> dict[str, list[float]]:
    """Queries by number, all with the same values."""
    return {f"q{number:03}": list(values) for number in range(first, after)}


def test_measures_of_test_queries_are_those_of_the_queries_that_all_have():
    """Of 10 queries more each measure is higher, and they do not count."""
    probed = by_query("accuracy", queries(0, 10, 1, 1) | queries(10, 50, 0.5, 0.25))
    searched = by_query("ndcg", queries(10, 50, 0.4, 0.3) | queries(50, 60, 1, 1))
    both = evidence({"own": [Measured(probed), Measured(searched)]})
    assert shared_queries(both).tolist() == list(queries(10, 50))
    table = build(both)
    assert table.schema == SCHEMA
    for measure, layer, value in (
        ("accuracy", 0, 0.5),
        ("accuracy", 1, 0.25),
        ("ndcg", 0, 0.4),
        ("ndcg", 1, 0.3),
    ):
        known = row(table, measure=measure, layer=layer, control=None)
        assert known["estimate"] == pytest.approx(value)
        assert (known["texts"], known["shared_queries"]) == (40, 40)
    assert apart(table) == {}


@pytest.mark.parametrize("shared", [0, 1, FEWEST_SHARED - 1])
def test_where_few_queries_are_shared_each_measure_has_its_own(shared: int):
    """An accuracy over 200 queries does not come to rest on one of them."""
    probed = by_query(
        "accuracy", queries(0, 200 - shared, 0.5, 1) | queries(200 - shared, 200, 0, 0)
    )
    searched = by_query("ndcg", queries(200 - shared, 203, 0.4, 0.3))
    table = build(evidence({"own": [Measured(probed), Measured(searched)]}))
    accuracy = row(table, measure="accuracy", layer=0)
    assert accuracy["estimate"] == pytest.approx(0.5 * (200 - shared) / 200)
    assert (accuracy["texts"], accuracy["shared_queries"]) == (200, shared)
    assert row(table, measure="ndcg", layer=0)["texts"] == 3 + shared
    assert apart(table) == {"toy": shared}


def test_few_queries_are_no_matter_where_no_measure_has_more():
    lines = [Measured(by_query(name, queries(0, 3, 1, 1))) for name in ("accuracy", "ndcg")]
    assert apart(build(evidence({"own": lines}))) == {}


def test_controls_stand_beside_with_the_lead_over_them():
    """Differences .5, .1, .3 over texts a, b and c: their mean, and the interval of a mean."""
    own = by_query("ndcg", {"a": [0.7, 0], "b": [0.4, 0], "c": [0.8, 0]})
    floor = by_query("ndcg", {"a": [0.2, 0], "b": [0.3, 0], "c": [0.5, 0]})
    measured = Measured(own, [curves.Control("lexical", "bm25", floor)])
    table = build(evidence({"own": [measured], "other": [Measured(floor)]}, {"own": "other"}))
    apart = intervals.interval(intervals.mean(np.array([[0.5], [0.1], [0.3]])), -1, 1)
    for control, other in (("lexical", "bm25"), ("counterpart", "other")):
        beside = row(table, retriever="own", layer=0, control=control)
        assert beside["other"] == other
        assert beside["estimate"] == pytest.approx(1 / 3)
        assert beside["lead"] == pytest.approx(0.3)
        assert beside["lead_low"] == pytest.approx(apart.low[0])
        assert beside["lead_high"] == pytest.approx(apart.high[0])
    assert row(table, retriever="own", control=None)["compared_with"] == "other"
    assert table.filter(retriever="other")["control"].null_count() == 2


@pytest.mark.parametrize("unknown", [{}, {"c": [np.nan, 0.9]}])
def test_a_lead_is_of_the_texts_that_both_have(unknown: dict[str, list[float]]):
    """The counterpart lacks text c, or one layer of it; all else is alike."""
    own = {"a": [0.1, 0.3], "b": [0.2, 0.4], "c": [0.9, 0.9]}
    theirs = {text: own[text] for text in "ab"} | unknown
    lines = {"own": [Measured(by_text(own))], "other": [Measured(by_text(theirs))]}
    table = build(evidence(lines, {"own": "other"}))
    for layer, alone in ((0, 0.15), (1, 0.35 if not unknown else 1.6 / 3)):
        beside = row(table, layer=layer, control="counterpart")
        assert beside["estimate"] == pytest.approx(alone)
        assert beside["lead"] == pytest.approx(0)
        assert beside["texts"] == (3 if unknown and layer else 2)
    assert row(table, retriever="own", layer=0, control=None)["estimate"] == pytest.approx(0.4)


def test_without_a_text_in_common_there_is_no_lead():
    lines = {"own": [Measured(by_text({"a": [0.1]}, (0,)))]}
    lines["other"] = [Measured(by_text({"b": [0.2]}, (0,)))]
    beside = row(build(evidence(lines, {"own": "other"})), control="counterpart")
    assert [beside[name] for name in ("estimate", "lead", "texts")] == [None, None, 0]


def test_seeds_of_one_retriever_are_paired_with_those_of_another_as_one():
    own = by_text({"a": [0.5], "b": [0.7]}, (0,))
    seeds = np.array([[[0.1], [0.3]], [[0.2], [0.0]]])
    other = replace(own, numerators=seeds, denominators=np.array([[[1], [1]], [[1], [0]]]))
    table = build(evidence({"own": [Measured(own)], "other": [Measured(other)]}, {"own": "other"}))
    beside = row(table, control="counterpart")
    assert beside["estimate"] == pytest.approx(0.6 / 3)
    assert beside["lead"] == pytest.approx(0.6 - 0.6 / 3)


def test_a_twin_stands_behind_the_counterpart():
    lines = {
        name: [Measured(by_query("ndcg", {"a": [value, value], "b": [0, 0]}))]
        for name, value in (("tuned", 1.0), ("plain", 0.5), ("random", 0.25))
    }
    table = build(evidence(lines, {"tuned": "plain", "plain": "random"}, {"tuned": "random"}))
    leads = table.filter(retriever="tuned", layer=0).drop_nulls("control")
    assert dict(leads.select("control", "lead").iter_rows()) == pytest.approx(
        {"counterpart": 0.25, "twin": 0.375}
    )


def test_a_measure_without_texts_keeps_the_interval_that_it_came_with():
    given = Given(
        Name("cka", None, "query"),
        (0, 2),
        Interval(*np.array([[0.4], [0.3], [0.5]]).repeat(2, 1)),
        50,
    )
    table = build(evidence({"own": [Measured(given)]}))
    assert table.select("layer", "estimate", "low", "high", "texts").rows() == [
        (0, 0.4, 0.3, 0.5, 50),
        (2, 0.4, 0.3, 0.5, 50),
    ]


def test_probes_have_the_numbers_of_the_findings():
    levels = {"concat": 0.6, "random-label": 0.4, "lexical": 0.5, "cosine": 0.7}
    frame = outcomes(levels)
    measured = [*curves.of_probes(frame, ["concat", "cosine"], "toy")]
    table = build(evidence({"own": measured}))
    where = {"retriever": pl.lit("own"), "dataset": pl.lit("toy")}
    known = findings(frame.with_columns(**where), None, {}, Settings(permutations=100))
    for layer in range(3):
        accuracy = row(table, measure="accuracy", of="concat", layer=layer, control=None)
        theirs = row(known, measure="accuracy", probe="concat", layer=layer)
        for end in ("estimate", "low", "high"):
            assert accuracy[end] == pytest.approx(theirs[end])
        lead = row(table, of="concat", layer=layer, control="random-label")["lead"]
        where = {"finding": "control", "measure": "difference", "layer": layer}
        theirs = row(known, compared_probe="random-label", **where)
        assert lead == pytest.approx(theirs["estimate"])
        selectivity = row(table, measure="selectivity", of="concat", layer=layer)
        assert selectivity["estimate"] == pytest.approx(lead)
        floor = row(table, of="concat", layer=layer, control="lexical")
        assert floor["estimate"] == pytest.approx(
            row(known, probe="lexical", measure="accuracy")["estimate"]
        )
        chance = row(table, of="concat", layer=layer, control="chance")
        assert (chance["estimate"], chance["low"]) == (pytest.approx(1 / 3), None)
    assert not table.filter(of="cosine", control="random-label").height


def test_codes_are_bits_a_training_sample():
    frame = outcomes({"concat": 0.6, "random-label": 0.4}, seeds=1)
    codes = frame.with_columns(bits=1 + pl.col("correct")).drop("correct", "chance")
    measured = [*curves.of_codes(codes, ["concat"], "toy")]
    table = build(evidence({"own": measured}))
    code = row(table, measure="code_length", layer=1, control=None)
    hits = frame.filter(probe="concat", layer=1)["correct"].mean()
    assert code["estimate"] == pytest.approx(1 + hits)
    assert (code["unit"], code["shared_queries"]) == ("training query", 0)
    uniform = row(table, measure="code_length", layer=1, control="uniform")
    assert uniform["estimate"] == pytest.approx(np.log2(3))


def test_ablation_of_a_layer_is_set_against_random_neurons_of_it():
    rows = [
        # text, layer, choice, draw, margin, of .5 before
        ("a", 1, "top", 0, 0.1),
        ("a", 1, "random-as-top", 0, 0.4),
        ("a", 1, "random-as-top", 1, 0.5),
        ("b", 1, "top", 0, 0.3),
        ("b", 1, "random-as-top", 0, 0.5),
        ("b", 1, "random-as-top", 1, 0.5),
        ("a", None, "top", 0, -9.0),
    ]
    frame = pl.DataFrame(rows, ["text_id", "layer", "choice", "draw", "margin"], orient="row")
    frame = frame.with_columns(
        sublayer=pl.lit("output"), neurons=4, by=pl.lit("zero"), margin_before=0.5
    )
    table = build(evidence({"own": [*curves.of_ablations(frame, "norm", "query")]}))
    loss = row(table, measure="margin_loss", control=None)
    assert (loss["of"], loss["side"], loss["unit"]) == ("norm, output", "query", "query text")
    assert loss["estimate"] == pytest.approx(0.3)
    random = row(table, measure="margin_loss", control="random neurons")
    assert random["estimate"] == pytest.approx(0.025)
    assert random["lead"] == pytest.approx(0.275)
    whole = frame.with_columns(layer=pl.lit(None, pl.Int64))
    assert not [*curves.of_ablations(whole, "norm", "query")]


def test_removal_is_the_mean_size_beside_that_of_rounding():
    rows = [
        ("a", [], 0.01),
        ("a", [3], 0.2),
        ("a", [5], -0.4),
        ("b", [], 0.0),
        ("b", [3], 0.1),
        ("b", [5], 0.1),
    ]
    frame = pl.DataFrame(rows, ["text_id", "neurons", "margin_change"], orient="row")
    frame = frame.with_columns(layer=2, sublayer=pl.lit("output"))
    table = build(evidence({"own": [*curves.of_removals(frame, "passage")]}))
    assert row(table, control=None)["estimate"] == pytest.approx(0.2)
    assert row(table, control="nothing removed")["estimate"] == pytest.approx(0.005)


def test_retrieval_is_set_against_words():
    frame = pl.DataFrame(
        {
            "layer": [0, 0, 1, 1],
            "measure": ["nDCG@10"] * 4,
            "query_id": ["b", "a", "a", "b"],
            "value": [0.2, 0.4, 0.6, 1.0],
        }
    )
    words = pl.DataFrame({"measure": ["nDCG@10"] * 2, "query_id": ["a", "b"], "value": [0.5, 0.3]})
    frame, words = (each.with_columns(cluster="query_id") for each in (frame, words))
    table = build(evidence({"own": [curves.of_retrieval(frame, words, "bm25")]}))
    assert row(table, layer=1, control=None)["estimate"] == pytest.approx(0.8)
    assert row(table, layer=1, control="lexical")["lead"] == pytest.approx(0.4)
    assert row(table, layer=0, control="lexical")["lead"] == pytest.approx(-0.1)


def test_queries_with_one_text_are_one_text_of_the_evidence():
    """Three ids, two texts: the mean is over ids, and the interval over texts."""
    frame = pl.DataFrame(
        {
            "layer": 0,
            "measure": "nDCG@10",
            "query_id": ["a", "b", "c"],
            "cluster": ["a", "b", "a"],
            "value": [0.3, 0.9, 0.6],
        }
    )
    line, (control,) = curves.of_retrieval(frame, frame.drop("layer"), "bm25")
    for each in (line, control.curve):
        assert each.ids.tolist() == ["a", "b"]
        assert each.numerators.ravel().tolist() == pytest.approx([0.9, 0.9])
        assert each.denominators.ravel().tolist() == [2, 1]
        assert each.estimate().value.item() == pytest.approx(0.6)


def test_cka_is_left_out_where_it_is_not_defined():
    frame = pl.DataFrame(
        {
            "layer": [0, 1],
            "side": ["query", "query"],
            "measure": ["cka", "cka"],
            "estimate": [float("nan"), 0.9],
            "low": [float("nan"), 0.8],
            "high": [float("nan"), 1.0],
            "samples": [50, 50],
        }
    )
    ((line, _),) = curves.of_similarity(frame)
    assert line.layers == (1,)
