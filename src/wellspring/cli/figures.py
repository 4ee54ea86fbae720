"""figure: a picture of a study's table, for print and for reading."""

from __future__ import annotations

from pathlib import Path

import click
import polars as pl
from pydantic import TypeAdapter, ValidationError

from wellspring import shards
from wellspring.cli.step import FILE, logged, step
from wellspring.errors import ConfigError


@click.command()
@click.argument("name", type=click.Choice(["layer-accuracy", "controls", "similarity"]))
@click.argument("dataset")
@click.argument("findings", type=FILE)
@click.argument("pdf", type=FILE)
@click.argument("png", type=FILE)
@click.option("--retriever", help="Whose controls are drawn.")
@click.option("--retrievers", help="Whose accuracy is drawn: names with commas; all by default.")
@click.option("--published", type=FILE, help="Published curves (CSV) to draw beside the accuracy.")
@click.option("--curves", help="Which retriever has which published curve (JSON).")
@click.option("--probe", default="concat", show_default=True, help="Whose accuracy is drawn.")
@logged
def figure(
    name: str,
    dataset: str,
    findings: Path,
    pdf: Path,
    png: Path,
    retriever: str | None,
    retrievers: str | None,
    published: Path | None,
    curves: str | None,
    probe: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Draw the figure NAME of DATASET from FINDINGS into PDF and PNG."""
    with step("figure", None, code, log):
        table = pl.from_arrow(shards.read(findings, step="findings"))

        from wellspring import figures

        if name == "layer-accuracy":
            names = retrievers.split(",") if retrievers else None
            beside = None if published is None else _beside(published, curves)
            drawn = figures.layer_accuracy(table, dataset, probe, names, beside)
        elif name == "controls":
            if retriever is None:
                raise click.UsageError("controls: --retriever says whose")
            drawn = figures.controls(table, dataset, retriever)
        else:
            drawn = figures.similarity(table, dataset)
        with shards.replacing(pdf) as pdf_part, shards.replacing(png) as png_part:
            figures.save(drawn, pdf_part, png_part)


def _beside(published: Path, curves: str | None) -> pl.DataFrame:
    """The published points under our retrievers' names."""
    from wellspring.cli.findings import read_published
    from wellspring.findings.published import named

    if curves is None:
        raise click.UsageError("--published: --curves says which retriever has which curve")
    try:
        pairs = TypeAdapter(dict[str, str]).validate_json(curves)
    except ValidationError:
        raise ConfigError(
            f"--curves: expected a JSON object of retriever to published curve, found {curves}"
        ) from None
    return named(read_published(published), pairs)
