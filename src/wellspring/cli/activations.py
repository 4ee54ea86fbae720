"""activations: which neurons a side's scores make active."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl

from wellspring import shards, specs
from wellspring.cli import scores
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step


@click.command()
@click.argument("folder", type=FOLDER)
@click.argument("counts", type=FILE)
@click.argument("texts", type=FILE)
@click.argument("top_neurons", type=FILE)
@options
def activations(
    folder: Path,
    counts: Path,
    texts: Path,
    top_neurons: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Count the active neurons of the scores under FOLDER: COUNTS by neuron, TEXTS by text, and
    the TOP_NEURONS of each text's maximum."""
    from wellspring.activations import Chunk, measure

    wanted = specs.ActivationsSpec.read(spec)
    sublayers = wanted.attribution.sublayers
    with step("activations", None, code, log) as messages:
        stored = scores.checked(folder, wanted.attribution, wanted.layers)
        for line in scores.said(stored):
            messages.say(line)
        if len(stored.quiet) > math.ceil(wanted.quiet * stored.texts):
            target = wanted.attribution.target
            raise scores.too_quiet(f"{folder}:", stored.quiet, stored.texts, target)

        def chunks() -> Iterator[Chunk]:
            for ids, found in scores.stream(stored, sublayers):
                yield Chunk(ids, found)

        found = measure(chunks, wanted.thresholds, wanted.excluded_outliers)
        quality = scores.quality(stored, sublayers)
        for line in _summary(found.top_neurons, quality):
            messages.say(line)
        identity = {
            "step": "activations",
            "spec": wanted.model_dump(mode="json"),
            **scores.origin(stored),
        }
        made = shards.Provenance(
            identity,
            circumstances("activations", None, "numpy", "polars"),
            {"texts": quality["text_id"].n_unique(), scores.QUIET: len(stored.quiet)},
        )
        shards.write(top_neurons, found.top_neurons.to_arrow(), made)
        shards.write(texts, pl.concat([found.texts, quality]).to_arrow(), made)
        shards.write(counts, found.counts.to_arrow(), made)


def _summary(top_neurons: pl.DataFrame, quality: pl.DataFrame) -> Iterator[str]:
    network = top_neurons.filter(scope="network").sort("texts", descending=True)
    for row in network.head(3).iter_rows(named=True):
        where = f"neuron {row['neuron']} of layer {row['layer']}, {row['sublayer']}"
        yield f"{where}: the largest score of {row['texts']} of {row['of']} texts"
    values = dict(quality.group_by("measure").agg("value").iter_rows())
    if (worst := max(filter(None, values["residual"]), default=None)) is not None:
        yield f"completeness: residual at most {worst:.2e} of the sub-layer's largest score"
    if (middle := pl.Series(values["signal"]).median()) is not None:
        yield f"signal: the target moves by {middle:.2g} of its size at the median"
