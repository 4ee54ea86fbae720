"""The example of docs/notebook.md runs, on a study that is finished."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

import wellspring
from tests.support import study as studies
from tests.support.paths import ROOT
from wellspring.artefacts import inspection, kinds, lookup
from wellspring.errors import StaleArtefact

NAMES = {"default": "small", "minilm": "tiny", "pydocs": "questions"}
"""What the default study names, and what stands for it here."""
PAGE = (ROOT / "docs" / "notebook.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def renamed(code: str) -> str:
    return re.sub(rf'"({"|".join(NAMES)})"', lambda match: f'"{NAMES[match[1]]}"', code)


def test_the_example_runs(finished, monkeypatch):
    """Every block, one after the other, as the cells of a notebook."""
    monkeypatch.chdir(finished.folder)
    cell: dict = {}
    for block in BLOCKS:
        exec(compile(renamed(block), "notebook.md", "exec"), cell)
    assert cell["study"].name == "small" and cell["values"].shape[0] == len(cell["ids"]) > 0
    assert cell["best"].height == 1 and cell["hard"].height > 5
    assert cell["hard"]["text"].str.starts_with("what is").all()


def test_what_the_table_names_is_there(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    study = wellspring.open("results", "small")
    scores = study.scores("norm", "tiny", "questions", "query", layer=1)
    cell: dict = {"study": study, "text": scores["text_id"][0]}
    asked = re.findall(r"^\| `(study\..*?)` \|", PAGE, re.MULTILINE)
    assert len(asked) > 10
    for expression in asked:
        exec(f"value = {renamed(expression).replace('…', 'text')}", cell)
        assert cell["value"] is not None


def test_the_vectors_are_those_of_the_files(finished):
    study = wellspring.open(finished.folder / "results")
    shards = sorted((finished.folder / "results/embeddings/tiny/questions/passage").iterdir())
    frame = pl.concat([pl.read_parquet(path, columns=["text_id", "layer_01"]) for path in shards])
    ids, values = study.vectors("tiny", "questions", "passage", 1)
    assert ids == frame["text_id"].to_list()
    np.testing.assert_array_equal(values, frame["layer_01"].to_numpy())


def test_every_file_of_a_study_can_be_looked_into(finished):
    results = finished.folder / "results"
    seen = set()
    for kind in kinds():
        for artefact in lookup.existing(results, kind)[:1]:
            shown = inspection.inspect(results, artefact)
            assert shown.facts()["provenance"]["identity"]["step"] == kind.step
            assert list(shown.shown())
            seen.add(kind)
    assert len(seen) > len(kinds()) // 2


def test_a_configuration_that_asks_for_something_else_is_noticed(study, monkeypatch):
    monkeypatch.chdir(study.folder)
    opened = wellspring.open("results", config="config.yaml")
    assert opened.name == "small" and opened.findings.height > 0
    ids, _ = opened.vectors("tiny", "questions", "query", 1)
    study.configure(lambda config: config["encoders"]["tiny"].update(pooling="cls"))
    changed = wellspring.open("results", config="config.yaml")
    with pytest.raises(StaleArtefact, match='pooling changed from "mean" to "cls"'):
        changed.vectors("tiny", "questions", "query", 1)
    # The twin's vectors stay what they were, until the texts are others.
    assert changed.vectors("fresh", "questions", "query", 1).ids == ids
    studies.write_jsonl(study.folder / "questions.jsonl", 60, seed=1)
    changed = wellspring.open("results", config="config.yaml")
    with pytest.raises(StaleArtefact, match="it was made from other files"):
        changed.vectors("fresh", "questions", "query", 1)
