"""The files that a study ends with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Qrels
from wellspring.artefacts.figures import Controls, Drawing, Fidelity, Figure, HeatMap
from wellspring.artefacts.findings import Decentralisation, Findings, Published
from wellspring.artefacts.verdicts import Cautions, Claims
from wellspring.config import Config
from wellspring.config.vocabulary import Side


def ends(config: Config) -> list[Artefact]:
    """The tables and figures of a study, and the judgements of its datasets."""
    return [
        *_tables(config),
        *_figures_of_probes(config),
        *_figures_of_attributions(config),
        *(Qrels(dataset) for dataset in config.datasets_used()),
    ]


def _tables(config: Config) -> Iterator[Artefact]:
    name = config.study.name
    yield from (Findings(name), Claims(name), Cautions(name))
    if config.study.published:
        yield Published(name)
    if config.attributed():
        yield Decentralisation(name)


def _figures_of_probes(config: Config) -> Iterator[Artefact]:
    """A counterpart stands in the figure of the retriever that is set against it."""
    study = config.study.name
    for dataset in config.probed_datasets():
        pairs = config.pairs(dataset)
        counterparts = _counterparts(config, pairs)
        for group in config.groups(dataset) or [None]:
            yield Figure(study, dataset, f"layer-accuracy.{group}" if group else "layer-accuracy")
        for retriever in config.probed_retrievers(dataset):
            if not config.is_further_draw(retriever) and retriever not in counterparts:
                yield Controls(study, dataset, retriever)
        if pairs:
            yield Figure(study, dataset, "similarity")


def _figures_of_attributions(config: Config) -> Iterator[Artefact]:
    """A counterpart stands in those of the retriever that is set against it, and so do further
    draws of a twin; those of a change need a counterpart."""
    study, pairs = config.study.name, config.attributed_pairs()
    counterparts = _counterparts(config, pairs)
    shown = [
        grid
        for grid in config.attributed()
        if not config.is_further_draw(grid.retriever)
        and (grid.retriever not in counterparts or grid.retriever in pairs)
    ]
    for grid in shown:
        given = (study, grid.dataset, grid.attribution, grid.retriever)
        if grid.retriever in pairs:
            for kind in ("heat", "change"):
                yield from (HeatMap(*given, kind, side) for side in get_args(Side))
            yield Drawing(*given, "sweep")
        yield Drawing(*given, "concentration")
        yield Drawing(*given, "sanity-checks")
    for retriever, dataset in dict.fromkeys((g.retriever, g.dataset) for g in shown):
        if config.removing(config.retrievers[retriever].query, dataset):
            yield Fidelity(study, dataset, retriever)


def _counterparts(config: Config, pairs: Mapping[str, str]) -> set[str]:
    """The retrievers that stand in another one's figures. Further draws of a twin have none."""
    return {other for name, other in pairs.items() if not config.is_further_draw(name)}
