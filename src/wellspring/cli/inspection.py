"""inspect: what a result file is and holds, or how two of them differ."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wellspring.artefacts import Artefact, lookup, reference
from wellspring.cli.step import FILE, gathering
from wellspring.errors import StaleArtefact, WellspringError
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.artefacts import Plan
    from wellspring.inspection import Section

LISTED = 40
"""Files that are listed, before they are counted only."""
WIDTH = 200
"""Characters of a line where the output is no terminal."""
WIDE = 10
"""Columns that fit beside each other."""
SIDE_BY_SIDE = 2
"""Rows that are shown of a wider table."""


@click.command()
@click.argument("target")
@click.argument("wildcards", nargs=-1)
@gathering
@click.option("--with", "other", type=FILE, help="Compare the file with this one.")
@click.option(
    "--config",
    "files",
    type=FILE,
    multiple=True,
    help="Refuse what these files, config.yaml first, do not ask for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(
    target: str,
    wildcards: tuple[str, ...],
    results: Path,
    other: Path | None,
    files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Tell what a result file is and holds: columns, provenance, and what stands in it.

    TARGET is a path; or the name of a kind (its class, rule or folder, as `wellspring artefacts`
    lists them), with values of its WILDCARDS in the order of the path. The last ones may be left
    out: then all files that fit are listed, or the only one is shown. Of a large file a sample is
    read.
    """
    if not wildcards and (Path(target).suffix or "/" in target):
        results, artefact = lookup.located(Path(target))
        fit: Sequence[Artefact] = [artefact]
    else:
        fit = _fitting(results, target, wildcards)
    plan = lookup.asked(results, files) if files else None
    if other is not None:
        if len(fit) > 1:
            raise WellspringError(f"--with compares one file, and {len(fit)} fit: name one of them")
        _compare(results, fit[0], other, plan, as_json)
    elif len(fit) == 1:
        _show(results, fit[0], plan, as_json)
    else:
        _list(results, fit, plan, as_json)


def _fitting(results: Path, name: str, wildcards: Sequence[str]) -> list[Artefact]:
    """The files of a name with these wildcards, at least one."""
    kinds = lookup.kinds_named(name)
    able = [kind for kind in kinds if len(fields(kind)) >= len(wildcards)]
    if not able:
        names = ", ".join(field.name for field in fields(kinds[0]))
        raise WellspringError(f"{' '.join(wildcards)}: {name} has only these wildcards: {names}")
    fit: list[Artefact] = []
    for kind in able:
        given = {f.name: value for f, value in zip(fields(kind), wildcards, strict=False)}
        fit += lookup.existing(results, kind, **given)
    if not fit:
        # Of a folder of several kinds, the error names the files of one that lies there.
        kind = next((each for each in able if lookup.existing(results, each)), able[0])
        given = {f.name: value for f, value in zip(fields(kind), wildcards, strict=False)}
        fit = lookup.fitting(results, kind, **given)
    return fit


def _show(results: Path, artefact: Artefact, plan: Plan | None, as_json: bool) -> None:
    from wellspring.artefacts import inspection
    from wellspring.inspection.sections import in_bytes

    seen = inspection.inspect(results, artefact, plan)
    if as_json:
        _dump(seen.facts())
        return
    click.echo(f"{seen.path}: {lookup.name_of(type(artefact))}")
    click.echo(reference.summary(type(artefact)))
    shape = ""
    if seen.rows is not None and seen.row_groups is not None:
        shape = f"{counted(seen.rows, 'row')} in {counted(seen.row_groups, 'row group')}, "
    click.echo(f"{shape}{in_bytes(seen.size)}, made by the rule {artefact.rule}")
    _print(seen.shown())


def _compare(
    results: Path, artefact: Artefact, other: Path, plan: Plan | None, as_json: bool
) -> None:
    from wellspring.artefacts import comparing

    lookup.trusted(results, artefact, plan)
    own = artefact.at(results)
    sections = list(comparing.compared(own, other))
    if as_json:
        parts = {each.name: {"note": each.note, "rows": each.rows} for each in sections}
        _dump({"here": str(own), "there": str(other), **parts})
        return
    click.echo(f"here:  {own}\nthere: {other}")
    _print(sections)


def _list(results: Path, fit: Sequence[Artefact], plan: Plan | None, as_json: bool) -> None:
    """A row for each file; the error of the first that cannot be trusted ends the command."""
    from wellspring.inspection import Section
    from wellspring.inspection.sections import in_bytes

    rows, faults = [], []
    for artefact in fit:
        path, fault = artefact.at(results), ""
        try:
            lookup.trusted(results, artefact, plan)
        except StaleArtefact as error:
            fault = str(error)
            faults.append(fault)
        rows.append(
            {
                "kind": lookup.name_of(type(artefact)),
                "path": str(path),
                "bytes": (path.stat() if path.exists() else path.lstat()).st_size,
                "fault": fault,
            }
        )
    size = sum(row["bytes"] for row in rows)
    if as_json:
        _dump({"files": rows, "bytes": size})
    else:
        shown = [
            {"kind": row["kind"], "path": row["path"], "size": in_bytes(row["bytes"])}
            for row in rows[:LISTED]
        ]
        more = f"; {len(rows) - LISTED} more are not shown" if len(rows) > LISTED else ""
        note = f"{in_bytes(size)} in all{more}; name one to look into it"
        _print([Section("files", counted(len(rows), "file"), shown, note)])
    if faults:
        more = f" (and {counted(len(faults) - 1, 'more file')})" if len(faults) > 1 else ""
        raise StaleArtefact(f"{faults[0]}{more}")


def _dump(content: Any) -> None:
    click.echo(json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(content: Any) -> Any:
    """What JSON has a word for: no NaN, no infinity, no types of libraries."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    return content if content is None or isinstance(content, (str, int)) else str(content)


def _print(sections: Iterable[Section]) -> None:
    """Tables with lines on a terminal; elsewhere plain columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else WIDTH, markup=False, highlight=False)
    for section in sections:
        click.echo(f"\n{section.title}" + (f" ({section.note})" if section.note else ""))
        if not section.rows:
            continue
        table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
        rows = _upright(section.rows)
        headings = [name for name in rows[0] if any(row[name] != "" for row in rows)]
        for name in headings:
            value = rows[0][name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            table.add_column(
                name.replace("_", " "), justify="right" if number else "left", overflow="fold"
            )
        for row in rows:
            table.add_row(*(_cell(row[name]) for name in headings))
        console.print(table)


def _upright(rows: Sequence[Mapping[str, object]]) -> Sequence[Mapping[str, object]]:
    """The rows; of a wide table the first ones side by side, a line a column."""
    if len(rows[0]) <= WIDE:
        return rows
    first = rows[:SIDE_BY_SIDE]
    return [
        {"column": name, **{f"row {n}": _cell(row[name]) for n, row in enumerate(first, 1)}}
        for name in rows[0]
    ]


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
