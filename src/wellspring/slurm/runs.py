"""Runs on Slurm: what Snakemake and its plugin do not look after while a run goes on.

The plugin gives all jobs of a run one name, the run's id. It tells neither of jobs that will never
start, nor of those that a killed run left behind.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wellspring.errors import ClusterError
from wellspring.slurm import queue

RECORDS = Path(".snakemake", "slurm_runs")
"""A file a run, named by its id, so that the next run in this folder can ask for its jobs."""
PATIENCE = 60
"""Seconds to wait for cancelled jobs to end."""


def carry_configuration(programs: Path) -> None:
    """Inside a job, let the steps that it starts find a Slurm that is configured elsewhere.

    programs: the folder of an `srun` that brings SLURM_CONF back, which the plugin takes away.
    """
    if {"SLURM_CONF", "SLURM_JOB_ID"} <= os.environ.keys():
        os.environ["WELLSPRING_SLURM_CONF"] = os.environ["SLURM_CONF"]
        os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"


def start(workflow: Any, warn: Callable[[str], None]) -> None:
    """Called when a run begins, and holds the lock of its folder.

    workflow: Snakemake's, whose executor is there. Raises ClusterError where jobs of a dead run go
    on.
    """
    refuse_leftovers(RECORDS)
    executor, run = workflow.scheduler._executor, _identity(workflow)
    if run is None:
        return
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / run).touch()
    seconds = workflow.remote_execution_settings.seconds_between_status_checks
    steady(executor, seconds)
    threading.Thread(target=watch, args=(run, seconds, warn), daemon=True).start()


def end(workflow: Any) -> None:
    """Called when a run has ended well: none of its jobs is left."""
    if (run := _identity(workflow)) is not None:
        (RECORDS / run).unlink(missing_ok=True)


def _identity(workflow: Any) -> str | None:
    """The run's id; None where it does not run on Slurm."""
    return getattr(workflow.scheduler._executor, "run_uuid", None)


def refuse_leftovers(records: Path) -> None:
    """Raise ClusterError where jobs of an earlier run still run; forget runs that have none.

    The folder is locked, so the process of every earlier run has ended.
    """
    for record in sorted(records.glob("*")):
        latest = time.monotonic() + PATIENCE
        while alive := _alive(record):
            if any(job.state != "COMPLETING" for job in alive) or time.monotonic() > latest:
                raise ClusterError(
                    f"jobs of an earlier run, whose Snakemake was killed, are still in Slurm's "
                    f"queue ({len(alive)}) and would run twice: wait for them, or cancel them "
                    f"with make slurm-cancel RUN={record.name}"
                )
            time.sleep(1)
        record.unlink(missing_ok=True)


def _alive(record: Path) -> list[queue.Job]:
    try:
        return queue.jobs(record.name)
    except ClusterError as error:
        raise ClusterError(
            f"{error}. Jobs of an earlier run may still run: remove {record} if they do not"
        ) from None


def steady(executor: Any, seconds: int) -> None:
    """Have the plugin look for finished jobs every so many seconds.

    After each look that finds none it would wait ten seconds longer, up to three minutes: long
    jobs then end unseen while what follows them waits.
    """
    own = type(executor)
    pace = property(lambda _: seconds, lambda *_: None)
    executor.__class__ = type(own.__name__, (own,), {"next_seconds_between_status_checks": pace})


def watch(run: str, seconds: int, warn: Callable[[str], None]) -> None:
    """Warn of jobs that will never start, once a job and reason, until the process ends."""
    told: set[tuple[str, str]] = set()
    while True:
        time.sleep(seconds)
        try:
            waiting = queue.jobs(run)
        except ClusterError:
            # The plugin asks the same, and says so.
            continue
        for job, why in queue.stuck(waiting):
            if (job.number, job.reason) not in told:
                told.add((job.number, job.reason))
                warn(warning(job, why))


def warning(job: queue.Job, why: str) -> str:
    """One line for a job that waits in vain."""
    return (
        f"Slurm job {job.number} ({job.comment}) will not start as it is ({job.reason}): {why}. "
        f"It asks partition {job.partition} for {job.asks}. `make slurm-check` tells what the "
        f"partition allows; `scancel {job.number}` ends it."
    )
