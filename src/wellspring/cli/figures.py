"""figure, controls, heatmap, drawing, fidelity, dimension, ladder, chart: pictures for print and
for reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl

from wellspring import shards
from wellspring.artefacts import curves
from wellspring.artefacts.attributions import ActivationCounts
from wellspring.artefacts.dimensions import Dimension, Dimensions
from wellspring.artefacts.evidence import Evidence, EvidenceCorrelations
from wellspring.artefacts.figures import (
    Chart,
    Controls,
    Drawing,
    Fidelity,
    Figure,
    HeatMap,
    Ladder,
)
from wellspring.artefacts.findings import Decentralisation, Findings
from wellspring.artefacts.scaling import Ladders, Scaling
from wellspring.artefacts.verdicts import Cautions
from wellspring.atomic import replacing
from wellspring.cli.step import FILE, Job, step

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

    from wellspring.specs import DrawingSpec, FidelitySpec


@step(Figure, "findings", "cautions", "pdf", "png")
@click.option("--published", type=FILE, help="Published curves (CSV) to draw beside the accuracy.")
def figure(
    job: Job, findings: Path, cautions: Path, pdf: Path, png: Path, published: Path | None
) -> None:
    """Draw accuracy, similarity or retrieval over layers, or indexes, from FINDINGS into PDF and
    PNG."""
    from wellspring.figures.accuracy import layer_accuracy
    from wellspring.figures.cautions import sentences
    from wellspring.figures.indexes import indexes
    from wellspring.figures.retrieval import layer_retrieval
    from wellspring.figures.similarity import similarity
    from wellspring.findings.published import named

    spec = job.spec
    table = Figure.table(spec.figure).read(findings)
    lines = sentences(Cautions.read(cautions), spec.dataset, spec.retrievers)
    if spec.figure == "layer-retrieval":
        drawn = layer_retrieval(table, spec.dataset, spec.twins, lines)
    elif spec.figure == "indexes":
        drawn = indexes(table, spec.dataset, spec.twins, lines)
    elif spec.figure == "similarity":
        drawn = similarity(table, spec.dataset, spec.twins, lines)
    else:
        beside = None
        if spec.curves is not None and published is not None:
            beside = named(curves.read(published), spec.curves)
        given = (table, spec.dataset, spec.probes, spec.retrievers, beside)
        drawn = layer_accuracy(*given, spec.twins, lines)
    _save(job, drawn, pdf, png)


@step(Controls, "findings", "cautions", "pdf", "png")
def controls(job: Job, findings: Path, cautions: Path, pdf: Path, png: Path) -> None:
    """Draw a retriever's published probe against its controls into PDF and PNG."""
    from wellspring.figures import controls as figures
    from wellspring.figures.cautions import sentences

    spec = job.spec
    lines = sentences(Cautions.read(cautions), spec.dataset, [spec.retriever])
    table = Findings.read(findings)
    drawn = figures.controls(table, spec.dataset, spec.retriever, spec.twins, lines)
    _save(job, drawn, pdf, png)


@step(HeatMap, "counts", "counterpart", "cautions", "pdf", "png")
def heatmap(
    job: Job, counts: Path, counterpart: Path, cautions: Path, pdf: Path, png: Path
) -> None:
    """Draw the active neurons COUNTS beside those of the COUNTERPART, or the change between them,
    into PDF and PNG."""
    from wellspring.figures import heatmaps
    from wellspring.figures.cautions import sentences
    from wellspring.figures.tables import of_attribution

    spec = job.spec
    setting = spec.setting.model_dump()

    def table(path: Path) -> pl.DataFrame:
        ActivationCounts.check(path)
        # One setting of many is drawn; of a missing one the error names those that are held.
        every = pl.scan_parquet(shards.sound(path))
        some = every.filter(**setting).collect()
        return every.collect() if some.is_empty() else some

    both = table(counts), table(counterpart)
    texts = pl.concat(
        each.select("texts", side=pl.lit(spec.side), retriever=pl.lit(name))
        for each, name in zip(both, spec.names, strict=True)
    )
    others = dict([spec.names])
    small = [of_attribution(texts, spec.dataset, spec.names, others, spec.attribution)]
    small += sentences(
        Cautions.read(cautions), spec.dataset, spec.names, [spec.attribution], spec.side
    )
    draw = heatmaps.heat_maps if spec.map == "heat" else heatmaps.change_map
    options = {**setting, "bins": spec.bins, "statistic": spec.statistic, "small": small}
    _save(job, draw(*both, spec.names, **options), pdf, png)


@step(Drawing, "findings", "cautions", "pdf", "png")
def drawing(job: Job, findings: Path, cautions: Path, pdf: Path, png: Path) -> None:
    """Draw the attributions of a retriever from the table FINDINGS into PDF and PNG."""
    from wellspring.figures import attributions
    from wellspring.figures.sanity_checks import sanity_checks

    spec = job.spec
    table = Decentralisation.read(findings)
    draws = spec.twins.get(spec.retriever, [])
    lines = _cautions(cautions, table, spec, [spec.attribution], draws)
    whose = (table, spec.dataset, spec.attribution, spec.retriever)
    if spec.drawing == "sanity-checks":
        drawn = sanity_checks(*whose, lines)
    else:
        draw = attributions.sweep if spec.drawing == "sweep" else attributions.concentration
        drawn = draw(*whose, **spec.setting.model_dump(), twins=spec.twins, cautions=lines)
    _save(job, drawn, pdf, png)


@step(Fidelity, "findings", "cautions", "pdf", "png")
def fidelity(job: Job, findings: Path, cautions: Path, pdf: Path, png: Path) -> None:
    """Draw which attributions predict removal from the table FINDINGS into PDF and PNG."""
    from wellspring.figures.fidelity import fidelity

    spec = job.spec
    table = Decentralisation.read(findings)
    lines = _cautions(cautions, table, spec, None)
    _save(job, fidelity(table, spec.dataset, spec.retriever, lines), pdf, png)


@step(Dimension, "findings", "pdf", "png")
def dimension(job: Job, findings: Path, pdf: Path, png: Path) -> None:
    """Draw one dimension of the table FINDINGS into PDF and PNG."""
    from wellspring.figures import dimensions as figures

    table = Dimensions.read(findings)
    _save(job, figures.dimension(table, job.spec.dimension, job.spec.measure), pdf, png)


@step(Ladder, "findings", "ladders", "pdf", "png")
def ladder(job: Job, findings: Path, ladders: Path, pdf: Path, png: Path) -> None:
    """Draw LADDERS of models with the slopes of the table FINDINGS into PDF and PNG."""
    from wellspring.figures import ladders as figures

    spec = job.spec
    points, scaling = Ladders.read(ladders), Scaling.read(findings)
    if spec.dataset is None:
        drawn = figures.stages(points, scaling, spec.measure, spec.alpha)
    else:
        drawn = figures.growth(points, scaling, spec.dataset, spec.measure, spec.alpha)
    _save(job, drawn, pdf, png)


@step(Chart, "findings", "cautions", "pdf", "png")
def chart(job: Job, findings: Path, cautions: Path, pdf: Path, png: Path) -> None:
    """Draw all evidence about a retriever's layers, or what of it predicts what, from the table
    FINDINGS into PDF and PNG."""
    from wellspring.figures import evidence
    from wellspring.figures.cautions import sentences

    spec = job.spec
    lines = sentences(Cautions.read(cautions), spec.dataset, [spec.retriever])
    whose = (spec.dataset, spec.retriever, lines)
    if spec.chart == "evidence":
        drawn = evidence.over_layers(Evidence.read(findings), *whose)
    else:
        drawn = evidence.correlations(EvidenceCorrelations.read(findings), *whose)
    _save(job, drawn, pdf, png)


def _cautions(
    path: Path,
    table: pl.DataFrame,
    spec: DrawingSpec | FidelitySpec,
    attributions: list[str] | None,
    draws: Sequence[str] = (),
) -> list[str]:
    """The cautions on a retriever's attributions, on its counterpart's and on those of draws."""
    from wellspring.figures.cautions import sentences

    beside = table.filter(retriever=spec.retriever)["compared_with"].drop_nulls().unique()
    names = [spec.retriever, *beside, *draws]
    return sentences(Cautions.read(path), spec.dataset, names, attributions)


def _save(job: Job, drawn: Drawn, pdf: Path, png: Path) -> None:
    from wellspring.figures import style

    metadata = {shards.KEY.decode(): job.provenance("matplotlib").encode().decode()}
    with replacing(pdf) as pdf_part, replacing(png) as png_part:
        style.save(drawn, pdf_part, png_part, metadata)
