"""rank, search, retrieval: from a corpus to what is found in it, and a study's table of that;
run-file and measure: files of other tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.retrieval import (
    FusionMetrics,
    LexicalMetrics,
    LexicalRun,
    LexicalValidation,
    Retrieval,
    Run,
    SearchMetrics,
    SearchValidation,
)
from wellspring.cli.step import FILE, FOLDER, Job, gathering, step
from wellspring.config.study import MEASURE, MEASURES
from wellspring.errors import WellspringError, about
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.config.vocabulary import Scorer
    from wellspring.progress import Progress
    from wellspring.retrieval.run import Asked
    from wellspring.retrieval.search import Block


@step(LexicalRun, "texts", "qrels", "run")
def rank(job: Job, texts: Path, qrels: Path, run: Path) -> None:
    """Rank the passages of TEXTS for the queries of QRELS by words, into RUN.

    Beside it lie metrics.parquet, and validation.parquet of queries that choose the best scorer.
    """
    from wellspring.datasets.lexical import silent
    from wellspring.retrieval import run as runs
    from wellspring.retrieval.words import search

    spec = job.spec
    digests = Texts.check(texts).identity["texts"]
    judged = Qrels.check(qrels, spec.qrels, texts=digests).identity["judgements"]
    with about(qrels):
        asked = runs.asked(Qrels.read(qrels), spec.queries)
    everything = Texts.read(texts)
    own = _own(job, everything, asked)
    found = search(
        everything,
        asked.queries,
        spec.lexical.scorers,
        spec.depth + 1,
        **specs.word_settings(spec.lexical),
    )
    rankings: dict[Scorer, pl.DataFrame] = {
        scorer: runs.without(table, own, spec.depth) for scorer, table in found.items()
    }
    tables: dict[type[Artefact], list[pl.DataFrame]] = {
        kind: [] for kind in (LexicalValidation, LexicalMetrics, LexicalRun)
    }
    for scorer, table in rankings.items():
        named = pl.lit(scorer).alias("scorer")
        of_test = table.join(asked.test, on="query_id", how="semi", maintain_order="left")
        metrics = _evaluated(of_test, asked.test, spec.measures)
        validation = _evaluated(table, asked.validation, spec.measures)
        for kind, each in zip(tables, (validation, metrics, of_test), strict=True):
            tables[kind].append(each.select(named, pl.all()))
        job.say(f"{scorer}: {_summary(metrics)}")
    for line in silent({scorer: table["score"].to_numpy() for scorer, table in rankings.items()}):
        job.tell(line)
    provenance = job.provenance(
        *("polars", "scikit-learn", "scipy", "ir_measures", "pytrec_eval-terrier"),
        facts=_facts(asked, own),
        texts=digests,
        judgements=judged,
    )
    for kind, parts in tables.items():
        kind.write(kind.beside(run), pl.concat(parts), provenance)


@step(Run, "texts", "qrels", "words", "run")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def search(
    job: Job,
    texts: Path,
    qrels: Path,
    words: Path,
    run: Path,
    query: Path,
    passage: Path,
    threads: int,
) -> None:
    """Search the passages of TEXTS for the queries of QRELS at every layer, into RUN.

    WORDS is the lexical run, which the last layer's is fused with. Beside RUN lie metrics.parquet,
    validation.parquet of the queries that choose the best layer, and fusion.parquet.
    """
    import torch

    from wellspring.retrieval import run as runs
    from wellspring.retrieval.search import search

    torch.set_num_threads(threads)
    spec, rank = job.spec, job.spec.rank
    digests = Texts.check(texts).identity["texts"]
    judged = Qrels.check(qrels, rank.qrels, texts=digests).identity["judgements"]
    with about(qrels):
        asked = runs.asked(Qrels.read(qrels), rank.queries)
    ids = Texts.read(texts, columns=["text_id", "side"])
    queries, documents = (
        ids.filter(pl.col("side") == side)["text_id"] for side in ("query", "passage")
    )
    whole = pl.scan_parquet(shards.sound(texts))
    own = _own(job, whole.filter(pl.col("text_id").is_in(asked.queries)).collect(), asked)
    chosen = queries.is_in(asked.queries).to_numpy()
    vectors = _vectors(query, spec, digests, chosen)
    blocks = EmbeddingShard.blocks(passage, spec.passage, spec.shards, digests, spec.layers)
    with job.track(len(documents), "passages") as bar:
        found = search(vectors, _watched(blocks, bar), rank.depth + 1, spec.similarity)
    queries = queries.filter(chosen)
    tables: dict[type[Artefact], list[pl.DataFrame]] = {
        kind: [] for kind in (SearchValidation, SearchMetrics, Run)
    }
    for layer, ranking in found.items():
        deeper = runs.table(ranking, queries, documents)
        named, table = pl.lit(layer).alias("layer"), runs.without(deeper, own, rank.depth)
        of_test = table.join(asked.test, on="query_id", how="semi", maintain_order="left")
        metrics = _evaluated(of_test, asked.test, rank.measures)
        validation = _evaluated(table, asked.validation, rank.measures)
        for kind, each in zip(tables, (validation, metrics, of_test), strict=True):
            tables[kind].append(each.select(named, pl.all()))
        job.say(f"layer {layer}: {_summary(metrics)}")
    scorer, lexical = _best_words(words, rank, digests)
    fused = runs.fused([tables[Run][-1], lexical], rank.depth)
    fusion = _evaluated(fused, asked.test, rank.measures)
    job.say(f"fused with {scorer}: {_summary(fusion)}")
    tables[FusionMetrics] = [fusion.select(pl.lit(scorer).alias("scorer"), pl.all())]
    provenance = job.provenance(
        *("torch", "polars", "ir_measures", "pytrec_eval-terrier"),
        facts=_facts(asked, own),
        circumstances={"threads": threads},
        texts=digests,
        judgements=judged,
    )
    for kind in (SearchMetrics, SearchValidation, FusionMetrics, Run):
        kind.write(kind.beside(run), pl.concat(tables[kind]), provenance)


def _vectors(
    folder: Path, spec: specs.SearchSpec, digests: Mapping[str, str], chosen: np.ndarray
) -> dict[int, np.ndarray]:
    """float32 vectors [asked queries, hidden] at each layer, in the order of their ids."""
    vectors: dict[int, np.ndarray] = {}
    row = np.cumsum(chosen) - 1
    for positions, block in EmbeddingShard.blocks(
        folder, spec.query, spec.shards, digests, spec.layers
    ):
        kept = chosen[positions]
        for layer, of_layer in block.items():
            if layer not in vectors:
                vectors[layer] = np.empty((chosen.sum(), of_layer.shape[1]), np.float32)
            vectors[layer][row[positions[kept]]] = of_layer[kept]
    return vectors


def _watched(blocks: Iterable[Block], bar: Progress) -> Iterator[Block]:
    """The blocks; the bar counts their rows."""
    for positions, vectors in blocks:
        yield positions, vectors
        bar.advance(len(positions))


def _best_words(
    run: Path, spec: specs.RankSpec, digests: Mapping[str, str]
) -> tuple[str, pl.DataFrame]:
    """The scorer that was chosen, and its run."""
    from wellspring.retrieval.run import chosen

    metrics, validation = (
        kind.read(kind.beside(run), spec, texts=digests)
        for kind in (LexicalMetrics, LexicalValidation)
    )
    scorer = chosen(metrics, validation, "scorer").name
    return scorer, LexicalRun.read(run, spec, texts=digests).filter(scorer=scorer)


@step(Retrieval, "table")
@gathering
def retrieval(job: Job, table: Path, results: Path) -> None:
    """Gather a study's searches in one TABLE, with intervals and tests."""
    from wellspring.findings import retrieval as comparison

    spec = job.spec
    settings = comparison.Settings(spec.alpha, spec.permutations, spec.seed)
    tables = []
    for dataset, digest in spec.ranked.items():
        words = comparison.Words(
            *(
                kind.read(kind(dataset).at(results), digest)
                for kind in (LexicalMetrics, LexicalValidation)
            )
        )
        searches = {
            grid.retriever: comparison.Search(
                *(
                    kind.read(kind(grid.retriever, dataset).at(results), grid.search)
                    for kind in (SearchMetrics, SearchValidation, FusionMetrics)
                )
            )
            for grid in spec.searched
            if grid.dataset == dataset
        }
        tables.append(comparison.compare(dataset, searches, words, spec.pairs, settings))
        job.say(f"{dataset}: {counted(len(searches), 'search', 'searches')}")
    Retrieval.write(table, pl.concat(tables), job.provenance("scipy", "polars"))


@click.command()
@click.argument("run", type=FILE)
@click.argument("file", type=FILE)
@click.option("--layer", type=click.IntRange(min=0), help="Of a search; the last where left out.")
@click.option("--scorer", help="Of a lexical run; the first where left out.")
def run_file(run: Path, file: Path, layer: int | None, scorer: str | None) -> None:
    """Write one layer or one scorer of RUN, a run.parquet below results/, as a TREC run FILE."""
    from wellspring.artefacts import lookup
    from wellspring.retrieval.trec import written

    _, artefact = lookup.located(run)
    if not isinstance(artefact, Run | LexicalRun):
        raise WellspringError(f"{run}: is no run: name a run.parquet below results/")
    table = type(artefact).read(run)
    searched = isinstance(artefact, Run)
    column, chosen = ("layer", layer) if searched else ("scorer", scorer)
    held = table[column].unique(maintain_order=True).to_list()
    if chosen is None:
        chosen = held[-1 if searched else 0] if held else None
    if chosen not in held:
        raise WellspringError(
            f"{run}: has no {column} {chosen}; it has {', '.join(map(str, held)) or 'none'}"
        )
    name = artefact.retriever if searched else artefact.dataset
    rows = table.filter(pl.col(column) == chosen)
    with about(run):
        lines = "".join(f"{line}\n" for line in written(rows, f"{name}-{chosen}"))
    shards.write_text(file, lines)
    click.echo(f"{file}: {column} {chosen}, {counted(len(rows), 'line')}")


@click.command()
@click.argument("run", type=FILE)
@click.argument("qrels", type=FILE)
@click.option("--measure", "measures", multiple=True, default=MEASURES, show_default=True)
def measure(run: Path, qrels: Path, measures: tuple[str, ...]) -> None:
    """Measure a TREC run file RUN by the judgements QRELS, in TREC's layout or in BEIR's.

    Equal scores count in the order of the ids; the range is that of all their orders.
    """
    from wellspring.retrieval.evaluation import evaluate
    from wellspring.retrieval.trec import read_qrels, read_run

    for name in measures:
        if not re.fullmatch(MEASURE, name):
            raise WellspringError(f"--measure {name}: is not of the form {MEASURE}")
    found, judgements = read_run(run), read_qrels(qrels)
    queries = set(found.frame["query_id"]), set(judgements["query_id"])
    metrics = evaluate(found.frame, judgements, list(dict.fromkeys(measures)))
    click.echo(f"{counted(len(queries[1]), 'judged query', 'judged queries')}")
    if found.unsorted:
        click.echo(
            f"{counted(found.unsorted, 'query', 'queries')} not in the order of scores: sorted"
        )
    for count, said in (
        (len(queries[1] - queries[0]), "judged, but not in the run: counted as 0"),
        (len(queries[0] - queries[1]), "in the run, but not judged: left out"),
    ):
        if count:
            click.echo(f"{counted(count, 'query', 'queries')} {said}")
    means = metrics.group_by("measure", maintain_order=True).agg(
        pl.col("value", "best", "worst", "judged").mean()
    )
    for name, value, best, worst in means["measure", "value", "best", "worst"].iter_rows():
        spread = f" ({worst:.4f} to {best:.4f} by the order of equal scores)" * (best > worst)
        click.echo(f"{name} {value:.4f}{spread}")
    click.echo(f"judged@10 {means['judged'].first() or 0:.4f}")


def _own(job: Job, texts: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """What queries must not find; the log counts it."""
    from wellspring.retrieval.run import own

    pairs = own(texts, asked)
    if len(pairs):
        job.say(
            f"{counted(len(pairs), 'query', 'queries')} found in the corpus under the same id: "
            "left out of what they find"
        )
    return pairs


def _evaluated(
    run: pl.DataFrame, judgements: pl.DataFrame, measures: Sequence[str]
) -> pl.DataFrame:
    """What `evaluate` gives, with the cluster of each query."""
    from wellspring.retrieval.evaluation import evaluate

    clusters = judgements.select("query_id", "cluster").unique()
    metrics = evaluate(run, judgements.drop("cluster"), measures)
    return metrics.join(clusters, on="query_id", maintain_order="left").select(
        "measure", "query_id", "cluster", pl.exclude("measure", "query_id", "cluster")
    )


def _facts(asked: Asked, own: pl.DataFrame) -> dict[str, int]:
    return {
        "queries": asked.test["query_id"].n_unique(),
        "validation_queries": asked.validation["query_id"].n_unique(),
        "judgements": len(asked.test),
        "own_documents": len(own),
    }


def _summary(metrics: pl.DataFrame) -> str:
    """The mean of each measure, and how much of what was found is judged."""
    means = metrics.group_by("measure", maintain_order=True).agg(pl.col("value", "judged").mean())
    parts = [f"{measure} {value:.4f}" for measure, value in means["measure", "value"].iter_rows()]
    return ", ".join([*parts, f"judged@10 {means['judged'].first():.2f}"])
