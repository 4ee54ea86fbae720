"""decentralisation: what a study's attributions say, in tidy tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl

from wellspring import shards, specs
from wellspring.cli import grids
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step


@click.command()
@click.argument("activations", type=FOLDER)
@click.argument("ablations", type=FOLDER)
@click.argument("agreements", type=FOLDER)
@click.argument("parquet", type=FILE)
@click.argument("csv", type=FILE)
@options
def decentralisation(
    activations: Path,
    ablations: Path,
    agreements: Path,
    parquet: Path,
    csv: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Gather what a study's ACTIVATIONS, ABLATIONS and AGREEMENTS say: PARQUET and CSV."""
    from wellspring.findings.decentralisation import build, gathered

    wanted = specs.DecentralisationSpec.read(spec)
    with step("decentralisation", None, code, log) as messages:
        encoders: dict[str, dict[str, str]] = {}
        for cell in wanted.grid:
            encoders.setdefault(cell.retriever, {})[cell.side] = cell.encoder
        agreed = list(_agreements(agreements, wanted))
        tables = []
        for group, cells in grids.groups(wanted.grid).items():
            texts = {cell.encoder: grids.activation_texts(activations, cell) for cell in cells}
            ablated = {cell.encoder: grids.ablations(ablations, cell) for cell in cells}
            own = dict(zip(("attribution", "dataset", "side"), group, strict=True))
            # A group at a time: a filter on what a file is would open every file.
            part = build(
                pl.concat(texts.values()),
                pl.concat(ablated.values()),
                pl.concat(agreed).filter(**own) if agreed else None,
                encoders,
                wanted.pairs,
                wanted.depths,
            )
            tables.append(part)
            messages.say(f"{', '.join(group)}: {len(texts)} encoders, {len(part)} findings")
        table = gathered(tables)
        identity = {"step": "decentralisation", "spec": wanted.model_dump(mode="json")}
        made = shards.Provenance(
            identity, circumstances("decentralisation", None, "numpy", "polars")
        )
        shards.write_text(csv, grids.rounded(table).write_csv())
        shards.write(parquet, table.to_arrow(), made)


def _agreements(folder: Path, wanted: specs.DecentralisationSpec) -> Iterator[pl.LazyFrame]:
    for retriever, datasets in wanted.agreement.items():
        for dataset, digest in datasets.items():
            path = folder / retriever / f"{dataset}.parquet"
            shards.check(path, digest, step="agreement")
            yield grids.located(path, retriever=retriever, dataset=dataset)
