"""What a cluster does to a run, on a real Slurm: afterwards every table is an undisturbed run's."""

from __future__ import annotations

import re
import signal

import pytest

from tests.support import slurm
from tests.support.slurm import contents
from tests.workflow.test_edits import EDITS_OF_CODE, EDITS_OF_CONFIG, set_pooling

SAMPLES = "results/datasets/questions/samples.parquet"
QRELS = "results/datasets/questions/qrels.parquet"
EMBEDDED = "results/embeddings/tiny/questions/query/shard-000.parquet"
AFTER_POOLING = dict(EDITS_OF_CONFIG)[set_pooling]


RULES = "workflow/rules/datasets.smk"
SLOW = "sleep 20"
HANGS = "test -e hung || (touch hung; sleep 300)"
"""At the first attempt alone."""


def begin(study, lab, *files: str, disturbance: str = HANGS, options=()) -> slurm.Run:
    """Take files away and make them on Slurm, samples behind a command of the shell."""
    slurm.adapt(study)
    for file in files:
        (study.folder / file).unlink()
    study.rewrite(RULES, '"wellspring samples ', f'"{disturbance}; wellspring samples ')
    return slurm.start(study, lab, *files, *options)


def hanging(study, lab) -> str:
    """The id of the job of samples, once its command runs."""
    slurm.wait_for((study.folder / "hung").exists, "a job that hangs", 180)
    return slurm.wait_for(lambda: lab.running("rule_samples"), "a running job", 60)


def whole(study, before) -> None:
    """All tables are those of the undisturbed run, and nothing is left to do."""
    assert contents(study) == before
    assert study.planned() == {}


@pytest.mark.slow
def test_after_sigkill_no_job_runs_twice_and_the_plan_is_an_undisturbed_one(study, lab):
    before = contents(study)
    run = begin(study, lab, SAMPLES, QRELS)
    job = hanging(study, lab)
    slurm.wait_for((study.folder / QRELS).exists, "a job that ends", 180)
    slurm.wait_for(lambda: len(lab.jobs()) == 1, "its leaving the queue", 60)
    run.process.kill()
    run.end()
    study.run("--unlock")
    # The job of the dead run goes on, so a second run would make the same file beside it.
    again = slurm.start(study, lab, SAMPLES)
    assert again.end() == 1
    identity = re.search(r"make slurm-cancel RUN=(\S+)", again.said())
    assert identity and "still in Slurm's queue (1)" in again.said(), again.said()
    assert list(lab.jobs()) == [job]
    # As the Makefile does.
    lab.ask("scancel", f"--name={identity[1]}")
    assert study.planned(SAMPLES) == {"samples": 1}
    again = slurm.start(study, lab, SAMPLES)
    assert again.end() == 0, again.said()
    whole(study, before)
    study.configure(set_pooling)
    assert study.planned() == AFTER_POOLING


@pytest.mark.slow
def test_jobs_that_end_unseen_after_sigkill_are_known(study, lab):
    """Snakemake has no note of them. What they wrote says what it is."""
    before = contents(study)
    run = begin(study, lab, SAMPLES, EMBEDDED, disturbance=SLOW, options=("--max-threads", "1"))
    slurm.wait_for(lambda: lab.running("rule_samples"), "a running job", 180)
    slurm.wait_for(lambda: lab.running("rule_embed"), "a running job", 180)
    run.process.kill()
    run.end()
    study.run("--unlock")
    slurm.wait_for(lambda: not lab.jobs(), "the end of the jobs", 300)
    study.rewrite(RULES, f"{SLOW}; ", "")
    whole(study, before)
    name, old, new, planned = EDITS_OF_CODE[0]
    study.rewrite(name, old, new)
    assert study.planned() == planned
    study.rewrite(name, new, old)
    study.configure(set_pooling)
    assert study.planned() == AFTER_POOLING


@pytest.mark.slow
def test_a_cancelled_job_is_submitted_again(study, lab):
    before = contents(study)
    run = begin(study, lab, SAMPLES)
    job = hanging(study, lab)
    lab.ask("scancel", job)
    assert run.end() == 0, run.said()
    assert "CANCELLED" in run.said() and lab.submitted() == ["samples", "samples"]
    whole(study, before)


@pytest.mark.slow
def test_a_job_out_of_time_gets_more(study, lab):
    before = contents(study)
    options = ("--set-resources", "samples:runtime=attempt")
    run = begin(study, lab, SAMPLES, options=options)
    assert run.end() == 0, run.said()
    assert "TIMEOUT" in run.said() and "runtime=2" in run.said()
    assert lab.submitted() == ["samples", "samples"]
    whole(study, before)


@pytest.mark.slow
def test_a_job_out_of_memory_gets_more(study, lab):
    before = contents(study)
    # The two processes of Snakemake take 220 MB.
    hungry = "python -c 'import time; x = bytearray(900_000_000); time.sleep(15)'"
    options = ("--set-resources", "samples:mem_mb=800 * attempt")
    run = begin(study, lab, SAMPLES, disturbance=hungry, options=options)
    assert run.end() == 0, run.said()
    assert lab.submitted() == ["samples", "samples"]
    whole(study, before)


@pytest.mark.slow
def test_a_node_that_dies_takes_one_attempt_along(study, lab):
    before = contents(study)
    run = begin(study, lab, SAMPLES)
    hanging(study, lab)
    lab.ask("scontrol", "update", f"nodename={lab.node}", "state=down", "reason=test")
    try:
        run.wait_to_say("NODE_FAIL")
    finally:
        # It may have come back by itself.
        back = ("scontrol", "update", f"nodename={lab.node}", "state=resume")
        lab.ask(*back, check=False)
    assert run.end() == 0, run.said()
    whole(study, before)


@pytest.mark.slow
def test_ctrl_c_cancels_the_jobs_and_a_plain_rerun_goes_on(study, lab):
    before = contents(study)
    run = begin(study, lab, SAMPLES)
    hanging(study, lab)
    run.process.send_signal(signal.SIGINT)
    assert run.end() != 0
    slurm.wait_for(lambda: not lab.jobs(), "cancelled jobs")
    run = slurm.start(study, lab, SAMPLES)
    assert run.end() == 0, run.said()
    whole(study, before)


@pytest.mark.slow
def test_of_two_runs_at_once_the_second_is_refused(study, lab):
    before = contents(study)
    run = begin(study, lab, SAMPLES, disturbance=SLOW)
    slurm.wait_for(lambda: lab.running("rule_samples"), "a running job", 180)
    other = slurm.start(study, lab, SAMPLES)
    assert other.end() == 1
    assert "cannot be locked" in other.said() and "earlier run" not in other.said()
    assert run.end() == 0, run.said()
    assert len(lab.submitted()) == 1
    whole(study, before)
