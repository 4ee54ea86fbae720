"""The kinds of result files in words: results/README.md and `wellspring artefacts`."""

from __future__ import annotations

import inspect

from wellspring.artefacts.base import RESULTS, Artefact
from wellspring.artefacts.registry import kinds

HEAD = """# Results

Everything here is made by the workflow and ignored by git. Each file says in its metadata (key
`wellspring`) what it stands for and how it was made. This page is written by `wellspring artefacts
results/README.md`.

Intervals are 95 % intervals. Unless a unit is given, an accuracy, a chance or a difference is a
share, not per cent.
"""
TAIL = """
## Other files

- `studies/{study}/report.html`: Snakemake's report.
- `logs/{rule}/…log`: a job's messages, then one JSON line: seconds, peak_memory_mb, device.
"""


def summary(kind: type[Artefact]) -> str:
    """What a kind of file is, in its class's words."""
    return " ".join(str(inspect.getdoc(kind)).split())


def page() -> str:
    """results/README.md."""
    return HEAD + "".join(f"\n{_section(kind)}" for kind in kinds()) + TAIL


def _section(kind: type[Artefact]) -> str:
    path = kind.path().removeprefix(f"{RESULTS}/")
    more = "".join(f", .{suffix}" for suffix in kind.also)
    lines = [f"## `{path}`{more}", "", f"{summary(kind)} Made by the rule `{kind.rule}`.", ""]
    if kind.columns:
        lines += ["| column | type | meaning |", "| --- | --- | --- |"]
        for name, column in kind.columns.items():
            unit = f" ({column.unit})" if column.unit else ""
            meaning = column.meaning.replace("|", "\\|")
            lines.append(f"| {name} | {column.kind} | {meaning}{unit} |".replace("|  (", "| ("))
        lines.append("")
    return "\n".join(lines)
