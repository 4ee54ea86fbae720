"""A study with all six dimensions, tiny models that read docstrings, from texts to figures."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.support import study as studies
from tests.workflow.test_training import RECIPE

TABLE = "results/studies/small/findings/dimensions.parquet"
FIGURES = "results/studies/small/figures"
DRAWN = ("data-efficiency", "lengths", "instructions", "multi-task", "domains")


def vary(config) -> None:
    """A run with a checkpoint, on half of the data, on two datasets, with instructions, and
    passages of two lengths. Nothing else is computed."""
    config["datasets"]["questions"] = studies.docstrings(80)
    config["models"]["tiny"]["learned_from"] = ["questions"]
    config["datasets"]["others"] = {
        "format": "facts",
        "set": "practice",
        "practice": 20,
        "taught": 10,
    }
    told = {"query_template": "{instruction} {text}"}
    told["instructions"] = {"questions": {"seen": ["find"], "unseen": ["look up"]}}
    whole = {**RECIPE, "steps": 6, "negatives": 0}
    config["recipes"] = {
        "whole": whole,
        "half": {**whole, "fraction": 0.5},
        "other": {**whole, "datasets": ["others"]},
        "both": {**whole, "datasets": ["questions", "others"]},
        "told": {**whole, **told},
    }
    encoder = config["encoders"]["tiny"]
    for name in config["recipes"]:
        config["models"][name] = {"source": "train:tiny", "recipe": name}
    config["models"]["early"] = {"source": "checkpoint:whole", "share": 0.5}
    for name in [*config["recipes"], "early"]:
        config["encoders"][name] = {**encoder, "model": name}
        config["retrievers"][name] = {"query": name, "compared_with": "tiny"}
    config["retrievers"]["short"] = {"sweep": {"passage_length": [8]}, "of": "tiny"}
    template = {"seen": "find {text}", "unseen": "look up {text}"}
    config["retrievers"]["asked"] = {"sweep": {"query_template": template}, "of": "told"}
    names = ["tiny", "short", "asked", *config["recipes"], "early"]
    datasets = ["questions", "others"]
    config["study"]["search"] = {"retrievers": names, "datasets": datasets, "layers": [2]}
    config["study"]["search"] |= {"queries": "all", "depth": 20, "measures": ["MRR@10", "R@10"]}
    del config["study"]["attribute"]


@pytest.mark.long
def test_a_small_study_has_all_six_dimensions(tmp_path: Path):
    study = studies.make(tmp_path / "study")
    study.configure(vary)
    figures = [f"{FIGURES}/{name}.png" for name in DRAWN]
    study.run(TABLE, *figures)
    table = pl.read_parquet(study.folder / TABLE)
    assert {*table["dimension"]} == {
        *("in-domain", "zero-shot"),
        *("data-efficiency", "lengths", "instructions", "multi-task"),
    }
    # Every dimension has two settings at least.
    settings = table.group_by("dimension").agg(pl.col("setting").n_unique())
    assert settings["setting"].min() >= 2
    assert table["value"].null_count() == 0
    # A reference has no difference, and every other place has one.
    is_reference = table["reference"] == table["retriever"]
    assert (table["difference"].is_null() == is_reference).all()
    shares = table.filter(axis="share of the run", dataset="questions", measure="MRR@10")
    assert shares["x"].to_list() == [0, 0.5, 1]
    assert shares["pairs"].to_list() == [0, 24, 48]
    assert study.planned(TABLE, *figures) == {}
