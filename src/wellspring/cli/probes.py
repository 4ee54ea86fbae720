"""probe: the probes of one retriever, dataset, layer and passage count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step


@click.command()
@click.argument("samples", type=FILE)
@click.argument("scores", type=FILE)
@click.argument("outcomes", type=FILE)
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--layer", type=click.IntRange(min=0), required=True)
@click.option("--passages", type=click.IntRange(min=2), required=True)
@options
def probe(
    samples: Path,
    scores: Path,
    outcomes: Path,
    query: Path,
    passage: Path,
    layer: int,
    passages: int,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Fit the probes to SAMPLES (lexical SCORES beside them) and write the OUTCOMES in test.

    Beside NAME.parquet lie NAME.metrics.parquet and NAME.curves.parquet of the fits,
    NAME.codes.parquet (bits of the training samples) and NAME.sizes.parquet (accuracy over the size
    of the training split).
    """
    wanted = specs.ProbeSpec.read(spec)
    with step("probe", None, code, log) as messages:
        drawn = shards.check(
            samples, step="samples", spec=wanted.samples.model_dump(mode="json")
        ).identity
        texts = drawn["texts"]
        queries = load_side(query, wanted.query, wanted.shards, texts["query"], layer)
        answers = load_side(passage, wanted.passage, wanted.shards, texts["passage"], layer)
        frame = pl.from_arrow(shards.read(samples))
        expected = wanted.lexical.model_dump(mode="json")
        lexical = pl.from_arrow(shards.read(scores, step="lexical", spec=expected, samples=drawn))

        import torch

        from wellspring.probes import ProbeSettings, assemble, run, splits_of

        # Two threads are no faster, and jobs run side by side.
        torch.set_num_threads(1)
        settings = ProbeSettings(
            kinds=tuple(wanted.kinds),
            seeds=tuple(wanted.seeds),
            portions=tuple(wanted.portions),
            **({"rank": wanted.rank} if wanted.rank else {}),
            **wanted.optimiser,
        )
        started = time.monotonic()
        split = splits_of(frame, wanted.samples.splits, settings.seeds, wanted.redrawn)
        found = run(assemble(frame, lexical, queries, answers, split), passages, settings)
        messages.cost["fitting"] = round(time.monotonic() - started, 2)
        for line in _summary(found.metrics):
            messages.say(line)
        identity = {
            "step": "probes",
            "spec": wanted.model_dump(mode="json"),
            "samples": drawn,
            "layer": layer,
            "passages": passages,
        }
        made = shards.Provenance(identity, circumstances("probe", None, "torch", "polars"))
        for name in ("sizes", "codes", "curves", "metrics"):
            table = getattr(found, name)
            shards.write(outcomes.with_suffix(f".{name}.parquet"), table.to_arrow(), made)
        shards.write(outcomes, found.samples.to_arrow(), made)


def load_side(
    folder: Path, encoding: specs.EncodingSpec, count: int, texts: str, layer: int
) -> tuple[list[str], np.ndarray]:
    """Ids and float32 vectors [texts, hidden] of all shards of a side, each one checked.

    texts: fingerprint of the side's texts. All shards must come from the same weights.
    """
    ids: list[str] = []
    blocks = []
    weights = {}
    for shard in range(count):
        path = folder / shards.shard_name(shard)
        expected = specs.EmbedSpec(encoding=encoding, shard=shard, shards=count)
        found = shards.check(
            path,
            step="embeddings",
            spec=expected.model_dump(mode="json"),
            texts=texts,
            **weights,
        )
        weights = {"weights": found.identity["weights"]}
        there, block = shards.read_vectors(path, layer)
        ids.extend(there)
        blocks.append(block.astype(np.float32))
    return ids, np.concatenate(blocks)


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
