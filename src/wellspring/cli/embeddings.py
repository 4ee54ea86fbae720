"""embed, weigh: one side of a dataset, one shard, as vectors at all layers and as terms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wellspring import shards
from wellspring.artefacts import checkpoints
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.embeddings import EmbeddingShard, TermShard, TermWriter
from wellspring.budgets import TOKENS
from wellspring.cli.encoding import Encoding, loaded, provenance, windows
from wellspring.cli.step import Job, batched, step
from wellspring.errors import ModelError

if TYPE_CHECKING:
    from wellspring.embeddings import Tokens
    from wellspring.sparse import SparseModel


@step(EmbeddingShard, "texts", "description", "shard")
@batched
def embed(job: Job, texts: Path, description: Path, shard: Path, threads: int, tokens: int) -> None:
    """Embed the TEXTS of one side with the model that DESCRIPTION names into SHARD."""
    encoding = job.spec.encoding
    digest = Texts.check(texts).identity["texts"][encoding.side]
    described = checkpoints.verify(description, encoding)
    source = Encoding(job, described, texts, threads, tokens)
    identity = {"weights": described.digest, "texts": digest}
    shape = (source.backbone.layers + 1, source.backbone.hidden, encoding.storage)
    made = provenance(job, threads, source.budget, **identity)
    with shards.vectors(shard, *shape, made) as writer:
        with job.track(len(source.positions), "texts") as bar:
            for ids, rows in source.tokenised():
                for done in source.encode(rows):
                    writer.write([ids[row] for row in done.rows], done.vectors)
                    bar.advance(len(done.rows))
        writer.facts |= source.facts
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
    backbone = loaded(job, described, threads)
    try:
        model = terms.of_checkpoint(backbone, described.checkpoint, encoding.term_weights)
    except ModelError as error:
        raise ModelError(f"models.{encoding.model}: {error}") from None
    budget = tokens or TOKENS[job.device]
    identity = {"weights": described.digest, "texts": digest}
    identity |= {"vocabulary": terms.vocabulary(model)}
    with TermShard.writing(shard, provenance(job, threads, budget, **identity)) as writer:
        _weigh(writer, model, texts, job, budget)
    job.counts(writer.facts)


def _weigh(writer: TermWriter, model: SparseModel, texts: Path, job: Job, budget: int) -> None:
    """Weigh the shard's texts, a window at a time; leaves counts in the writer's facts."""
    from wellspring import embeddings, terms

    encoding = job.spec.encoding

    def tokenise(written: list[str]) -> list[Tokens]:
        return model.tokenise(written, encoding.template, encoding.length)

    positions, stream = windows(texts, job.spec)
    truncated = 0
    with job.track(len(positions), "texts") as bar:
        for ids, rows in embeddings.tokenised(stream, tokenise):
            truncated += sum(len(row) == encoding.length for row in rows)
            for places, weights in terms.weigh(model, rows, encoding.top_terms, budget):
                writer.write([ids[place] for place in places], weights)
                bar.advance(len(places))
    writer.facts["at_full_length"] = truncated
