"""The shipped profile on a real Slurm, with nothing but the partition set."""

from __future__ import annotations

import signal

import pytest

from tests.support import slurm
from tests.support import study as studies
from tests.support.slurm import contents

FILES = (
    "results/datasets/questions/samples.parquet",
    "results/embeddings/tiny/questions/query/shard-000.parquet",
    "results/attributions/norm/fresh/questions/query/layer-02/shard-000.parquet",
)


def test_jobs_write_what_a_local_run_writes(study, lab):
    slurm.adapt(study)
    before = contents(study)
    for file in FILES:
        (study.folder / file).unlink()
    run = slurm.start(study, lab, *FILES)
    assert run.end() == 0, run.said()
    assert "3 of 3 steps (100%) done" in run.said()
    assert lab.submitted() == ["attribute", "embed", "samples"]
    assert contents(study) == before
    assert study.planned() == {}


def test_a_job_that_will_never_start_is_reported_while_the_run_goes_on(study, lab):
    slurm.adapt(study)
    (study.folder / FILES[0]).unlink()
    run = slurm.start(study, lab, FILES[0], "--set-resources", "samples:mem_mb=99000000")
    line = run.wait_to_say("will not start as it is")
    assert "rule_samples" in line and "no node of the partition has what it asks for" in line
    assert "99000000M" in line.replace(" ", "") or "96679" in line, line
    # Ctrl-C cancels what waits.
    run.process.send_signal(signal.SIGINT)
    assert run.end() != 0
    slurm.wait_for(lambda: not lab.jobs(), "cancelled jobs")
    assert run.said().count("will not start as it is") == 1


@pytest.mark.slow
def test_the_small_study_ends_as_a_local_run_does(finished, tmp_path, lab):
    study = studies.make(tmp_path / "study")
    slurm.adapt(study)
    run = slurm.start(study, lab, pace=5)
    assert run.end(1800) == 0, run.said()
    assert contents(study) == contents(finished)
    assert study.planned() == {}
    local = {"figure", "controls", "heatmap", "drawing", "power", "cautions"}
    rules = set(lab.submitted())
    assert not rules & local and {"embed", "probe", "attribute", "claims"} <= rules
