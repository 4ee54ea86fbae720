"""Cautions: each is given where its number passes its limit, and nowhere else."""

from __future__ import annotations

import polars as pl
import pytest

from wellspring.figures.cautions import sentences
from wellspring.findings import cautions, decentralisation, evidence, table

SAMPLES = {
    "samples": 1000,
    "dropped_without_negatives": 0,
    "oversampled": 0,
    "test_candidates": 500,
    "test_passages_seen_in_train": 20,
    "queries_on_both_sides": 0,
}
SOURCE = {"judgements_read": 796, "queries": 64}


def of_samples(samples: dict | None = None, source: dict | None = None) -> dict[str, dict]:
    rows = cautions.of_samples("cacm", SAMPLES | (samples or {}), SOURCE | (source or {}), 4)
    return {row["caution"]: row for row in rows}


def test_clean_samples_need_no_caution() -> None:
    assert of_samples() == {}


@pytest.mark.parametrize(
    ("samples", "source", "caution", "value"),
    [
        ({}, {"judgements_of_unknown_passages_dropped": 55}, "lost-judgements", 55 / 796),
        ({"dropped_without_negatives": 250}, {}, "dropped-samples", 0.2),
        ({"oversampled": 150}, {}, "oversampled", 0.15),
        ({"test_passages_seen_in_train": 350}, {}, "shared-passages", 0.7),
        ({"queries_on_both_sides": 7}, {}, "leaking-questions", 7),
    ],
)
def test_what_samples_lose_or_repeat(samples, source, caution: str, value: float) -> None:
    found = of_samples(samples, source)
    assert set(found) == {caution}
    assert found[caution]["value"] == pytest.approx(value)
    assert found[caution]["dataset"] == "cacm"


def test_one_sample_is_told_in_the_singular() -> None:
    told = of_samples({"samples": 3999, "dropped_without_negatives": 1})["dropped-samples"]
    assert told["sentence"] == "1 of 4,000 samples was dropped: it had no negative"
    told = of_samples({"samples": 3998, "dropped_without_negatives": 2})["dropped-samples"]
    assert told["sentence"] == "2 of 4,000 samples were dropped: they had no negative"


def test_negatives_repeat_only_where_the_study_uses_more_than_there_are() -> None:
    drawn = pl.DataFrame({"negative_ids": [["a", "a", "a"], ["a", "b", "a"], ["a", "b", "c"]]})
    assert [cautions.repeating(drawn, count) for count in (1, 2, 3)] == [0, 1, 2]
    sentence = of_samples({"oversampled": 150})["oversampled"]["sentence"]
    assert sentence == "150 of 1,000 samples have fewer than 4 negatives and repeat some"


def probed(questions: int = 800, above: float = 0.2) -> pl.DataFrame:
    blank = dict.fromkeys(table.SCHEMA) | {"finding": "accuracy", "dataset": "toy"}
    blank |= {"measure": "above_chance", "queries": questions, "samples": questions, "passages": 2}
    rows = [
        blank | {"probe": probe, "estimate": above, "low": above - 0.05, "high": above + 0.05}
        for probe in ("bm25", "cosine", "character-tfidf")
    ]
    return pl.DataFrame(rows, table.SCHEMA)


def fits(unsettled: int) -> pl.DataFrame:
    settled = [True] * (10 - unsettled) + [False] * unsettled + [True]
    epochs = [60] * 10 + [0]
    return pl.DataFrame({"dataset": "toy", "converged": settled, "epochs": epochs})


def of_probes(findings: pl.DataFrame, unsettled: int = 0) -> list[dict]:
    return list(cautions.of_probes(findings, fits(unsettled)))


@pytest.mark.parametrize(
    ("p_adjusted", "p_study", "cautioned"),
    [
        ((0.001, 0.04), (0.03, 1.0), False),
        ((0.02, 0.04), (0.6, 1.0), True),
        ((0.3,), (1.0,), False),
    ],
)
def test_a_difference_that_is_significant_only_alone(p_adjusted, p_study, cautioned: bool) -> None:
    """One of thirty comparisons, at one layer or two."""
    blank = dict.fromkeys(table.SCHEMA) | {"finding": "difference", "measure": "difference"}
    blank |= {"test": "sign-flip max-T", "dataset": "toy", "probe": "cosine", "passages": 2}
    others = [
        blank | {"retriever": f"r{i}", "layer": 0, "p_adjusted": 0.9, "p_study": 1.0}
        for i in range(29)
    ]
    rows = [
        blank
        | {"retriever": "tuned", "compared_with": "plain", "layer": layer}
        | {"p_adjusted": alone, "p_study": among}
        for layer, (alone, among) in enumerate(zip(p_adjusted, p_study, strict=True))
    ]
    findings = pl.DataFrame([*others, *rows], table.SCHEMA).with_columns(
        significant=pl.col("p_adjusted") <= 0.05
    )
    found = list(cautions.of_comparisons(findings, 0.05))
    assert len(found) == cautioned
    for row in found:
        assert (row["caution"], row["retriever"]) == ("many-comparisons", "tuned")
        assert (row["value"], row["limit"]) == (0.6, 0.05)
        assert "significant alone (p = 0.020)" in row["sentence"]
        assert "the 30 comparisons of the study by this probe (p = 0.600)" in row["sentence"]


def test_few_questions() -> None:
    assert of_probes(probed()) == []
    (found,) = of_probes(probed(12))
    assert (found["caution"], found["value"], found["limit"]) == ("few-questions", 12, 30)


def test_negatives_that_a_scorer_selected() -> None:
    """A lexical scorer below chance says so; a vector below chance does not."""
    found = of_probes(probed(above=-0.4))
    assert [row["caution"] for row in found] == ["selected-negatives"] * 2
    assert "bm25 is below chance" in found[0]["sentence"]
    # An interval that holds chance is no evidence of it.
    assert of_probes(probed(above=-0.03)) == []


def test_words_that_leave_little_to_gain() -> None:
    """A lexical floor near 1 says so."""
    for accuracy, cautions_of in ((0.96, ["ceiling"]), (0.94, [])):
        floor = {"finding": "accuracy", "measure": "accuracy", "probe": "lexical"}
        table = probed().with_columns(**{name: pl.lit(value) for name, value in floor.items()})
        rows = of_probes(table.with_columns(estimate=pl.lit(accuracy)))
        assert [row["caution"] for row in rows] == cautions_of


def test_fits_that_did_not_converge() -> None:
    (found,) = of_probes(probed(), unsettled=3)
    assert (found["caution"], found["value"]) == ("unsettled-probes", pytest.approx(0.3))


def test_other_test_samples_than_published() -> None:
    compared = pl.DataFrame(
        {
            "dataset": ["msmarco", "nq"],
            "samples": [10_448, 54_000],
            "published_samples": [10_448, 54_414],
        }
    )
    (found,) = cautions.of_published(compared)
    assert (found["caution"], found["dataset"]) == ("other-samples", "nq")
    assert "54,000 test samples, and 54,414 in the published study" in found["sentence"]


def levels(texts: int, signal: float) -> pl.DataFrame:
    blank = dict.fromkeys(decentralisation.SCHEMA) | {"finding": "level", "region": "all"}
    blank |= {"attribution": "norm", "dataset": "toy", "retriever": "tuned", "side": "query"}
    rows = [
        blank | {"measure": measure, "sublayer": "output", "estimate": value, "texts": texts}
        for measure, value in (("signal", signal), ("gini", 0.01))
    ]
    return pl.DataFrame(rows, decentralisation.SCHEMA)


def test_attributions_of_few_texts_or_of_little_signal() -> None:
    key = ("norm", "toy", "tuned", "query")
    assert list(cautions.of_attributions(levels(48, 0.4), {key: 0})) == []
    found = list(cautions.of_attributions(levels(16, 0.004), {key: 2}))
    assert [row["caution"] for row in found] == ["few-texts", "weak-signal", "quiet-texts"]
    assert "moves the target by 0.4 % of itself" in found[1]["sentence"]
    assert {row["side"] for row in found} == {"query"}


def test_test_texts_that_were_learned_from() -> None:
    counts = [
        {"side": "query", "texts": 200, "exact": 1, "near": 1},
        {"side": "passage", "texts": 200, "exact": 2, "near": 1},
    ]
    (row,) = cautions.of_leakage("cacm", "pydocs", ["tuned", "twice"], counts)
    assert (row["caution"], row["dataset"], row["side"]) == ("leakage", "cacm", "passage")
    assert row["value"] == 0.015
    assert row["sentence"] == (
        "3 of 200 test positives stand, word for word or nearly, in what tuned and twice learned "
        "from (pydocs)"
    )


def test_measures_that_share_few_queries() -> None:
    blank = dict.fromkeys(evidence.SCHEMA) | {"unit": "query", "shared_queries": 1}
    rows = [
        blank | {"dataset": "toy", "measure": "accuracy", "texts": 200},
        blank | {"dataset": "toy", "measure": "nDCG@10", "texts": 1},
        blank | {"dataset": "small", "measure": "accuracy", "texts": 1},
        blank | {"dataset": "small", "measure": "accuracy", "texts": 5, "control": "twin"},
    ]
    (told,) = cautions.of_evidence(pl.DataFrame(rows, evidence.SCHEMA, orient="row"))
    assert (told["caution"], told["dataset"]) == ("few-shared-queries", "toy")
    assert (told["value"], told["limit"]) == (1, 30)
    assert told["sentence"].startswith("all measures of queries share 1 query, so each is of its")


def test_the_table_holds_each_caution_once() -> None:
    rows = [*cautions.of_pairs({"tuned": "plain"}), *cautions.of_pairs({"tuned": "plain"})]
    found = cautions.gathered([*rows, *of_probes(probed(12))])
    assert found.schema == pl.Schema(cautions.SCHEMA)
    assert found["caution"].to_list() == ["few-questions", "random-counterpart"]
    assert cautions.gathered([]).height == 0


def test_random_neurons_that_are_also_those_they_are_compared_with() -> None:
    blank = dict.fromkeys(decentralisation.SCHEMA) | {"finding": "ablation", "measure": "shared"}
    blank |= {"attribution": "norm", "dataset": "toy", "retriever": "tuned", "side": "query"}
    rows = [blank | {"estimate": share} for share in (0.0, 0.02, 0.3)]
    table = pl.DataFrame(rows, decentralisation.SCHEMA)
    (row,) = cautions.of_attributions(table, {})
    assert row["caution"] == "shared-neurons" and "30 %" in row["sentence"]
    assert not list(cautions.of_attributions(table[:2], {}))


def test_a_control_that_gives_every_candidate_0() -> None:
    (row,) = cautions.of_lexical("toy", ["bm25 is 0 for every candidate: no query shares words"])
    assert row["caution"] == "silent-control" and row["dataset"] == "toy"
    assert row["sentence"].startswith("bm25 is 0") and not list(cautions.of_lexical("toy", []))


def test_who_mined_the_negatives() -> None:
    (row,) = cautions.of_mining({"toy": "bm25"})
    assert row["caution"] == "mined-negatives" and "mined by bm25" in row["sentence"]


def test_figures_show_the_cautions_of_their_dataset_and_those_of_all(tmp_path) -> None:
    """Also where a dataset's name is a number."""
    rows = [
        *cautions.of_mining({"2024": "bm25", "other": "bm25"}),
        *cautions.of_pairs({"tuned": "plain"}),
    ]
    table = cautions.gathered(rows)
    lines = sentences(table, "2024", None)
    assert len(lines) == 2 and "(tuned): plain was" in lines[0] and "mined by bm25" in lines[1]
    assert len(sentences(table, "2024", ["tuned"], ["norm"])) == 2
    assert len(sentences(table, "2024", ["other"], ["norm"])) == 1


def test_a_figure_always_says_that_questions_or_texts_are_few() -> None:
    """Also where more cautions hold than a figure shows, and that of no other attribution."""
    where = {"dataset": "toy", "retriever": "tuned", "attribution": "norm", "side": "query"}
    blank = dict.fromkeys(cautions.SCHEMA) | {"dataset": "toy"}
    names = ["a", "b", "c", "d", "few-questions"]
    rows = [blank | {"caution": name, "sentence": f"{name}."} for name in names]
    rows += [
        blank | where | {"caution": "few-texts", "sentence": "few texts."},
        blank | where | {"caution": "few-texts", "sentence": "others.", "attribution": "dot"},
        blank | where | {"caution": "quiet", "sentence": "quiet."},
    ]
    table = cautions.gathered(rows)
    assert sentences(table, "toy", ["tuned", "plain"], ["norm"], "query") == [
        *("caution (tuned, query side): few texts.", "caution: few-questions."),
        *("caution (tuned, query side): quiet.", "caution: a."),
        "3 more cautions: findings/cautions.csv",
    ]
    lines = sentences(table, "toy", ["tuned"])
    assert lines[0] == "caution: few-questions." and not any("texts" in line for line in lines)
    assert lines[-1].startswith("1 more")


def test_a_counterpart_that_was_trained_in_part_is_not_said_to_be_never_trained() -> None:
    (whole,) = cautions.of_pairs({"tuned": "plain"})
    (part,) = cautions.of_pairs({"tuned": "plain"}, ["plain"])
    assert "plain was never trained:" in whole["sentence"]
    assert "plain has weights that were never trained:" in part["sentence"]
