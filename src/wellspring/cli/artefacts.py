"""artefacts: the kinds of result files."""

from __future__ import annotations

from pathlib import Path

import click

from wellspring.artefacts import kinds, reference
from wellspring.cli.step import FILE
from wellspring.shards import write_text


@click.command()
@click.argument("page", type=FILE, required=False)
def artefacts(page: Path | None) -> None:
    """List the kinds of files under results/, or write all about them to PAGE (Markdown)."""
    if page is not None:
        write_text(page, reference.page())
        return
    for kind in kinds():
        click.echo(f"{kind.rule:<16} {kind.path()}\n{'':<16} {reference.summary(kind)}")
