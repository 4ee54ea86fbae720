"""dimensions: a study's table of what varies between its retrievers."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from wellspring import specs
from wellspring.artefacts.dimensions import Dimensions
from wellspring.artefacts.models import TrainedModel
from wellspring.artefacts.retrieval import metrics_of
from wellspring.cli.step import Job, gathering, step
from wellspring.findings.dimensions import Place, Spent


@step(Dimensions, "table")
@gathering
def dimensions(job: Job, table: Path, results: Path) -> None:
    """Set what retrievers find against a reference setting of each dimension, into TABLE."""
    from wellspring.findings import dimensions as science
    from wellspring.findings.verdicts import Rules

    spec = job.spec
    found = science.dimensions(
        pl.concat(_values(results, each) for each in spec.searched),
        [Place(**each.model_dump()) for each in spec.places],
        {retriever: _spent(results, runs) for retriever, runs in spec.runs.items()},
        Rules(spec.alpha, spec.margin, spec.permutations, spec.seed),
    )
    for row in found.unique(["dimension", "family", "measure"], maintain_order=True).to_dicts():
        verdict = row["verdict"] or "one setting"
        job.say(f"{row['dimension']}, {row['family']}, {row['measure']}: {verdict}")
    Dimensions.write(table, found, job.provenance("scipy", "polars"))


def _values(results: Path, searched: specs.SearchedSpec) -> pl.DataFrame:
    """What each query found at a retriever's last layer, or by its terms."""
    by_terms = searched.layer is None
    metrics = metrics_of(searched.retriever, searched.dataset, by_terms)
    found = type(metrics).read(metrics.at(results), searched.search)
    return (found if by_terms else found.filter(layer=searched.layer)).select(
        pl.lit(searched.retriever).alias("retriever"),
        pl.lit(searched.dataset).alias("dataset"),
        *("measure", "query_id", "cluster", "value"),
    )


def _spent(results: Path, runs: list[specs.RunSpec]) -> Spent:
    """What the shares of runs took, together; of a run's ledger, so much of the whole."""
    pairs = flops = 0.0
    for run in runs:
        ledger = json.loads(TrainedModel(run.model).at(results).read_bytes())["facts"]["ledger"]
        pairs += run.share * ledger["pairs"]
        flops += run.share * ledger["total_flops"]
    return Spent(pairs, flops)
