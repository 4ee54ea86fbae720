"""A ladder of two sizes from the configuration to the ledger: tiny models read real docstrings."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.support import study as studies

pytestmark = pytest.mark.long

LADDER = {
    "bases": ["narrow", "wide"],
    "chains": [["ask"], ["words"]],
    "seeds": [0, 1, 2],
    "learning_rates": {"ask": [1e-3]},
    "encoder": {"pooling": "mean", "query_length": 16, "passage_length": 32},
}


def with_ladder(config: dict) -> None:
    """A study of a ladder alone."""
    for name, hidden in (("narrow", 32), ("wide", 64)):
        sizes = {"hidden_size": hidden, "intermediate_size": 2 * hidden}
        config["models"][name] = {"source": "random:tiny", "sizes": sizes}
    config["recipes"] = {
        "ask": {
            **{"datasets": ["questions"], "pooling": "mean", "batch": 8, "steps": 2},
            **{"query_length": 16, "passage_length": 32},
        }
    }
    config["recipes"]["words"] = {
        **{**config["recipes"]["ask"], "pooling": None},
        # A fresh head begins with nearly all words, and is not asked to have fewer so soon.
        **{"paradigm": "sparse", "top_terms": 20, "flops": {"ramp": 0.5}},
    }
    config["datasets"]["questions"] = studies.docstrings(80)
    config["study"] |= {"probe": None, "attribute": None}
    config["study"]["scaling"] = {
        **{"ladders": LADDER, "datasets": ["questions"], "in_domain": ["questions"]},
        "measures": ["nDCG@10"],
    }


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """The folder of findings of a study whose ledger, figures of ladders and page were made."""

    def make(folder: Path) -> None:
        study = studies.make(folder)
        study.configure(with_ladder)
        figures = [
            f"figures/ladders/{name}.png"
            for name in ("growth.ndcg-10.questions", "stages.accuracy")
        ]
        ends = ("findings/ledger.csv", *figures, "index.html")
        study.run("--", *(f"results/studies/small/{end}" for end in ends))

    return studies.once(tmp_path_factory, "ladder", make) / "results/studies/small/findings"


def test_a_ladder_is_measured(findings):
    slopes = pl.read_parquet(findings / "scaling.parquet").filter(finding="slope", scale="value")
    assert {*slopes["measure"]} == {"nDCG@10", "accuracy at N = 5"}
    slopes = slopes.filter(pl.col("measure") != "nDCG@10")
    assert {*slopes["axis"]} >= {"non_embedding", "trainable", "parameters", "flops"}
    assert slopes["sizes"].unique().to_list() == [2]
    assert slopes["seeds"].unique().to_list() == [3]
    assert {*slopes["stages"]} == {"random → fine-tuning"}
    assert slopes["warnings"].str.starts_with("2 sizes").all()
    assert {*slopes["paradigm"]} == {"dense"}
    # What the slope is, from the probes and the descriptions of the models themselves.
    results = findings.parents[2]
    qualities, sizes = [], []
    for name in ("narrow", "wide"):
        models = [f"{name}-ask-0.001.{seed}" for seed in (0, 1, 2)]
        described = json.loads((results / f"models/{models[0]}/model.json").read_text())
        sizes.append(described["parameters"]["all"])
        outcomes = pl.concat(
            pl.read_parquet(results / f"probes/{each}/questions/layer-02/passages-5.parquet")
            for each in models
        ).filter(probe="cosine")
        qualities.append(outcomes.group_by("query_id").agg(pl.mean("correct"))["correct"].mean())
    (row,) = slopes.filter(axis="parameters").iter_rows(named=True)
    doublings = pl.Series(sizes).log(2).diff()[1]
    assert row["estimate"] == pytest.approx((qualities[1] - qualities[0]) / doublings)
    assert (row["smallest"], row["largest"]) == pytest.approx(sizes)


def test_a_sparse_ladder_is_measured_by_its_terms(findings):
    found = pl.read_parquet(findings / "scaling.parquet").filter(scale="value", axis="parameters")
    assert found.filter(paradigm="sparse", finding="slope")["measure"].to_list() == ["nDCG@10"]
    results = findings.parents[2]
    means = {
        recipe: pl.concat(
            pl.read_parquet(path).filter(measure="nDCG@10")
            for path in results.glob(f"retrieval/*{recipe}*/questions/{name}")
        )["value"].mean()
        for recipe, name in (("-ask", "metrics.parquet"), ("-words", "terms/metrics.parquet"))
    }
    (row,) = found.filter(finding="advantage", factor="paradigm").iter_rows(named=True)
    sign = 1 if row["paradigm"] == "sparse" else -1
    assert row["estimate"] == pytest.approx(sign * (means["-words"] - means["-ask"]))


def test_learning_rates_are_told(findings):
    rates = pl.read_csv(findings / "learning-rates.csv").filter(paradigm="dense")
    assert rates["size"].to_list() == ["narrow-ask-0.001.0", "wide-ask-0.001.0"]
    assert rates["learning_rate"].to_list() == [1e-3] * 2 and not rates["at_edge"].any()


def test_the_ledger_has_every_claim(findings):
    ledger = pl.read_csv(findings / "ledger.csv")
    asked = ledger.filter(pl.col("places") > 0)["claim"].to_list()
    assert ledger.height == 26 and asked == ["B1", "C2"]
    assert ledger["verdict"].null_count() == 0


def test_ladders_are_drawn_and_stand_on_the_page(findings):
    table = pl.read_parquet(findings / "ladders.parquet")
    models = table.filter(scale="value", measure="nDCG@10", axis="parameters")
    assert dict(models.group_by("paradigm").len().iter_rows()) == {"dense": 6, "sparse": 6}
    assert {*table.filter(paradigm="dense")["size"]} == {"narrow-ask-0.001.0", "wide-ask-0.001.0"}
    figures = findings.parent / "figures" / "ladders"
    assert {path.name for path in figures.iterdir()} >= {
        *("growth.ndcg-10.questions.png", "growth.ndcg-10.questions.pdf", "stages.accuracy.png"),
    }
    page = (findings.parent / "index.html").read_text()
    assert (
        "Quality over the size of models" in page and "all claims of the studied documents" in page
    )
