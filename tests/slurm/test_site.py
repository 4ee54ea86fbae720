"""What is read of Slurm's answers, and what it means for a study's jobs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support import slurm
from wellspring.slurm import queue, site

PLAN = """
rule embed:
    input: texts.parquet
    output: shard-000.parquet
    jobid: 3
    threads: 4
    resources: tmpdir=/tmp, mem_mb=2512, disk_mb=<TBD>, runtime=240, gpu=1, gpu_model=a100

rule all:
    input: figure.png
    resources: tmpdir=/tmp, mem_mb=2000

rule probe:
    output: passages-2.parquet
    resources: tmpdir=/tmp, mem_mb=<TBD>, slurm_partition=main, slurm_account=lab, runtime=<TBD>
"""
SMALL = site.Partition("small", True, True, None, 60, (site.Node(2, 4000, {}),))
CARDS = site.Partition("cards", False, True, None, 1440, (site.Node(8, 64000, {"a100": 2}),))
KNOWN = {"small": SMALL, "cards": CARDS}


def test_requests_are_those_of_the_dry_run():
    embed, probe = site.requests(PLAN)
    assert embed == site.Request("embed", None, None, 4, 2512, 240, 1, "a100")
    assert probe == site.Request("probe", "main", "lab", sized=False)
    assert embed.options() == ["--mem=2512", "--time=240", "--gpus=a100:1"]
    assert probe.options() == ["--partition=main", "--account=lab", "--ntasks=1"]


def test_a_partition_that_is_not_known_yet_is_the_profile_s_own():
    plan = "rule attribute_2:\n    resources: slurm_partition=<TBD>, mem_mb=1, runtime=1, gpu=<TBD>"
    (job,) = site.requests(plan, "main")
    assert job.rule == "attribute" and job.partition == "main" and not job.sized


def test_a_limit_is_one_line_for_the_job_that_asks_for_most():
    jobs = [site.Request("probe", minutes=90), site.Request("embed", minutes=240)]
    (line,) = site.refusals(jobs, KNOWN)
    assert "small allows 60" in line and "--set-resources embed:runtime=60" in line


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        *(("UNLIMITED", float("inf")), ("INFINITE", float("inf")), ("10:00", 10), ("30", 30)),
        *(("01:30:00", 90), ("2-00:00:00", 2880), ("00:00:30", 0.5)),
    ],
)
def test_limits_are_read_as_slurm_writes_them(limit, expected):
    assert site.minutes(limit) == expected


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (site.Request("embed", "nowhere"), "no partition nowhere; it has small, cards"),
        (site.Request("embed", cpus=4), "4 CPUs, the largest node of small has 2: max-threads: 2"),
        (site.Request("embed", megabytes=8000), "8000 MB, the largest node of small has 4000"),
        (site.Request("embed", minutes=240), "240 minutes, small allows 60"),
        (site.Request("embed", gpus=1), "asks for a GPU, small has none"),
        (site.Request("embed", "cards", gpus=1, gpu_model="h100"), "no GPU named h100"),
    ],
)
def test_what_would_be_refused_is_said_with_the_key_that_mends_it(job, said):
    (line,) = site.refusals([job, site.Request("probe", job.partition)], KNOWN)
    assert said in line


def test_a_job_may_fit_every_limit_and_no_node():
    nodes = (site.Node(8, 1000, {}), site.Node(1, 64000, {"": 1}))
    mixed = site.Partition("mixed", True, True, None, 60, nodes)
    (line,) = site.refusals([site.Request("embed", cpus=4, megabytes=500, gpus=1)], {"m": mixed})
    assert "at once" in line
    assert not list(site.refusals([site.Request("embed", cpus=4, megabytes=500)], {"m": mixed}))


def test_what_cannot_work_with_the_accounting_is_said():
    without = {"AccountingStorageType": "accounting_storage/none", "MinJobAge": "300 sec"}
    having = {"AccountingStorageType": "accounting_storage/slurmdbd", "MinJobAge": "10 sec"}
    assert not list(site.bookkeeping("squeue", None, without))
    assert len(list(site.bookkeeping(None, "lab", without))) == 2
    assert not list(site.bookkeeping("sacct", "lab", having))
    assert "set sacct" in next(site.bookkeeping("squeue", "lab", having))


@pytest.mark.parametrize(
    "reason",
    [
        *("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints"),
        *("ReqNodeNotAvail, UnavailableNodes:n1", "QOSMaxCpuPerJobLimit", "InvalidAccount"),
        *("AssocMaxWallDurationPerJobLimit", "AssocMaxMemPerJob", "MaxMemPerLimit"),
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority",
    ],
)
def test_reasons_that_do_not_pass(reason):
    assert queue.lasting(reason, alone=False)


@pytest.mark.parametrize("reason", ["Resources", "Priority", "None", "BeginTime", "Licenses"])
def test_reasons_that_pass(reason):
    assert queue.lasting(reason, alone=True) is None


def test_a_shared_limit_passes_while_jobs_of_the_run_end():
    for reason in ("QOSMaxCpuPerUserLimit", "AssocGrpCpuLimit", "QOSMaxJobsPerUserLimit"):
        assert queue.lasting(reason, alone=False) is None
        assert "is reached" in (queue.lasting(reason, alone=True) or "")


def check(study, lab, *options: str):
    """`wellspring cluster-check` in the study's folder."""
    own = {"PYTHONPATH": str(study.folder / "src"), **lab.variables}
    return subprocess.run(
        [sys.executable, "-m", "wellspring", "cluster-check", *options],
        cwd=study.folder,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
    )


def test_the_check_of_a_cluster_that_fits(study, lab):
    slurm.adapt(study)
    done = check(study, lab)
    assert done.returncode == 0, done.stderr
    assert "partition main: a test job has run" in done.stdout
    # The check leaves no job.
    assert not lab.jobs()


@pytest.mark.slow
def test_the_check_says_what_the_site_refuses(study, lab):
    study.rewrite("slurm/config.yaml", "# slurm_partition: main", "slurm_partition: short")
    study.rewrite("slurm/config.yaml", "# slurm_account: lab", "slurm_account: lab")
    study.rewrite("slurm/config.yaml", "# gpu_type: a100", "gpu_type: a100")
    study.rewrite("workflow/rules/resources.smk", "GPU_WEIGHTS = 200", "GPU_WEIGHTS = 0")
    study.rewrite("slurm/config.yaml", "max-threads: 4", "max-threads: 16")
    study.rewrite("slurm/config.yaml", "slurm-status-command: squeue", "")
    done = check(study, lab)
    assert done.returncode == 1
    for said in (
        *(
            "slurm-status-command: Slurm has no accounting",
            "slurm_account: Slurm has no accounting",
        ),
        *("480 minutes, short allows 10", "8 CPUs, the largest node of short has 4"),
        *("gpu_type: short has no GPU named a100", "partition short, with a GPU: a test job"),
    ):
        assert said in done.stderr, done.stderr
    study.rewrite("slurm/config.yaml", "slurm_partition: short", "slurm_partition: nowhere")
    done = check(study, lab)
    assert done.returncode == 1
    assert "Slurm has no partition nowhere; it has main, short" in done.stderr
