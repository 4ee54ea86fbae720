"""The page's command on a finished small study: what the page tells, and what it lacks."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.cli.test_cli import run as command
from tests.support import study as studies
from wellspring.artefacts import Plan, provenance
from wellspring.artefacts.page import Page
from wellspring.config import parse
from wellspring.config.changed import changed


def configured(study: studies.Study, edit=None):
    config = yaml.safe_load((study.folder / "config.yaml").read_text())
    if edit:
        edit(config)
    return parse(config)


def told(study: studies.Study, path, edit=None, *options: str) -> str:
    """The page of a study whose configuration was edited after it ran."""
    plan, page = Plan(configured(study, edit)), Page("small")
    results = study.folder / "results"
    spec = plan.spec_text(page)
    command("page", path, "--results", results, "--spec", spec, "--key", "k" * 32, *options)
    return path.read_text(encoding="utf-8")


def alone(config) -> None:
    config["retrievers"]["tiny"]["compared_with"] = None
    config["study"]["probe"]["retrievers"] = ["tiny"]
    del config["study"]["attribute"]


def test_the_page_tells_the_whole_study(finished, tmp_path):
    path = tmp_path / "index.html"
    html = told(finished, path, None, "--configfile", "studies/my own.yaml")
    for part in (
        "tiny on questions: probe concat, layer 2 (the last), 2 passages",
        "Texts on which a neuron scores highest: tiny, query side of questions, norm",
        "snakemake --cores all --configfile &#39;studies/my own.yaml&#39; --forcerun ",
        "What was lost, repeated or shared in questions",
        "The hardest samples for tiny (questions)",
    ):
        assert part in html, part
    stored = provenance.read(path)
    assert stored and stored.key == "k" * 32 and stored.identity["step"] == "page"
    # Each weight's digest.
    assert len(re.findall(r"model\.safetensors [0-9a-f]{64}", html)) == 2
    assert str(finished.folder) not in html


def test_a_retriever_alone_without_attributions_has_a_page(finished, tmp_path):
    html = told(finished, tmp_path / "index.html", alone)
    assert "Where does the knowledge of tiny come from?" in html
    assert "neuron scores highest" not in html and "gets right what" not in html
    assert "The hardest samples for tiny (questions)" in html


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        (lambda c: None, None),
        (
            lambda c: c["datasets"]["questions"].update(negatives={"mined": "bm25"}),
            ("datasets.questions.negatives.mined", '"bm25"', "null"),
        ),
        (
            lambda c: c["attributions"]["norm"].update(points=16),
            ("attributions.norm.points", "16", "8"),
        ),
        # Not used, and of no consequence.
        (lambda c: c["attributions"].update(other={"points": 16}), None),
        (lambda c: c["study"].update(layers_per_job=1), None),
        (
            lambda c: c["study"]["findings"].update(alpha=0.01),
            ("study.findings.alpha", "0.01", "0.05"),
        ),
    ],
)
def test_the_settings_that_are_not_the_defaults(finished, edit, change):
    before = changed(configured(finished))
    assert ("encoders.tiny.passage_length", "32", "512") in before
    after = changed(configured(finished, edit))
    assert [each for each in after if each not in before] == ([change] if change else [])
