"""What of a study exists, what is not what it should be, and what the rest will cost here."""

from __future__ import annotations

import heapq
import os
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellspring import atomic
from wellspring.artefacts.base import RESULTS, Artefact
from wellspring.artefacts.batches import Jobs
from wellspring.artefacts.costs import Costs
from wellspring.artefacts.plan import Plan, Stale

LOCKS = Path(".snakemake", "locks")


@dataclass(frozen=True)
class Stage:
    """The results of one rule. What one job writes under one name, with different endings, is one
    result."""

    rule: str
    done: int
    stale: int
    missing: int
    spare: int
    """Results that are not there, and that nothing which is left to do reads."""
    jobs: int
    """Jobs that are left."""
    seconds: float
    """What these take, as far as it is known."""
    unknown: int
    """Jobs of which it is not known."""


@dataclass(frozen=True)
class Job:
    """A job that is left."""

    rule: str
    threads: int
    seconds: float | None
    """None: no job like it has run here."""
    needs: set[tuple[Any, ...]]
    """The jobs, among those that are left, whose results it reads."""


@dataclass(frozen=True)
class State:
    """Where a study stands."""

    study: str
    stages: Sequence[Stage]
    """In the order in which they are made."""
    stale: Sequence[Stale]
    missing: Sequence[Artefact]
    jobs: Mapping[tuple[Any, ...], Job]
    """Those that are left, those that others wait for first."""

    def core_seconds(self, cores: int) -> float:
        """Seconds of one core that the jobs take on a machine of so many cores."""
        return sum((j.seconds or 0) * min(j.threads, cores) for j in self.jobs.values())

    def wall_seconds(self, cores: int) -> float:
        """When the last job ends, if each starts as soon as it can; a job of unknown cost takes
        no time."""
        waiting = {name: len(job.needs) for name, job in self.jobs.items()}
        dependents = defaultdict(list)
        for name, job in self.jobs.items():
            for needed in job.needs:
                dependents[needed].append(name)
        ready: dict[int, deque[tuple[Any, ...]]] = defaultdict(deque)

        def offer(name: tuple[Any, ...]) -> None:
            ready[min(self.jobs[name].threads, cores)].append(name)

        for name, count in waiting.items():
            if not count:
                offer(name)
        now, free = 0.0, cores
        running: list[tuple[float, int, int, tuple[Any, ...]]] = []
        for number in range(len(self.jobs) * 2):
            # Wide jobs first: narrow ones would keep them waiting.
            width = max((w for w, names in ready.items() if names and w <= free), default=0)
            if width:
                name = ready[width].popleft()
                free -= width
                heapq.heappush(running, (now + (self.jobs[name].seconds or 0), number, width, name))
                continue
            now, _, width, name = heapq.heappop(running)
            free += width
            for other in dependents[name]:
                waiting[other] -= 1
                if not waiting[other]:
                    offer(other)
        return now

    def unknown(self) -> Mapping[str, int]:
        """Rule to the jobs whose cost is not known."""
        return Counter(job.rule for job in self.jobs.values() if job.seconds is None)


def state(plan: Plan, costs: Costs) -> State:
    """Where the study of a plan stands in the working directory."""
    order = list(plan.closure(plan.ends()))
    differing = plan.stale(plan.ends())
    left = remaining(plan, order, {each.artefact for each in differing})
    differing += _following(plan, left, differing)
    stale = {each.artefact for each in differing}
    missing = [each for each in left if each not in stale]
    jobs = _jobs(plan, left, costs)
    stages = list(_stages(order, stale, set(missing), jobs.values()))
    return State(plan.config.study.name, stages, differing, missing, jobs)


def _stages(
    order: Sequence[Artefact],
    stale: Collection[Artefact],
    missing: Collection[Artefact],
    jobs: Collection[Job],
) -> Iterator[Stage]:
    labels: dict[str, dict[tuple[Any, ...], str]] = defaultdict(dict)
    for artefact in order:
        results, result = labels[artefact.rule], tuple(vars(artefact).values())
        if artefact in stale:
            results[result] = "stale"
        elif artefact in missing:
            results[result] = "missing"
        # Of what one job writes, another file may be read where this one is not.
        elif result not in results:
            results[result] = "done" if Path(artefact.main_file).exists() else "spare"
    for rule, results in labels.items():
        counts = Counter(results.values())
        seconds = [job.seconds for job in jobs if job.rule == rule]
        known = [each for each in seconds if each is not None]
        yield Stage(
            rule,
            *(counts[label] for label in ("done", "stale", "missing", "spare")),
            jobs=len(seconds),
            seconds=sum(known),
            unknown=len(seconds) - len(known),
        )


def remaining(plan: Plan, order: Sequence[Artefact], stale: Collection[Artefact]) -> list[Artefact]:
    """What a run would make, as Snakemake works it out: what is stale, what is missing of the
    study's ends or of what is read, and what reads a stale or missing file that is made again.

    order: what is needed comes first, there and in what is given.
    """
    missing = {each for each in order if not all(map(os.path.exists, each.files))}
    readers: dict[Artefact, list[Artefact]] = defaultdict(list)
    for artefact in order:
        for needed in _needed(plan, artefact):
            readers[needed].append(artefact)
    left = {*stale, *(each for each in plan.ends() if each in missing)}
    waiting = list(left)
    while waiting:
        artefact = waiting.pop()
        lacking = [each for each in _needed(plan, artefact) if each in missing]
        # A file that is there and right does not count as new where its job runs for another one.
        new = readers[artefact] if artefact in stale or artefact in missing else []
        further = {*lacking, *new} - left
        left |= further
        waiting.extend(further)
    return [each for each in order if each in left]


def _following(plan: Plan, left: Sequence[Artefact], differing: Sequence[Stale]) -> Iterator[Stale]:
    """What is there and says the right thing, and is made again for what it is made from."""
    stale = {each.artefact for each in differing}
    for artefact in left:
        if artefact in stale or not Path(artefact.main_file).exists():
            continue
        needed = [each for each in _needed(plan, artefact) if each not in stale]
        lacking = next((e.main_file for e in needed if not Path(e.main_file).exists()), None)
        follows = len(needed) < len(_needed(plan, artefact)) or lacking is None
        reason = None if follows else f"{lacking}, which it is made from, is missing"
        yield Stale(artefact, artefact.main_file, reason)


def _jobs(plan: Plan, left: Sequence[Artefact], costs: Costs) -> dict[tuple[Any, ...], Job]:
    """The jobs that make artefacts, each once."""
    jobs = Jobs(plan.config)
    names = {artefact: jobs.of(artefact) for artefact in left}
    work: dict[tuple[Any, ...], Job] = {}
    for artefact, name in names.items():
        if name not in work:
            seconds = costs.seconds(artefact)
            work[name] = Job(artefact.rule, artefact.threads, seconds, set())
        own = {names[each] for each in _needed(plan, artefact) if each in names}
        work[name].needs.update(own - {name})
    return work


def _needed(plan: Plan, artefact: Artefact) -> list[Artefact]:
    """The artefacts that one is made from."""
    needed = (each for some in plan.needs(artefact).values() for each in some)
    return [each for each in needed if isinstance(each, Artefact)]


def half_made(results: Path = Path(RESULTS)) -> Iterator[Path]:
    """What killed jobs left of files that they wrote."""
    for folder, _, files in os.walk(results):
        if any(name.endswith(".part") for name in files):
            yield from sorted(atomic.abandoned(Path(folder)))


def at_work() -> bool:
    """Whether Snakemake works in this folder, or was killed here and left its lock."""
    return any(LOCKS.glob("*.lock"))
