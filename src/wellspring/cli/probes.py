"""probe: the probes of one retriever, dataset and layer, for every passage count."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

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


@step(ProbeOutcomes, "samples", "scores", "outcomes...")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--layer", type=click.IntRange(min=0), required=True)
def probe(
    job: Job,
    samples: Path,
    scores: Path,
    outcomes: Sequence[Path],
    query: Path,
    passage: Path,
    layer: int,
) -> None:
    """Fit the probes to SAMPLES (lexical SCORES beside them) and write the OUTCOMES in test, a file
    for each of --passages.

    Beside NAME.parquet lie NAME.metrics.parquet and NAME.curves.parquet of the fits,
    NAME.codes.parquet (bits of the training samples) and NAME.sizes.parquet (accuracy over the size
    of the training split).
    """
    spec, remaining = job.spec, job.remaining(outcomes)
    if not remaining:
        return
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
    split = splits_of(frame, spec.samples.splits, settings.seeds, spec.redrawn)
    data = assemble(frame, lexical, queries, answers, split)
    started = time.monotonic()
    for part in remaining:
        fits = run(data, part.value, settings)
        job.say(f"{part.value} passages")
        for line in _summary(fits.metrics):
            job.say(f"  {line}")
        provenance = job.provenance("torch", "polars", part=part, samples=drawn, layer=layer)
        for kind, table in (
            (ProbeSizes, fits.sizes),
            (ProbeCodes, fits.codes),
            (ProbeCurves, fits.curves),
            (ProbeMetrics, fits.metrics),
            (ProbeOutcomes, fits.samples),
        ):
            kind.write(kind.beside(part.path), table, provenance)
    job.cost["fitting"] = round(time.monotonic() - started, 2)


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
