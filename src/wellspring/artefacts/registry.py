"""All kinds of result files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import PurePath

from wellspring.artefacts import (
    attributions,
    datasets,
    dimensions,
    embeddings,
    evidence,
    figures,
    findings,
    indexes,
    models,
    page,
    probes,
    retrieval,
    scaling,
    tables,
    training,
    verdicts,
)
from wellspring.artefacts.base import Artefact

MODULES = (
    datasets,
    models,
    embeddings,
    training,
    probes,
    retrieval,
    indexes,
    attributions,
    findings,
    tables,
    scaling,
    verdicts,
    evidence,
    figures,
    dimensions,
    page,
)


@cache
def kinds() -> Sequence[type[Artefact]]:
    """Every kind, in the order of the modules."""
    return [
        kind
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Artefact)
        and kind.__module__ == module.__name__
        and "rule" in dir(kind)
        and "template" in dir(kind)
    ]


def find(path: str) -> Artefact | None:
    """The artefact at a path that begins with results/, if it is one."""
    return next((artefact for kind in kinds() if (artefact := kind.find(path)) is not None), None)


def owner(path: PurePath) -> Artefact | None:
    """The artefact that a file below results/ belongs to, by any of its names."""
    for suffix in dict.fromkeys((path.suffix, ".parquet", ".png")):
        if not path.suffix:
            break
        artefact = find(str(path.with_suffix(suffix)))
        if artefact is not None and str(path) in artefact.whole:
            return artefact
    return None


@cache
def kinds_of(rule: str) -> list[type[Artefact]]:
    """The kinds that a rule makes; the first one is what other steps ask for."""
    return [kind for kind in kinds() if kind.rule == rule]


def beside(artefact: Artefact) -> Iterable[Artefact]:
    """The artefact and the others that the same job makes."""
    return [kind(**vars(artefact)) for kind in kinds_of(artefact.rule)]
