"""The commands of tables that one function makes of other tables."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import polars as pl

from wellspring import shards
from wellspring.artefacts import kinds
from wellspring.artefacts.tables import Table
from wellspring.cli.step import Job, step


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
            given[label] = pl.from_arrow(shards.read(Path(path)))
        module, _, function = kind.function.partition(":")
        build = getattr(importlib.import_module(f"wellspring.{module}"), function)
        kind.write(table, build(**given, **job.spec.model_dump()), job.provenance("polars"))

    make.name = name
    return make
