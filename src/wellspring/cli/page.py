"""page: what a study found, as one HTML file."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wellspring import shards, specs
from wellspring.artefacts import curves, reference, shown
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Samples
from wellspring.artefacts.findings import Findings
from wellspring.artefacts.models import Model, TrainedModel
from wellspring.artefacts.page import Page, builders
from wellspring.artefacts.reading import read_samples, read_texts
from wellspring.artefacts.verdicts import Cautions, Claims, Ledger
from wellspring.cli.step import FILE, Job, gathering, step

if TYPE_CHECKING:
    from wellspring.page.choices import Cell
    from wellspring.page.panels import Panel, Settings, Tables
    from wellspring.page.shell import Origin
    from wellspring.page.shell import Page as Content
    from wellspring.page.texts import Examples


@step(Page, "page")
@gathering
@click.option("--published", type=FILE, help="The published curves.")
@click.option("--configfile", multiple=True, help="Of the study, for the commands on the page.")
def page(
    job: Job, page: Path, results: Path, published: Path | None, configfile: tuple[str, ...]
) -> None:
    """Tell what a study found in PAGE, one HTML file with charts."""
    from wellspring.page.shell import render

    content = _content(results, job.spec, published, configfile)
    provenance = job.provenance("altair", "polars").encode().decode()
    html = render(content, provenance, _bundle() if content.panels else "")
    job.counts({"panels": len(content.panels), "bytes": len(html.encode())})
    shards.write_text(page, html)


def _bundle() -> str:
    """The JavaScript that draws charts: Vega, Vega-Lite and Vega-Embed."""
    import vl_convert
    from altair.vegalite import SCHEMA_VERSION

    version = "_".join(SCHEMA_VERSION.split(".")[:2])
    # Its stub asks for a snippet; without one, the bundle defines `vegaEmbed`.
    return vl_convert.javascript_bundle(vl_version=version)  # pyright: ignore[reportCallIssue]


def _content(
    results: Path, spec: specs.PageSpec, published: Path | None, configfile: tuple[str, ...]
) -> Content:
    """All that stands on the page."""
    from wellspring.page import answer, choices, ledger, searching, studied, summary
    from wellspring.page.shell import Page as Content

    study = spec.study
    files = list(dict.fromkeys([*shown.artefacts(spec.shown), *_always(study)]))
    tables = shown.tables(results, files)
    settings = _settings(spec, files, configfile)
    if spec.curves and published:
        from wellspring.findings.published import named

        tables["curves"] = named(curves.read(published), spec.curves)
    main = choices.compared(spec)
    cells, sides = choices.cells(spec), choices.sides(spec)
    told = [part(tables, settings) for part in (answer.probed, searching.groups)]
    return Content(
        study=study,
        question=answer.question(main),
        lede=answer.lede(main, spec.pairs, list(spec.datasets)),
        groups=[group for groups, _ in told for group in groups],
        untold=" ".join(filter(None, (untold for _, untold in told))),
        claims=answer.claims(tables, settings),
        untestable=answer.untestable(tables, settings),
        ledger=ledger.build(tables, settings),
        cautions=answer.cautions(tables, settings),
        studied=[
            *studied.build(
                spec,
                _models(results, spec),
                _trained(results, spec),
                _facts(results, spec),
                tables,
                settings,
            ),
            studied.cost(shown.costs(results, study)),
        ],
        summary=summary.build(tables, settings),
        panels=_panels(tables, settings),
        examples=[
            *_samples(results, spec, cells[: choices.PLACES], settings),
            *_neurons(results, sides[: choices.PLACES], settings),
        ],
        without_texts=choices.without_texts(cells, sides),
        origins=_origins(files, settings),
    )


def _always(study: str) -> list[Artefact]:
    """The tables that the page reads whatever panels there are."""
    return [Findings(study), Claims(study), Ledger(study), Cautions(study)]


def _settings(spec: specs.PageSpec, files: list[Artefact], configfile: tuple[str, ...]) -> Settings:
    from wellspring.page.panels import Settings

    begin = "snakemake --cores all"
    if configfile:
        begin += f" --configfile {shlex.join(configfile)}"
    return Settings(
        study=spec.study,
        probe=spec.probe,
        pairs=spec.pairs,
        twins=spec.twins,
        encoders={name: {**sides} for name, sides in spec.retrievers.items()},
        depths={name: _depth(spec, name) for name in spec.retrievers},
        activity=spec.activity.model_dump() if spec.activity else {},
        files=shown.listed(files),
        begin=begin,
    )


def _depth(spec: specs.PageSpec, retriever: str) -> int:
    """Blocks of a retriever's (query) model."""
    encoder = spec.encoders[spec.retrievers[retriever]["query"]]
    return spec.models[encoder["query"].model].layers


def _panels(tables: Tables, settings: Settings) -> list[Panel]:
    modules = (importlib.import_module(f"wellspring.{name}") for name in builders())
    return [panel for module in modules for panel in module.build(tables, settings)]


def _models(results: Path, spec: specs.PageSpec) -> dict[str, dict]:
    paths = {name: Model(name).at(results) for name in spec.models}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def _trained(results: Path, spec: specs.PageSpec) -> dict[str, dict]:
    """The facts of each model that the study trained."""
    paths = {n: TrainedModel(n).at(results) for n, each in spec.models.items() if each.recipe}
    return {name: json.loads(path.read_bytes())["facts"] for name, path in paths.items()}


def _facts(results: Path, spec: specs.PageSpec) -> dict[str, dict]:
    return {name: dict(Samples.check(Samples(name).at(results)).facts) for name in spec.datasets}


def _origins(files: list[Artefact], settings: Settings) -> list[Origin]:
    """The kinds of files that the page was made from, with the command that makes one again."""
    from wellspring.page.panels import Source
    from wellspring.page.shell import Origin

    meanings = {shown.named(type(each)): reference.summary(type(each)) for each in files}
    return [
        Origin(Source(paths[0], (), settings.command(paths[0])), meanings[name], len(paths) - 1)
        for name, paths in settings.files.items()
    ]


def _samples(
    results: Path, spec: specs.PageSpec, cells: Sequence[Cell], settings: Settings
) -> Iterator[Examples]:
    """Won and hard samples of each cell."""
    from wellspring.page import texts
    from wellspring.page.panels import Source

    for cell in cells:
        retriever, dataset = cell.own.retriever, cell.own.dataset
        artefact, own = shown.outcomes(results, cell.own, cell.layer, cell.passages)
        file = artefact.main_file.removeprefix("results/")
        sources = [Source(file, ("probe", "seed", "sample_id", "correct"), settings.command(file))]
        theirs = None
        if cell.other:
            artefact, theirs = shown.outcomes(results, cell.other, cell.layer, cell.passages)
            file = artefact.main_file.removeprefix("results/")
            sources.append(Source(file, ("correct",), settings.command(file)))
        names = retriever, spec.pairs.get(retriever)
        told = texts.Outcomes(dataset, names, str(cell), cell.passages, own, theirs)
        chosen = read_samples(results, dataset, texts.wanted(told, spec.probe))
        ids = {
            "query": {*chosen["query_id"]},
            "passage": {*chosen["positive_id"], *chosen["negative_ids"].explode()},
        }
        by_id = {
            (side, each): text
            for side, own_ids in ids.items()
            for each, text in read_texts(results, dataset, side, own_ids).items()
        }
        yield from texts.of_samples(told, spec.probe, chosen, by_id, tuple(sources))


def _neurons(
    results: Path, sides: Sequence[specs.StudiedSide], settings: Settings
) -> Iterator[Examples]:
    """The texts that light the neurons which most often have a text's largest score."""
    from wellspring.page import texts
    from wellspring.page.panels import Source

    for side in sides:
        artefact, neurons = shown.top_neurons(results, side)
        lit = []
        for row in texts.top(neurons):
            neuron = (row["layer"], row["sublayer"], row["neuron"])
            scores = shown.scores_of_neuron(results, side, *neuron)
            lit.append(texts.Lit(*neuron, row["texts"], row["of"], scores))
        named = {each for one in lit for each in one.scores}
        of_side = read_texts(results, side.dataset, side.side, named)
        file = artefact.main_file.removeprefix("results/")
        columns = ("scope", "layer", "sublayer", "neuron", "texts", "of")
        source = Source(file, columns, settings.command(file))
        where = f"{side.retriever}, {side.side} side of {side.dataset}, {side.attribution}"
        shown_texts = texts.of_neurons(where, lit, of_side, (source,))
        if shown_texts:
            yield shown_texts
