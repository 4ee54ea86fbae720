"""check: whether configuration files can be used, before Snakemake reads them."""

from __future__ import annotations

from pathlib import Path

import click

from wellspring import config as configuration
from wellspring.cli.step import configured, usable
from wellspring.config import Attributing, Probing, Searching


@click.command()
@configured
def check(overlays: tuple[Path, ...], own: Path) -> None:
    """Tell whether config.yaml and the OVERLAYS, in this order, can be used.

    They are joined as `snakemake --configfile OVERLAYS` joins them. Of a file that is not valid
    YAML Snakemake says neither name nor line; this does. It prints what the study probes,
    searches and attributes, and on which datasets.
    """
    files = [own, *overlays]
    study = usable(files)
    for line in configuration.notes(study, [*map(configuration.read, files)]):
        click.echo(f"Note: {line}.")
    click.echo(f"The study {study.study.name!r} can be computed.")
    sections = {
        "probed": study.study.probe,
        "searched": study.study.search,
        "attributed": study.study.attribute,
    }
    for verb, blocks in sections.items():
        for block in blocks:
            click.echo(f"{verb}: {_selected(block)}")
        if not blocks:
            click.echo(f"{verb}: nothing")


def _selected(block: Probing | Searching | Attributing) -> str:
    """What a block of the study selects."""
    names = ("attributions", "retrievers", "datasets", "passages")
    parts = {name: getattr(block, name) for name in names if hasattr(block, name)}
    return "; ".join(f"{name} {', '.join(map(str, each))}" for name, each in parts.items())
