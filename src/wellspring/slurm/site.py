"""What a site's Slurm allows, held against what the jobs of a study ask for."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wellspring.errors import ClusterError
from wellspring.plurals import counted
from wellspring.slurm import queue

UNKNOWN = "<TBD>"
"""What Snakemake prints where a resource depends on a file that is not there yet."""


@dataclass(frozen=True)
class Request:
    """What a job asks for at its first attempt."""

    rule: str
    partition: str | None = None
    account: str | None = None
    cpus: int = 1
    megabytes: int = 0
    """0: not known yet."""
    minutes: int = 0
    """0: not known yet."""
    gpus: int = 0
    gpu_model: str | None = None
    sized: bool = True
    """Whether memory, time and GPUs are all known."""

    def options(self) -> list[str]:
        """As the plugin hands them to sbatch."""
        model = f"{self.gpu_model}:" if self.gpu_model else ""
        given = {
            "partition": self.partition,
            "account": self.account,
            "mem": self.megabytes or None,
            "time": self.minutes or None,
            "gpus": f"{model}{self.gpus}" if self.gpus else None,
            "ntasks": None if self.gpus else 1,
        }
        return [f"--{name}={value}" for name, value in given.items() if value is not None]


@dataclass(frozen=True)
class Node:
    """A node of a partition."""

    cpus: int
    megabytes: int
    gpus: dict[str, int]
    """Name of a model to how many; the name is empty where Slurm knows none."""

    def count(self, model: str | None) -> int:
        """GPUs of a model, or of any."""
        return self.gpus.get(model, 0) if model else sum(self.gpus.values())


@dataclass(frozen=True)
class Partition:
    """A partition, its nodes and its limits."""

    name: str
    default: bool
    up: bool
    accounts: tuple[str, ...] | None
    """None: all."""
    minutes: float
    nodes: tuple[Node, ...]


def requests(plan: str, partition: str | None = None) -> list[Request]:
    """The jobs that Snakemake's dry run lists.

    partition: that of jobs whose own is not known yet. The plan does not say which jobs are local.
    Those ask for little.
    """
    jobs = []
    for block in re.split(r"(?m)^(?=rule \w+:$)", plan):
        rule = re.match(r"rule (\w+):", block)
        if rule is None or rule[1] == "all":
            continue
        threads = re.search(r"(?m)^ +threads: (\d+)", block)
        listed = re.search(r"(?m)^ +resources: (.+)", block)
        pairs = (pair.split("=", 1) for pair in listed[1].split(", ")) if listed else ()
        given = dict(pairs)
        asked = {name: value for name, value in given.items() if value != UNKNOWN}
        own = partition if given.get("slurm_partition") == UNKNOWN else None
        jobs.append(
            Request(
                # Further rules of several files a job, as probe_2, take what is set for the first.
                re.sub(r"_\d+$", "", rule[1]),
                asked.get("slurm_partition", own),
                asked.get("slurm_account"),
                int(threads[1]) if threads else 1,
                int(asked.get("mem_mb", 0)),
                int(asked.get("runtime", 0)),
                int(asked.get("gpu", 0)),
                asked.get("gpu_model"),
                UNKNOWN not in (given.get(name) for name in ("mem_mb", "runtime", "gpu")),
            )
        )
    return jobs


def partitions() -> dict[str, Partition]:
    """All of them, by name."""
    by_name = {}
    for line in queue.ask("scontrol", "show", "partition", "--oneliner").splitlines():
        values = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        name, accounts = values["PartitionName"], values.get("AllowAccounts", "ALL")
        nodes = queue.ask(
            *("sinfo", "--noheader", "--Node", f"--partition={name}", "--format=%c|%m|%G")
        )
        by_name[name] = Partition(
            name,
            values.get("Default") == "YES",
            values.get("State") == "UP",
            None if accounts == "ALL" else tuple(accounts.split(",")),
            minutes(values.get("MaxTime", "UNLIMITED")),
            tuple(_node(line) for line in nodes.splitlines()),
        )
    return by_name


def _node(line: str) -> Node:
    cpus, megabytes, resources = line.split("|", 2)
    gpus: dict[str, int] = {}
    for model, count in re.findall(r"gpu(?::([A-Za-z_][\w.-]*))?(?::(\d+))?", resources):
        gpus[model] = gpus.get(model, 0) + int(count or 1)
    return Node(int(cpus.rstrip("+")), int(megabytes.rstrip("+")), gpus)


def minutes(limit: str) -> float:
    """Slurm's DAYS-HOURS:MINUTES:SECONDS in minutes."""
    if not re.search(r"\d", limit):
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, mins, seconds = parts if len(parts) == 3 else (0, *parts, *([0] * (2 - len(parts))))
    return int(days or 0) * 1440 + hours * 60 + mins + seconds / 60


def refusals(jobs: Sequence[Request], known: dict[str, Partition]) -> Iterator[str]:
    """What no node will run: one line a partition and limit, for the largest job."""
    for name in dict.fromkeys(job.partition for job in jobs):
        own = [job for job in jobs if job.partition == name]
        if name is None:
            partition = next((each for each in known.values() if each.default), None)
            if partition is None:
                yield "slurm_partition: Slurm has no default partition: name one in the profile"
                continue
        elif name not in known:
            yield f"slurm_partition: Slurm has no partition {name}; it has {', '.join(known)}"
            continue
        else:
            partition = known[name]
        yield from _limits(own, partition)


def _limits(jobs: Sequence[Request], partition: Partition) -> Iterator[str]:
    name = partition.name
    if not partition.up:
        yield f"slurm_partition: {name} takes no jobs now"
    account = jobs[0].account
    if partition.accounts is not None and account not in partition.accounts:
        yield f"slurm_account: {name} is for {', '.join(partition.accounts)}, not for {account}"
    longest = max(jobs, key=lambda job: job.minutes)
    if longest.minutes > partition.minutes:
        yield (
            f"{longest.rule} asks for {counted(longest.minutes, 'minute')}, {name} allows "
            f"{partition.minutes:.0f}: use a partition that allows more, or, if that is enough, "
            f"--set-resources {longest.rule}:runtime={partition.minutes:.0f}"
        )
    nodes = partition.nodes
    cpus, megabytes = (
        max((getattr(n, k) for n in nodes), default=0) for k in ("cpus", "megabytes")
    )
    widest = max(jobs, key=lambda job: job.cpus)
    if widest.cpus > cpus:
        yield (
            f"{widest.rule} asks for {widest.cpus} CPUs, the largest node of {name} has {cpus}: "
            f"max-threads: {cpus}"
        )
    largest = max(jobs, key=lambda job: job.megabytes)
    if largest.megabytes > megabytes:
        yield (
            f"{largest.rule} asks for {largest.megabytes} MB, the largest node of {name} has "
            f"{megabytes}: use a partition with larger nodes"
        )
    models = sorted({model for node in nodes for model in node.gpus})
    for job in {job.gpu_model: job for job in jobs if job.gpus}.values():
        if not any(node.count(None) for node in nodes):
            yield (
                f"{job.rule} asks for a GPU, {name} has none: name a partition that has, as "
                "gpu_partition, or set resources: gpu: 0"
            )
        elif not any(node.count(job.gpu_model) >= job.gpus for node in nodes):
            named = ", ".join(filter(None, models)) or "no models"
            yield f"gpu_type: {name} has no GPU named {job.gpu_model}; Slurm names {named} there"
        elif not any(_fits(job, node) for node in nodes):
            yield f"no node of {name} has the CPUs, the memory and the GPU of {job.rule} at once"


def _fits(job: Request, node: Node) -> bool:
    return (
        job.cpus <= node.cpus
        and job.megabytes <= node.megabytes
        and job.gpus <= node.count(job.gpu_model)
    )


def configured() -> dict[str, str]:
    """Slurm's own configuration."""
    pairs = (
        line.split("=", 1)
        for line in queue.ask("scontrol", "show", "config").splitlines()
        if "=" in line
    )
    return {name.strip(): value.strip() for name, value in pairs}


def bookkeeping(
    status_command: str | None, account: str | None, config: dict[str, str]
) -> Iterator[str]:
    """What does not fit Slurm's accounting.

    status_command: what the profile has Snakemake ask about jobs; None: the plugin chooses sacct.
    """
    accounting = not config.get("AccountingStorageType", "").endswith("/none")
    age = int(re.match(r"\d*", config.get("MinJobAge", ""))[0] or 0)  # type: ignore[index]
    if not accounting and status_command != "squeue":
        yield (
            "slurm-status-command: Slurm has no accounting database, so that sacct knows no job "
            "and Snakemake would wait without end: set squeue"
        )
    if accounting and status_command == "squeue" and age < 60:
        yield f"slurm-status-command: jobs leave squeue {age} s after their end: set sacct"
    if account and not accounting:
        yield "slurm_account: Slurm has no accounting database: take the line out of the profile"


def attempt(request: Request, seconds: float) -> tuple[bool, str]:
    """Submit a tiny job and wait; whether nothing speaks against it, and what happened.

    A job that still waits in the queue is no refusal.
    """
    step = "srun -n1 true"
    command = ("sbatch", "--parsable", "--job-name=wellspring-check", "--output=/dev/null")
    try:
        answer = queue.ask(*command, *request.options(), f"--wrap={step}")
    except ClusterError as error:
        return False, f"a test job: {error}"
    number = answer.strip().split(";")[0]
    end = time.monotonic() + seconds
    try:
        while True:
            listed = queue.ask(
                *("squeue", "--noheader", f"--jobs={number}", "--states=all", "--format=%T|%r")
            )
            state, reason = (listed.strip() or "COMPLETED|None").split("|", 1)
            if state == "COMPLETED":
                return True, "a test job has run"
            if why := queue.lasting(reason, alone=True) if state == "PENDING" else None:
                return False, f"a test job will not start ({reason}): {why}"
            if state not in queue.ALIVE:
                return False, f"a test job has ended as {state} ({reason})"
            if time.monotonic() > end:
                return True, f"a test job still waits after {seconds:.0f} s ({reason})"
            time.sleep(1)
    finally:
        queue.ask("scancel", number)
