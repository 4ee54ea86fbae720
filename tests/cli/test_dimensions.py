"""The commands of dimensions, on hand-written metrics of a study that has all six."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.test_cli import run as command
from tests.config import test_learning
from tests.support.slow import slow
from wellspring import shards, specs
from wellspring.artefacts.dimensions import Dimension, Dimensions
from wellspring.artefacts.models import TrainedModel
from wellspring.artefacts.retrieval import SearchMetrics
from wellspring.config import Config, parse
from wellspring.errors import StaleArtefact
from wellspring.randomness import generator

MEANS = {"fresh": 0.1, "early": 0.4, "half": 0.45, "short": 0.3, "told-unseen": 0.5, "both": 0.5}
"""What a retriever finds where that is not .6."""
QUERIES = 40


def configured() -> Config:
    raw = copy.deepcopy(test_learning.CONFIG)
    names = list(raw["retrievers"])
    raw["study"]["name"] = "small"
    raw["study"]["probe"] = {"retrievers": ["given"], "datasets": ["c"], "passages": [2]}
    raw["study"]["search"] = {
        "retrievers": names,
        "datasets": ["a-test", "b"],
        "layers": [1, 2],
        "measures": ["nDCG@10", "R@100"],
    }
    raw["study"]["findings"] = {"permutations": 300}
    return parse(raw)


def plant(results: Path, config: Config) -> None:
    """Metrics of every search and the ledger of every run. Layer 1 finds nothing."""
    for grid in config.searched():
        spec = specs.search(config, grid.retriever, grid.dataset)
        easy = generator(1, grid.dataset).uniform(-0.2, 0.2, QUERIES)
        own = 0.01 * generator(1, grid.dataset, grid.retriever).normal(size=QUERIES)
        found = np.clip(MEANS.get(grid.retriever, 0.6) + easy + own, 0, 1)
        frames = [
            pl.DataFrame(
                {
                    "layer": layer,
                    "measure": measure,
                    "query_id": [f"q{number}" for number in range(QUERIES)],
                    "value": found if layer == 2 else 0 * found,
                }
            ).with_columns(
                pl.col("query_id").alias("cluster"),
                *(pl.col("value").alias(name) for name in ("best", "worst", "judged")),
            )
            for layer in (1, 2)
            for measure in ("nDCG@10", "R@100")
        ]
        identity = {"step": "search", "spec": spec.model_dump(mode="json")}
        path = SearchMetrics(grid.retriever, grid.dataset).at(results)
        SearchMetrics.write(path, pl.concat(frames), shards.Provenance(identity, key="k"))
    for model in ("full", "half"):
        ledger = {"pairs": 640, "total_flops": 8_000_000}
        facts = {"ledger": ledger}
        provenance = shards.Provenance({"step": "train"}, facts=facts, key="k")
        path = TrainedModel(model).at(results)
        path.parent.mkdir(parents=True, exist_ok=True)
        shards.write_json(path, provenance.content())


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Config]:
    results, config = tmp_path_factory.mktemp("dimensions") / "results", configured()
    plant(results, config)
    table = Dimensions("small").at(results)
    spec = specs.dimensions(config).canonical()
    command("dimensions", table, "--results", results, "--spec", spec, "--key", "k" * 32)
    return results, config


def test_the_table_has_all_six_dimensions(made):
    results, _ = made
    table = Dimensions.read(Dimensions("small").at(results))
    assert {*table["dimension"]} == {
        *("in-domain", "zero-shot", "not known"),
        *("data-efficiency", "lengths", "instructions", "multi-task"),
    }
    assert {*table["measure"]} == {"nDCG@10", "R@100"}
    found = table.filter(pl.col("measure") == "nDCG@10")
    full = found.filter(dimension="data-efficiency", dataset="a-test", axis="share of the run")
    assert full["x"].to_list() == [0, 0.25, 1]
    assert full["answer"].to_list() == ["lower", "lower", None]
    # A quarter of a run took a quarter of it; what it started from took nothing.
    assert full["pairs"].to_list() == [0, 160, 640]
    assert full["flops"].to_list() == [0, 2e6, 8e6]
    (several,) = found.filter(dimension="multi-task", dataset="b", retriever="both").to_dicts()
    assert several["reference"] == "other"
    assert several["difference"] == pytest.approx(-0.1, abs=0.02)
    told = found.filter(dimension="instructions", dataset="b", family="full: instruction")
    assert told["answer"].to_list() == [None, "equivalent", "equivalent", "lower"]


def test_every_dimension_has_a_figure(made):
    names = ["data-efficiency", "lengths", "instructions", "multi-task", "domains"]
    assert [*Dimension.asked(made[1])] == [Dimension("small", name) for name in names]


@pytest.mark.parametrize("name", [slow("data-efficiency"), "multi-task"])
def test_a_figure_is_written_twice(made, name: str):
    results, config = made
    artefact = Dimension("small", name)
    png = artefact.at(results)
    pdf = png.with_suffix(".pdf")
    table = Dimensions("small").at(results)
    spec = artefact.spec(config).canonical()
    command("dimension", table, pdf, png, "--spec", spec, "--key", "k" * 32)
    assert png.stat().st_size > 5_000 and pdf.is_file()


def test_a_search_that_is_stale_is_named(made, tmp_path):
    results, config = made
    spec = specs.dimensions(config)
    other = spec.searched[0].model_copy(update={"search": "0" * 16})
    stale = spec.model_copy(update={"searched": [other, *spec.searched[1:]]}).canonical()
    table = tmp_path / "dimensions.parquet"
    with pytest.raises(StaleArtefact, match=r"metrics\.parquet"):
        command("dimensions", table, "--results", results, "--spec", stale, "--key", "k" * 32)
