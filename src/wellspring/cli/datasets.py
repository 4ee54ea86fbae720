"""texts, samples, qrels, lexical: from a source to the tables that every later step reads."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import polars as pl

from wellspring import specs
from wellspring.artefacts.datasets import Judgements, Lexical, Qrels, Samples, Texts
from wellspring.cli.step import Job, step
from wellspring.digests import sha256
from wellspring.errors import SourceError, about


@step(Texts, "texts", "judgements")
def texts(job: Job, texts: Path, judgements: Path) -> None:
    """Read a dataset's source into TEXTS and JUDGEMENTS."""
    from wellspring.datasets.records import Source

    spec = job.spec
    _check_digests(spec)
    reader = importlib.import_module(f"wellspring.datasets.{spec.format}")
    files = {split or None: Path(path) for split, path in spec.files.items()}
    records = reader.read(Source(files=files, name=spec.dataset, options=spec.options))
    job.counts(records.counts)
    for warning in records.warnings:
        job.tell(warning)
    digests = {side: _digest(records.texts, side) for side in ("query", "passage")}
    ordered = records.judgements.sort(records.judgements.columns)
    judged = hashlib.sha256(ordered.write_csv().encode()).hexdigest()
    provenance = job.provenance("polars", facts=records.counts, texts=digests)
    step = {"step": Judgements.step, "judgements": judged}
    Judgements.write(judgements, records.judgements, provenance.standing_for(**step))
    # Apart from the others: what is made of queries and passages does not depend on them.
    paraphrases = _digest(records.texts, "paraphrase")
    Texts.write(texts, records.texts, provenance.standing_for(paraphrases=paraphrases))


@step(Samples, "texts", "judgements", "samples")
def samples(job: Job, texts: Path, judgements: Path, samples: Path) -> None:
    """Draw hard negatives and splits from TEXTS and JUDGEMENTS into SAMPLES."""
    from wellspring.datasets.samples import Sampling, make

    spec = job.spec
    digests = Texts.check(texts).identity["texts"]
    judged = Judgements.check(judgements, texts=digests)
    sampling = Sampling(negatives=spec.negatives, splits=spec.splits, **specs.word_settings(spec))
    with about(samples):
        drawn = make(Texts.read(texts), Judgements.read(judgements), sampling)
    job.counts(drawn.counts)
    for warning in drawn.warnings:
        job.tell(warning)
    provenance = job.provenance(
        *("polars", "scikit-learn"),
        facts={**drawn.counts, "source": dict(judged.facts)},
        texts=digests,
        judgements=judged.identity["judgements"],
    )
    Samples.write(samples, drawn.frame, provenance)


@step(Qrels, "texts", "judgements", "qrels")
def qrels(job: Job, texts: Path, judgements: Path, qrels: Path) -> None:
    """Write the JUDGEMENTS as QRELS, a split each."""
    from wellspring.datasets import splits

    digests = Texts.check(texts).identity["texts"]
    judged = Judgements.check(judgements, texts=digests).identity["judgements"]
    tables = (Texts.read(texts), Judgements.read(judgements))
    frame = splits.qrels(*tables, splits.splits(*tables, job.spec.splits))
    job.counts({"judgements": len(frame)})
    Qrels.write(qrels, frame, job.provenance("polars", texts=digests, judgements=judged))


@step(Lexical, "texts", "samples", "scores")
def lexical(job: Job, texts: Path, samples: Path, scores: Path) -> None:
    """Score the candidates of SAMPLES by words and pieces of words into SCORES."""
    from wellspring.datasets import lexical

    spec = job.spec
    digests = Texts.check(texts).identity["texts"]
    drawn = Samples.check(samples, texts=digests)
    by_sample = lexical.of_samples(
        Texts.read(texts), Samples.read(samples), spec.scorers, **specs.word_settings(spec)
    )
    silent = lexical.silent({name: by_sample[name].explode().to_numpy() for name in spec.scorers})
    for line in silent:
        job.tell(line)
    pairs = by_sample[spec.scorers[0]].list.len().sum()
    job.counts({"samples": len(by_sample), "scores": pairs * len(spec.scorers)})
    provenance = job.provenance(
        "polars",
        "scikit-learn",
        "scipy",
        facts={Lexical.SILENT: silent},
        samples=dict(drawn.identity),
    )
    Lexical.write(scores, by_sample, provenance)


def _digest(frame: pl.DataFrame, side: str) -> str:
    """sha256 over the ids and texts of a side, in order."""
    digest = hashlib.sha256()
    for text_id, text in frame.filter(pl.col("side") == side).select("text_id", "text").iter_rows():
        for part in (text_id, text):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def _check_digests(spec: specs.TextsSpec) -> None:
    for split, expected in spec.sha256.items():
        path = Path(spec.files.get(split, ""))
        if not path.is_file():
            raise SourceError(f"datasets.{spec.dataset}.sha256: {path} is not a file")
        if (digest := sha256(path)) != expected:
            raise SourceError(f"{path}: sha256 is {digest}, the configuration says {expected}")
