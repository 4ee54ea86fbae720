"""embed: one side of a dataset, one shard, all layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wellspring import shards, specs
from wellspring.artefacts import checkpoints
from wellspring.artefacts.checkpoints import Described
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.budgets import TOKENS, WINDOW
from wellspring.cli.step import Job, batched, step

if TYPE_CHECKING:
    from wellspring.models.load import Backbone


@step(EmbeddingShard, "texts", "description", "shard")
@batched
def embed(job: Job, texts: Path, description: Path, shard: Path, threads: int, tokens: int) -> None:
    """Embed the TEXTS of one side with the model that DESCRIPTION names into SHARD."""
    encoding = job.spec.encoding
    source = Texts.check(texts)
    described = checkpoints.verify(description, encoding)
    for line in _disagreements(described, encoding):
        job.say(line)
    backbone = described.load(encoding, threads)
    job.device = str(backbone.device)
    for line in checkpoints.advice(encoding, backbone):
        job.say(line)
    budget = tokens or TOKENS[job.device]
    provenance = job.provenance(
        *("torch", "transformers", "tokenizers"),
        circumstances={"device": job.device, "threads": threads, "tokens": budget},
        weights=described.digest,
        texts=source.identity["texts"][encoding.side],
    )
    shape = (backbone.layers + 1, backbone.hidden, encoding.storage)
    with shards.vectors(shard, *shape, provenance) as writer:
        _fill(writer, backbone, texts, job, budget)
    job.counts(writer.facts)


def _disagreements(described: Described, encoding: specs.EncodingSpec) -> Iterator[str]:
    """Where the encoder's entry is not as the checkpoint's own files say."""
    from wellspring.models import conventions

    yield from conventions.disagreements(
        conventions.read(described.checkpoint, described.adapter),
        encoding.side,
        encoding.pooling,
        encoding.template,
        encoding.length,
        encoding.normalise,
    )


def _fill(
    writer: shards.VectorWriter,
    backbone: Backbone,
    texts: Path,
    job: Job,
    budget: int,
) -> None:
    """Embed the shard's texts, a window at a time; leaves counts in the writer's facts."""
    from wellspring import embeddings

    encoding = job.spec.encoding

    def tokenise(written: list[str]) -> list[embeddings.Tokens]:
        cut = (encoding.template, encoding.length, encoding.pooling)
        return embeddings.tokenise(backbone.tokenizer, written, *cut)

    total, windows = _windows(texts, job.spec)
    truncated = splits = 0
    with job.track(total, "texts") as bar:
        for ids, rows in embeddings.tokenised(windows, tokenise):
            truncated += sum(len(row) == encoding.length for row in rows)
            for done in embeddings.encode(
                backbone,
                rows,
                encoding.pooling,
                encoding.normalise,
                budget,
                encoding.length,
                encoding.storage,
            ):
                writer.write([ids[row] for row in done.rows], done.vectors)
                splits += done.splits
                bar.advance(len(done.rows))
    writer.facts |= {"texts": total, "at_full_length": truncated}
    if splits:
        writer.facts["batches_halved_for_memory"] = splits


def _windows(
    texts: Path, spec: specs.EmbedSpec
) -> tuple[int, Iterator[tuple[list[str], list[str]]]]:
    """The number of texts in the shard, and a stream of (ids, texts) of at most WINDOW."""
    total = 0
    for batch in shards.batches(texts, ["side"], 65536):
        total += batch.column("side").to_pylist().count(spec.encoding.side)
    first = total * spec.shard // spec.shards
    last = total * (spec.shard + 1) // spec.shards

    def stream() -> Iterator[tuple[list[str], list[str]]]:
        position = 0
        for batch in shards.batches(texts, ["text_id", "side", "text"], WINDOW):
            ids, window = [], []
            for text_id, side, text in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                if side == spec.encoding.side:
                    if first <= position < last:
                        ids.append(text_id)
                        window.append(text)
                    position += 1
            if ids:
                yield ids, window

    return last - first, stream()
