"""How Snakemake learns which existing files are not what the configuration asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from wellspring.artefacts.base import Artefact
from wellspring.artefacts.plan import Plan, lines
from wellspring.artefacts.registry import find


def replan(workflow: Any, plan: Plan, say: Callable[[str], None]) -> set[str]:
    """Turn off what Snakemake goes by, and force the files that say something else; gives all whose
    dates count: these, and those below what the user forces.

    workflow: Snakemake's, while it builds its graph: its settings are not known earlier, and what
    has to run is worked out later. A job that a kill left incomplete is made again without being
    asked: what it left is no whole file.
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
    differ = {path for each in stale for path in each.artefact.files}
    workflow.dag.forcefiles.update(differ)
    asked = [*settings.forcerun, *(settings.targets if settings.forcetargets else ())]
    below = plan.below(roots, _named(asked), map(str, asked))
    return differ | {path for each in below for path in each.files}


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
    artefacts = []
    for name in names:
        path = PurePath(os.path.relpath(str(name)))
        # CSV and PDF lie beside the file that says what it is.
        for suffix in (path.suffix, ".parquet", ".png"):
            if path.suffix and (artefact := find(str(path.with_suffix(suffix)))) is not None:
                artefacts.append(artefact)
                break
    return artefacts
