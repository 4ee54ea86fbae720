"""similarity and findings: from vectors and probe outcomes to one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.cli.probes import load_side
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step
from wellspring.randomness import shuffled


@click.command()
@click.argument("texts", type=FILE)
@click.argument("table", type=FILE)
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--other-query", type=FOLDER, required=True, help="The counterpart's query shards.")
@click.option("--other-passage", type=FOLDER, required=True, help="Its passage shards.")
@options
def similarity(
    texts: Path,
    table: Path,
    query: Path,
    passage: Path,
    other_query: Path,
    other_passage: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Compare two retrievers' vectors of TEXTS, layer by layer, into TABLE."""
    from wellspring.findings.similarity import anisotropy, linear_cka

    wanted = specs.SimilaritySpec.read(spec)
    with step("similarity", None, code, log) as messages:
        digests = shards.check(texts, step="texts").identity["texts"]
        sides = {
            "query": ((query, wanted.query), (other_query, wanted.other_query)),
            "passage": ((passage, wanted.passage), (other_passage, wanted.other_passage)),
        }
        rows = []
        with messages.track(len(sides) * len(wanted.layers), "layers") as bar:
            for side, both in sides.items():
                for layer in wanted.layers:
                    ids, mine, theirs = _paired(both, digests[side], layer, wanted)
                    cka = linear_cka(mine, theirs, debiased=True)
                    rows.append((layer, side, "cka", "", cka, None, None, len(ids)))
                    for whose, vectors in (("", mine), ("other", theirs)):
                        cone = anisotropy(vectors)
                        row = (cone.estimate, cone.low, cone.high, len(ids))
                        rows.append((layer, side, "anisotropy", whose, *row))
                    bar.advance(1)
        schema = {
            "layer": pl.Int64,
            "side": pl.String,
            "measure": pl.String,
            "of": pl.String,
            "estimate": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "samples": pl.Int64,
        }
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        identity = {"step": "similarity", "spec": wanted.model_dump(mode="json"), "texts": digests}
        made = shards.Provenance(identity, circumstances("similarity", None, "numpy"))
        shards.write(table, frame.to_arrow(), made)


def _paired(
    both: tuple, digest: str, layer: int, wanted: specs.SimilaritySpec
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The chosen ids, and both retrievers' vectors of them, row by row."""
    (ids, mine), (other_ids, theirs) = (
        load_side(folder, expected, digest, layer) for folder, expected in both
    )
    chosen = shuffled(wanted.seed, ids, "similarity")[: wanted.texts]
    row = {text_id: position for position, text_id in enumerate(ids)}
    other_row = {text_id: position for position, text_id in enumerate(other_ids)}
    return (
        chosen,
        mine[[row[text_id] for text_id in chosen]],
        theirs[[other_row[text_id] for text_id in chosen]],
    )


@click.command()
@click.argument("probes", type=FOLDER)
@click.argument("similarities", type=FOLDER)
@click.argument("parquet", type=FILE)
@click.argument("csv", type=FILE)
@click.argument("training", type=FILE)
@options
def findings(
    probes: Path,
    similarities: Path,
    parquet: Path,
    csv: Path,
    training: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Test the outcomes under PROBES; write PARQUET and CSV, and what became of the TRAINING."""
    from wellspring.findings.table import Settings, build

    wanted = specs.FindingsSpec.read(spec)
    with step("findings", None, code, log) as messages:
        settings = Settings(
            alpha=wanted.settings.alpha,
            resamples=wanted.settings.resamples,
            permutations=wanted.settings.permutations,
            seed=wanted.settings.seed,
        )
        compared = _similarities(similarities, wanted)
        tables, fits = [], []
        for dataset in wanted.datasets:
            cells = list(_cells(probes, dataset, wanted))
            # Lazy: a retriever's outcomes are read when their turn comes.
            outcomes = pl.concat([_located(path, where) for path, where in cells])
            of_dataset = None if compared is None else compared.filter(dataset=dataset)
            tables.append(build(outcomes, of_dataset, wanted.pairs, settings))
            fits.extend(
                _located(path.with_suffix(".metrics.parquet"), where).collect()
                for path, where in cells
            )
            messages.say(f"{dataset}: {len(cells)} probe jobs, {len(tables[-1])} findings")
        table = pl.concat(tables)
        identity = {"step": "findings", "spec": wanted.model_dump(mode="json")}
        made = shards.Provenance(identity, circumstances("findings", None, "scipy", "polars"))
        shards.write_text(training, pl.concat(fits).write_csv())
        shards.write_text(csv, table.write_csv(float_precision=6))
        shards.write(parquet, table.to_arrow(), made)


def _cells(probes: Path, dataset: str, wanted: specs.FindingsSpec) -> Iterator[tuple[Path, dict]]:
    """Each probe job's outcome file, checked, and where in the grid it stands."""
    for retriever, layers in wanted.layers.items():
        for layer in layers:
            for passages in wanted.passages:
                folder = probes / retriever / dataset / f"layer-{layer:02d}"
                path = folder / f"passages-{passages}.parquet"
                shards.check(path, step="probes", layer=layer, passages=passages)
                yield (
                    path,
                    {
                        "retriever": retriever,
                        "dataset": dataset,
                        "layer": layer,
                        "passages": passages,
                    },
                )


def _located(path: Path, where: dict) -> pl.LazyFrame:
    columns = [pl.lit(value).alias(name) for name, value in where.items()]
    return pl.scan_parquet(path).select(*columns, pl.all()).cast({pl.Int32: pl.Int64})


def _similarities(folder: Path, wanted: specs.FindingsSpec) -> pl.DataFrame | None:
    """All similarity tables; a counterpart's own rows are named as its own."""
    frames = []
    for retriever, other in wanted.pairs.items():
        for dataset in wanted.datasets:
            frame = pl.from_arrow(
                shards.read(folder / retriever / f"{dataset}.parquet", step="similarity")
            )
            mine = pl.col("of") == ""
            frames.append(
                frame.with_columns(
                    dataset=pl.lit(dataset),
                    retriever=pl.when(mine).then(pl.lit(retriever)).otherwise(pl.lit(other)),
                    compared_with=pl.when(pl.col("measure") == "cka").then(pl.lit(other)),
                ).drop("of")
            )
    # Two retrievers may share a counterpart, whose own rows then come twice.
    return pl.concat(frames).unique(maintain_order=True) if frames else None
