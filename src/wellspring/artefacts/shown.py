"""What a study's page reads: the tables of its panels, outcomes, neurons, and the logs."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from wellspring import progress, shards, specs
from wellspring.artefacts import grids, scores
from wellspring.artefacts.attributions import TopNeurons
from wellspring.artefacts.base import RESULTS, Artefact
from wellspring.artefacts.costs import LOGS, job_of, key_of
from wellspring.artefacts.plan import Plan
from wellspring.artefacts.probes import ProbeOutcomes
from wellspring.artefacts.registry import find
from wellspring.artefacts.studies import recorded
from wellspring.page.texts import of_neuron

ROWS = 256
"""Texts whose scores are read at once."""


def named(kind: type[Artefact]) -> str:
    """The name of a kind's table: that of its class, in lower case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def artefacts(paths: Iterable[str]) -> list[Artefact]:
    """The artefacts at paths below results/."""
    return [each for path in paths if (each := find(f"{RESULTS}/{path}")) is not None]


def tables(results: Path, files: Iterable[Artefact]) -> dict[str, pl.DataFrame]:
    """One table a kind, by its name; the wildcards of its paths, the study aside, come first."""
    parts: dict[str, list[pl.DataFrame]] = {}
    for artefact in files:
        kind = type(artefact)
        kind.check(artefact.at(results))
        lazy = grids.located(artefact, results, "study")
        if kind.condensed:
            module, _, function = kind.condensed.partition(":")
            table = getattr(importlib.import_module(f"wellspring.{module}"), function)(lazy)
        else:
            table = lazy.collect()
        parts.setdefault(named(kind), []).append(table)
    return {name: pl.concat(some, how="vertical_relaxed") for name, some in parts.items()}


def listed(files: Iterable[Artefact]) -> dict[str, list[str]]:
    """The files of each table below results/; as CSV where there is one."""
    paths: dict[str, list[str]] = {}
    for artefact in files:
        path = Path(artefact.main_file).relative_to(RESULTS)
        shown = path.with_suffix(".csv") if "csv" in artefact.also else path
        paths.setdefault(named(type(artefact)), []).append(shown.as_posix())
    return paths


def outcomes(
    results: Path, grid: specs.ProbedGrid, layer: int, passages: int
) -> tuple[ProbeOutcomes, pl.DataFrame]:
    """How test samples came out at one cell of a grid, and the file that says it."""
    artefact = ProbeOutcomes(grid.retriever, grid.dataset, layer, passages)
    where = {"layer": layer, "passages": passages}
    columns = ["probe", "seed", "sample_id", "correct"]
    return artefact, ProbeOutcomes.read(artefact.at(results), grid.probe, columns, **where)


def top_neurons(results: Path, side: specs.StudiedSide) -> tuple[TopNeurons, pl.DataFrame]:
    """Which neurons of a side have the largest scores, and the file that says it."""
    artefact = TopNeurons(side.attribution, side.encoder, side.dataset, side.side)
    return artefact, TopNeurons.read(artefact.at(results))


def scores_of_neuron(
    results: Path, side: specs.StudiedSide, layer: int, sublayer: str, neuron: int
) -> dict[str, tuple[float, float]]:
    """Text to a neuron's score, and to the same as a share of the text's largest one in the
    sub-layer."""
    folder = Path(side.attribution, side.encoder, side.dataset, side.side)
    stored = scores.checked(results / "attributions" / folder, side.summary, [layer])
    found: dict[str, tuple[float, float]] = {}
    columns = ["text_id", f"{sublayer}_scale", f"{sublayer}_scores"]
    for path in stored.files[layer]:
        for batch in shards.batches(path, columns, ROWS):
            ids, scales, vectors = (batch.column(name) for name in columns)
            matrix = shards.matrix(vectors)
            found |= of_neuron(ids.to_pylist(), scales.to_numpy(), matrix, neuron)
    return {each: value for each, value in found.items() if each not in stored.quiet}


def costs(results: Path, study: str) -> pl.DataFrame:
    """What the jobs of a study have cost here: rule, seconds, peak_memory_mb, device.

    The study is the one that its last run recorded. Logs of other studies, of their layers and
    passage counts, do not count. Without a record there is no row.
    """
    schema = {
        "rule": pl.String,
        "seconds": pl.Float64,
        "peak_memory_mb": pl.Float64,
        "device": pl.String,
    }
    return pl.DataFrame(list(_costs(results, study)), schema)


def _costs(results: Path, study: str) -> Iterator[Mapping[str, Any]]:
    config = recorded(results, study)
    if config is None:
        return
    plan = Plan(config)
    made = {key_of(each) for each in plan.closure(plan.ends())}
    for log in sorted((results / LOGS).rglob("*.log")):
        job = job_of(results, log)
        if job is None or not job.is_of(made):
            continue
        try:
            told = json.loads(progress.last_line(log))
            yield {
                "rule": job.rule,
                "seconds": float(told["seconds"]),
                "peak_memory_mb": float(told["peak_memory_mb"]),
                "device": str(told["device"]),
            }
        except (ValueError, TypeError, KeyError):
            # The job failed, has not ended, or is the one that reads this.
            continue
