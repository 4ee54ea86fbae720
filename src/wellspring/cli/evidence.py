"""evidence: all that a study holds of each layer, side by side, and what predicts what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wellspring import specs
from wellspring.artefacts import grids
from wellspring.artefacts.attributions import Ablations, ActivationTexts, Removals
from wellspring.artefacts.evidence import Evidence, EvidenceCorrelations
from wellspring.artefacts.findings import Similarity
from wellspring.artefacts.probes import ProbeCodes, ProbeOutcomes
from wellspring.artefacts.retrieval import LexicalMetrics, LexicalValidation, SearchMetrics
from wellspring.cli.step import Job, gathering, step
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.findings.curves import Measured
    from wellspring.findings.evidence import Evidence as Held


@step(Evidence, "table", "correlations")
@gathering
def evidence(job: Job, table: Path, correlations: Path, results: Path) -> None:
    """Set what a study holds of each layer side by side in TABLE; write to CORRELATIONS how well
    each measure predicts the others."""
    from wellspring.findings import prediction
    from wellspring.findings.evidence import build

    spec = job.spec
    tables, related = [], []
    for dataset in spec.datasets:
        held = _held(results, spec, dataset)
        tables.append(build(held))
        related.append(prediction.correlations(held, spec.seed))
        counts = counted(len(held.lines), "retriever"), counted(len(related[-1]), "correlation")
        job.say(f"{dataset}: {', '.join(counts)}")
    provenance = job.provenance("numpy", "scipy", "polars")
    EvidenceCorrelations.write(correlations, pl.concat(related), provenance)
    Evidence.write(table, pl.concat(tables), provenance)


def _held(results: Path, spec: specs.EvidenceSpec, dataset: str) -> Held:
    """What the study holds of its retrievers on a dataset."""
    from wellspring.findings.evidence import Evidence as Held

    sources = (_probed, _searched, _similar, _attributed, _removed)
    parts = [part for source in sources for part in source(results, spec, dataset)]
    lines: dict[str, list[Measured]] = {}
    for retriever, measured in parts:
        lines.setdefault(retriever, []).extend(measured)
    return Held(dataset, lines, spec.pairs, spec.twins)


Part = tuple[str, "list[Measured]"]
"""A retriever and some of its measures."""


def _probed(results: Path, spec: specs.EvidenceSpec, dataset: str) -> Iterator[Part]:
    from wellspring.findings import curves

    for grid in (grid for grid in spec.probed if grid.dataset == dataset):
        probes = spec.probes[dataset]
        name = f"dataset {dataset}, retriever {grid.retriever}"
        wanted = pl.col("probe").is_in(curves.needed(probes))
        outcomes, codes = (
            pl.concat(grids.probes(results, grid, kind)).filter(wanted).collect()
            for kind in (ProbeOutcomes, ProbeCodes)
        )
        measured = [*curves.of_probes(outcomes, probes, name)]
        if not codes.is_empty():
            measured += curves.of_codes(codes, probes, name)
        yield grid.retriever, measured


def _searched(results: Path, spec: specs.EvidenceSpec, dataset: str) -> Iterator[Part]:
    from wellspring.findings import curves
    from wellspring.retrieval.run import chosen

    for grid in (grid for grid in spec.searched if grid.dataset == dataset):
        measure = grid.measures[0]
        words, validation = (
            kind.read(kind(dataset).at(results), spec.ranked[dataset])
            for kind in (LexicalMetrics, LexicalValidation)
        )
        scorer = chosen(words, validation, "scorer").name
        path = SearchMetrics(grid.retriever, dataset).at(results)
        metrics = SearchMetrics.read(path, grid.search).filter(measure=measure)
        floor = words.filter(measure=measure, scorer=scorer)
        yield grid.retriever, [curves.of_retrieval(metrics, floor, scorer)]


def _similar(results: Path, spec: specs.EvidenceSpec, dataset: str) -> Iterator[Part]:
    from wellspring.findings import curves

    for retriever, digests in spec.similarities.items():
        if dataset in digests:
            path = Similarity(spec.study, retriever, dataset).at(results)
            table = Similarity.read(path, digests[dataset])
            yield retriever, [*curves.of_similarity(table)]


def _attributed(results: Path, spec: specs.EvidenceSpec, dataset: str) -> Iterator[Part]:
    from wellspring.findings import curves

    for cell in (cell for cell in spec.grid if cell.dataset == dataset):
        texts = grids.side(results, cell, ActivationTexts, cell.activations)
        concentration = texts.filter(measure=curves.CONCENTRATION).collect()
        ablated = grids.side(results, cell, Ablations, cell.ablations).collect()
        whose = (cell.attribution, cell.side)
        yield (
            cell.retriever,
            [
                *curves.of_texts(concentration, *whose),
                *curves.of_ablations(ablated, *whose),
            ],
        )


def _removed(results: Path, spec: specs.EvidenceSpec, dataset: str) -> Iterator[Part]:
    from wellspring.findings import curves

    for cell in (cell for cell in spec.removed if cell.dataset == dataset):
        table = Removals.read(Removals(cell.encoder, dataset, cell.side).at(results), cell.removals)
        yield cell.retriever, [*curves.of_removals(table, cell.side)]
