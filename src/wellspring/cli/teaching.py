"""teach: what a teacher says of a dataset's samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.training import TeacherScores
from wellspring.budgets import TOKENS
from wellspring.cli.step import FILE, FOLDER, Job, batched, step
from wellspring.errors import ModelError, WellspringError

if TYPE_CHECKING:
    import polars as pl


@step(TeacherScores, "texts", "samples", "table")
@click.option("--query", type=FOLDER, help="Folder of a retriever's query shards.")
@click.option("--passage", type=FOLDER, help="Folder of its passage shards.")
@click.option("--checkpoint", type=FOLDER, help="Folder of a cross-encoder.")
@click.option("--scores", type=FILE, help="Scores of pairs: a table.")
@batched
def teach(
    job: Job,
    texts: Path,
    samples: Path,
    table: Path,
    query: Path | None,
    passage: Path | None,
    checkpoint: Path | None,
    scores: Path | None,
    threads: int,
    tokens: int,
) -> None:
    """Let a teacher judge the SAMPLES, whose TEXTS these are, into TABLE."""
    spec, own = job.spec, Samples.read(samples)
    if spec.vectors:
        judged = _compared(job, texts, own, _given(query, "query"), _given(passage, "passage"))
        provenance = job.provenance("numpy", "polars")
    elif spec.cross_encoder:
        folder = _given(checkpoint, "checkpoint")
        try:
            judged, facts, digest = _read_together(job, texts, own, folder, threads, tokens)
        except ModelError as error:
            name = f"teachers.{table.parent.name}.cross_encoder"
            raise ModelError(f"{name}: {error}") from None
        packages = ("torch", "transformers", "tokenizers")
        circumstances = {"device": job.device, "threads": threads}
        provenance = job.provenance(
            *packages, facts=facts, circumstances=circumstances, weights=digest
        )
        job.counts(facts)
    else:
        judged = _told(texts, own, _given(scores, "scores"))
        provenance = job.provenance("polars")
    job.counts({"samples": judged.height})
    TeacherScores.write(table, judged, provenance)


def _given(path: Path | None, option: str) -> Path:
    if path is None:
        raise click.UsageError(f"this teacher needs --{option}")
    return path


def _compared(
    job: Job, texts: Path, samples: pl.DataFrame, query: Path, passage: Path
) -> pl.DataFrame:
    """Similarities of a retriever's vectors."""
    from wellspring.training.teaching import judge

    spec = job.spec.vectors
    digests = Texts.check(texts).identity["texts"]
    queries, passages = (
        EmbeddingShard.read_side(folder, encoding, spec.shards, digests, encoding.layers)
        for folder, encoding in ((query, spec.query), (passage, spec.passage))
    )
    return judge(samples, queries, passages, spec.similarity)


def _read_together(
    job: Job, texts: Path, samples: pl.DataFrame, folder: Path, threads: int, tokens: int
) -> tuple[pl.DataFrame, Mapping[str, Any], str]:
    """A cross-encoder's scores, what they took, and the digest of its files."""
    import torch

    from wellspring.models import sources
    from wellspring.models.placement import reproducible
    from wellspring.training import crossencoding, teaching

    spec = job.spec.cross_encoder
    torch.set_num_threads(threads)
    job.device = "cuda" if torch.cuda.is_available() else "cpu"
    if job.device == "cuda":
        reproducible()
    digest = sources.files(folder).digest
    encoder = crossencoding.load(folder, spec.length, spec.dtype, job.device)
    for line in encoder.notes:
        job.say(line)
    pairs = teaching.pairs(samples)
    written = {side: dict(each.iter_rows()) for side, each in _written(texts).items()}
    both = [(written["query"][query], written["passage"][passage]) for query, passage in pairs]
    scores, facts = {}, {"pairs": len(pairs), "tokens": 0, "padded_tokens": 0, "flops": 0}
    with job.track(len(pairs), "pairs") as bar:
        budget = tokens or TOKENS[job.device]
        for done in crossencoding.judge(encoder, both, spec.length, budget):
            scores |= dict(
                zip((pairs[row] for row in done.rows), done.scores.tolist(), strict=True)
            )
            for name in ("tokens", "padded_tokens", "flops"):
                facts[name] += getattr(done, name)
            bar.advance(len(done.rows))
    return teaching.of_samples(samples, scores), facts, digest


def _told(texts: Path, samples: pl.DataFrame, scores: Path) -> pl.DataFrame:
    """What a file says."""
    from wellspring.datasets import table
    from wellspring.training import given

    ids = {side: set(each["text_id"]) for side, each in _written(texts).items()}
    try:
        return given.gathered(table.rows(scores, given.COLUMNS), samples, ids)
    except WellspringError as error:
        # Most of them begin with the file and the line.
        said = str(error)
        raise type(error)(said if said.startswith(str(scores)) else f"{scores}: {said}") from None


def _written(texts: Path) -> Mapping[str, pl.DataFrame]:
    """Ids and texts of each side."""
    import polars as pl

    whole = Texts.read(texts)
    return {
        side: whole.filter(pl.col("side") == side).select("text_id", "text")
        for side in ("query", "passage")
    }
