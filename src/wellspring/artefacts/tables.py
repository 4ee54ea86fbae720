"""Tables that one function makes of other tables: a class and the function are all there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.findings import Findings
from wellspring.config import Config
from wellspring.specs.base import Spec


@dataclass(frozen=True)
class Table(Artefact):
    """A table of a study that a function of the science makes of other tables.

    Its command, named as its rule, reads each file that the class needs, calls the function with
    every table under its name in `needs` and with the settings of the slice under theirs, and
    writes what that gives.
    """

    function: ClassVar[str]
    """The module, below `wellspring`, and the function: `findings.power:power`."""
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)]

    @classmethod
    def science(cls, spec: Any) -> Sequence[str]:
        return [cls.function.partition(":")[0]]


class PowerSpec(Spec):
    """The true differences whose visibility is asked for."""

    effects: list[float]
    """In the unit of each measure."""


@dataclass(frozen=True)
class Power(Table):
    """How likely the study was to see true differences of some sizes."""

    panels = ("page.power",)
    template = "studies/{study}/findings/power.parquet"
    rule = "power"
    Slice = PowerSpec
    step = "power"
    also = ("csv",)
    function = "findings.power:power"
    columns = {
        "dataset": Column("text", "which difference, as the next six columns"),
        "retriever": Column("text"),
        "compared_with": Column("text"),
        "probe": Column("text"),
        "layer": Column("integer"),
        "passages": Column("integer"),
        "measure": Column("text"),
        "effect": Column("number", "the true difference, in the unit of the measure"),
        "power": Column("number", "probability that the 95 % interval excludes 0", "share"),
    }

    def spec(self, config: Config) -> PowerSpec:
        return PowerSpec(effects=[0.01, 0.02, 0.05])

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"findings": Findings(self.study)}


class LeakageSpec(Spec):
    """When two texts are nearly the same."""

    words: int = 5
    """Of the pieces that are compared."""
    near: float = 0.8
    """Jaccard similarity of their pieces."""


@dataclass(frozen=True)
class Leakage(Table):
    """How many test texts of a dataset stand in what models of the study learned from another one,
    or from its own training split."""

    template = "studies/{study}/findings/leakage/{learned}/{dataset}.parquet"
    rule = "leakage"
    Slice = LeakageSpec
    step = "leakage"
    function = "findings.leakage:leakage"
    columns = {
        "side": Column("text", "`query`, or `passage`: those that answer a query"),
        "texts": Column("integer", "of the test split"),
        "exact": Column("integer", "of these stand there word for word"),
        "near": Column("integer", "of the others stand there nearly"),
    }
    learned: str
    dataset: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [
            cls(config.study.name, learned, dataset)
            for learned in config.datasets_learned()
            for dataset in config.datasets_used()
        ]

    def spec(self, config: Config) -> LeakageSpec:
        return LeakageSpec()

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {
            "texts": Texts(self.dataset),
            "samples": Samples(self.dataset),
            "learned_texts": Texts(self.learned),
            "learned_samples": Samples(self.learned),
        }
