"""decentralisation: what a study's attributions say, in tidy tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import polars as pl

from wellspring import shards, specs
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step


@click.command()
@click.argument("activations", type=FOLDER)
@click.argument("ablations", type=FOLDER)
@click.argument("agreements", type=FOLDER)
@click.argument("parquet", type=FILE)
@click.argument("csv", type=FILE)
@click.argument("claims", type=FILE)
@options
def decentralisation(
    activations: Path,
    ablations: Path,
    agreements: Path,
    parquet: Path,
    csv: Path,
    claims: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Gather what a study's ACTIVATIONS, ABLATIONS and AGREEMENTS say: PARQUET and CSV, and the
    published CLAIMS with a verdict."""
    from wellspring.findings.claims import evaluate
    from wellspring.findings.decentralisation import Settings, build, gathered

    wanted = specs.DecentralisationSpec.read(spec)
    with step("decentralisation", None, code, log) as messages:
        encoders: dict[str, dict[str, str]] = {}
        for cell in wanted.grid:
            encoders.setdefault(cell.retriever, {})[cell.side] = cell.encoder
        agreed = list(_agreements(agreements, wanted))
        tables = []
        for group, cells in _groups(wanted.grid).items():
            texts, ablated = {}, {}
            for cell in cells:
                place = Path(*_place(cell)).with_suffix(".parquet")
                path = activations / place.with_suffix(".texts.parquet")
                shards.check(path, cell.activations, step="activations")
                texts[cell.encoder] = _located(path, cell)
                shards.check(ablations / place, cell.ablations, step="ablations")
                ablated[cell.encoder] = _located(ablations / place, cell)
            own = dict(zip(("attribution", "dataset", "side"), group, strict=True))
            # A group at a time: a filter on what a file is would open every file.
            part = build(
                pl.concat(texts.values()),
                pl.concat(ablated.values()),
                pl.concat(agreed).filter(**own) if agreed else None,
                encoders,
                wanted.pairs,
                wanted.depths,
                Settings(resamples=wanted.resamples, seed=wanted.seed),
            )
            tables.append(part)
            messages.say(f"{', '.join(group)}: {len(texts)} encoders, {len(part)} findings")
        table = gathered(tables)
        judged = evaluate(table, wanted.pooling, wanted.comparable, wanted.fresh)
        for row in judged.filter(as_published=True).iter_rows(named=True):
            messages.say(f"claim {row['claim']}, {row['retriever']}: {row['verdict']}")
        identity = {"step": "decentralisation", "spec": wanted.model_dump(mode="json")}
        made = shards.Provenance(
            identity, circumstances("decentralisation", None, "numpy", "polars")
        )
        shards.write_text(claims, _rounded(judged).write_csv())
        shards.write_text(csv, _rounded(table).write_csv())
        shards.write(parquet, table.to_arrow(), made)


def _rounded(table: pl.DataFrame) -> pl.DataFrame:
    # Significant digits: a residual is small, and an effective number large.
    return table.with_columns(pl.col(pl.Float64).round_sig_figs(6))


def _groups(grid: Sequence[specs.Attributed]) -> dict[tuple[str, str, str], list[specs.Attributed]]:
    """The cells of each attribution, dataset and side."""
    groups: dict[tuple[str, str, str], list[specs.Attributed]] = {}
    for cell in grid:
        groups.setdefault((cell.attribution, cell.dataset, cell.side), []).append(cell)
    return groups


def _place(cell: specs.Attributed) -> tuple[str, str, str, str]:
    return cell.attribution, cell.encoder, cell.dataset, cell.side


def _located(path: Path, cell: specs.Attributed) -> pl.LazyFrame:
    names = ("attribution", "dataset", "encoder", "side")
    columns = [pl.lit(getattr(cell, name)).alias(name) for name in names]
    return pl.scan_parquet(path).select(*columns, pl.all())


def _agreements(folder: Path, wanted: specs.DecentralisationSpec) -> Iterator[pl.LazyFrame]:
    for retriever, datasets in wanted.agreement.items():
        for dataset, digest in datasets.items():
            path = folder / retriever / f"{dataset}.parquet"
            shards.check(path, digest, step="agreement")
            where = {"retriever": retriever, "dataset": dataset}
            columns = [pl.lit(value).alias(name) for name, value in where.items()]
            yield pl.scan_parquet(path).select(*columns, pl.all())
