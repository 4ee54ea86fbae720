"""probe: the probes of one retriever, dataset, layer and passage count."""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step
from wellspring.errors import StaleArtefact


@click.command()
@click.argument("samples", type=FILE)
@click.argument("scores", type=FILE)
@click.argument("outcomes", type=FILE)
@click.argument("metrics", type=FILE)
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--layer", type=click.IntRange(min=0), required=True)
@click.option("--passages", type=click.IntRange(min=2), required=True)
@options
def probe(
    samples: Path,
    scores: Path,
    outcomes: Path,
    metrics: Path,
    query: Path,
    passage: Path,
    layer: int,
    passages: int,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Fit the probes to SAMPLES (BM25 SCORES beside them) into OUTCOMES and METRICS."""
    wanted = specs.ProbeSpec.read(spec)
    with step("probe", None, code, log) as messages:
        drawn = shards.check(samples, step="samples")
        digests = drawn.identity["texts"]
        vectors = {
            "query": load_side(query, wanted.query, digests["query"], layer),
            "passage": load_side(passage, wanted.passage, digests["passage"], layer),
        }
        frame = pl.from_arrow(shards.read(samples))
        lexical = pl.from_arrow(shards.read(scores, samples=dict(drawn.identity)))

        import torch

        from wellspring.probes import ProbeSettings, run

        torch.set_num_threads(1)
        data = assemble(frame, lexical, vectors)
        optimiser = wanted.optimiser
        settings = ProbeSettings(
            kinds=tuple(wanted.kinds),
            seeds=tuple(wanted.seeds),
            **({"rank": wanted.rank} if wanted.rank else {}),
            **optimiser,
        )
        started = time.monotonic()
        found = run(data, passages, settings)
        messages.cost["fitting"] = round(time.monotonic() - started, 2)
        for row in (
            found.metrics.group_by("probe", maintain_order=True)
            .agg(
                pl.col("accuracy", "chance").mean(),
                pl.col("converged").all(),
                pl.col("label").first(),
            )
            .iter_rows(named=True)
        ):
            messages.say(
                f"{row['probe']}: accuracy {row['accuracy']:.4f}, chance {row['chance']:.4f}"
                + ("" if row["converged"] else ", not converged")
                + ("" if row["label"] == "ok" else f", {row['label']}")
            )
        identity = {
            "step": "probes",
            "spec": wanted.model_dump(mode="json"),
            "samples": dict(drawn.identity),
            "layer": layer,
            "passages": passages,
        }
        made = shards.Provenance(identity, circumstances("probe", None, "torch", "polars"))
        shards.write(metrics, found.metrics.to_arrow(), made)
        shards.write(outcomes, found.samples.to_arrow(), made)


def load_side(
    folder: Path, expected: list[specs.EmbedSpec], digest: str, layer: int
) -> tuple[list[str], np.ndarray]:
    """Ids and float32 vectors [texts, hidden] of all shards of a side, each one checked."""
    ids: list[str] = []
    blocks = []
    weights = {}
    for spec in expected:
        path = folder / shards.shard_name(spec.shard)
        found = shards.check(
            path, step="embeddings", spec=spec.model_dump(mode="json"), texts=digest, **weights
        )
        weights = {"weights": found.identity["weights"]}
        there, block = shards.read_vectors(path, layer)
        ids.extend(there)
        blocks.append(block.astype(np.float32))
    return ids, np.concatenate(blocks)


def assemble(
    samples: pl.DataFrame,
    lexical: pl.DataFrame,
    vectors: dict[str, tuple[list[str], np.ndarray]],
):
    """Samples and vectors as the arrays that probes work on."""
    import torch

    from wellspring.probes import ProbeData

    query_rows = {text_id: row for row, text_id in enumerate(vectors["query"][0])}
    passage_rows = {text_id: row for row, text_id in enumerate(vectors["passage"][0])}
    candidates = samples.select(pl.concat_list("positive_id", "negative_ids")).to_series()
    try:
        query = np.array([query_rows[text_id] for text_id in samples["query_id"]])
        candidate = np.array([[passage_rows[text_id] for text_id in row] for row in candidates])
    except KeyError as error:
        raise StaleArtefact(
            f"the shards hold no vector for text {error}: make them again with "
            "snakemake --cores all --forcerun embed"
        ) from None
    scores = (
        samples.select("sample_id")
        .join(lexical, on="sample_id", how="left", maintain_order="left")["scores"]
        .to_list()
    )
    return ProbeData(
        queries=torch.from_numpy(vectors["query"][1]),
        passages=torch.from_numpy(vectors["passage"][1]),
        query_rows=query,
        candidate_rows=candidate,
        sample_ids=samples["sample_id"].to_list(),
        query_ids=samples["query_id"].to_list(),
        split=samples["split"].to_numpy(),
        bm25=np.array(scores, dtype=np.float32),
    )
