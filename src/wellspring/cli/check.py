"""check: whether configuration files can be used, before Snakemake reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wellspring import config as configuration
from wellspring import specs
from wellspring.cli.step import FILE
from wellspring.config import Attributing, Probing


@click.command()
@click.argument("overlays", type=FILE, nargs=-1)
@click.option(
    "--config",
    "own",
    type=FILE,
    default="config.yaml",
    show_default=True,
    help="The workflow's own file, which the overlays add to.",
)
def check(overlays: tuple[Path, ...], own: Path) -> None:
    """Tell whether config.yaml and the OVERLAYS, in this order, can be used.

    They are joined as `snakemake --configfile OVERLAYS` joins them. Of a file that is not valid
    YAML Snakemake says neither name nor line; this does. It prints what the study probes and
    attributes, and on which datasets.
    """
    from snakemake.utils import update_config

    files = [own, *overlays]
    contents = [configuration.read(file) for file in files]
    merged: dict[str, Any] = {}
    for content in contents:
        update_config(merged, dict(content))
    study = configuration.parse(configuration.anchor(merged, files))
    configuration.check_paths(study)
    configuration.check_checkpoints(study, specs.fetched)
    for line in configuration.notes(study, contents):
        click.echo(f"Note: {line}.")
    click.echo(f"The study {study.study.name!r} can be computed.")
    for verb, blocks in (("probed", study.study.probe), ("attributed", study.study.attribute)):
        for block in blocks:
            click.echo(f"{verb}: {_selected(block)}")
        if not blocks:
            click.echo(f"{verb}: nothing")


def _selected(block: Probing | Attributing) -> str:
    """What a block of the study selects."""
    names = ("attributions", "retrievers", "datasets", "passages")
    parts = {name: getattr(block, name) for name in names if hasattr(block, name)}
    return "; ".join(f"{name} {', '.join(map(str, each))}" for name, each in parts.items())
