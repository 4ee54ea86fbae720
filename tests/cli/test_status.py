"""The command that tells where a study stands, held against Snakemake's own plan."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.workflow.test_edits import add_passages, set_pooling, set_split

PROBES = "results/probes/tiny/questions"


def status(study, *arguments):
    """What it says for machines."""
    return json.loads(study.wellspring("status", "--json", *arguments).stdout)


def left(said):
    """Step to number of jobs that are left."""
    return {step["rule"]: step["jobs"] for step in said["steps"] if step["jobs"]}


def test_a_finished_study_has_nothing_left(finished):
    said = status(finished)
    assert said["study"] == "small" and not said["stale"] and not said["missing"]
    assert not any(step[name] for step in said["steps"] for name in ("stale", "missing", "spare"))
    assert said["left"]["jobs"] == said["left"]["wall_seconds"] == 0
    output = finished.wellspring("status").stdout
    assert output.endswith("Nothing is left to do.\n") and "\x1b" not in output
    row = next(line.split() for line in output.splitlines() if line.startswith("embed"))
    assert row == ["embed", "4", "–", "–", "4", "–", "–"]


def remove_some(study):
    """A shard that nothing reads any more, one that a figure waits for, and a whole folder."""
    results = study.folder / "results"
    (results / "datasets/questions/qrels.parquet").unlink()
    (results / "embeddings/tiny/questions/query/shard-000.parquet").unlink()
    shutil.rmtree(results / "probes/fresh/questions/layer-02")
    (results / "studies/small/findings/findings.parquet").unlink()


def truncate(study):
    path = study.folder / PROBES / "layer-00/passages-2.curves.parquet"
    path.write_bytes(path.read_bytes()[:-9])


def edit_code(study):
    study.rewrite(
        "src/wellspring/activations.py", "import numpy as np\n", "import numpy as np\nX = 1\n"
    )


EDITS = {
    "pooling": lambda study: study.configure(set_pooling),
    "missing": remove_some,
    "truncated": truncate,
}
SLOW_EDITS = {
    "split": lambda study: study.configure(set_split),
    "passages": lambda study: study.configure(add_passages),
    "code": edit_code,
}


@pytest.mark.parametrize(
    "edit",
    [
        *(pytest.param(edit, id=name) for name, edit in EDITS.items()),
        *(pytest.param(edit, id=name, marks=pytest.mark.slow) for name, edit in SLOW_EDITS.items()),
    ],
)
def test_the_jobs_that_are_left_are_those_that_snakemake_plans(study, edit):
    edit(study)
    said = status(study)
    assert left(said) == study.planned() != {}
    assert all(each["reason"] for each in said["stale"][:1])
    assert not said["left"]["unknown"] and said["left"]["wall_seconds"] > 0
    cores = said["left"]["cores"]
    assert said["left"]["core_seconds"] <= said["left"]["wall_seconds"] * cores + 0.2


@pytest.mark.slow
def test_a_study_that_never_ran_here_has_no_costs(study):
    shutil.rmtree(study.folder / "results")
    said = status(study, "--cores", "3")
    assert left(said) == study.planned()
    assert said["left"]["cores"] == 3 and said["left"]["unknown"] == left(said)
    last = study.wellspring("status").stdout.splitlines()[-1]
    jobs = said["left"]["jobs"]
    assert last.startswith(f"Left: {jobs} jobs; not known, since no such job has run here: ")


def test_reasons_name_values_modules_and_files(study):
    study.configure(set_pooling)
    study.rewrite(
        "src/wellspring/probes/training.py", "import torch\n", "import torch\n\nREAL_CHANGE = 1\n"
    )
    shard = "results/attributions/norm/fresh/questions/query/layer-01/shard-000.parquet"
    (study.folder / shard).write_bytes((study.folder / shard).read_bytes()[:-9])
    shutil.copyfile(
        study.folder / "questions.jsonl", study.folder / "results/datasets/questions/qrels.parquet"
    )
    folder = study.folder / "results/embeddings/fresh/questions/query"
    part = folder / ".shard-000.parquet.elsewhere-1-2-0.part"
    part.touch()
    os.utime(part, (0, 0))
    (study.folder / ".snakemake/locks").mkdir(exist_ok=True)
    (study.folder / ".snakemake/locks/0.input.lock").touch()
    output = study.wellspring("status", "--cores", "2").stdout
    for line in (
        "  results/embeddings/tiny/questions/passage/shard-000.parquet (and 1 more): "
        'encoding.pooling changed from "mean" to "cls"',
        f"  {shard}: cannot be read: it is cut off, damaged, or something else",
        "  results/datasets/questions/qrels.parquet: cannot be read: it is cut off, damaged, or "
        "something else",
        "half-made, left by killed jobs: results/embeddings/fresh/questions/query/"
        ".shard-000.parquet.elsewhere-1-2-0.part (`wellspring clean` removes them)",
        "Snakemake works in this folder now, or was killed here (then: snakemake --unlock).",
    ):
        assert line in output.splitlines(), output
    assert ".parquet (and 3 more): the code of probe changed: probes.training\n" in output
    assert output.splitlines()[-1].startswith("Left: ")
    assert " of one core, about " in output.splitlines()[-1]


def test_only_a_configuration_that_cannot_be_used_is_an_error(study, tmp_path):
    overlay = tmp_path / "wrong.yaml"
    overlay.write_text("study: {probe: {layers: [9]}}")
    done = study.wellspring("status", str(overlay), check=False)
    assert done.returncode == 1 and "study.probe.layers: 9 is beyond" in done.stderr
    shutil.rmtree(study.folder / "results/datasets")
    assert study.wellspring("status").returncode == 0
    assert Path(study.folder / "results").is_dir()
