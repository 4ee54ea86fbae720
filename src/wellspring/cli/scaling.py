"""scaling: what a doubling of size brings, of a study's ladders of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from wellspring import specs
from wellspring.artefacts import grids
from wellspring.artefacts.checkpoints import Description
from wellspring.artefacts.models import Model, TrainedModel
from wellspring.artefacts.retrieval import SearchMetrics
from wellspring.artefacts.scaling import LearningRates, Scaling
from wellspring.cli.step import Job, gathering, step
from wellspring.errors import StaleArtefact, WellspringError
from wellspring.plurals import counted


@step(Scaling, "table", "learning_rates")
@gathering
def scaling(job: Job, table: Path, learning_rates: Path, results: Path) -> None:
    """Say in TABLE what a doubling of size brings, and which LEARNING_RATES were best."""
    from wellspring.findings import ladders

    spec = job.spec
    try:
        models, rates = ladders.kept(_models(results, spec))
        names = {each.size: each.model for each in reversed(spec.models)}
        found = ladders.table(_values(results, spec), models, spec.seed, spec.draws)
    except ValueError as error:
        raise WellspringError(f"study.scaling: {error}") from None
    job.say(f"{counted(models.height, 'model')}, {counted(found.height, 'finding')}")
    for row in rates.filter("at_edge").iter_rows(named=True):
        job.say(
            f"learning rate {row['learning_rate']:g} of {names[row['size']]} ({row['stages']}) is "
            "at the edge of those that were tried"
        )
    provenance = job.provenance("scipy", "polars")
    places = {each.model: place for place, each in enumerate(spec.models)}
    rates = rates.with_columns(pl.col("size").replace(names))
    rates = rates.sort(pl.col("size").replace_strict(places), maintain_order=True)
    LearningRates.write(learning_rates, rates, provenance)
    Scaling.write(table, found, provenance)


def _values(results: Path, spec: specs.ScalingSpec) -> pl.DataFrame:
    """dataset, measure, retriever, query_id, value: of searches, then of probes."""
    columns = ("dataset", "measure", "retriever", "query_id")
    frames = [_searched(results, grid, spec) for grid in spec.searched]
    for grid in spec.probed:
        last = grid.model_copy(update={"layers": grid.layers[-1:], "passages": [spec.passages]})
        (frame,) = grids.probes(results, last)
        frames.append(
            frame.filter(probe="cosine")
            .with_columns(measure=pl.lit(f"accuracy at N = {spec.passages}"))
            .group_by(columns)
            .agg(value=pl.mean("correct").cast(pl.Float64))
        )
    table = pl.concat([frame.select(*columns, "value") for frame in frames]).collect()
    ranks = {measure: rank for rank, measure in enumerate(spec.measures)}
    first = pl.col("measure").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64)
    return table.sort(first, "dataset", "retriever", "query_id")


def _searched(results: Path, grid: specs.SearchedGrid, spec: specs.ScalingSpec) -> pl.LazyFrame:
    """How good the last layer's ranking of each query is.

    A query is a text, as in probes. Where it has several ids, the mean over them stands for it.
    """
    artefact = SearchMetrics(grid.retriever, grid.dataset)
    SearchMetrics.check(artefact.at(results), grid.search)
    own = pl.col("measure").is_in(spec.measures)
    last = grids.located(artefact, results).filter(own, layer=spec.depths[grid.retriever])
    texts = ("dataset", "measure", "retriever", pl.col("cluster").alias("query_id"))
    return last.group_by(texts).agg(pl.mean("value"))


def _models(results: Path, spec: specs.ScalingSpec) -> pl.DataFrame:
    """What is known of each model: where it stands, its sizes, and its validation quality."""
    rows: list[dict[str, Any]] = []
    for each in spec.models:
        parameters = Description.read(Model(each.model).at(results)).parameters
        facts = [_facts(TrainedModel(name).at(results)) for name in each.steps]
        ledgers = [one["ledger"] for one in facts]
        rows.append(
            {
                **each.model_dump(exclude={"model", "steps"}),
                "quality": facts[-1].get("quality", {}).get("after") if facts else None,
                "parameters": parameters["all"],
                "non_embedding": parameters["all"] - parameters["embedding"],
                "trainable": facts[-1]["trained_parameters"] if facts else None,
                "flops": sum(ledger["total_flops"] for ledger in ledgers) or None,
                "tokens": sum(ledger["tokens"] for ledger in ledgers) or None,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _facts(trained: Path) -> dict[str, Any]:
    """The facts of a training run."""
    try:
        return json.loads(trained.read_bytes())["facts"]
    except (OSError, ValueError, KeyError) as error:
        raise StaleArtefact(
            f"{trained}: cannot be read ({type(error).__name__}); make it again: "
            f"snakemake --cores all --forcerun {trained}"
        ) from None
