"""clean: remove results that no study of the folder needs any more."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from wellspring.artefacts import state, studies, unneeded
from wellspring.artefacts.unneeded import Leftovers
from wellspring.cli.step import configured
from wellspring.errors import ConfigError, WellspringError
from wellspring.inspection.sections import in_bytes
from wellspring.plurals import counted

DEPTH = 4
"""Parts of a path by which files are counted together."""
SHOWN = 12
"""Lines on files that stay, before they are counted only."""


@click.command()
@configured
@click.option(
    "--without",
    "dropped",
    multiple=True,
    metavar="STUDY",
    help="The name of a study that is not needed any more. May be given several times.",
)
@click.option("--dry-run", is_flag=True, help="Print every file and remove none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(
    overlays: tuple[Path, ...], own: Path, dropped: tuple[str, ...], dry_run: bool, yes: bool
) -> None:
    """Remove results that no study needs any more, once you agree.

    Needed is what config.yaml asks for, alone and with the OVERLAYS, with each file of studies/
    beside it, and what each study asks for that has run in this folder. Logs stay, and so do files
    that no step has made.
    """
    if not dry_run:
        _refuse_beside_a_run()
    survey = studies.survey(own, overlays)
    names = {study.name for study in survey.known}
    for name in dropped:
        if name not in names and not studies.folder(name).is_dir():
            raise ConfigError(
                f"--without {name}: there is no such study, known are {', '.join(sorted(names))}"
            )
    leftovers = unneeded.leftovers(survey, dropped)
    needed = [study for study in survey.known if study.name not in dropped]
    origins = (f"{study.name} ({study.origin})" for study in needed)
    click.echo(f"Needed: {'; '.join(origins) or 'nothing'}")
    for line in _unknown(leftovers, survey.unusable):
        click.echo(line)
    for line in _doubtful(leftovers):
        click.echo(line)
    files = leftovers.files
    if not files:
        click.echo("Nothing is left over.")
        return
    _show(files)
    if dry_run:
        click.echo("\n".join(map(str, files)))
        return
    if yes or click.confirm(f"Remove {_amount(files)}?"):
        # Somebody may have started a run since.
        _refuse_beside_a_run()
        freed = unneeded.remove(files)
        click.echo(f"Removed {counted(len(files), 'file')}: {in_bytes(freed)} are free again.")
    else:
        click.echo("Nothing was removed.")


def _refuse_beside_a_run() -> None:
    if state.at_work():
        raise WellspringError(
            f"{state.LOCKS}: Snakemake works in this folder: wait until it has ended. If it was "
            "killed, free the folder with snakemake --unlock"
        )


def _unknown(leftovers: Leftovers, unusable: Sequence[str]) -> Iterator[str]:
    """What says too little of what a study needs, a line each, and what stays for that."""
    for line in unusable:
        yield f"Not known: {line}. Mend the file, or move it out of the folder."
    for name, reason in leftovers.unknown.items():
        yield (
            f"Not known: {reason}. The results of {name} stay. Name its file, or drop it with "
            f"--without {name}."
        )
    if leftovers.withheld:
        yield f"Kept: {_amount(leftovers.withheld)} that no known study needs, but these may."


def _doubtful(leftovers: Leftovers) -> Iterator[str]:
    """Files that perhaps are not results, and stay, a line each."""
    for line in leftovers.doubtful[:SHOWN]:
        yield f"Kept: {line}"
    if (more := len(leftovers.doubtful) - SHOWN) > 0:
        yield f"Kept: {more:,} more of this kind"


def _show(files: Sequence[Path]) -> None:
    """What would be removed, a row a folder; plain columns where the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path in files:
        folder = "/".join(path.parent.parts[:DEPTH])
        counts[folder] += 1
        sizes[folder] += unneeded.size([path])
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    table.add_column("not needed", overflow="fold")
    table.add_column("files", justify="right")
    table.add_column("size", justify="right")
    for folder in sorted(counts):
        table.add_row(folder, f"{counts[folder]:,}", in_bytes(sizes[folder]))
    Console(highlight=False, markup=False).print(table)


def _amount(files: Sequence[Path]) -> str:
    return f"{counted(len(files), 'file')} ({in_bytes(unneeded.size(files))})"
