"""cautions: what a reader of a study should be careful of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl

from wellspring import shards, specs
from wellspring.cli import grids
from wellspring.cli.scores import QUIET
from wellspring.cli.step import FILE, FOLDER, options, step


@click.command()
@click.argument("findings", type=FOLDER)
@click.argument("datasets", type=FOLDER)
@click.argument("activations", type=FOLDER)
@click.argument("table", type=FILE)
@options
def cautions(
    findings: Path,
    datasets: Path,
    activations: Path,
    table: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Gather the cautions on a study from its FINDINGS and from the facts of its DATASETS and
    ACTIVATIONS, into TABLE (CSV)."""
    from wellspring.findings.cautions import gathered

    wanted = specs.CautionsSpec.read(spec)
    with step("cautions", None, code, log) as messages:
        found = gathered(_rows(findings, datasets, activations, wanted))
        for caution, dataset, sentence in found.select(
            "caution", "dataset", "sentence"
        ).iter_rows():
            messages.say(": ".join(filter(None, (caution, dataset, sentence))))
        shards.write_text(table, grids.rounded(found).write_csv())


def _rows(
    findings: Path, datasets: Path, activations: Path, wanted: specs.CautionsSpec
) -> Iterator[dict[str, object]]:
    from wellspring.findings import cautions as science

    for dataset in wanted.datasets:
        facts = dict(shards.check(datasets / dataset / "samples.parquet", step="samples").facts)
        yield from science.of_samples(dataset, facts, facts.pop("source"))
    yield from science.of_mining(wanted.miners)
    table = pl.from_arrow(shards.read(findings / "findings.parquet", step="findings"))
    named = {"dataset": pl.String, "retriever": pl.String}
    training = pl.read_csv(
        findings / "training.csv", infer_schema_length=None, schema_overrides=named
    )
    yield from science.of_probes(table, training)
    if wanted.published:
        path = findings / "published.csv"
        compared = pl.read_csv(path, infer_schema_length=None, schema_overrides=named)
        yield from science.of_published(compared)
    if wanted.grid:
        path = findings / "decentralisation.parquet"
        attributed = pl.from_arrow(shards.read(path, step="decentralisation"))
        quiet = {
            (cell.attribution, cell.dataset, cell.retriever, cell.side): grids.activation_facts(
                activations, cell
            ).get(QUIET, 0)
            for cell in wanted.grid
        }
        yield from science.of_attributions(attributed, quiet)
    yield from science.of_pairs(wanted.fresh)
