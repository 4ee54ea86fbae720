"""What commands that encode the texts of a shard share: the model, the texts, the counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring import shards, specs
from wellspring.artefacts import checkpoints
from wellspring.artefacts.checkpoints import Described
from wellspring.budgets import TOKENS, WINDOW
from wellspring.cli.step import Job

if TYPE_CHECKING:
    from wellspring.embeddings import Encoded, Tokens
    from wellspring.models.load import Backbone


def loaded(job: Job, described: Described, threads: int) -> Backbone:
    """The model of the job's encoding, and what is to be said of it."""
    backbone = described.load(job.spec.encoding, threads)
    job.device = str(backbone.device)
    for line in checkpoints.advice(job.spec.encoding, backbone):
        job.say(line)
    return backbone


def provenance(job: Job, threads: int, budget: int, **identity: Any) -> shards.Provenance:
    """What a file says of a model's run; budget: tokens of a forward pass."""
    return job.provenance(
        *("torch", "transformers", "tokenizers"),
        circumstances={"device": job.device, "threads": threads, "tokens": budget},
        **identity,
    )


def windows(
    texts: Path, spec: specs.EmbedSpec | specs.WeighSpec
) -> tuple[range, Iterator[tuple[list[str], list[str]]]]:
    """The positions of the shard's texts among those of the side, and a stream of (ids, texts) of
    at most WINDOW."""
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

    return range(first, last), stream()


class Encoding:
    """The texts of a job's shard on their way to vectors."""

    def __init__(self, job: Job, described: Described, texts: Path, threads: int, tokens: int):
        """tokens: of a forward pass; 0: by device."""
        for line in _disagreements(described, job.spec.encoding):
            job.say(line)
        self.backbone = loaded(job, described, threads)
        self.encoding: specs.EncodingSpec = job.spec.encoding
        self.budget = tokens or TOKENS[job.device]
        self.positions, self._windows = windows(texts, job.spec)
        self.facts = {"texts": len(self.positions), "at_full_length": 0}
        """Counts, complete when all texts are encoded."""

    def tokenised(self) -> Iterator[tuple[list[str], list[Tokens]]]:
        """Ids and tokens of the shard's texts, a window at a time."""
        from wellspring import embeddings

        cut = (self.encoding.template, self.encoding.length, self.encoding.pooling)

        def tokenise(written: list[str]) -> list[Tokens]:
            return embeddings.tokenise(self.backbone.tokenizer, written, *cut)

        for ids, rows in embeddings.tokenised(self._windows, tokenise):
            self.facts["at_full_length"] += sum(len(row) == self.encoding.length for row in rows)
            yield ids, rows

    def encode(self, rows: Sequence[Tokens]) -> Iterator[Encoded]:
        """Their vectors at every layer, as they are stored, a batch at a time."""
        from wellspring import embeddings

        settings = (self.encoding.pooling, self.encoding.normalise, self.budget)
        settings += (self.encoding.length, self.encoding.storage)
        for batch in embeddings.encode(self.backbone, rows, *settings):
            if batch.splits:
                halved = self.facts.get("batches_halved_for_memory", 0)
                self.facts["batches_halved_for_memory"] = halved + batch.splits
            yield batch


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
