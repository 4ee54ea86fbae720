"""The table of findings: a case worked out by hand, and what must not change it."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest

from benchmarks import comparisons
from wellspring.errors import StaleArtefact
from wellspring.findings.table import CONTROLS, KEYS, SCHEMA, Settings, build
from wellspring.randomness import generator

QUICK = Settings(permutations=500, seed=7)
PAIRS = {"tuned": "plain", "plain": None}


def outcomes(
    levels: dict[tuple[str, str], float],
    *,
    layers: int = 2,
    passages: tuple[int, ...] = (2, 3),
    seeds: int = 2,
    queries: int = 30,
    samples: int = 1,
) -> pl.DataFrame:
    """Random outcomes of (retriever, probe) at the given accuracies; untrained: alike in seeds."""
    rows = []
    untrained = ("cosine", "lexical")
    for (retriever, probe), level in levels.items():
        for layer, count, seed in product(range(layers), passages, range(seeds)):
            drawn_for = (0 if probe == "lexical" else layer, count)
            drawn_by = 0 if probe in untrained else seed
            draws = generator(drawn_by, retriever, probe, *drawn_for).random(queries * samples)
            draws = draws < level
            cell = (retriever, "toy", layer, count, probe, seed)
            rows.extend(
                (*cell, f"s{i:03}", f"q{i // samples:03}", float(hit), 1 / count)
                for i, hit in enumerate(draws)
            )
    names = ["retriever", "dataset", "layer", "passages", "probe", "seed", "sample_id"]
    return pl.DataFrame(rows, [*names, "query_id", "correct", "chance"], orient="row")


def pick(table: pl.DataFrame, **where: object) -> pl.DataFrame:
    return table.filter([pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()])


def by_hand() -> pl.DataFrame:
    """Three samples of two queries, two seeds, one cell."""
    tuned = {0: (1, 1, 0), 1: (1, 0, 0)}
    plain = {0: (0, 1, 0), 1: (0, 0, 0.5)}
    rows = [
        (name, "toy", 3, 2, "concat", seed, sample, query, float(credit), 0.5)
        for name, side in (("tuned", tuned), ("plain", plain))
        for seed, credits in side.items()
        for sample, query, credit in zip(("a", "b", "c"), ("x", "x", "y"), credits, strict=True)
    ]
    return pl.DataFrame(rows, outcomes({("tuned", "concat"): 0.5}).schema, orient="row")


def test_a_case_worked_out_by_hand() -> None:
    table = build(by_hand(), None, PAIRS, QUICK)
    where = {"retriever": "tuned", "layer": 3, "passages": 2, "probe": "concat"}
    accuracy = {
        row["measure"]: row["estimate"]
        for row in pick(table, finding="accuracy", **where).iter_rows(named=True)
    }
    # Seed averages of the samples: a 1, b 1/2, c 0; chance 1/2.
    assert accuracy == pytest.approx({"accuracy": 0.5, "chance": 0.5, "above_chance": 0})
    difference = pick(table, finding="difference", compared_with="plain", **where)
    assert set(difference["measure"]) == {"difference", "above_chance_difference", "d_z"}
    points = pick(difference, measure="difference", test="sign-flip max-T").row(0, named=True)
    # plain: a 0, b 1/2, c 1/4. So a +1, b 0, c -1/4; over three samples.
    assert points["estimate"] == pytest.approx(0.25)
    assert (points["samples"], points["queries"], points["seeds"]) == (3, 2, 2)
    above = pick(difference, measure="above_chance_difference")["estimate"].item()
    assert above == pytest.approx(0.5)
    # Queries: x +1/2, y -1/4: mean 1/8, standard deviation 0.75 / √2.
    d_z = pick(difference, measure="d_z")["estimate"].item()
    assert d_z == pytest.approx(0.125 / (0.75 / np.sqrt(2)))
    # Flips of x (2 samples) and y: |±1 ± 1/4| reaches |3/4| always.
    assert points["p_value"] == points["p_adjusted"] == 1
    assert points["significant"] is False
    assert not pick(table, test="McNemar").height


def test_every_row_is_tidy() -> None:
    every = {probe for pair in CONTROLS for probe in pair}
    levels = {(name, probe): 0.6 for name in PAIRS for probe in every}
    similar = pl.DataFrame(
        [("toy", "tuned", "plain", 0, "query", "cka", float("nan"), 30)],
        [
            "dataset",
            "retriever",
            "compared_with",
            "layer",
            "side",
            "measure",
            "estimate",
            "samples",
        ],
        orient="row",
    )
    table = build(outcomes(levels), similar, PAIRS, QUICK)
    assert table.schema == pl.Schema(SCHEMA)
    assert table.select(KEYS).is_duplicated().sum() == 0
    assert not table.select(pl.col(pl.Float64).is_nan().any()).row(0).count(True)
    controls = table.filter(pl.col("finding") == "control")
    assert set(controls.select("probe", "compared_probe").iter_rows()) == set(CONTROLS)
    assert pick(table, finding="similarity")["estimate"].to_list() == [None]
    tested = table.filter(pl.col("test").is_not_null())
    assert tested["significant"].null_count() == 0
    assert table.filter(pl.col("test").is_null())["p_value"].null_count() == (
        table.height - tested.height
    )
    inside = table.drop_nulls(["low", "high"]).filter(pl.col("measure") != "d_z")
    assert (inside["low"] <= inside["estimate"]).all()
    assert (inside["estimate"] <= inside["high"]).all()


def test_probes_are_compared_above_their_own_chance() -> None:
    """Where a negative repeats, slots and texts differ in what guessing earns."""
    rng = np.random.default_rng(5)
    rows = []
    for probe, chance in (("concat", 0.2), ("passage-scorer", 0.5), ("interaction", 0.5)):
        hits = rng.random(1500) < chance
        rows += [
            ("plain", "toy", 1, 5, probe, 0, f"s{i:04}", f"q{i:04}", float(hit), chance)
            for i, hit in enumerate(hits)
        ]
    frame = pl.DataFrame(rows, outcomes({("plain", "concat"): 0.5}).schema, orient="row")
    table = build(frame, None, {"plain": None}, QUICK)
    controls = pick(table, finding="control", measure="difference")
    assert set(controls["compared_probe"]) == {"passage-scorer", "interaction"}
    assert set(controls["test"]) == {"sign-flip max-T"}  # McNemar's compares bare accuracies
    assert controls["estimate"].abs().max() < 0.06 and not controls["significant"].any()
    assert ((controls["low"] < 0) & (controls["high"] > 0)).all()


def coded(saved: float, queries: int = 40) -> pl.DataFrame:
    """Codes of two samples a query where `tuned` saves bits with half of the queries."""
    rng = np.random.default_rng(3)
    rows = []
    for name, probe in product(PAIRS, ("interaction", "shuffled-query")):
        for place in range(2 * queries):
            helped = name == "tuned" and probe == "interaction" and place % 4 < 2
            bits = 2 - saved * helped + 0.1 * rng.normal()
            cell = (name, "toy", 1, 4, probe, 0, f"s{place:03}", f"q{place // 2:03}")
            rows.append((*cell, bits))
    names = ["retriever", "dataset", "layer", "passages", "probe", "seed", "sample_id", "query_id"]
    return pl.DataFrame(rows, [*names, "bits"], orient="row")


def test_code_lengths_are_means_of_bits_with_their_differences() -> None:
    codes = coded(1.0)
    table = build(by_hand(), None, PAIRS, QUICK, codes.sample(fraction=1, shuffle=True, seed=1))
    means = codes.group_by("retriever", "probe").agg(pl.col("bits").mean())
    mean = {(name, probe): bits for name, probe, bits in means.iter_rows()}
    where = {"retriever": "tuned", "probe": "interaction", "layer": 1, "passages": 4}
    own = pick(table, finding="code", **where)
    found = dict(own.select("measure", "estimate").iter_rows())
    length = mean["tuned", "interaction"]
    assert found == pytest.approx({"code_length": length, "compression": 2 / length})
    assert (own["low"] < own["estimate"]).all() and (own["estimate"] < own["high"]).all()
    for finding, named, other in (
        ("difference", {"compared_with": "plain"}, ("plain", "interaction")),
        ("control", {"compared_probe": "shuffled-query"}, ("tuned", "shuffled-query")),
    ):
        row = pick(table, finding=finding, **named, **where).row(0, named=True)
        assert row["measure"] == "code_length_difference"
        assert row["estimate"] == pytest.approx(length - mean[other])
        assert row["high"] < 0 and row["significant"]
        assert (row["samples"], row["queries"], row["seeds"]) == (80, 40, 1)
    nothing = build(by_hand(), None, PAIRS, QUICK, coded(0.0))
    nothing = pick(nothing, measure="code_length_difference")
    assert nothing.height == 4 and not nothing["significant"].any()
    assert ((nothing["low"] < 0) & (nothing["high"] > 0)).all()


def test_order_of_rows_and_laziness_change_nothing() -> None:
    levels = {(name, probe): 0.5 for name in PAIRS for probe in ("concat", "cosine", "lexical")}
    frame = outcomes(levels, samples=2)
    expected = build(frame, None, PAIRS, QUICK)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=5)
    assert build(shuffled, None, PAIRS, QUICK).equals(expected)
    assert build(shuffled.lazy(), None, PAIRS, QUICK).equals(expected)


def test_a_finding_does_not_depend_on_what_else_is_studied() -> None:
    frame = outcomes({(name, probe): 0.5 for name in PAIRS for probe in ("concat", "cosine")})
    tuned = frame.filter(pl.col("retriever") == "tuned").with_columns(dataset=pl.lit("third"))
    other = frame.with_columns(dataset=pl.lit("another"))
    alone = build(frame, None, PAIRS, QUICK)
    beside = build(pl.concat([frame, other, tuned]), None, PAIRS, QUICK)
    # All but what is corrected for all comparisons of the study.
    assert pick(beside, dataset="toy").drop("p_study").equals(alone.drop("p_study"))
    assert set(pick(beside, dataset="third")["finding"]) == {"accuracy"}


def test_the_study_corrects_for_every_comparison_that_asks_the_same() -> None:
    levels = {
        (name, probe): 0.6 for name in ("tuned", "twin") for probe in ("interaction", "cosine")
    }
    levels |= {("plain", "interaction"): 0.4, ("plain", "cosine"): 0.5}
    frame = outcomes(levels, layers=3)
    both = pl.concat([frame, frame.with_columns(dataset=pl.lit("other"))])
    table = build(both, None, {**PAIRS, "twin": "plain"}, QUICK)
    published = pl.col("test") == "t-test Bonferroni"
    assert table.filter(published)["p_study"].null_count() == table.filter(published).height > 0
    tested = table.filter(pl.col("p_adjusted").is_not_null(), ~published)
    asked = pl.when(pl.col("finding") == "control").then(6).otherwise(4)
    corrected = (tested["p_adjusted"] * tested.select(asked).to_series()).clip(upper_bound=1)
    assert {*tested["finding"]} == {"difference", "control", "trend"}
    np.testing.assert_allclose(tested["p_study"], corrected)
    assert table.filter(pl.col("p_adjusted").is_null())["p_study"].is_null().all()


@pytest.mark.slow
def test_few_studies_without_an_effect_find_one_after_the_correction() -> None:
    tested = [comparisons.differences(study, permutations=2_000) for study in range(200)]
    assert {frame.height for frame in tested} == {35}
    # 5 % of 200 is 10, with a standard deviation of 3.1.
    assert sum(bool((frame["p_study"] <= 0.05).any()) for frame in tested) <= 19
    assert sum(bool((frame["p_adjusted"] <= 0.05).any()) for frame in tested) >= 80
    planted = comparisons.differences(0, effect=3.0).sort("p_study").row(0, named=True)
    assert (planted["retriever"], planted["dataset"]) == comparisons.PLANTED
    assert planted["p_study"] <= 0.05 and planted["estimate"] > 0.3


def test_a_lexical_probe_has_no_layer_and_stands_against_every_one() -> None:
    frame = outcomes({("tuned", "cosine"): 0.9, ("tuned", "lexical"): 0.4}, queries=200)
    table = build(frame, None, {"tuned": None}, QUICK)
    lexical = pick(table, finding="accuracy", probe="lexical", measure="accuracy")
    assert lexical["layer"].to_list() == [None, None]
    against = pick(table, finding="control", measure="difference", test="sign-flip max-T")
    assert against["layer"].to_list() == [0, 0, 1, 1]
    assert against["significant"].all()
    cosine = pick(table, probe="cosine", measure="accuracy").sort("layer", "passages")["estimate"]
    level = lexical.sort("passages")["estimate"].to_numpy()
    np.testing.assert_allclose(against["estimate"], cosine - np.tile(level, 2))


def test_mcnemar_stands_where_a_query_has_one_sample_and_there_is_one_seed() -> None:
    levels = {("tuned", "concat"): 0.8, ("plain", "concat"): 0.4}
    one = build(outcomes(levels, seeds=1, queries=90), None, PAIRS, QUICK)
    found = pick(one, test="McNemar")
    assert found.height == 4 and found["significant"].all()
    np.testing.assert_allclose(found["p_adjusted"], np.minimum(1, 4 * found["p_value"]))
    for unfit in ({"seeds": 2}, {"seeds": 1, "samples": 2}):
        table = build(outcomes(levels, **unfit), None, PAIRS, QUICK)
        assert pick(table, test="McNemar").is_empty()


def test_shared_credit_takes_mcnemar_from_its_cell_alone() -> None:
    frame = outcomes({("tuned", "concat"): 0.8, ("plain", "concat"): 0.4}, seeds=1)
    tied = frame.with_columns(
        correct=pl.when(pl.col("layer") == 0).then("chance").otherwise("correct")
    )
    table = build(tied, None, PAIRS, QUICK)
    found = pick(table, test="McNemar")
    assert found.filter(pl.col("layer") == 0)["p_value"].null_count() == 2
    assert found.filter(pl.col("layer") == 1)["p_value"].null_count() == 0
    constant = table.filter(pl.col("layer") == 0, pl.col("finding") == "difference")
    assert constant.filter(pl.col("test") == "sign-flip max-T")["p_value"].to_list() == [1, 1]
    assert pick(constant, measure="d_z")["estimate"].to_list() == [0, 0]


def test_a_planted_difference_is_found_where_it_is() -> None:
    frame = outcomes({("tuned", "concat"): 0.5, ("plain", "concat"): 0.5}, seeds=3, queries=300)
    better = (pl.col("retriever") == "tuned") & (pl.col("layer") == 1) & (pl.col("passages") == 3)
    lifted = frame.with_columns(
        correct=pl.when(better & (pl.col("sample_id") < "s150")).then(1.0).otherwise("correct")
    )
    table = build(lifted, None, PAIRS, QUICK)
    found = pick(table, finding="difference", measure="difference", significant=True)
    assert set(found["test"]) == {"sign-flip max-T", "t-test Bonferroni"}
    assert set(found.select("layer", "passages").iter_rows()) == {(1, 3)}


@pytest.mark.parametrize("damage", ["missing", "doubled", "repeated", "unknown", "null"])
def test_samples_that_do_not_match_are_refused(damage: str) -> None:
    frame = outcomes({("plain", "concat"): 0.5, ("tuned", "concat"): 0.5})
    rest, last = frame.head(-1), frame.tail(1)
    damaged = {
        "missing": rest,
        "doubled": frame.vstack(last),
        "repeated": rest.vstack(rest.tail(1)),
        "unknown": rest.vstack(last.with_columns(sample_id=pl.lit("stranger"))),
        "null": rest.vstack(last.with_columns(correct=pl.lit(None, pl.Float64))),
    }[damage]
    with pytest.raises(StaleArtefact, match="dataset toy, retriever tuned, probe concat"):
        build(damaged, None, PAIRS, QUICK)


def test_sides_with_different_numbers_of_seeds_are_refused() -> None:
    two = outcomes({("plain", "concat"): 0.5}, seeds=2)
    three = outcomes({("tuned", "concat"): 0.5}, seeds=3)
    with pytest.raises(StaleArtefact, match="retriever tuned, probe concat: 360 outcomes where"):
        build(two.vstack(three), None, PAIRS, QUICK)


def test_pairs_meet_at_the_layers_that_both_have() -> None:
    deep = outcomes({("tuned", "concat"): 0.5}, layers=4)
    frame = deep.vstack(outcomes({("plain", "concat"): 0.5}, layers=2))
    table = build(frame, None, PAIRS, QUICK)
    assert set(pick(table, finding="difference")["layer"]) == {0, 1}
    assert set(pick(table, finding="accuracy", retriever="tuned")["layer"]) == {0, 1, 2, 3}


def test_a_trend_is_the_slope_over_layers() -> None:
    frame = outcomes({("tuned", "concat"): 0.0, ("plain", "concat"): 0.0}, layers=5, queries=400)
    rising = 0.3 + 0.1 * pl.col("layer") * (pl.col("retriever") == "tuned")
    rank = pl.col("sample_id").str.tail(3).cast(pl.Int64) / 400
    table = build(frame.with_columns(correct=(rank < rising).cast(pl.Float64)), None, PAIRS, QUICK)
    own = pick(table, finding="trend", retriever="tuned", compared_with=None)
    # .4 more accuracy from the first layer to the last; above chance 1 / 2 and 1 / 3.
    assert own.sort("passages")["estimate"].to_list() == pytest.approx([0.8, 0.6], abs=0.003)
    apart = pick(table, finding="trend", retriever="tuned", compared_with="plain")
    assert apart.sort("passages")["estimate"].to_list() == pytest.approx([0.8, 0.6], abs=0.003)
    assert apart["significant"].all() and (apart["low"] > 0.3).all()
    flat = pick(table, finding="trend", retriever="plain", compared_with=None)
    assert flat["estimate"].to_list() == pytest.approx([0, 0])
    assert pick(table, finding="trend")["layer"].null_count() == 6


def test_slopes_are_numpy_s() -> None:
    frame = outcomes({("tuned", "concat"): 0.5}, layers=4, queries=50)
    table = build(frame, None, {"tuned": None}, QUICK)
    curve = pick(table, finding="accuracy", measure="above_chance", passages=3).sort("layer")
    expected = 3 * np.polyfit(range(4), curve["estimate"], 1)[0]
    found = pick(table, finding="trend", passages=3)["estimate"].item()
    assert found == pytest.approx(expected)


def test_the_published_test_takes_the_first_seed_alone() -> None:
    levels = {("tuned", "concat"): 0.62, ("plain", "concat"): 0.5}
    frame = outcomes(levels, seeds=3, queries=200)
    three, one = (
        pick(build(rows, None, PAIRS, QUICK), test="t-test Bonferroni")
        for rows in (frame, frame.filter(seed=0))
    )
    np.testing.assert_allclose(three["p_value"], one["p_value"])


def ragged(frame: pl.DataFrame) -> pl.DataFrame:
    """Every seed tests another two thirds of the samples."""
    number = pl.col("sample_id").str.tail(3).cast(pl.Int64)
    return frame.filter((number + pl.col("seed")) % 3 != 0)


def test_seeds_may_test_different_samples() -> None:
    levels = {("tuned", "concat"): 0.8, ("plain", "concat"): 0.5}
    frame = ragged(outcomes(levels, seeds=3, queries=90))
    table = build(frame, None, PAIRS, QUICK)
    for (retriever, layer, passages), rows in frame.group_by("retriever", "layer", "passages"):
        where = {"retriever": retriever, "layer": layer, "passages": passages}
        (found,) = pick(table, measure="accuracy", **where).iter_rows(named=True)
        assert found["estimate"] == pytest.approx(rows["correct"].mean())
        assert (found["samples"], found["queries"], found["seeds"]) == (90, 90, 3)
    assert pick(table, finding="difference", test="sign-flip max-T")["significant"].all()
    with pytest.raises(StaleArtefact, match="retriever tuned, probe concat"):
        build(
            frame.filter(~((pl.col("retriever") == "tuned") & (pl.col("sample_id") == "s004"))),
            None,
            PAIRS,
            QUICK,
        )


def test_differences_say_what_could_be_seen() -> None:
    frame = outcomes({("tuned", "concat"): 0.5, ("plain", "concat"): 0.5}, seeds=1, queries=200)
    found = pick(build(frame, None, PAIRS, QUICK), measure="difference", test="sign-flip max-T")
    half = (found["high"] - found["low"]) / 2
    np.testing.assert_allclose(found["detectable"], 1.43 * half, rtol=0.05)
