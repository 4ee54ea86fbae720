"""The shortest study of one's own model, as Snakemake plans it."""

from __future__ import annotations

import shutil

from tests.config.test_shorthand import OWN
from tests.support import checkpoints, study
from tests.support.paths import ROOT


def test_eight_lines_plan_a_study_of_ones_own_model_and_nothing_else(tmp_path):
    study.copy_workflow(tmp_path / "copy")
    shutil.copyfile(ROOT / "config.yaml", tmp_path / "copy" / "config.yaml")
    own = tmp_path / "own"
    checkpoints.bert(own / "my-model")
    study.write_jsonl(own / "my-data.jsonl", 60)
    (own / "mine.yaml").write_text(OWN)
    arguments = ("--configfile", str(own / "mine.yaml"), "--config", "study={name: given}")
    plan = study.Study(tmp_path / "copy").run("-n", *arguments).stdout
    assert "minilm" not in plan and "results/studies/given/findings/findings.csv" in plan
    # Two retrievers, three layers; one figure of accuracy, one of similarity.
    jobs = study.jobs_by_rule(plan)
    assert (jobs["probe"], jobs["embed"], jobs["model"], jobs["figure"]) == (6, 4, 2, 2)
    assert jobs.keys().isdisjoint({"attribute", "activations", "download", "fetch"})
