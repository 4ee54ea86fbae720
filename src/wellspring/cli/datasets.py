"""texts, samples, qrels, lexical: from a source to the tables that every later step reads."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import polars as pl

from wellspring import shards, specs
from wellspring.cli.step import FILE, circumstances, options, step
from wellspring.config import Splits
from wellspring.errors import SourceError

if TYPE_CHECKING:
    from wellspring.datasets.splits import Splitting


@click.command()
@click.argument("texts", type=FILE)
@click.argument("judgements", type=FILE)
@options
def texts(texts: Path, judgements: Path, spec: str, code: str | None, log: Path | None) -> None:
    """Read a dataset's source into TEXTS and JUDGEMENTS."""
    from wellspring.datasets.records import Source

    wanted = specs.TextsSpec.read(spec)
    with step("texts", wanted.format, code, log) as messages:
        _check_digests(wanted)
        reader = importlib.import_module(f"wellspring.datasets.{wanted.format}")
        files = {split or None: Path(path) for split, path in wanted.files.items()}
        found = reader.read(Source(files=files, name=wanted.dataset, options=_options(wanted)))
        messages.counts(found.counts)
        for warning in found.warnings:
            messages.tell(warning)
        digests = {side: _digest(found.texts, side) for side in ("query", "passage")}
        made = circumstances("texts", wanted.format, "polars")
        ordered = found.judgements.sort(found.judgements.columns)
        said = hashlib.sha256(ordered.write_csv().encode()).hexdigest()
        identity = {"step": "judgements", "texts": digests, "judgements": said}
        provenance = shards.Provenance(identity, made, found.counts)
        shards.write(judgements, found.judgements.to_arrow(), provenance)
        # Apart from the others: what is made of queries and passages does not depend on them.
        other = {"paraphrases": _digest(found.texts, "paraphrase")}
        provenance = shards.Provenance(
            {"step": "texts", "texts": digests, **other}, made, found.counts
        )
        shards.write(texts, found.texts.to_arrow(), provenance)


@click.command()
@click.argument("texts", type=FILE)
@click.argument("judgements", type=FILE)
@click.argument("samples", type=FILE)
@options
def samples(
    texts: Path, judgements: Path, samples: Path, spec: str, code: str | None, log: Path | None
) -> None:
    """Draw hard negatives and splits from TEXTS and JUDGEMENTS into SAMPLES."""
    from wellspring.datasets.samples import Sampling, make

    wanted = specs.SamplesSpec.read(spec)
    with step("samples", None, code, log) as messages:
        source = shards.check(texts, step="texts")
        digests = source.identity["texts"]
        sampling = Sampling(
            negatives=wanted.negatives.count,
            mined=wanted.negatives.mined,
            depth=wanted.negatives.depth,
            negatives_seed=wanted.negatives.seed,
            splitting=_splitting(wanted.splits),
            **(wanted.bm25.model_dump() if wanted.bm25 else {}),
            **({"stop_words": wanted.stop_words} if wanted.stop_words else {}),
        )
        made = make(
            pl.from_arrow(shards.read(texts)),
            pl.from_arrow(shards.read(judgements, step="judgements", texts=digests)),
            sampling,
        )
        messages.counts(made.counts)
        for warning in made.warnings:
            messages.tell(warning)
        judged = shards.provenance(judgements)
        identity = {
            "step": "samples",
            "spec": wanted.model_dump(mode="json"),
            "texts": digests,
            "judgements": judged.identity["judgements"],
        }
        facts = {**made.counts, "source": dict(judged.facts)}
        provenance = shards.Provenance(
            identity, circumstances("samples", None, "polars", "scikit-learn"), facts
        )
        shards.write(samples, made.frame.to_arrow(), provenance)


@click.command()
@click.argument("texts", type=FILE)
@click.argument("judgements", type=FILE)
@click.argument("qrels", type=FILE)
@options
def qrels(
    texts: Path, judgements: Path, qrels: Path, spec: str, code: str | None, log: Path | None
) -> None:
    """Write the JUDGEMENTS as QRELS, a split each."""
    from wellspring.datasets import splits

    wanted = specs.QrelsSpec.read(spec)
    with step("qrels", None, code, log) as messages:
        digests = shards.check(texts, step="texts").identity["texts"]
        tables = (
            pl.from_arrow(shards.read(texts)),
            pl.from_arrow(shards.read(judgements, step="judgements", texts=digests)),
        )
        frame = splits.qrels(*tables, splits.splits(*tables, _splitting(wanted.splits)))
        messages.counts({"judgements": len(frame)})
        identity = {
            "step": "qrels",
            "spec": wanted.model_dump(mode="json"),
            "texts": digests,
            "judgements": shards.provenance(judgements).identity["judgements"],
        }
        made = shards.Provenance(identity, circumstances("qrels", None, "polars"))
        shards.write(qrels, frame.to_arrow(), made)


@click.command()
@click.argument("texts", type=FILE)
@click.argument("samples", type=FILE)
@click.argument("scores", type=FILE)
@options
def lexical(
    texts: Path, samples: Path, scores: Path, spec: str, code: str | None, log: Path | None
) -> None:
    """Score the candidates of SAMPLES by words and pieces of words into SCORES."""
    from wellspring.datasets import lexical

    wanted = specs.LexicalSpec.read(spec)
    with step("lexical", None, code, log) as messages:
        digests = shards.check(texts, step="texts").identity["texts"]
        drawn = shards.check(samples, step="samples", texts=digests)
        candidates = pl.from_arrow(shards.read(samples)).select(
            "sample_id",
            "query_id",
            text_id=pl.concat_list("positive_id", "negative_ids"),
        )
        pairs = candidates.explode("text_id")
        found = lexical.scores(
            pl.from_arrow(shards.read(texts)),
            pairs.select("query_id", "text_id"),
            wanted.scorers,
            **(wanted.bm25.model_dump() if wanted.bm25 else {}),
            **({"stop_words": wanted.stop_words} if wanted.stop_words else {}),
        )
        for line in lexical.silent(found):
            messages.tell(line)
        frame = (
            pairs.select("sample_id")
            .with_columns(pl.Series(scorer, values) for scorer, values in found.items())
            .group_by("sample_id", maintain_order=True)
            .agg(found.keys())
        )
        messages.counts({"samples": len(frame), "scores": len(pairs) * len(found)})
        identity = {
            "step": "lexical",
            "spec": wanted.model_dump(mode="json"),
            "samples": dict(drawn.identity),
        }
        made = shards.Provenance(
            identity, circumstances("lexical", None, "polars", "scikit-learn", "scipy")
        )
        shards.write(scores, frame.to_arrow(), made)


def _options(wanted: specs.TextsSpec) -> dict[str, Any]:
    paths = {key: Path(wanted.options[key]) for key in ("lock",) if key in wanted.options}
    return {**wanted.options, **paths}


def _splitting(splits: Splits) -> Splitting:
    from wellspring.datasets.splits import Splitting

    return Splitting(
        by=splits.by,
        test=splits.test,
        validation=splits.validation,
        seed=splits.seed,
        passages=splits.passages,
    )


def _digest(frame: pl.DataFrame, side: str) -> str:
    """sha256 over the ids and texts of a side, in order."""
    digest = hashlib.sha256()
    for text_id, text in frame.filter(pl.col("side") == side).select("text_id", "text").iter_rows():
        for part in (text_id, text):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def _check_digests(wanted: specs.TextsSpec) -> None:
    for split, expected in wanted.sha256.items():
        path = Path(wanted.files.get(split, ""))
        if not path.is_file():
            raise SourceError(f"datasets.{wanted.dataset}.sha256: {path} is not a file")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise SourceError(f"{path}: sha256 is {found}, the configuration says {expected}")
