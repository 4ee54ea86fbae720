"""The ledger of claims: what it says of planted ladders, of null ones, and of what is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks import scaling as simulated
from wellspring.findings.claims import CLAIMS, gathered, untested
from wellspring.findings.ladders import AXES, TOLD, kept, table
from wellspring.findings.ladders import SCHEMA as OF_LADDERS
from wellspring.findings.ledger import ENTRIES, SCHEMA, ledger
from wellspring.findings.questions import Entry, Ladders, Part
from wellspring.findings.rates import SCHEMA as SCHEMA_OF_RATES
from wellspring.findings.verdicts import NOT_TESTABLE

NOTHING = gathered([untested(claim, "nothing is compared") for claim in CLAIMS])
FINE_TUNED = "random → fine-tuning"


def ladders(
    trial: int,
    slopes: dict[str, float],
    datasets: tuple[str, ...] = ("near", "far"),
    stages: str = FINE_TUNED,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Values and models of a ladder for each objective, on a scale that log-odds can be taken of.

    slopes: objective to what a doubling brings.
    """
    return simulated.study(trial, slopes, datasets, stages)


def judged(trial: int, slopes: dict[str, float]) -> dict[str, dict]:
    values, models = ladders(trial, slopes)
    unused = [pl.lit(None, pl.Float64).alias(name) for name in ("parameters", "flops", "tokens")]
    scaling = table(values, models.with_columns(unused), 0, 0)
    rows = ledger(NOTHING, scaling, alpha=0.05, margin=0.02, in_domain=["near"])
    assert dict(rows.schema) == SCHEMA
    return {row["claim"]: row for row in rows.iter_rows(named=True)}


def test_every_document_has_its_claims_and_each_its_own_name() -> None:
    names = [entry.claim for entry in ENTRIES]
    assert len({*names}) == len(names)
    assert [sum(name[0] == letter for name in names) for letter in "ABCD"] == [10, 7, 5, 4]


def test_planted_slopes_are_judged() -> None:
    rows = judged(1, {"infonce": 0.05, "margin-mse": 0.0, "infonce+kl": 0.0})
    assert rows["C1"]["verdict"] == "supported"
    assert rows["C1"]["supporting"] == rows["C1"]["places"] == 2
    assert rows["C1"]["low"] > 0
    assert rows["B1"]["verdict"] == rows["B4"]["verdict"] == rows["D2"]["verdict"] == "supported"
    assert rows["B1"]["places"] == rows["B4"]["places"] == 1
    turned = judged(2, {"infonce": 0.0, "margin-mse": 0.06, "infonce+kl": 0.0})
    assert turned["C1"]["verdict"] == "contradicted"


def test_sparse_ladders_are_set_against_dense_ones() -> None:
    (values, models), (others, _) = (ladders(trial, {"infonce": 0.02}) for trial in (12, 13))
    sparse = [
        each.with_columns(retriever=pl.format("sparse-{}", "retriever"))
        for each in (others, models.with_columns(paradigm=pl.lit("sparse")))
    ]
    near = pl.col("dataset") == "near"
    better = sparse[0].with_columns(
        value=pl.when(near).then(pl.col("value") + 0.1).otherwise("value").clip(0, 1)
    )
    unused = [pl.lit(None, pl.Float64).alias(name) for name in ("parameters", "flops", "tokens")]
    both = pl.concat([models, sparse[1]]).with_columns(unused)
    scaling = table(pl.concat([values, better]), both, 0, 0)
    rows = ledger(NOTHING, scaling, alpha=0.05, margin=0.1, in_domain=["near"])
    told = {row["claim"]: row for row in rows.iter_rows(named=True)}
    assert told["C2"]["verdict"] == "supported" and told["C2"]["low"] > 0
    assert told["C2"]["places"] == told["C3"]["places"] == 1
    assert told["C3"]["verdict"] in ("equivalent", "no evidence")
    assert told["C2"]["place"].startswith("near, ")
    # Dense ladders alone say nothing of it.
    assert judged(12, {"infonce": 0.02})["C2"]["verdict"] == NOT_TESTABLE


def test_opposite_slopes_depend_on_the_place() -> None:
    values, models = ladders(3, {"infonce": 0.06})
    values = values.with_columns(
        value=pl.when(dataset="far").then(1 - pl.col("value")).otherwise("value")
    )
    scaling = table(values, models, 0, 0)
    entry = Entry("X", "here", "it grows", "slope", "any", Ladders([Part("slope")]))
    (row,) = ledger(NOTHING, scaling, alpha=0.05, margin=0.02, entries=[entry]).iter_rows(
        named=True
    )
    assert row["verdict"] == "depends on the place"
    assert (row["supporting"], row["contradicting"]) == (1, 1)


def test_a_claim_is_equivalent_where_all_of_its_parts_are() -> None:
    """A slope within the margin, beside differences of slopes that nobody knows."""
    place = {
        **dict.fromkeys(OF_LADDERS),
        **{"dataset": "near", "ladder": "cl", "stages": FINE_TUNED, "objective": "infonce"},
        **{"paradigm": "dense", "axis": "non_embedding", "measure": "m", "scale": "log-odds"},
        "seeds": 3,
    }
    slope = {"finding": "slope", "estimate": 0.001, "low": -0.01, "high": 0.012, "p_value": 0.8}

    def told(end: float) -> tuple[str, str | None]:
        rows = [{**place, **slope}]
        for other in ("margin-mse", "infonce+kl"):
            interaction = {"finding": "interaction", "factor": "objective", "compared_with": other}
            ends = {"estimate": 0.001, "low": -end, "high": end, "p_value": 0.6}
            warned = {"compared_ladder": other, "warnings": f"short; {other}"}
            rows.append({**place, **interaction, **ends, **warned})
        scaling = pl.DataFrame(rows, OF_LADDERS, infer_schema_length=None)
        table = ledger(NOTHING, scaling, alpha=0.05, margin=0.02, in_domain=["near"])
        return table.filter(claim="C1").select("verdict", "reason").row(0)

    assert told(0.9) == ("no evidence", "short; margin-mse; infonce+kl")
    assert told(0.012)[0] == "equivalent"


def test_what_a_study_lacks_is_not_testable() -> None:
    rows = ledger(NOTHING, alpha=0.05, margin=0.1)
    assert {*rows["verdict"]} == {NOT_TESTABLE}
    assert rows["reason"].null_count() == 0
    assert rows["reason"][0] == "nothing is compared"
    with_ladders = judged(4, {"infonce": 0.0})
    assert with_ladders["C1"]["reason"].startswith("no ladder on a dataset is what")
    assert with_ladders["D3"]["verdict"] == NOT_TESTABLE


def test_two_datasets_in_the_domain_are_not_one_in_and_one_out_of_it() -> None:
    values, models = ladders(1, {"infonce": 0.05})
    scaling = table(values, models, 0, 0)
    one, both = (
        ledger(NOTHING, scaling, alpha=0.05, margin=0.02, in_domain=names).filter(claim="D4")
        for names in (["near"], ["near", "far"])
    )
    assert one["places"].item() == 1 and both["places"].item() == 0
    assert both["reason"].item().startswith("no ladder on a dataset in the domain and one out")


def test_what_one_seed_or_an_unsaid_domain_cannot_tell_is_not_judged() -> None:
    values, models = ladders(1, {"infonce": 0.05})

    def told(models: pl.DataFrame, **domain: list[str]) -> dict[str, dict]:
        scaling = table(values.join(models, on="retriever", how="semi"), models, 0, 0)
        rows = ledger(NOTHING, scaling, alpha=0.05, margin=0.02, **domain)
        return {row["claim"]: row for row in rows.iter_rows(named=True)}

    assert told(models, in_domain=["near"])["B1"]["verdict"] == "supported"
    unsaid = told(models)
    assert {unsaid[claim]["verdict"] for claim in ("B1", "B4", "D4")} == {NOT_TESTABLE}
    assert unsaid["B4"]["reason"].startswith("study.scaling.in_domain does not say")
    single = told(models.unique("size", keep="first", maintain_order=True), in_domain=["near"])
    assert single["B1"]["reason"].startswith("a size has fewer than the 3 seeds")
    assert {row["verdict"] for row in single.values()} == {NOT_TESTABLE}


def test_a_published_claim_is_the_published_pairs() -> None:
    row = {"claim": 9, "statement": "s", "settings": 3, "dataset": "d", "estimate": -0.2}
    row |= {"low": -0.3, "high": -0.1}
    rows = gathered(
        [
            {**row, "retriever": "a", "as_published": False, "verdict": "no evidence"},
            {**row, "retriever": "b", "as_published": True, "verdict": "supported"},
        ]
    )
    told = ledger(rows, alpha=0.05, margin=0.1).filter(claim="A9").row(0, named=True)
    assert (told["verdict"], told["place"], told["places"]) == ("supported", "d, b", 2)
    assert told["low"] == -0.3


def test_a_difference_stands_once_and_is_read_both_ways() -> None:
    values, models = ladders(5, {"infonce": 0.02, "margin-mse": 0.0})
    scaling = table(values, models, 0, 0)
    one, other = (
        Part("interaction", {"objective": f"^{a}$"}, "objective", f"^{b}$").rows(scaling)
        for a, b in (("infonce", "margin-mse"), ("margin-mse", "infonce"))
    )
    assert len(one) == len(other) == 2
    for mine, theirs in zip(one.values(), other.values(), strict=True):
        assert mine["estimate"] == -theirs["estimate"] and mine["low"] == -theirs["high"]


def test_the_table_is_that_of_its_ladders() -> None:
    values, models = ladders(6, {"infonce": 0.03})
    rows = table(values, models, 0, 0).filter(finding="slope", scale="value", axis="flops")
    assert rows.height == 2
    assert rows["p_adjusted"].to_list() >= rows["p_value"].to_list()
    near = values.filter(dataset="near").pivot("retriever", index="query_id", values="value")
    means = near.select(models["retriever"].to_list()).mean().row(0)
    doublings = np.log2(models["flops"].to_numpy())
    expected = np.polyfit(doublings, means, 1)[0]
    assert rows.filter(dataset="near")["estimate"][0] == pytest.approx(expected)


def test_axes_that_do_not_vary_have_no_rows() -> None:
    values, models = ladders(7, {"infonce": 0.0})
    fixed = models.with_columns(flops=pl.lit(1e9), tokens=pl.lit(None, pl.Float64))
    found = table(values, fixed, 0, 0)
    assert {*found["axis"]} == {*AXES} - {"flops", "tokens"}


def test_a_model_without_all_queries_is_an_error() -> None:
    values, models = ladders(8, {"infonce": 0.0})
    with pytest.raises(ValueError, match="lacks queries"):
        table(values[1:], models, 0, 0)


def test_the_best_learning_rate_is_kept() -> None:
    _, models = ladders(9, {"infonce": 0.0})
    rates = pl.concat(
        [
            models.with_columns(learning_rate=pl.lit(rate), quality=pl.lit(quality))
            for rate, quality in ((1e-3, 0.5), (1e-4, 0.4))
        ]
    )
    best, told = kept(rates)
    assert best.height == models.height and {*best["learning_rate"]} == {1e-3}
    assert told.height == models["size"].n_unique() and told["at_edge"].all()
    assert {*best["tried"]} == {2}
    assert told.columns == ["size", "ladder", *TOLD, *SCHEMA_OF_RATES]
    one, other = (f'[{{"stage": "mlm", "steps": {steps}}}]' for steps in (10, 20))
    mixed = (
        pl.when(pl.col("retriever").str.ends_with("0")).then(pl.lit(one)).otherwise(pl.lit(other))
    )
    with pytest.raises(ValueError, match=r"infonce-0\.0 and infonce-0\.1 .* differ in budgets"):
        kept(rates.with_columns(trainings=mixed))


def test_models_that_were_not_trained_stay() -> None:
    _, models = ladders(11, {"infonce": 0.0})
    nothing = pl.lit(None, pl.Float64)
    fresh = models.with_columns(
        retriever=pl.format("fresh-{}", "retriever"),
        learning_rate=nothing,
        quality=nothing,
        objective=pl.lit(None, pl.String),
        stages=pl.lit("random"),
    )
    best, told = kept(pl.concat([fresh, models]))
    assert best.height == 2 * models.height and told.height == 3
    assert best["tried"].null_count() == models.height


def test_ladders_without_an_effect_get_no_verdict() -> None:
    """12 studies × 2 claims that could be wrong: few are."""
    wrong = [
        row["verdict"] in ("supported", "contradicted", "depends on the place")
        for trial in range(12)
        for name, row in judged(100 + trial, {"infonce": 0.0, "margin-mse": 0.0}).items()
        if name in ("B1", "D4")
    ]
    assert sum(wrong) <= 5


@pytest.mark.slow
def test_verdicts_at_full_length() -> None:
    assert max(simulated.verdict_rates(400).values()) <= 0.08


def test_the_simulated_study_grows_as_planted() -> None:
    values, models = ladders(10, {"infonce": 0.05}, datasets=("near",))
    found = table(values, models, 0, 0).filter(finding="slope", scale="value", axis="trainable")
    assert found["low"][0] < 0.05 < found["high"][0]
