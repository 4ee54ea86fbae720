"""embed, weigh: one side of a dataset, one shard, as vectors at all layers and as terms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring import shards, specs
from wellspring.artefacts import checkpoints
from wellspring.artefacts.checkpoints import Described
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.embeddings import EmbeddingShard, TermShard, TermWriter
from wellspring.budgets import TOKENS, WINDOW
from wellspring.cli.step import Job, batched, step
from wellspring.errors import ModelError

if TYPE_CHECKING:
    from wellspring.models.load import Backbone
    from wellspring.sparse import SparseModel


@step(EmbeddingShard, "texts", "description", "shard")
@batched
def embed(job: Job, texts: Path, description: Path, shard: Path, threads: int, tokens: int) -> None:
    """Embed the TEXTS of one side with the model that DESCRIPTION names into SHARD."""
    encoding = job.spec.encoding
    digest = Texts.check(texts).identity["texts"][encoding.side]
    described = checkpoints.verify(description, encoding)
    for line in _disagreements(described, encoding):
        job.say(line)
    backbone = _loaded(job, described, threads)
    budget = tokens or TOKENS[job.device]
    provenance = _provenance(job, threads, budget, weights=described.digest, texts=digest)
    shape = (backbone.layers + 1, backbone.hidden, encoding.storage)
    with shards.vectors(shard, *shape, provenance) as writer:
        _fill(writer, backbone, texts, job, budget)
    job.counts(writer.facts)


@step(TermShard, "texts", "description", "shard")
@batched
def weigh(job: Job, texts: Path, description: Path, shard: Path, threads: int, tokens: int) -> None:
    """Weigh the words of the TEXTS of one side with the sparse model that DESCRIPTION names into
    SHARD."""
    from wellspring import terms

    encoding = job.spec.encoding
    digest = Texts.check(texts).identity["texts"][encoding.side]
    described = checkpoints.verify(description, encoding)
    backbone = _loaded(job, described, threads)
    try:
        model = terms.of_checkpoint(backbone, described.checkpoint)
    except ModelError as error:
        raise ModelError(f"models.{encoding.model}: {error}") from None
    budget = tokens or TOKENS[job.device]
    identity = {"weights": described.digest, "texts": digest}
    identity |= {"vocabulary": terms.vocabulary(model)}
    provenance = _provenance(job, threads, budget, **identity)
    with TermShard.writing(shard, provenance) as writer:
        _weigh(writer, model, texts, job, budget)
    job.counts(writer.facts)


def _loaded(job: Job, described: Described, threads: int) -> Backbone:
    """The model of the job's encoding, and what is to be said of it."""
    backbone = described.load(job.spec.encoding, threads)
    job.device = str(backbone.device)
    for line in checkpoints.advice(job.spec.encoding, backbone):
        job.say(line)
    return backbone


def _provenance(job: Job, threads: int, budget: int, **identity: Any) -> shards.Provenance:
    return job.provenance(
        *("torch", "transformers", "tokenizers"),
        circumstances={"device": job.device, "threads": threads, "tokens": budget},
        **identity,
    )


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


def _weigh(writer: TermWriter, model: SparseModel, texts: Path, job: Job, budget: int) -> None:
    """Weigh the shard's texts, a window at a time; leaves counts in the writer's facts."""
    from wellspring import embeddings, terms

    encoding = job.spec.encoding

    def tokenise(written: list[str]) -> list[embeddings.Tokens]:
        return model.tokenise(written, encoding.template, encoding.length)

    total, windows = _windows(texts, job.spec)
    truncated = 0
    with job.track(total, "texts") as bar:
        for ids, rows in embeddings.tokenised(windows, tokenise):
            truncated += sum(len(row) == encoding.length for row in rows)
            for places, weights in terms.weigh(model, rows, encoding.top_terms, budget):
                writer.write([ids[place] for place in places], weights)
                bar.advance(len(places))
    writer.facts["at_full_length"] = truncated


def _windows(
    texts: Path, spec: specs.EmbedSpec | specs.WeighSpec
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
