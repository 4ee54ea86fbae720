"""activations: which neurons a side's scores make active."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from wellspring.artefacts import scores
from wellspring.artefacts.attributions import ActivationCounts, ActivationTexts, TopNeurons
from wellspring.cli.step import Job, step
from wellspring.plurals import counted


@step(ActivationCounts, "folder/", "counts", "texts", "top_neurons")
def activations(job: Job, folder: Path, counts: Path, texts: Path, top_neurons: Path) -> None:
    """Count the active neurons of the scores under FOLDER: COUNTS by neuron, TEXTS by text, and
    the TOP_NEURONS of each text's maximum."""
    from wellspring.activations import Chunk, measure

    spec = job.spec
    sublayers = spec.attribution.sublayers
    stored = scores.checked(folder, spec.attribution, spec.layers)
    for line in scores.said(stored):
        job.say(line)
    if len(stored.quiet) > math.ceil(spec.quiet * stored.texts):
        target = spec.attribution.target
        raise scores.too_quiet(f"{folder}:", stored.quiet, stored.texts, target)

    def chunks() -> Iterator[Chunk]:
        for ids, of_sublayers in scores.stream(stored, sublayers):
            yield Chunk(ids, of_sublayers)

    measured = measure(chunks, spec.thresholds, spec.excluded_outliers)
    quality = scores.quality(stored, sublayers)
    for line in _summary(measured.top_neurons, quality):
        job.say(line)
    facts = {"texts": quality["text_id"].n_unique(), scores.QUIET: len(stored.quiet)}
    provenance = job.provenance("numpy", "polars", facts=facts, **scores.origin(stored))
    TopNeurons.write(top_neurons, measured.top_neurons, provenance)
    ActivationTexts.write(texts, pl.concat([measured.texts, quality]), provenance)
    ActivationCounts.write(counts, measured.counts, provenance)


def _summary(top_neurons: pl.DataFrame, quality: pl.DataFrame) -> Iterator[str]:
    network = top_neurons.filter(scope="network").sort("texts", descending=True)
    for row in network.head(3).iter_rows(named=True):
        where = f"neuron {row['neuron']} of layer {row['layer']}, {row['sublayer']}"
        yield f"{where}: the largest score of {row['texts']} of {counted(row['of'], 'text')}"
    values = dict(quality.group_by("measure").agg("value").iter_rows())
    if (worst := max(filter(None, values["residual"]), default=None)) is not None:
        yield f"completeness: residual at most {worst:.2e} of the sub-layer's largest score"
    if (middle := pl.Series(values["signal"]).median()) is not None:
        yield f"signal: the target moves by {middle:.2g} of its size at the median"
