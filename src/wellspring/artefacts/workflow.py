"""How Snakemake learns which existing files are not what the configuration asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from wellspring.artefacts.base import RESULTS, Artefact
from wellspring.artefacts.batches import Batch
from wellspring.artefacts.costs import Costs, Waiting
from wellspring.artefacts.plan import Plan, lines
from wellspring.artefacts.registry import beside, find, owner
from wellspring.progress import duration


def replan(workflow: Any, plan: Plan, say: Callable[[str], None]) -> set[str]:
    """Turn off what Snakemake goes by, and force the files that say something else; gives all whose
    dates count: these, and those below what the user forces.

    workflow: Snakemake's, while it builds its graph: its settings are not known earlier, and what
    has to run is worked out later. Snakemake's marks of unfinished jobs say nothing, either: a file
    that is there is whole, and what it says of itself is compared. A marked file would be forced
    alone, and what is missing below it would be passed over, since its inputs are ancient.
    """
    from snakemake.settings.types import RerunTrigger

    _share(workflow)
    settings = workflow.dag_settings
    roots = [*plan.ends(), *_named(settings.targets)]
    stale = plan.stale(roots)
    for line in lines(stale):
        say(line)
    workflow.dag_settings = replace(
        settings, rerun_triggers=frozenset({RerunTrigger.MTIME}), force_incomplete=True
    )
    workflow.dag.ignore_incomplete = True
    # What a failed job has finished is whole: every file is written under another name first.
    # A report has no execution.
    if execution := workflow.execution_settings:
        workflow.execution_settings = replace(execution, keep_incomplete=True)
    # The usual limit, 100 jobs a second, would have all waiting jobs weighed again every second,
    # and more often with every job that ends.
    scheduling = workflow.scheduling_settings
    if scheduling and _is_usual(scheduling.max_jobs_per_timespan):
        workflow.scheduling_settings = replace(scheduling, max_jobs_per_timespan=None)
    differ = {path for each in stale for path in each.artefact.files}
    asked = [*settings.forcerun, *(settings.targets if settings.forcetargets else ())]
    names = {str(name) for name in asked}
    # Several rules may make the files of one kind: the name of the first stands for all of them.
    named = {each.main_file for each in plan.closure(roots) if each.rule in names}
    workflow.dag.forcefiles.update(differ | named)
    everything = plan.closure(roots) if settings.forceall else ()
    below = [*everything, *plan.below(roots, _named(asked), names)]
    return differ | {path for each in below for path in each.files}


def _is_usual(limit: Any) -> bool:
    """Whether a limit on jobs in a span of time is what Snakemake takes where none is named."""
    return limit is not None and (limit.max_jobs, limit.timespan) == (100, 1)


def clear(workflow: Any, again: Collection[str]) -> None:
    """Remove what a run is about to make again, where its job would keep it for being there.

    A job of several files keeps those that have the key that is asked for. What is forced has it.
    """
    from snakemake.io import is_flagged

    for job in workflow.dag.needrun_jobs():
        for path in job.output:
            artefact = find(path) if path in again and is_flagged(path, "update") else None
            for each in beside(artefact) if artefact else ():
                Path(each.main_file).unlink(missing_ok=True)


def expect(workflow: Any, say: Callable[..., None]) -> None:
    """Say how long a run will take by what such jobs have cost here, and which jobs it has.

    The record carries the jobs as `expected`: number to artefact and threads, and the cores, which
    are None where jobs run on other machines.
    """
    jobs: dict[int, tuple[Artefact, int]] = {}
    for job in workflow.dag.needrun_jobs():
        # Not the job's own threads: asking for them settles its resources before its inputs exist.
        threads = job.rule.resources["_cores"].raw
        for artefact in _named(job.output[:1]):
            jobs[workflow.dag.jobid(job)] = (artefact, threads if isinstance(threads, int) else 1)
    cores = workflow._cores if workflow.local_exec else None
    waiting = [Waiting(*job) for job in jobs.values()]
    left = Costs.read(Path(RESULTS)).left(waiting, cores or 1)
    how = {None: "one after another", 1: "on one core"}.get(cores, f"on {cores} cores")
    say(
        "How long this takes is not known: too few jobs like these have run here."
        if left is None
        else f"This takes about {duration(left)} {how}, by what jobs like these took here.",
        extra={"expected": (jobs, cores)},
    )
    # A thread of its own shows what is logged. A job that starts before the live line stands there
    # would write across it.
    if (listener := workflow.logger_manager.queue_listener) is not None:
        listener.queue.join()


def equipped(workflow: Any, batches: Sequence[Batch]) -> Sequence[Batch]:
    """The batches of a kind, before their rules are defined: the further ones get what the user
    sets for the first (--set-resources, --set-threads)."""
    from snakemake.resources import Resources

    names = [batch.name for batch in batches]
    settings = workflow.resource_settings
    resources, threads = dict(settings.overwrite_resources), dict(settings.overwrite_threads)
    for name in names[1:]:
        if names[0] in resources:
            own = Resources.from_mapping(resources.get(name, {}))
            resources[name] = Resources.from_mapping(resources[names[0]]).copy()
            resources[name].update(own)
        if names[0] in threads:
            threads.setdefault(name, threads[names[0]])
    workflow.resource_settings = replace(
        settings, overwrite_resources=resources, overwrite_threads=threads
    )
    return batches


def _share(workflow: Any) -> None:
    """Refuse rules whose outputs `--cache` cannot share, and name all others.

    Snakemake shares any rule that the user names, also one that leaves files beside its outputs.
    And it passes `--cache` on to jobs of a cluster only where rules are named.
    """
    from snakemake.exceptions import WorkflowError

    settings = workflow.workflow_settings
    if settings.cache is None:
        return
    able = [rule.name for rule in workflow.rules if rule.cache.omit_software]
    if refused := [name for name in settings.cache if name not in able]:
        raise WorkflowError(
            f"--cache {' '.join(refused)}: only these rules can be shared: {', '.join(able)}. "
            "Without names, --cache shares all of them."
        )
    if workflow.output_file_cache is None:
        raise WorkflowError(
            "--cache needs a folder: set the environment variable SNAKEMAKE_OUTPUT_CACHE to it"
        )
    workflow.workflow_settings = replace(settings, cache=able)


def _named(names: Iterable[Any]) -> list[Artefact]:
    """The artefacts that paths lead to, by any of their files."""
    owners = (owner(PurePath(os.path.relpath(str(name)))) for name in names)
    return [artefact for artefact in owners if artefact is not None]
