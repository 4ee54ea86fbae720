"""Slurm's queue: the jobs of a run, and why they wait."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from wellspring.errors import ClusterError

ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "STOPPED", "RESIZING")
"""States of jobs that may still write."""
NEVER = {
    "PartitionConfig|PartitionNodeLimit|BadConstraints": (
        "no node of the partition has what it asks for"
    ),
    "PartitionTimeLimit": "the partition allows less time than it asks for",
    "PartitionDown|PartitionInactive": "the partition takes no jobs now",
    "ReqNodeNotAvail|NodeDown|Nodes_required_for_job_are_DOWN": (
        "the nodes that it needs are down, drained or reserved"
    ),
    "InvalidAccount|AccountNotAllowed": "the account may not use the partition",
    "InvalidQOS|QOSNotAllowed": "the quality of service may not be used",
    "JobHeld|Dependency": "it is held",
    r"(QOS|Assoc)\w*Per(Job|Node)\w*|MaxMemPerLimit|AssocMaxWall\w*|QOSMaxWall\w*": (
        "a job may not ask for so much"
    ),
}
"""What a reason for waiting begins with, to what it means: it does not pass by itself."""
SHARED = r"(QOS|Assoc)(Max|Grp|Min|Usage|Time)\w*"
"""Limits on what jobs use together: they pass when others end, if others run."""


@dataclass(frozen=True)
class Job:
    """A job in the queue."""

    number: str
    state: str
    reason: str
    """Why it waits, as Slurm writes it."""
    asks: str
    """CPUs, memory, time limit and GPUs."""
    partition: str
    comment: str
    """rule_NAME_wildcards_VALUES, as the plugin writes it."""


def ask(*command: str, seconds: float = 60) -> str:
    """The output of one of Slurm's commands; ClusterError, in one line, where it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise ClusterError(
            f"{command[0]} is not installed here: run this on a login node"
        ) from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{command[0]} did not answer within {seconds:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise ClusterError(f"{command[0]} failed: {said[-1]}")
    return done.stdout


def jobs(run: str) -> list[Job]:
    """The jobs of a run that have not ended; the plugin gives all of them the run's name."""
    answer = ask(
        *("squeue", "--noheader", f"--name={run}", f"--states={','.join(ALIVE)}"),
        "--format=%i|%T|%r|%C CPUs, %m of memory, %l, GPUs %b|%P|%k",
    )
    return [Job(*line.split("|", 5)) for line in answer.splitlines()]


def lasting(reason: str, alone: bool) -> str | None:
    """Why a job waits in vain; None: it may still start.

    alone: none of the run's jobs runs, so that none of them will make room.
    """
    for pattern, meaning in NEVER.items():
        if re.match(pattern, reason.strip("()").replace(" ", "_")):
            return meaning
    if alone and re.match(SHARED, reason):
        return "a limit on what jobs use together is reached, though no job of this run runs"
    return None


def stuck(waiting: list[Job]) -> list[tuple[Job, str]]:
    """The jobs that will not start as things are, each with the reason."""
    alone = all(job.state == "PENDING" for job in waiting)
    pending = (job for job in waiting if job.state == "PENDING")
    return [(job, why) for job in pending if (why := lasting(job.reason, alone))]
