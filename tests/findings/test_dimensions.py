"""Dimensions on frames: counted by hand, with planted differences, and without any."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wellspring.errors import StaleArtefact
from wellspring.findings.dimensions import Place, Spent, dimensions
from wellspring.findings.verdicts import Rules
from wellspring.randomness import generator

RULES = Rules(margin=0.02, permutations=500)


def place(retriever: str, dataset: str = "pydocs", reference: str = "long", **own: object) -> Place:
    """A setting of one family: the retriever's name is that of its setting."""
    names = {"dimension": "lengths", "family": "minilm", "axis": "passage length", "x": None}
    said = names | {"stage": "as fetched", "setting": retriever} | own
    return Place(retriever=retriever, dataset=dataset, reference=reference, **said)


def values(of: Mapping[tuple[str, str], list[float]], measure: str = "nDCG@10") -> pl.DataFrame:
    """What queries 0, 1, … found, by retriever and dataset."""
    frames = [
        pl.DataFrame({"query_id": [str(n) for n in range(len(own))], "value": own}).select(
            pl.lit(retriever).alias("retriever"),
            pl.lit(dataset).alias("dataset"),
            pl.lit(measure).alias("measure"),
            "query_id",
            pl.col("query_id").alias("cluster"),
            "value",
        )
        for (retriever, dataset), own in of.items()
    ]
    return pl.concat(frames)


def drawn(
    means: Mapping[tuple[str, str], float], queries: int = 60, noise: float = 0.05, seed: int = 0
) -> pl.DataFrame:
    """Queries that are harder or easier for all retrievers, and these means over all of them."""
    rng = generator(seed, "queries")
    common = {d: rng.uniform(-0.2, 0.2, queries) for d in dict.fromkeys(d for _, d in means)}
    return values(
        {
            (name, dataset): np.clip(
                mean + common[dataset] + noise * rng.normal(size=queries), 0, 1
            ).tolist()
            for (name, dataset), mean in means.items()
        }
    )


def test_six_queries_by_hand():
    """Differences of .1 to .6, mean .35: of 2⁵ = 32 distinct flips one is as large."""
    known = {
        ("long", "pydocs"): [0.0] * 6,
        ("short", "pydocs"): [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    }
    spent = {"short": Spent(pairs=64, flops=1e9)}
    table = dimensions(values(known), [place("long"), place("short")], spent, RULES)
    reference, other = table.rows(named=True)
    assert reference["difference"] is reference["answer"] is reference["pairs"] is None
    assert (reference["value"], reference["queries"]) == (0, 6)
    assert other["value"] == other["difference"] == pytest.approx(0.35)
    student = stats.t(5).ppf(0.975) * np.std([1, 2, 3, 4, 5, 6], ddof=1) / 10 / np.sqrt(6)
    assert other["difference_low"] == pytest.approx(0.35 - student)
    assert other["p_value"] == other["p_adjusted"] == 1 / 32
    assert other["answer"] == other["verdict"] == reference["verdict"] == "higher"
    assert (other["pairs"], other["flops"]) == (64, 1e9)


def test_what_a_training_started_from_has_spent_nothing_of_it():
    """A model that read 25,600 texts, and what it was after 160 and 640 pairs."""
    names = {"read": 0.0, "early": 0.25, "long": 1.0}
    shares = [place(name, dimension="data-efficiency", x=x) for name, x in names.items()]
    begun = place("read", dimension="in-domain", family="read", reference="read")
    spent = {"read": Spent(25600, 1e12), "early": Spent(160, 1e10), "long": Spent(640, 4e10)}
    found = values({(name, "pydocs"): [0.1 * n for n in range(9)] for name in names})
    table = dimensions(found, [*shares, begun], spent, RULES)
    assert table["pairs"].to_list() == [0, 160, 640, 25600]
    assert table["flops"].to_list() == [0, 1e10, 4e10, 1e12]


def test_planted_differences_are_seen_and_others_are_not():
    means = {"long": 0.5, "short": 0.4, "middle": 0.5}
    table = dimensions(
        drawn({(name, "pydocs"): mean for name, mean in means.items()}, queries=200),
        [place(name) for name in means],
        {},
        RULES,
    )
    assert table["answer"].to_list() == [None, "lower", "equivalent"]
    assert table["verdict"].unique().to_list() == ["depends on the passage length"]
    assert table.filter(pl.col("setting") == "short")["difference"].item() == pytest.approx(
        -0.1, abs=0.01
    )


@pytest.mark.parametrize(("noise", "verdict"), [(0.01, "equivalent"), (0.2, "no evidence")])
def test_equivalent_is_not_no_evidence(noise: float, verdict: str):
    means = {(name, "pydocs"): 0.5 for name in ("long", "short")}
    found = dimensions(drawn(means, noise=noise), [place("long"), place("short")], {}, RULES)
    assert found["verdict"].unique().to_list() == [verdict]
    assert found["answer"].to_list() == [None, verdict]


def test_a_difference_may_depend_on_the_dataset():
    means = {
        ("long", "pydocs"): 0.5,
        ("short", "pydocs"): 0.5,
        ("long", "stories"): 0.5,
        ("short", "stories"): 0.4,
    }
    places = [place(*names) for names in means]
    found = dimensions(drawn(means), places, {}, RULES)
    assert found["verdict"].unique().to_list() == ["depends on the dataset"]
    alike = {names: 0.5 - 0.1 * (names[0] == "short") for names in means}
    assert dimensions(drawn(alike), places, {}, RULES)["verdict"].unique().to_list() == ["lower"]


def test_a_reference_may_differ_between_datasets():
    """One model over two tasks, against the model of each task."""
    means = {
        ("both", "a"): 0.6,
        ("both", "b"): 0.4,
        ("of-a", "a"): 0.6,
        ("of-b", "b"): 0.6,
    }
    references = {"a": "of-a", "b": "of-b"}
    places = [
        place(name, dataset, references[dataset], dimension="multi-task", axis="tasks")
        for name, dataset in means
    ]
    found = dimensions(drawn(means, queries=100), places, {}, RULES)
    rows = found.filter(pl.col("retriever") == "both")
    assert rows["answer"].to_list() == ["equivalent", "lower"]
    assert rows["difference"].to_list() == pytest.approx([0, -0.2], abs=0.02)
    assert found["reference"].to_list() == ["of-a", "of-b", "of-a", "of-b"]


def test_the_same_queries_whatever_their_order():
    means = {("long", "pydocs"): 0.5, ("short", "pydocs"): 0.45}
    frame, places = drawn(means), [place("long"), place("short")]
    turned = frame.sample(fraction=1, shuffle=True, seed=1)
    assert dimensions(frame, places, {}, RULES).equals(dimensions(turned, places, {}, RULES))


def test_a_query_without_a_value_does_not_count():
    known = {
        ("long", "pydocs"): [0.5] * 8 + [None],
        ("short", "pydocs"): [0.6] * 7 + [None, 0.9],
    }
    rows = dimensions(values(known), [place("long"), place("short")], {}, RULES).rows(named=True)
    assert [row["queries"] for row in rows] == [8, 8]
    assert rows[1]["difference"] == pytest.approx(0.1)


def test_queries_with_one_text_are_one():
    """Every query under four ids: the numbers are those of one id each, tests and all."""
    means = {("long", "pydocs"): 0.5, ("short", "pydocs"): 0.46}
    frame, places = drawn(means, queries=20), [place("long"), place("short")]
    often = pl.concat(
        frame.with_columns(query_id=pl.format("{}, {}", "query_id", pl.lit(copy)))
        for copy in range(4)
    )
    once, four = (dimensions(each, places, {}, RULES).rows(named=True) for each in (frame, often))
    for one, other in zip(once, four, strict=True):
        assert other == pytest.approx(one, nan_ok=True)
    assert four[0]["queries"] == 20


def test_a_family_of_one_has_a_value_and_no_verdict():
    known = {("long", "pydocs"): [0.2, 0.4, 0.6]}
    (row,) = dimensions(values(known), [place("long")], {}, RULES).rows(named=True)
    assert row["value"] == pytest.approx(0.4)
    assert row["verdict"] is row["answer"] is row["p_value"] is None


def test_few_queries_decide_nothing():
    known = {("long", "pydocs"): [0.0] * 4, ("short", "pydocs"): [0.9, 0.8, 0.9, 0.7]}
    rows = dimensions(values(known), [place("long"), place("short")], {}, RULES)
    assert rows["verdict"].unique().to_list() == ["not testable here"]
    assert rows["reason"][0] == "4 queries cannot decide anything"
    assert rows["answer"].to_list() == [None, "not testable here"]


def test_a_tiny_dataset_is_left_out_of_its_family():
    """The rest of the family is judged as if the tiny dataset were not there."""
    means = {("long", "big"): 0.4, ("short", "big"): 0.6}
    tiny = {("long", "tiny"): [0.1, 0.2, 0.3, 0.4], ("short", "tiny"): [0.2, 0.1, 0.4, 0.3]}
    big = drawn(means, queries=100)
    places = [place(name, dataset) for name, dataset in (*means, *tiny)]
    found = dimensions(pl.concat([big, values(tiny)]), places, {}, RULES)
    alone = dimensions(big, places[:2], {}, RULES)
    assert set(found["verdict"]) == {"higher"}
    assert set(found["reason"]) == {"short, tiny is left out: 4 queries cannot decide anything"}
    assert found["answer"].to_list() == [None, "higher", None, "not testable here"]
    assert found["p_adjusted"][:2].to_list() == alone["p_adjusted"].to_list()
    assert found["p_value"][3] is found["p_adjusted"][3] is None
    assert found["difference"][3] is not None


def test_what_is_missing_or_twice_there_is_named():
    known = values({("long", "pydocs"): [0.2, 0.4]})
    with pytest.raises(StaleArtefact, match="short on pydocs: holds no values; search it again"):
        dimensions(known, [place("long"), place("short")], {}, RULES)
    with pytest.raises(StaleArtefact, match="twice"):
        dimensions(pl.concat([known, known]), [place("long")], {}, RULES)


def wrong(trials: int, queries: int) -> int:
    """In how many studies without any difference a family of four settings on two datasets of
    different sizes gets a verdict that says there is one."""
    found = 0
    for trial in range(trials):
        rng = generator(trial, "null")
        of = {}
        for dataset, size in (("a", queries), ("b", queries // 4)):
            easy = rng.uniform(size=size)
            for name in ("long", "one", "two", "three"):
                # As ranks are: many alike, and few steps.
                ranks = rng.geometric(0.2 + 0.6 * easy)
                of[name, dataset] = np.where(ranks <= 10, 1 / ranks, 0).tolist()
        table = dimensions(
            values(of, "MRR@10"),
            [place(name, dataset) for name, dataset in of],
            {},
            Rules(margin=0.02, permutations=300, seed=trial),
        )
        found += table["verdict"][0] not in ("no evidence", "equivalent")
    return found


def test_without_differences_at_most_one_family_of_twenty_has_one():
    """The bound is one that 5 % keep in 99 of 100 such tests."""
    assert wrong(trials=100, queries=60) <= stats.binom(100, 0.05).ppf(0.99)


@pytest.mark.slow
@pytest.mark.parametrize("queries", [32, 200])
def test_without_differences_long(queries: int):
    assert wrong(trials=1000, queries=queries) <= stats.binom(1000, 0.05).ppf(0.99)
