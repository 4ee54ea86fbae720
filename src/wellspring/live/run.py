"""A run under way: which of its jobs are done, run and failed, and how long the rest will take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wellspring import progress
from wellspring.artefacts import RESULTS, Artefact
from wellspring.artefacts.costs import Costs, Waiting, seconds_of
from wellspring.plurals import counted

SHOWN = 2
"""Running jobs that the line names, before it counts them only."""
NUMBERED = re.compile(r"\b(layer|passages|shard)-(?=\d)")
WORK = re.compile(r"(?P<work>(?P<done>[\d,]+) of (?P<all>[\d,]+) [^,]+), (?P<rate>[\d,.]+) ")
"""A step's progress in its log."""
PATIENCE = 2.0
"""Seconds for which an estimate holds."""


@dataclass(frozen=True)
class Job:
    """A job that has begun."""

    words: str
    log: Path | None
    begun: float

    def progress(self) -> tuple[str, float]:
        """How far it is by its own log, and the seconds that are left at its rate; empty and 0
        where the log does not tell, or was not begun yet."""
        try:
            if self.log is None or self.log.stat().st_mtime < self.begun:
                return "", 0.0
        except OSError:
            return "", 0.0
        match = WORK.match(progress.last_line(self.log))
        if match is None:
            return "", 0.0
        done, total, rate = (
            float(match[name].replace(",", "")) for name in ("done", "all", "rate")
        )
        return match["work"], (total - done) / max(rate, 0.05)


class Run:
    """Times are seconds since the epoch, as those of log records and of files."""

    def __init__(self, total: int, begun: float) -> None:
        self.total, self.begun = total, begun
        self.done = 0
        self.running: dict[int, Job] = {}
        self.failed: dict[int, Job] = {}
        self.stopped = False
        """Whether the user has stopped it."""
        self._expected: dict[int, tuple[Artefact, int]] = {}
        self._cores: int | None = None
        self._costs = Costs()
        self._beyond: list[float] = []
        """Seconds of jobs beyond those that their logs tell: to start a process takes long."""
        self._estimate: tuple[float, float | None] = (0.0, None)

    def expect(self, jobs: Mapping[int, tuple[Artefact, int]], cores: int | None) -> None:
        """Note the jobs that are to run: what each makes and its threads.

        cores: None where jobs run on other machines.
        """
        self._expected, self._cores = dict(jobs), cores
        self._costs = Costs.read(Path(RESULTS))

    def begin(self, number: int, job: Job) -> None:
        """Note that a job has begun, for the first time or again."""
        self.failed.pop(number, None)
        self.running[number] = job

    def finish(self, number: int, now: float) -> tuple[str, float]:
        """Note that a job is done; gives its words and its seconds, by its log where that tells."""
        job = self._end(number, now)
        self._expected.pop(number, None)
        self.done += 1
        seconds = seconds_of(job.log) if job.log else None
        if job.log is None or seconds is None:
            return job.words, now - job.begun
        if self._cores is not None:
            self._beyond.append(max(now - job.begun - seconds, 0.0))
        if job.log.is_relative_to(RESULTS):
            self._costs.add(Path(RESULTS), job.log)
        return job.words, seconds

    def fail(self, number: int, now: float) -> Job:
        """Note that a job has failed."""
        self.failed[number] = self._end(number, now)
        return self.failed[number]

    def _end(self, number: int, now: float) -> Job:
        self._estimate = (0.0, None)
        return self.running.pop(number, None) or Job(f"job {number}", None, now)

    def left(self, now: float) -> float | None:
        """Seconds until all is done; None where too few jobs like these have run here."""
        worked_out, left = self._estimate
        if now - worked_out > PATIENCE:
            remote = self._cores is None
            running = dict(self.running)
            start = sum(self._beyond) / max(len(self._beyond), 1)
            jobs = []
            for number, (artefact, threads) in list(self._expected.items()):
                job, threads = running.get(number), 1 if remote else threads
                elapsed, least = (now - job.begun, job.progress()[1]) if job else (0.0, 0.0)
                jobs.append(Waiting(artefact, threads, elapsed - start, least))
            cores = self._cores or max(len(running), 1)
            left = self._costs.left(jobs, cores)
            self._estimate = (now, left)
        return left

    def line(self, now: float) -> str:
        """How far the run is, in one line whose end may be cut off."""
        left = self.left(now)
        running = list(self.running.values())
        parts = [f"{self.done} of {counted(self.total, 'job')}"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if left is not None and left >= 1:
            parts.append(f"about {progress.duration(left)} left")
        parts.append(progress.duration(now - self.begun))
        for job in running[:SHOWN]:
            work, _ = job.progress()
            parts.append(f"{job.words}: {work}" if work else job.words)
        if len(running) > SHOWN:
            parts.append(f"and {len(running) - SHOWN} more")
        return " · ".join(parts)

    def ending(self, answer: str, now: float) -> str:
        """How it ended, in one line; answer: where the results are."""
        took = progress.duration(now - self.begun)
        far = f"{self.done} of {counted(self.total, 'job')} done in {took}."
        if self.failed and not self.stopped:
            names = [job.words for job in self.failed.values()]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            return (
                f"Failed: {'; '.join(names[:SHOWN])}{more}. {far} "
                "Mend what is named above and run the same command again: what is done is kept."
            )
        if self.done < self.total:
            return f"Stopped: {far} Run the same command again: what is done is kept."
        return f"{far} {answer}".rstrip()


def words(rule: str, wildcards: Mapping[str, object], log: Path | None) -> str:
    """A job's rule and wildcards, by the path of its log where it has one."""
    if log is not None:
        return NUMBERED.sub(r"\1 ", progress.label(log).replace("/", " "))
    return " ".join([re.sub(r"_\d+$", "", rule), *map(str, wildcards.values())])
