"""How Snakemake learns which existing files are not what the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from wellspring.artefacts.plan import Plan, lines
from wellspring.artefacts.registry import find


def replan(workflow: Any, plan: Plan, say: Callable[[str], None]) -> set[str]:
    """Turn off what Snakemake goes by, and force the files that say something else; gives these.

    workflow: Snakemake's, while it builds its graph: its settings are not known earlier, and what
    has to run is worked out later. A job that a kill left incomplete is made again without being
    asked: what it left is no whole file.
    """
    from snakemake.settings.types import RerunTrigger

    settings = workflow.dag_settings
    named = [find(str(target)) for target in settings.targets]
    roots = [each for each in named if each is not None] if settings.targets else plan.ends()
    stale = plan.stale(roots)
    for line in lines(stale):
        say(line)
    workflow.dag_settings = replace(
        settings, rerun_triggers=frozenset({RerunTrigger.MTIME}), force_incomplete=True
    )
    again = {path for each in stale for path in each.artefact.files}
    workflow.dag.forcefiles.update(again)
    return again
