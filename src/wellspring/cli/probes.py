"""probe: the probes of one retriever, dataset, layer and passage count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import polars as pl

from wellspring.artefacts.datasets import Lexical, Samples
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.probes import (
    ProbeCodes,
    ProbeCurves,
    ProbeMetrics,
    ProbeOutcomes,
    ProbeSizes,
)
from wellspring.cli.step import FOLDER, Job, step


@step(ProbeOutcomes, "samples", "scores", "outcomes")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--layer", type=click.IntRange(min=0), required=True)
@click.option("--passages", type=click.IntRange(min=2), required=True)
def probe(
    job: Job,
    samples: Path,
    scores: Path,
    outcomes: Path,
    query: Path,
    passage: Path,
    layer: int,
    passages: int,
) -> None:
    """Fit the probes to SAMPLES (lexical SCORES beside them) and write the OUTCOMES in test.

    Beside NAME.parquet lie NAME.metrics.parquet and NAME.curves.parquet of the fits,
    NAME.codes.parquet (bits of the training samples) and NAME.sizes.parquet (accuracy over the size
    of the training split).
    """
    spec = job.spec
    drawn = Samples.check(samples, spec.samples).identity
    queries, answers = (
        EmbeddingShard.read_side(folder, encoding, spec.shards, drawn["texts"], layer)
        for folder, encoding in ((query, spec.query), (passage, spec.passage))
    )
    frame = Samples.read(samples)
    lexical = Lexical.read(scores, spec.lexical, samples=drawn)

    import torch

    from wellspring.probes import ProbeSettings, assemble, run, splits_of

    # Two threads are no faster, and jobs run side by side.
    torch.set_num_threads(1)
    settings = ProbeSettings(
        kinds=tuple(spec.kinds),
        seeds=tuple(spec.seeds),
        portions=tuple(spec.portions),
        **({"rank": spec.rank} if spec.rank else {}),
        **spec.optimiser.model_dump(),
    )
    started = time.monotonic()
    split = splits_of(frame, spec.samples.splits, settings.seeds, spec.redrawn)
    fits = run(assemble(frame, lexical, queries, answers, split), passages, settings)
    job.cost["fitting"] = round(time.monotonic() - started, 2)
    for line in _summary(fits.metrics):
        job.say(line)
    where: dict[str, Any] = {"layer": layer, "passages": passages}
    provenance = job.provenance("torch", "polars", samples=drawn, **where)
    for kind, table in (
        (ProbeSizes, fits.sizes),
        (ProbeCodes, fits.codes),
        (ProbeCurves, fits.curves),
        (ProbeMetrics, fits.metrics),
        (ProbeOutcomes, fits.samples),
    ):
        kind.write(kind.beside(outcomes), table, provenance)


def _summary(metrics: pl.DataFrame) -> Iterator[str]:
    """A line for each kind: accuracy and chance, averaged over seeds."""
    kinds = metrics.group_by("probe", maintain_order=True).agg(
        pl.col("accuracy", "chance").mean(),
        pl.col("converged").all(),
        pl.col("label", "scorer").first(),
    )
    for row in kinds.iter_rows(named=True):
        notes = ["not converged"] if row["converged"] is False else []
        notes += [f"by {row['scorer']}"] if row["probe"] == "lexical" else []
        notes += [row["label"]] if row["label"] != "ok" else []
        figures = f"accuracy {row['accuracy']:.4f}, chance {row['chance']:.4f}"
        yield ", ".join([f"{row['probe']}: {figures}", *notes])
