"""The kinds of result files in words: results/README.md and `wellspring artefacts`."""

from __future__ import annotations

import inspect
from types import ModuleType

from wellspring.artefacts.base import RESULTS, Artefact
from wellspring.artefacts.registry import MODULES, kinds

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
- `studies/{study}/configuration.json`: the files and the configuration of the last run, which
  `wellspring clean` reads.
- `logs/{rule}/…log`: a job's messages, then one JSON line: seconds, peak_memory_mb, device.
"""


def summary(kind: type[Artefact]) -> str:
    """What a kind of file is, in its class's words."""
    return " ".join(str(inspect.getdoc(kind)).split())


def page() -> str:
    """results/README.md."""
    return HEAD + "".join(f"\n{_stage(module)}" for module in MODULES) + TAIL


def _stage(module: ModuleType) -> str:
    """A stage's kinds."""
    of_stage = [kind for kind in kinds() if kind.__module__ == module.__name__]
    title = module.__name__.rpartition(".")[2].capitalize()
    about = " ".join(str(module.__doc__).split())
    return "\n".join([f"## {title}", "", about, "", *map(_section, of_stage)])


def _section(kind: type[Artefact]) -> str:
    path = kind.path().removeprefix(f"{RESULTS}/")
    more = "".join(f", `.{suffix}`" for suffix in kind.also)
    lines = [f"### `{path}`{more}", "", f"{summary(kind)} Made by the rule `{kind.rule}`.", ""]
    if kind.columns:
        lines += ["| column | type | meaning |", "| --- | --- | --- |"]
        for name, column in kind.columns.items():
            meaning = " ".join(
                filter(None, [column.meaning, f"({column.unit})" if column.unit else ""])
            )
            escaped = meaning.replace("|", "\\|")
            lines.append(f"| `{name}` | {column.kind} | {escaped} |")
        lines.append("")
    return "\n".join(lines)
