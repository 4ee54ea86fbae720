"""The slice of the table of evidence: what a study holds of each retriever, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import get_args

from wellspring.config import Config
from wellspring.config.vocabulary import Side
from wellspring.specs.attributions import remove
from wellspring.specs.base import Spec
from wellspring.specs.decentralisation import AttributedSide, attributed
from wellspring.specs.findings import ProbedGrid, findings, probed
from wellspring.specs.retrieval import SearchedGrid, retrieval

UNTRAINED = "cosine"
"""The probe that ranks as a search does."""


class RemovedSide(Spec):
    """The removals of one side of a retriever, by digest."""

    dataset: str
    retriever: str
    side: Side
    encoder: str
    removals: str


class EvidenceSpec(Spec):
    """What of a study stands in its table of evidence."""

    study: str
    seed: int
    datasets: list[str]
    pairs: dict[str, str]
    twins: dict[str, str]
    """Retriever to the random twin behind its counterpart."""
    probes: dict[str, list[str]]
    """Dataset to the probes whose accuracies and code lengths are compared."""
    probed: list[ProbedGrid]
    """At the largest number of passages."""
    grid: list[AttributedSide]
    removed: list[RemovedSide]
    similarities: dict[str, dict[str, str]]
    """Retriever and dataset to the digest of the similarity with the counterpart."""
    searched: list[SearchedGrid]
    """With the first measure alone, which chooses the best lexical scorer."""
    ranked: dict[str, str]
    """Dataset to the digest of the slice of its lexical rankings."""


def evidence(config: Config) -> EvidenceSpec:
    """The slice that the table of evidence depends on. Further draws of a twin stand nowhere."""
    searches = retrieval(config)
    pairs = _first(config, {**config.pairs(), **config.attributed_pairs(), **searches.pairs})
    similarities = _first(config, findings(config).similarities)
    twins = {name: _twin(config, pairs, name) for name in pairs}
    return EvidenceSpec(
        study=config.study.name,
        seed=config.study.findings.seed,
        datasets=config.datasets_used(),
        pairs=pairs,
        twins={name: twin for name, twin in twins.items() if twin},
        probes={dataset: _probes(config, dataset) for dataset in config.probed_datasets()},
        probed=[
            grid.model_copy(update={"passages": grid.passages[-1:]})
            for grid in probed(config)
            if not config.is_further_draw(grid.retriever)
        ],
        grid=[s for s in attributed(config) if not config.is_further_draw(s.retriever)],
        removed=removed(config),
        similarities=similarities,
        searched=[
            # Layers alone are set beside each other.
            grid.model_copy(update={"measures": grid.measures[:1], "match": None})
            for grid in searches.searched
            if not config.is_further_draw(grid.retriever)
        ],
        ranked=searches.ranked,
    )


def removed(config: Config) -> list[RemovedSide]:
    """Every side of every retriever whose neurons are removed."""
    names = dict.fromkeys((grid.retriever, grid.dataset) for grid in config.attributed())
    return [
        RemovedSide(
            dataset=dataset,
            retriever=retriever,
            side=side,
            encoder=encoder,
            removals=remove(config, encoder, dataset, side).digest,
        )
        for (retriever, dataset), side in product(names, get_args(Side))
        if not config.is_further_draw(retriever)
        and config.removing(encoder := config.retrievers[retriever].encoders[side], dataset)
    ]


def evidenced(config: Config) -> list[tuple[str, str]]:
    """Each retriever and dataset with two kinds of evidence or more. A study without any has
    nothing to set beside each other, and so no table of evidence."""
    spec = evidence(config)
    kinds: dict[tuple[str, str], set[str]] = {}

    def add(kind: str, places: Sequence[tuple[str, str]]) -> None:
        for place in places:
            kinds.setdefault(place, set()).add(kind)

    places = [(grid.retriever, grid.dataset) for grid in spec.probed]
    add("accuracy", places)
    add("code", [place for place in places if config.probing(*place).block.portions])
    add("similarity", [(r, dataset) for r, by in spec.similarities.items() for dataset in by])
    add("attribution", [(side.retriever, side.dataset) for side in spec.grid])
    add("removal", [(side.retriever, side.dataset) for side in spec.removed])
    add("retrieval", [(grid.retriever, grid.dataset) for grid in spec.searched])
    return [place for place, held in kinds.items() if len(held) > 1]


def _probes(config: Config, dataset: str) -> list[str]:
    """Those that figures show, and the untrained one where it is probed."""
    blocks = [block for block in config.study.probe if dataset in block.datasets]
    untrained = [UNTRAINED] if any(UNTRAINED in block.kinds for block in blocks) else []
    return list(dict.fromkeys([*config.drawn_probes(dataset), *untrained]))


def _twin(config: Config, pairs: dict[str, str], retriever: str) -> str | None:
    """The first retriever with fresh weights behind the counterpart of one."""
    behind = pairs.get(retriever)
    while behind in pairs and not config.is_fresh(behind):
        behind = pairs[behind]
    if behind is None or behind == pairs[retriever] or not config.is_fresh(behind):
        return None
    return behind


def _first(config: Config, of_retrievers: dict) -> dict:
    return {n: each for n, each in of_retrievers.items() if not config.is_further_draw(n)}
