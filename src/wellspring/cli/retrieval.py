"""rank, scan, search, match, retrieval: from a corpus to what is found in it by words, by vectors
and by terms, and a study's table of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.artefacts import checkpoints
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.embeddings import EmbeddingShard, TermShard
from wellspring.artefacts.retrieval import (
    FusionMetrics,
    LexicalMetrics,
    LexicalRun,
    LexicalValidation,
    Retrieval,
    Run,
    Scan,
    SearchMetrics,
    SearchValidation,
    TermMetrics,
    TermRun,
    TermValidation,
)
from wellspring.cli import asking
from wellspring.cli.encoding import Encoding, provenance
from wellspring.cli.step import FOLDER, Job, batched, gathering, step
from wellspring.errors import WellspringError
from wellspring.plurals import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from wellspring.config.vocabulary import Scorer
    from wellspring.retrieval.ranking import Ranking
    from wellspring.retrieval.run import Asked


@step(LexicalRun, "texts", "qrels", "run")
def rank(job: Job, texts: Path, qrels: Path, run: Path) -> None:
    """Rank the passages of TEXTS for the queries of QRELS by words, into RUN.

    Beside it lie metrics.parquet, and validation.parquet of queries that choose the best scorer.
    """
    from wellspring.datasets.lexical import silent
    from wellspring.retrieval import run as runs
    from wellspring.retrieval.words import search

    spec = job.spec
    asked, own, identity = asking.asked(job, texts, qrels, spec)
    found = search(
        Texts.read(texts),
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
        **identity,
    )
    for kind, parts in tables.items():
        kind.write(kind.beside(run), pl.concat(parts), provenance)


@step(Scan, "texts", "qrels", "description", "lists")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@batched
def scan(
    job: Job,
    texts: Path,
    qrels: Path,
    description: Path,
    lists: Path,
    query: Path,
    threads: int,
    tokens: int,
) -> None:
    """Encode one shard of the passages of TEXTS with the model that DESCRIPTION names, search it
    for the queries of QRELS at every layer, and drop it: the LISTS of the best stay."""
    from wellspring.retrieval.search import search
    from wellspring.retrieval.streaming import encoded

    spec = job.spec
    asked, identity = asking.judged(texts, qrels, spec)
    queries = asking.ids(texts, "query")
    chosen = queries.is_in(asked.queries).to_numpy()
    vectors = asking.vectors(query, spec, identity["texts"], chosen)
    described = checkpoints.verify(description, spec.encoding)
    source = Encoding(job, described, texts, threads, tokens)
    windows = source.tokenised()
    blocks = encoded(windows, source.encode, spec.layers, source.positions.start)
    with job.track(len(source.positions), "passages") as bar:
        found = search(vectors, asking.watched(blocks, bar), spec.depth + 1, spec.similarity)
    first = shards.provenance(query / shards.shard_name(0))
    weights = {"query": first.identity["weights"], "passage": described.digest}
    made = provenance(job, threads, source.budget, **identity, weights=weights)
    facts = {"queries": len(asked.queries), **source.facts}
    names = queries.filter(chosen).to_list()
    Scan.write_rankings(lists, found, names, replace(made, facts=facts))
    job.counts(facts)


@step(Run, "texts", "qrels", "words", "run")
@click.option("--query", type=FOLDER, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, help="Folder of the passage shards.")
@click.option("--scans", type=FOLDER, help="Folder of what was found in each shard of a corpus.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def search(
    job: Job,
    texts: Path,
    qrels: Path,
    words: Path,
    run: Path,
    query: Path | None,
    passage: Path | None,
    scans: Path | None,
    threads: int,
) -> None:
    """Search the passages of TEXTS for the queries of QRELS at every layer, into RUN.

    The vectors lie in --query and --passage. Where those of passages were dropped, --scans has what
    was found in each shard. WORDS is the lexical run, which the last layer's is fused with. Beside
    RUN lie metrics.parquet, validation.parquet of the queries that choose the best layer, and
    fusion.parquet.
    """
    import torch

    from wellspring.retrieval import run as runs

    torch.set_num_threads(threads)
    spec, rank = job.spec, job.spec.rank
    asked, own, identity = asking.asked(job, texts, qrels, rank)
    digests = identity["texts"]
    queries, documents = (asking.ids(texts, side) for side in ("query", "passage"))
    chosen = queries.is_in(asked.queries).to_numpy()
    if scans and not query and not passage:
        found = _merged(job, scans, identity)
    elif query and passage and not scans:
        vectors = asking.vectors(query, spec, digests, chosen)
        found = _searched(job, vectors, passage, digests, len(documents))
    else:
        raise click.UsageError("give --query and --passage, or --scans")
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
        **identity,
    )
    for kind in (SearchMetrics, SearchValidation, FusionMetrics, Run):
        kind.write(kind.beside(run), pl.concat(tables[kind]), provenance)


def _searched(
    job: Job,
    vectors: Mapping[int, np.ndarray],
    passage: Path,
    digests: Mapping[str, str],
    total: int,
) -> dict[int, Ranking]:
    """What queries find at each layer in stored vectors of so many passages."""
    from wellspring.retrieval.search import search

    spec = job.spec
    blocks = EmbeddingShard.blocks(passage, spec.passage, spec.shards, digests, spec.layers)
    with job.track(total, "passages") as bar:
        return search(vectors, asking.watched(blocks, bar), spec.rank.depth + 1, spec.similarity)


def _merged(job: Job, scans: Path, identity: Mapping[str, Any]) -> dict[int, Ranking]:
    """The same of what was found shard by shard."""
    found = {}
    with job.track(len(job.spec.layers), "layers") as bar:
        for layer, ranking in Scan.merged(scans, job.spec, **identity):
            found[layer] = ranking
            bar.advance(1)
    return found


@step(TermRun, "texts", "qrels", "run")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
def match(job: Job, texts: Path, qrels: Path, run: Path, query: Path, passage: Path) -> None:
    """Search the passages of TEXTS for the queries of QRELS by terms, into RUN.

    Beside it lie metrics.parquet and validation.parquet.
    """
    from wellspring.retrieval import run as runs
    from wellspring.retrieval.sparse import search

    spec = job.spec
    asked, own, identity = asking.asked(job, texts, qrels, spec)
    digests = identity["texts"]
    queries, documents = (asking.ids(texts, side) for side in ("query", "passage"))
    sizes = _comparable(run, query, passage, spec, digests)
    chosen = queries.is_in(asked.queries).to_numpy()
    weights = _weights(query, spec, digests, chosen)
    blocks = TermShard.blocks(passage, spec.passage, spec.shards, digests)
    with job.track(len(documents), "passages") as bar:
        found = search(weights, asking.watched(blocks, bar), spec.depth + 1)
    deeper = runs.table(found, queries.filter(chosen), documents)
    table = runs.without(deeper, own, spec.depth)
    of_test = table.join(asked.test, on="query_id", how="semi", maintain_order="left")
    metrics = _evaluated(of_test, asked.test, spec.measures)
    validation = _evaluated(table, asked.validation, spec.measures)
    job.say(f"terms: {_summary(metrics)}")
    job.counts(sizes)
    provenance = job.provenance(
        *("scipy", "polars", "ir_measures", "pytrec_eval-terrier"),
        facts=_facts(asked, own) | sizes,
        **identity,
    )
    for kind, each in ((TermMetrics, metrics), (TermValidation, validation), (TermRun, of_test)):
        kind.write(kind.beside(run), each, provenance)


def _comparable(
    run: Path, query: Path, passage: Path, spec: specs.MatchSpec, digests: Mapping[str, str]
) -> dict[str, float]:
    """How large the terms of both sides are, which must be weights of the same words."""
    sizes = {
        encoding.side: TermShard.counts(folder, encoding, spec.shards, digests)
        for folder, encoding in ((query, spec.query), (passage, spec.passage))
    }
    words = {side: each.vocabulary["words"] for side, each in sizes.items()}
    if sizes["query"].vocabulary != sizes["passage"].vocabulary:
        raise WellspringError(
            f"retrievers.{run.parents[2].name}: its queries are weights of {words['query']:,} "
            f"words, its passages of {words['passage']:,} others: give both sides encoders with "
            "one vocabulary"
        )
    return {
        name: value
        for side, each in sizes.items()
        for name, value in (
            (f"terms_per_{side}", round(each.terms / max(1, each.texts), 2)),
            (f"{side}_weights_not_0", float(f"{each.share:.4g}")),
        )
    }


def _weights(
    folder: Path, spec: specs.MatchSpec, digests: Mapping[str, str], chosen: np.ndarray
) -> csr_array:
    """Weights [asked queries, words], in the order of their ids."""
    from scipy.sparse import csr_array, vstack

    places, parts = [], []
    for positions, block in TermShard.blocks(folder, spec.query, spec.shards, digests):
        kept = chosen[positions]
        places.append(positions[kept])
        parts.append(block[np.flatnonzero(kept)])
    return csr_array(vstack(parts, format="csr")[np.argsort(np.concatenate(places))])


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
                ),
                terms=TermMetrics.read(TermMetrics(grid.retriever, dataset).at(results), grid.match)
                if grid.match
                else None,
            )
            for grid in spec.searched
            if grid.dataset == dataset
        }
        tables.append(comparison.compare(dataset, searches, words, spec.pairs, settings))
        job.say(f"{dataset}: {counted(len(searches), 'search', 'searches')}")
    Retrieval.write(table, pl.concat(tables), job.provenance("scipy", "polars"))


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
