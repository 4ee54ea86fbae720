"""status: what of a study is there, what is not what it should be, and what the rest will cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from wellspring.artefacts import Plan, lines, state
from wellspring.artefacts.base import RESULTS
from wellspring.artefacts.costs import Costs
from wellspring.artefacts.state import State
from wellspring.cli.step import configured, usable
from wellspring.progress import duration

HEADINGS = ("step", "done", "stale", "missing", "of", "jobs left", "time")


@click.command()
@configured
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    help="Cores that a run would use.  [default: all of this machine]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(overlays: tuple[Path, ...], own: Path, cores: int | None, as_json: bool) -> None:
    """Tell where the study of config.yaml and the OVERLAYS stands, in this folder.

    It says which results are there, which are not what the configuration asks for and why, which
    are missing, and how long the rest will take here, by what earlier jobs took.
    """
    from snakemake.utils import available_cpu_count

    plan = Plan(usable([own, *overlays]))
    current = state.state(plan, Costs.read(Path(RESULTS)))
    cores = cores or available_cpu_count()
    if as_json:
        click.echo(json.dumps(_facts(current, cores), indent=2, ensure_ascii=False))
        return
    _show(current)
    for line in _told(current, cores):
        click.echo(line)


def _show(current: State) -> None:
    """A row a step; plain columns where the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for stage in current.stages:
        results = stage.done + stage.stale + stage.missing + stage.spare
        counts = (stage.done, stage.stale, stage.missing)
        table.add_row(
            stage.rule,
            *(f"{count:,}" if count else "–" for count in counts),
            f"{results:,}",
            f"{stage.jobs:,}" if stage.jobs else "–",
            _time(stage.jobs, stage.unknown, stage.seconds),
            style="dim" if not stage.jobs else None,
        )
    click.echo(f"The study {current.study!r}:")
    Console(highlight=False, markup=False).print(table)


def _time(jobs: int, unknown: int, seconds: float) -> str:
    """What jobs take, one after the other."""
    if not jobs:
        return "–"
    if unknown == jobs:
        return "unknown"
    return f"{'> ' if unknown else ''}{duration(seconds)}"


def _told(current: State, cores: int) -> Iterator[str]:
    """What differs, then what is left, a line each."""
    if spare := sum(stage.spare for stage in current.stages):
        what = "1 result is" if spare == 1 else f"{spare:,} results are"
        yield f"{what} not there, and no job that is left reads what is missing."
    yield from lines(current.stale)
    if parts := list(state.half_made()):
        more = f" and {len(parts) - 1:,} more" if len(parts) > 1 else ""
        yield f"half-made, left by killed jobs: {parts[0]}{more} (`wellspring clean` removes them)"
    if state.at_work():
        yield "Snakemake works in this folder now, or was killed here (then: snakemake --unlock)."
    if not current.jobs:
        yield "Nothing is left to do."
        return
    unknown = current.unknown()
    left = f"Left: {len(current.jobs):,} {'jobs' if len(current.jobs) > 1 else 'job'}"
    if sum(unknown.values()) < len(current.jobs):
        least = "at least " if unknown else ""
        left += (
            f", {least}{duration(current.core_seconds(cores))} of one core, "
            f"{least or 'about '}{duration(current.wall_seconds(cores))} on {cores} "
            f"{'cores' if cores > 1 else 'core'}"
        )
    if unknown:
        rules = ", ".join(f"{count:,} of {rule}" for rule, count in unknown.items())
        left += f"; not known, since no such job has run here: {rules}"
    yield f"{left}."


def _facts(current: State, cores: int) -> dict[str, Any]:
    """All that is known, for machines."""
    return {
        "study": current.study,
        "steps": [asdict(stage) for stage in current.stages],
        "stale": [
            {"path": each.path, "step": each.artefact.rule, "reason": each.reason}
            for each in current.stale
        ],
        "missing": [each.main_file for each in current.missing],
        "half_made": [str(path) for path in state.half_made()],
        "locked": state.at_work(),
        "left": {
            "jobs": len(current.jobs),
            "cores": cores,
            "core_seconds": round(current.core_seconds(cores), 1),
            "wall_seconds": round(current.wall_seconds(cores), 1),
            "unknown": dict(current.unknown()),
        },
    }
