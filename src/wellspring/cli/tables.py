"""The commands of tables that one function makes of other tables."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from wellspring.artefacts import find, kinds
from wellspring.artefacts.tables import Table
from wellspring.cli.step import Job, step
from wellspring.errors import ConfigError


def command(name: str) -> click.Command | None:
    """The command of a table, if there is one of this name."""
    kind = next((kind for kind in kinds() if issubclass(kind, Table) and kind.rule == name), None)
    if kind is None:
        return None

    @step(kind, "table")
    @click.argument("inputs", nargs=-1)
    def make(job: Job, table: Path, inputs: tuple[str, ...]) -> None:
        """Make TABLE of INPUTS, each written as NAME=PATH."""
        given = {}
        for each in inputs:
            label, _, path = each.partition("=")
            artefact = find(path)
            if artefact is None or label in given:
                raise ConfigError(f"{each}: give each name once, and a path below results/")
            given[label] = type(artefact).read(Path(path))
        module, _, function = kind.function.partition(":")
        build = getattr(importlib.import_module(f"wellspring.{module}"), function)
        kind.write(table, build(**given, **job.spec.model_dump()), job.provenance("polars"))

    make.name = name
    return make
