"""What jobs have cost on this machine: the last lines of their logs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wellspring import progress
from wellspring.artefacts.base import RESULTS, Artefact, pattern
from wellspring.artefacts.registry import kinds_of

LOGS = "logs"
"""The folder of all logs below that of all results."""
RANGE = r"(?P<low>\d+)(?:-(?P<high>\d+))?"
"""In the log's path of a job of several files: the smallest and the largest value."""
ALIKE = (
    ("model", "encoder", "retriever", "dataset", "side"),
    ("model", "encoder", "retriever", "side"),
    ("side",),
    (),
)
"""Jobs of a rule that agree in these fields cost about the same, the most alike first."""

Alike = tuple[str, tuple[tuple[str, object], ...]]


@dataclass(frozen=True)
class Waiting:
    """A job that has not ended."""

    artefact: Artefact
    threads: int
    elapsed: float = 0.0
    """Seconds for which it has run."""
    least: float = 0.0
    """Seconds that it still takes by its own progress."""


class Costs:
    """Seconds of jobs that have ended, by what they made."""

    def __init__(self) -> None:
        self._own: dict[Alike, list[tuple[int, int, float]]] = defaultdict(list)
        """Without the value of several files of a job, whose smallest and largest come first."""
        self._alike: dict[Alike, list[float]] = defaultdict(list)

    @classmethod
    def read(cls, results: Path) -> Costs:
        """Those of every log of the results, the latest where several tell of one file."""
        costs = cls()
        logs = [log for log in (results / LOGS).rglob("*.log") if log.is_file()]
        for log in sorted(logs, key=lambda log: log.stat().st_mtime_ns):
            costs.add(results, log)
        return costs

    def add(self, results: Path, log: Path) -> None:
        """Note what a job has cost, if its log tells."""
        seconds = seconds_of(log)
        job = None if seconds is None else job_of(results, log)
        if seconds is None or job is None:
            return
        self._own[_key(job.rule, job.told)].append((job.low, job.high, seconds))
        for names in ALIKE:
            self._alike[_key(job.rule, job.told, names)].append(seconds)

    def seconds(self, artefact: Artefact) -> float | None:
        """What the job of an artefact will take: as long as it took, if it ran here, else the mean
        of the jobs of its rule that are most like it; None where none has run.

        A job that makes several files is the answer for each of them.
        """
        told = dict(vars(artefact))
        value = told.pop(artefact.batched_by, 0) if artefact.batched_by else 0
        for low, high, seconds in reversed(self._own.get(_key(artefact.rule, told), [])):
            if low <= value <= high:
                return seconds
        for names in ALIKE:
            if alike := self._alike.get(_key(artefact.rule, told, names)):
                return sum(alike) / len(alike)
        return None

    def left(self, jobs: Sequence[Waiting], cores: int) -> float | None:
        """Seconds until jobs have ended; None where the cost of most of them is unknown."""
        known = [self.seconds(job.artefact) for job in jobs]
        told = [seconds for seconds in known if seconds is not None]
        if not told or 2 * len(told) < len(known):
            return None
        mean = sum(told) / len(told)
        rest = [
            max((mean if seconds is None else seconds) - job.elapsed, job.least, 0.0)
            for seconds, job in zip(known, jobs, strict=True)
        ]
        threads = (min(job.threads, cores) for job in jobs)
        work = sum(seconds * count for seconds, count in zip(rest, threads, strict=True))
        return max(work / cores, *rest)


@dataclass(frozen=True)
class Job:
    """What a log is of.

    Attributes:
        told: the fields of what was made, without the one of several files of a job.
        low, high: the smallest and the largest value of that one; 0 where there is none.
    """

    rule: str
    batched_by: str | None
    told: Mapping[str, Any]
    low: int
    high: int

    def is_of(self, made: Container[Alike]) -> bool:
        """Whether the job made some of these files, each as `key_of` gives it."""
        if self.batched_by is None:
            return _key(self.rule, self.told) in made
        ends = ({**self.told, self.batched_by: value} for value in (self.low, self.high))
        return all(_key(self.rule, each) in made for each in ends)


def job_of(results: Path, log: Path) -> Job | None:
    """The job that a log is of; None where it is of no rule that makes artefacts."""
    path = log.relative_to(results)
    kinds = kinds_of(path.parts[1])
    if not kinds:
        return None
    kind = kinds[0]
    special = {kind.batched_by: RANGE} if kind.batched_by else {}
    match = pattern(kind.log(), **special).fullmatch(f"{RESULTS}/{path.as_posix()}")
    if match is None:
        return None
    groups = match.groupdict()
    low = int(groups.pop("low", None) or 0)
    high = int(groups.pop("high", None) or low)
    types = {field.name: field.type for field in fields(kind)}
    told = {n: int(text) if types[n] == "int" else text for n, text in groups.items()}
    return Job(kind.rule, kind.batched_by, told, low, high)


def key_of(artefact: Artefact) -> Alike:
    """The rule and the fields of an artefact, which all files of a job share but for one field."""
    return _key(artefact.rule, vars(artefact))


def seconds_of(log: Path) -> float | None:
    """The seconds that the last line of a log tells; None where the job failed or has not ended."""
    try:
        told = json.loads(progress.last_line(log))
        return float(told["seconds"])
    except (ValueError, TypeError, KeyError):
        return None


def _key(rule: str, told: Mapping[str, Any], names: tuple[str, ...] | None = None) -> Alike:
    """Of jobs that agree in fields; None: in all."""
    return rule, tuple(sorted((n, v) for n, v in told.items() if names is None or n in names))
