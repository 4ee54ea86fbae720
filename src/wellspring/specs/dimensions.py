"""Which retrievers differ in one choice alone, and which datasets they learned from.

Nobody names families: they follow from the entries. Retrievers are of one family where all that
makes their vectors is the same once a choice is left out of it: the length of passages, what
queries are written with, the share of a run, the fraction or the datasets of its recipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from wellspring.config import Config, SearchGrid
from wellspring.config.learning import domain, rank, same_collection, stage, written
from wellspring.config.vocabulary import Domain
from wellspring.specs import natures
from wellspring.specs.base import Spec
from wellspring.specs.natures import Member, Variation, families
from wellspring.specs.retrieval import match, search

EFFICIENCY, LENGTHS, INSTRUCTIONS, TASKS = DIMENSIONS = (
    "data-efficiency",
    "lengths",
    "instructions",
    "multi-task",
)
DOMAINS = "domains"
"""The figure of the others: what was learned from, and what not."""
Searched = Sequence[tuple[str, str]]
"""Retrievers and the datasets that they are searched on."""


class PlaceSpec(Spec):
    """Where a retriever stands on a dataset in one dimension: see `wellspring.findings`."""

    dimension: str
    family: str
    axis: str
    setting: str
    x: float | None = None
    retriever: str
    dataset: str
    reference: str
    stage: str


class RunSpec(Spec):
    """A training run, as far as a retriever's weights come from it."""

    model: str
    share: float


class SearchedSpec(Spec):
    """What is read of a retriever's search of a dataset."""

    retriever: str
    dataset: str
    layer: int | None
    """The last one that was searched; null where it is searched by terms."""
    search: str
    """The digest of its slice."""


class DimensionsSpec(Spec):
    """Every setting of every family, and the rules by which they are judged."""

    study: str
    alpha: float
    margin: float
    permutations: int
    seed: int
    places: list[PlaceSpec]
    runs: dict[str, list[RunSpec]]
    """Retriever to the runs that its last training was; none where it had none. What a family's
    training started from (x = 0) has spent nothing in that family, whatever it was trained as."""
    searched: list[SearchedSpec]


class DimensionSpec(Spec):
    """What is drawn: a dimension, by one measure."""

    dimension: str
    measure: str


def places(config: Config, searched: Searched | None = None) -> list[PlaceSpec]:
    """Where every retriever stands in the dimensions in which the study sets it against another.

    searched: what is searched, each once; what the study searches where left out. Further draws of
    random twins stand nowhere.
    """
    if searched is None:
        searched = [(grid.retriever, grid.dataset) for grid in config.searched()]
    searched = [pair for pair in searched if not config.is_further_draw(pair[0])]
    found = [
        *_of_domains(config, searched),
        *_of_data(config, searched),
        *_of_lengths(config, searched),
        *_of_instructions(config, searched),
        *_of_tasks(config, searched),
    ]
    families: dict[tuple[str, str], list[PlaceSpec]] = {}
    for place in found:
        families.setdefault((place.dimension, place.family), []).append(place)
    return [place for family in families.values() for place in family]


def _of_domains(config: Config, searched: Searched) -> Iterator[PlaceSpec]:
    """Each retriever against what it is compared with, on what it learned from and elsewhere."""
    for dimension in get_args(Domain):
        for retriever, dataset in searched:
            if domain(config, retriever, dataset) != dimension:
                continue
            other = config.retrievers[retriever].compared_with or retriever
            reference = other if (other, dataset) in searched else retriever
            for name in dict.fromkeys([reference, retriever]):
                yield PlaceSpec(
                    dimension=dimension,
                    family=retriever,
                    axis="retriever",
                    setting=name,
                    retriever=name,
                    dataset=dataset,
                    reference=reference,
                    stage=stage(config, name),
                )


def _numbered(
    config: Config, searched: Searched, variation: Variation, members: Sequence[Member]
) -> Iterator[PlaceSpec]:
    """A family whose values are numbers: its reference is the largest that was searched."""
    members = sorted(members, key=lambda member: member.value)
    for dataset in _datasets(searched, members):
        there = [member for member in members if (member.retriever, dataset) in searched]
        for retriever, value in there if len(there) > 1 else ():
            yield PlaceSpec(
                dimension=variation.dimension,
                family=f"{members[-1].retriever}: {variation.axis}",
                axis=variation.axis,
                setting=f"{value:g}",
                x=value,
                retriever=retriever,
                dataset=dataset,
                reference=there[-1].retriever,
                stage=stage(config, retriever),
            )


def _of_data(config: Config, searched: Searched) -> Iterator[PlaceSpec]:
    """Checkpoints of one run, and runs on fractions of the same data; both begin with what was
    there before."""
    names = _retrievers(searched)
    known = {natures.canonical(natures.nature(config, name)): name for name in reversed(names)}
    for variation in (
        Variation(EFFICIENCY, "share of the run", natures.share),
        Variation(EFFICIENCY, "fraction of the training queries", natures.fraction),
    ):
        for members in families(config, names, variation):
            before = natures.before(natures.nature(config, members[0].retriever))
            start = known.get(natures.canonical(before))
            first = [Member(start, 0.0)] if start else []
            yield from _numbered(config, searched, variation, [*first, *members])


def _of_lengths(config: Config, searched: Searched) -> Iterator[PlaceSpec]:
    for variation in (
        Variation(LENGTHS, "passage length", natures.passage_length),
        Variation(LENGTHS, "query length", natures.query_length),
    ):
        for members in families(config, _retrievers(searched), variation):
            yield from _numbered(config, searched, variation, members)


def _of_instructions(config: Config, searched: Searched) -> Iterator[PlaceSpec]:
    """What queries are written with, of encoders and of recipes; the reference has none."""
    variation = Variation(INSTRUCTIONS, "instruction", natures.instruction)
    for members in families(config, _retrievers(searched), variation):
        ranked = sorted(members, key=lambda member: rank(config, member.retriever))
        for dataset in _datasets(searched, ranked):
            there = [name for name, _ in ranked if (name, dataset) in searched]
            for retriever in there if len(there) > 1 else ():
                yield PlaceSpec(
                    dimension=INSTRUCTIONS,
                    family=f"{ranked[0].retriever}: {variation.axis}",
                    axis=variation.axis,
                    setting=written(config, retriever),
                    retriever=retriever,
                    dataset=dataset,
                    reference=there[0],
                    stage=stage(config, retriever),
                )


def _of_tasks(config: Config, searched: Searched) -> Iterator[PlaceSpec]:
    """Models of several datasets against the model of one, on what that one learned from."""
    variation = Variation(TASKS, "training datasets", natures.tasks)
    for members in families(config, _retrievers(searched), variation):
        several = [member for member in members if len(member.value[0]) > 1]
        for dataset in _datasets(searched, members):
            own = [
                member
                for member in members
                if (member.retriever, dataset) in searched
                and any(same_collection(config, dataset, each) for each in member.value[0])
            ]
            alone = [member for member in own if member not in several][:1]
            shared = [member for member in own if member in several]
            for retriever, (datasets, weights, _) in (*alone, *shared) if alone and shared else ():
                yield PlaceSpec(
                    dimension=TASKS,
                    family=f"{several[0].retriever}: {variation.axis}",
                    axis=variation.axis,
                    setting=_joined(datasets, weights),
                    x=len(datasets),
                    retriever=retriever,
                    dataset=dataset,
                    reference=alone[0].retriever,
                    stage=stage(config, retriever),
                )


def _retrievers(searched: Searched) -> list[str]:
    return list(dict.fromkeys(retriever for retriever, _ in searched))


def _datasets(searched: Searched, members: Sequence[Member]) -> list[str]:
    """The datasets that some of the members are searched on."""
    names = {member.retriever for member in members}
    return list(dict.fromkeys(dataset for retriever, dataset in searched if retriever in names))


def _joined(datasets: Sequence[str], weights: Mapping[str, float] | None) -> str:
    """The datasets of a recipe in words, with their weights where they have some."""
    return " + ".join(f"{weights[name]:g} {name}" if weights else name for name in datasets)


def dimensions(config: Config) -> DimensionsSpec:
    """The slice that the table of dimensions depends on."""
    settings, found = config.study.findings, places(config)
    data = {place.retriever for place in found if place.dimension == EFFICIENCY}
    there = {(place.retriever, place.dataset) for place in found}
    return DimensionsSpec(
        study=config.study.name,
        alpha=settings.alpha,
        margin=settings.retrieval_margin,
        permutations=settings.permutations,
        seed=settings.seed,
        places=found,
        runs={name: _runs(config, name) for name in sorted(data)},
        searched=[_searched(config, grid) for grid in config.searched() if grid[:2] in there],
    )


def _searched(config: Config, grid: SearchGrid) -> SearchedSpec:
    by_terms = config.gives_terms(grid.retriever)
    slice_of = match if by_terms else search
    return SearchedSpec(
        retriever=grid.retriever,
        dataset=grid.dataset,
        layer=None if by_terms else grid.layers[-1],
        search=slice_of(config, grid.retriever, grid.dataset).digest,
    )


def drawn_dimensions(config: Config) -> list[str]:
    """The dimensions that have a figure: those in which something is varied, and where retrievers
    learned and where not."""
    held = {place.dimension for place in places(config)}
    varied = [name for name in DIMENSIONS if name in held]
    return [*varied, DOMAINS] if held else []


def dimension(config: Config, name: str) -> DimensionSpec:
    """The slice of a figure: it draws the first measure of the study."""
    return DimensionSpec(dimension=name, measure=config.study.search[0].measures[0])


def _runs(config: Config, retriever: str) -> list[RunSpec]:
    """The runs that a retriever's last training was, each once."""
    encoders = config.retrievers[retriever].encoders.values()
    models = dict.fromkeys(config.encoders[encoder].model for encoder in encoders)
    entries = {name: config.models[name] for name in models}
    return [
        RunSpec(
            model=entry.reference if entry.scheme == "checkpoint" else name,
            share=entry.share or 1.0,
        )
        for name, entry in entries.items()
        if entry.scheme in ("train", "checkpoint")
    ]
