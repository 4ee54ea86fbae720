"""figure: a picture of a study's table, for print and for reading."""

from __future__ import annotations

from pathlib import Path

import click
import polars as pl

from wellspring import shards
from wellspring.cli.step import FILE, logged, step


@click.command()
@click.argument("name", type=click.Choice(["layer-accuracy", "controls", "similarity"]))
@click.argument("dataset")
@click.argument("findings", type=FILE)
@click.argument("pdf", type=FILE)
@click.argument("png", type=FILE)
@click.option("--retriever", help="Whose controls are drawn.")
@click.option("--probe", default="concat", show_default=True, help="Whose accuracy is drawn.")
@logged
def figure(
    name: str,
    dataset: str,
    findings: Path,
    pdf: Path,
    png: Path,
    retriever: str | None,
    probe: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Draw the figure NAME of DATASET from FINDINGS into PDF and PNG."""
    with step("figure", None, code, log):
        table = pl.from_arrow(shards.read(findings, step="findings"))

        from wellspring import figures

        if name == "layer-accuracy":
            drawn = figures.layer_accuracy(table, dataset, probe)
        elif name == "controls":
            if retriever is None:
                raise click.UsageError("controls: --retriever says whose")
            drawn = figures.controls(table, dataset, retriever)
        else:
            drawn = figures.similarity(table, dataset)
        with shards.replacing(pdf) as pdf_part, shards.replacing(png) as png_part:
            figures.save(drawn, pdf_part, png_part)
