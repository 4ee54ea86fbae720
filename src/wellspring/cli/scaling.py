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
from wellspring.artefacts.retrieval import metrics_of
from wellspring.artefacts.scaling import Ladders, LearningRates, Scaling
from wellspring.cli.step import Job, gathering, step
from wellspring.errors import StaleArtefact, WellspringError
from wellspring.plurals import counted


@step(Scaling, "table", "learning_rates", "points")
@gathering
def scaling(job: Job, table: Path, learning_rates: Path, points: Path, results: Path) -> None:
    """Say in TABLE what a doubling of size brings, which LEARNING_RATES were best, and in POINTS
    how good each model is."""
    from wellspring.findings import ladders

    spec = job.spec
    try:
        models, rates = ladders.kept(_models(results, spec))
        names = {each.size: each.model for each in reversed(spec.models)}
        values = _values(results, spec)
        found = ladders.table(values, models, spec.seed, spec.draws)
        qualities = ladders.points(values, models)
    except ValueError as error:
        raise WellspringError(f"study.scaling: {error}") from None
    job.say(f"{counted(models.height, 'model')}, {counted(found.height, 'finding')}")
    for row in rates.filter("at_edge").iter_rows(named=True):
        job.say(
            f"learning rate {row['learning_rate']:g} of {names[row['size']]} ({row['stages']}) is "
            "at the edge of those that were tried"
        )
    sizes = models.group_by("ladder", maintain_order=True).agg(pl.n_unique("size"))
    for (name,) in sizes.filter(size=1).select("ladder").iter_rows():
        job.say(f"{name} has no slope: no other size has its family, recipes and encoder")
    provenance = job.provenance("scipy", "polars")
    places = {each.model: place for place, each in enumerate(spec.models)}
    rates = rates.with_columns(pl.col("size").replace(names))
    rates = rates.sort(pl.col("size").replace_strict(places), maintain_order=True)
    LearningRates.write(learning_rates, rates, provenance)
    named = qualities.with_columns(pl.col("size").replace(names))
    Ladders.write(points, named, provenance)
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
            .with_columns(measure=pl.lit(specs.accuracy_of(spec.passages)))
            .group_by(columns)
            .agg(value=pl.mean("correct").cast(pl.Float64))
        )
    table = pl.concat([frame.select(*columns, "value") for frame in frames]).collect()
    ranks = {measure: rank for rank, measure in enumerate(spec.measures)}
    first = pl.col("measure").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64)
    return table.sort(first, "dataset", "retriever", "query_id")


def _searched(results: Path, grid: specs.SearchedGrid, spec: specs.ScalingSpec) -> pl.LazyFrame:
    """How good the ranking of each query is: by the last layer, or by terms of sparse models.

    A query is a text, as in probes. Where it has several ids, the mean over them stands for it.
    """
    artefact = metrics_of(grid.retriever, grid.dataset, grid.match is not None)
    type(artefact).check(artefact.at(results), grid.match or grid.search)
    own = grids.located(artefact, results).filter(pl.col("measure").is_in(spec.measures))
    found = own if grid.match else own.filter(layer=spec.depths[grid.retriever])
    texts = ("dataset", "measure", "retriever", pl.col("cluster").alias("query_id"))
    return found.group_by(texts).agg(pl.mean("value"))


def _models(results: Path, spec: specs.ScalingSpec) -> pl.DataFrame:
    """What is known of each model: where it stands, its sizes, and its validation quality."""
    rows: list[dict[str, Any]] = []
    for each in spec.models:
        parameters = Description.read(Model(each.model).at(results)).parameters
        facts = [_facts(TrainedModel(name).at(results)) for name in each.steps]
        ledgers = [one["ledger"] for one in facts]
        look = facts[-1].get("quality", {}) if facts else {}
        rows.append(
            {
                **each.model_dump(exclude={"model", "steps", "trainings", "encoder"}),
                "trainings": json.dumps(each.trainings, sort_keys=True),
                "encoder": json.dumps(each.encoder, sort_keys=True),
                "measure": look.get("measure"),
                "quality": look.get("after"),
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
