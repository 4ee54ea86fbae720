"""index, indexes: approximate indexes beside exact search, and a study's table of them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.indexes import Indexes, IndexMetrics, IndexTimes
from wellspring.cli.step import FOLDER, Job, gathering, step
from wellspring.errors import about
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.retrieval.indexes import Tried


@step(IndexMetrics, "texts", "qrels", "metrics", "latency")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
def index(
    job: Job, texts: Path, qrels: Path, metrics: Path, latency: Path, query: Path, passage: Path
) -> None:
    """Search the passages of TEXTS for the queries of QRELS by each index: write what is found to
    METRICS and how long it took to LATENCY. One thread works, as the times are those of one."""
    import faiss
    import torch

    from wellspring.retrieval import indexes as science
    from wellspring.retrieval import run as runs

    torch.set_num_threads(1)
    spec = job.spec
    digests = Texts.check(texts).identity["texts"]
    judged = Qrels.check(qrels, spec.qrels, texts=digests).identity["judgements"]
    with about(qrels):
        asked = runs.asked(Qrels.read(qrels), spec.queries).test
    clusters, judgements = asked.select("query_id", "cluster").unique(), asked.drop("cluster")
    documents, corpus = _vectors(passage, spec, spec.passage, digests)
    entries = [science.settings(entry, len(documents)) for entry in spec.indexes]
    queries, vectors = _vectors(query, spec, spec.query, digests)
    chosen = queries.is_in(asked["query_id"].unique().implode())
    queries, vectors = queries.filter(chosen), vectors[chosen.to_numpy()]
    depths = science.depths(spec.measures, spec.depth)
    tables, times = [], []
    with job.track(len(depths) * (1 + sum(map(len, entries))), "searches") as bar:
        for tried in science.tried(vectors, corpus, entries, list(depths)):
            tables.append(
                science.judged(tried, queries, documents, judgements, depths[tried.depth])
            )
            times.append(_times(tried))
            bar.advance(1)
            job.say(_summary(tables[-1], times[-1]))
    provenance = job.provenance(
        *("torch", "faiss-cpu", "polars", "ir_measures", "pytrec_eval-terrier"),
        facts={
            "queries": len(queries),
            "judgements": len(asked),
            "documents": len(documents),
            "hidden": corpus.shape[1],
        },
        circumstances={"threads": 1, "faiss": faiss.get_compile_options().strip()},
        texts=digests,
        judgements=judged,
    )
    measured = {"processor": _processor(), "repeats": science.REPEATS, "times": times}
    told = provenance.content()
    shards.write_json(latency, told | {"facts": told["facts"] | measured})
    table = (
        pl.concat(tables)
        .join(clusters, on="query_id", maintain_order="left")
        .with_columns(
            layer=pl.lit(spec.layer, pl.Int64),
            documents=pl.lit(len(documents), pl.Int64),
            hidden=pl.lit(corpus.shape[1], pl.Int64),
        )
    )
    IndexMetrics.write(metrics, table.select(*IndexMetrics.columns), provenance)


def _vectors(
    folder: Path,
    spec: specs.IndexSpec,
    encoding: specs.EncodingSpec,
    digests: Mapping[str, str],
) -> tuple[pl.Series, np.ndarray]:
    """The ids of a side, sorted, and its float32 vectors [texts, hidden], of length 1 where cosines
    are compared."""
    import torch

    ids, vectors = EmbeddingShard.read_side(folder, encoding, spec.shards, digests, spec.layer)
    named = pl.Series(ids, dtype=pl.String)
    order = named.arg_sort().to_numpy()
    vectors = vectors[order]
    if spec.similarity == "cosine":
        vectors = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1).numpy()
    return named.gather(order), vectors


def _times(tried: Tried) -> dict[str, Any]:
    """What one search of an index took, as the file of times says it."""
    middle, slow = np.quantile(tried.milliseconds, [0.5, 0.95])
    return {
        "index": tried.index,
        "setting": tried.setting,
        "depth": tried.depth,
        "milliseconds": round(float(middle), 6),
        "slow_milliseconds": round(float(slow), 6),
        "build_seconds": round(tried.seconds, 6),
        "queries": len(tried.milliseconds),
    }


def _summary(table: pl.DataFrame, times: Mapping[str, Any]) -> str:
    means = table.group_by("measure", maintain_order=True).agg(pl.col("value").mean())
    parts = [f"{measure} {value:.4f}" for measure, value in means.iter_rows()]
    which = ", ".join(filter(None, [times["index"], times["setting"]]))
    parts.append(f"{times['milliseconds']:.3f} ms a query")
    return f"{which}: {', '.join(parts)}"


def _processor() -> str:
    """What the processor calls itself; its architecture where it does not say."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


@step(Indexes, "table")
@gathering
def indexes(job: Job, table: Path, results: Path) -> None:
    """Gather a study's indexes in one TABLE, with intervals, sizes and times."""
    from wellspring.findings import indexes as science

    tables = []
    for grid in job.spec.indexed:
        names = (grid.retriever, grid.dataset)
        values = IndexMetrics.read(IndexMetrics(*names).at(results), grid.index)
        told = json.loads(IndexTimes(*names).at(results).read_bytes())["facts"]["times"]
        times = pl.DataFrame(told).select(*science.TRIED, *science.TIMES)
        where = {"dataset": grid.dataset, "retriever": grid.retriever}
        tables.append(science.compare(where, values, times, grid.measures))
    job.say(counted(len(tables), "search", "searches"))
    Indexes.write(table, pl.concat(tables), job.provenance("scipy", "polars"))
