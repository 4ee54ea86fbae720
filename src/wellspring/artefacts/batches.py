"""Files of a kind that one job makes, because starting a process a file would take longer.

Batches of the same values share a rule. They are alike in all that the slice of the configuration,
the science and the inputs depend on.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wellspring.artefacts import provenance
from wellspring.artefacts.base import WILDCARDS, Artefact
from wellspring.artefacts.plan import Plan
from wellspring.artefacts.registry import kinds, kinds_of
from wellspring.config import Config


@dataclass(frozen=True)
class Batch:
    """What one rule makes: for every job the same values of the field that it is batched by."""

    plan: Plan
    kind: type[Artefact]
    name: str
    """Of the rule."""
    values: Sequence[int]
    leads: Sequence[Sequence[str]]
    """The first fields of the paths that have these values."""

    def outputs(self) -> Mapping[str, str]:
        """Name to path with wildcards, the kinds of a value beside each other."""
        return {
            f"{kind.__name__}_{value}": kind.path(value)
            for value in self.values
            for kind in kinds_of(self.kind.rule)
        }

    def log(self) -> str:
        """The log of a job, with the same wildcards."""
        values = "-".join(f"{value:02d}" for value in sorted({min(self.values), max(self.values)}))
        parts = self.kind.log().split("/")
        field = f"{{{self.kind.batched_by}}}"
        return "/".join(part.replace(field, values) for part in parts)

    def constraints(self) -> Mapping[str, str]:
        """Of the first wildcard: that these leads follow each other, so that no two rules fit."""
        first = fields(self.kind)[0].name
        leads = "|".join("/".join(lead).replace(".", r"\.") for lead in self.leads)
        return {first: f"(?=(?:{leads})/){WILDCARDS[first]}"}

    def of(self, wildcards: Any) -> Artefact:
        """A job's first file."""
        return self.kind.of(wildcards, self.values[0])

    def options(self, wildcards: Any) -> str:
        """The command's files, and for each its value and its key."""
        paths, options = [], []
        for value in self.values:
            artefact = self.kind.of(wildcards, value)
            paths.append(artefact.main_file)
            options += [f"--{self.kind.batched_by}", str(value), "--key", self.plan.key(artefact)]
        return shlex.join([*paths, *options])


def batches(plan: Plan, kind: type[Artefact]) -> Iterator[Batch]:
    """A kind's batches, one for all leads that have the same values: the first has the rule's own
    name, further ones a number behind it."""
    leads: dict[tuple[int, ...], list[Sequence[str]]] = {}
    for lead, parts in kind.batches(plan.config).items():
        for values in parts:
            leads.setdefault(tuple(values), []).append(lead)
    for number, (values, alike) in enumerate(leads.items(), 1):
        yield Batch(
            plan, kind, kind.rule if number == 1 else f"{kind.rule}_{number}", values, alike
        )


class Jobs:
    """Which files one job makes."""

    def __init__(self, config: Config) -> None:
        self._parts: dict[tuple[Any, ...], int] = {}
        """Rule, first fields of the path and value of the field that it is batched by, to the
        number of the job among those of these first fields."""
        self._widths: dict[str, int] = {}
        """Of rules whose jobs make several files: how many fields these are."""
        for kind in {kinds_of(kind.rule)[0] for kind in kinds() if kind.batched_by}:
            for lead, parts in kind.batches(config).items():
                self._widths[kind.rule] = len(lead)
                for number, values in enumerate(parts):
                    self._parts |= {(kind.rule, *lead, value): number for value in values}

    def of(self, artefact: Artefact) -> tuple[Any, ...]:
        """What is equal for two artefacts that one job makes, and differs for others."""
        told, rule = dict(vars(artefact)), artefact.rule
        if artefact.batched_by and rule in self._widths:
            value = told.pop(artefact.batched_by)
            lead = list(told.values())[: self._widths[rule]]
            # A value that the study asks for in no batch has a job of its own.
            told[artefact.batched_by] = self._parts.get((rule, *lead, value), f"alone {value}")
        return rule, *told.values()


def kept(kind: type[Artefact], path: Path, key: str) -> bool:
    """Whether a job's files at a path, and those beside it, are those of a key already."""
    return all(provenance.agrees(each.beside(path), key) for each in kinds_of(kind.rule))
