"""decentralisation: what a study's attributions say, in tidy tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from wellspring import specs
from wellspring.artefacts import grids
from wellspring.artefacts.attributions import Ablations, ActivationTexts
from wellspring.artefacts.findings import Agreement, Decentralisation
from wellspring.cli.step import Job, gathering, step
from wellspring.plurals import counted


@step(Decentralisation, "table")
@gathering
def decentralisation(job: Job, table: Path, results: Path) -> None:
    """Gather what a study's activations, ablations and agreements say into TABLE."""
    from wellspring.findings.decentralisation import build, gathered

    spec = job.spec
    encoders: dict[str, dict[str, str]] = {}
    for cell in spec.grid:
        encoders.setdefault(cell.retriever, {})[cell.side] = cell.encoder
    agreed = list(_agreements(results, spec))
    tables = []
    for group, cells in grids.groups(spec.grid).items():
        texts, ablated = {}, {}
        for cell in cells:
            texts[cell.encoder] = grids.side(results, cell, ActivationTexts, cell.activations)
            of_sides = grids.side(results, cell, Ablations, cell.ablations)
            # Those of single layers stand in the table of evidence.
            ablated[cell.encoder] = of_sides.filter(pl.col("layer").is_null())
        own = dict(zip(("attribution", "dataset", "side"), group, strict=True))
        # A group at a time: a filter on what a file is would open every file.
        part = build(
            pl.concat(texts.values()),
            pl.concat(ablated.values()),
            pl.concat(agreed).filter(**own) if agreed else None,
            encoders,
            spec.pairs,
            spec.depths,
        )
        tables.append(part)
        counts = counted(len(texts), "encoder"), counted(len(part), "finding")
        job.say(f"{', '.join(group)}: {', '.join(counts)}")
    Decentralisation.write(table, gathered(tables), job.provenance("numpy", "polars"))


def _agreements(results: Path, spec: specs.DecentralisationSpec) -> Iterator[pl.LazyFrame]:
    for retriever, datasets in spec.agreement.items():
        for dataset, digest in datasets.items():
            artefact = Agreement(spec.study, retriever, dataset)
            Agreement.check(artefact.at(results), digest)
            yield grids.located(artefact, results, "study")
