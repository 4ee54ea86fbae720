"""similarity, findings and published: from vectors and probe outcomes to tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import polars as pl

from wellspring import specs
from wellspring.artefacts import curves as published_curves
from wellspring.artefacts import grids
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.findings import Findings, Published, Similarity, Training
from wellspring.artefacts.probes import ProbeCodes, ProbeMetrics, ProbeOutcomes
from wellspring.cli.step import FOLDER, Job, gathering, step
from wellspring.errors import ConfigError, StaleArtefact
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.findings.similarity import Similarity as Compared


@step(Similarity, "texts", "table")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--other-query", type=FOLDER, required=True, help="The counterpart's query shards.")
@click.option("--other-passage", type=FOLDER, required=True, help="Its passage shards.")
def similarity(
    job: Job,
    texts: Path,
    table: Path,
    query: Path,
    passage: Path,
    other_query: Path,
    other_passage: Path,
) -> None:
    """Compare two retrievers' vectors of TEXTS, layer by layer, into TABLE."""
    from wellspring.findings.similarity import chosen, compare

    spec = job.spec
    digests = Texts.check(texts).identity["texts"]
    sides = {
        "query": ((query, spec.query), (other_query, spec.other_query)),
        "passage": ((passage, spec.passage), (other_passage, spec.other_passage)),
    }
    rows = []
    with job.track(len(sides) * len(spec.layers), "layers") as bar:
        for side, both in sides.items():
            for layer in spec.layers:
                (ids, own), (other_ids, theirs) = (
                    EmbeddingShard.read_side(folder, encoding, spec.shards, digests, layer)
                    for folder, encoding in both
                )
                some = chosen(ids, spec.texts, spec.seed)
                compared = compare(_picked(ids, own, some), _picked(other_ids, theirs, some))
                rows.extend(_rows(layer, side, compared))
                bar.advance(1)
    frame = pl.DataFrame(rows, schema=Similarity.schema(), orient="row")
    Similarity.write(table, frame, job.provenance("numpy", texts=digests))


def _picked(ids: Sequence[str], vectors: np.ndarray, chosen: Sequence[str]) -> np.ndarray:
    row = {text_id: position for position, text_id in enumerate(ids)}
    return vectors[[row[text_id] for text_id in chosen]]


def _rows(layer: int, side: str, compared: Compared) -> Iterator[tuple]:
    for measure, whose, interval in (
        ("cka", "both", compared.cka),
        ("anisotropy", "retriever", compared.own),
        ("anisotropy", "counterpart", compared.other),
    ):
        ends = (end.item() for end in (interval.estimate, interval.low, interval.high))
        yield (layer, side, measure, whose, *ends, compared.texts)


@step(Findings, "table", "training")
@gathering
def findings(job: Job, table: Path, training: Path, results: Path) -> None:
    """Test the outcomes of a study's probes; write TABLE, and what became of the TRAINING."""
    from wellspring.findings.table import Settings, build

    spec = job.spec
    settings = Settings(spec.alpha, spec.permutations, spec.seed)
    compared = _similarities(results, spec)
    # A study that probes nothing has tables without rows.
    tables = [pl.DataFrame(schema=Findings.schema())]
    fits = [pl.LazyFrame(schema=Training.schema())]
    for (dataset, _), probed in grids.together(spec.probed).items():
        # Lazy: a retriever's outcomes are read when their turn comes.
        outcomes, codes, metrics = (
            [table for grid in probed for table in grids.probes(results, grid, kind)]
            for kind in (ProbeOutcomes, ProbeCodes, ProbeMetrics)
        )
        names = pl.col("retriever").is_in([grid.retriever for grid in probed])
        of_dataset = None if compared is None else compared.filter(names, dataset=dataset)
        given = (pl.concat(outcomes), of_dataset, spec.pairs, settings, pl.concat(codes))
        tables.append(build(*given))
        fits.extend(metrics)
        jobs = counted(len(outcomes), "probe job")
        job.say(f"{dataset}: {jobs}, {counted(len(tables[-1]), 'finding')}")
    provenance = job.provenance("scipy", "polars")
    Training.write(training, pl.concat(fits).collect(), provenance)
    Findings.write(table, pl.concat(tables), provenance)


def _similarities(results: Path, spec: specs.FindingsSpec) -> pl.DataFrame | None:
    """All similarity tables; a counterpart's own rows are named as its own."""
    frames = []
    for retriever, digests in spec.similarities.items():
        other = spec.pairs[retriever]
        for dataset, digest in digests.items():
            artefact = Similarity(spec.study, retriever, dataset)
            Similarity.check(artefact.at(results), digest)
            theirs = pl.col("whose") == "counterpart"
            frames.append(
                grids.located(artefact, results, "study")
                .with_columns(
                    retriever=pl.when(theirs).then(pl.lit(other)).otherwise(pl.lit(retriever)),
                    compared_with=pl.when(pl.col("whose") == "both").then(pl.lit(other)),
                )
                .drop("whose")
            )
    # Two retrievers may share a counterpart, whose own rows then come twice.
    return pl.concat(frames).unique(maintain_order=True).collect() if frames else None


@step(Published, "findings", "curves", "compared")
def published(job: Job, findings: Path, curves: Path, compared: Path) -> None:
    """Set FINDINGS against the published CURVES (CSV); write the differences to COMPARED."""
    from wellspring.findings.published import compare

    spec = job.spec
    study = Findings.check(findings).identity["spec"]["study"]
    if study != spec.study:
        raise StaleArtefact(f"{findings}: is of study {study}: name {spec.study}'s file")
    table = Findings.read(findings)
    differences = compare(table, published_curves.read(curves), spec.curves, spec.pairs, spec.probe)
    if differences.is_empty():
        raise ConfigError(
            f"{curves}: has no point of the study's datasets, retrievers and layers; "
            "datasets must have the names that they have there, curves say whose is whose"
        )
    job.say(f"{counted(len(differences), 'published curve')} compared")
    Published.write(compared, differences, job.provenance("polars"))
