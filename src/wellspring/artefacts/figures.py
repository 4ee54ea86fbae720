"""Figures of a study: PNG for reading, PDF for print. Both carry their provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import get_args

from wellspring import specs
from wellspring.artefacts.attributions import ActivationCounts
from wellspring.artefacts.base import Artefact, Needed
from wellspring.artefacts.evidence import Evidence, EvidenceCorrelations
from wellspring.artefacts.findings import Decentralisation, Findings, curves_of
from wellspring.artefacts.indexes import Indexes
from wellspring.artefacts.retrieval import Retrieval
from wellspring.artefacts.scaling import Ladders, Scaling
from wellspring.artefacts.verdicts import Cautions
from wellspring.config import AttributionGrid, Config
from wellspring.config.vocabulary import Side

STUDY = "studies/{study}/figures/{dataset}"


@dataclass(frozen=True)
class Picture(Artefact):
    """A figure of a study."""

    also = ("pdf",)
    study: str

    @classmethod
    def pdf(cls) -> str:
        """The path of the PDF, with Snakemake's wildcards."""
        return cls.path().removesuffix("png") + "pdf"

    @property
    def files(self) -> Sequence[str]:
        return [self.main_file, self.main_file.removesuffix("png") + "pdf"]


@dataclass(frozen=True)
class OfDataset(Picture):
    """A figure of one dataset of a study."""

    dataset: str


@dataclass(frozen=True)
class Figure(OfDataset):
    """Accuracy over layers (of a group of retrievers, where the study names groups), similarity,
    what a search finds at every layer, or what approximate indexes find."""

    template = f"{STUDY}/{{figure}}.png"
    rule = "figure"
    step = "figure"
    Slice = specs.FigureSpec
    figure: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        for dataset in config.probed_datasets():
            for group in config.groups(dataset) or [None]:
                name = f"layer-accuracy.{group}" if group else "layer-accuracy"
                yield cls(config.study.name, dataset, name)
            if config.pairs(dataset):
                yield cls(config.study.name, dataset, "similarity")
        for dataset in config.searched_datasets():
            yield cls(config.study.name, dataset, "layer-retrieval")
        for dataset in dict.fromkeys(grid.dataset for grid in config.indexed()):
            yield cls(config.study.name, dataset, "indexes")

    def spec(self, config: Config) -> specs.FigureSpec:
        return specs.figure(config, self.dataset, self.figure)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        kind = self.table(self.figure)
        return {
            "findings": kind(self.study),
            "cautions": Cautions(self.study),
            "published": curves_of(config) if kind is Findings else [],
        }

    @classmethod
    def table(cls, figure: str) -> type[Findings | Indexes | Retrieval]:
        """The kind of the table that a figure draws."""
        return {"layer-retrieval": Retrieval, "indexes": Indexes}.get(figure, Findings)

    @classmethod
    def science(cls, spec: specs.FigureSpec) -> Sequence[str]:
        if spec.figure == "layer-retrieval":
            return ["figures.retrieval", "figures.cautions"]
        if spec.figure in ("similarity", "indexes"):
            return [f"figures.{spec.figure}", "figures.cautions"]
        return ["figures.accuracy", "figures.cautions", "findings.published"]


@dataclass(frozen=True)
class Controls(OfDataset):
    """A retriever's published probe against its controls."""

    template = f"{STUDY}/controls/{{retriever}}.png"
    rule = "controls"
    step = "controls"
    Slice = specs.ControlsSpec
    retriever: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        for dataset in config.probed_datasets():
            pairs = config.pairs(dataset)
            for retriever in _shown(config, config.probed_retrievers(dataset), pairs, False):
                yield cls(config.study.name, dataset, retriever)

    def spec(self, config: Config) -> specs.ControlsSpec:
        return specs.controls(config, self.dataset, self.retriever)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"findings": Findings(self.study), "cautions": Cautions(self.study)}

    @classmethod
    def science(cls, spec: specs.ControlsSpec) -> Sequence[str]:
        return ["figures.controls", "figures.cautions"]


@dataclass(frozen=True)
class HeatMap(OfDataset):
    """Which neurons of a retriever and of its counterpart are active, or the change."""

    template = f"{STUDY}/{{attribution}}/{{retriever}}/{{map}}/{{side}}.png"
    rule = "heatmap"
    step = "heatmap"
    Slice = specs.HeatMapSpec
    attribution: str
    retriever: str
    map: str
    side: Side

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        pairs = config.attributed_pairs()
        for grid in _drawn(config):
            if grid.retriever in pairs:
                for kind, side in product(("heat", "change"), get_args(Side)):
                    names = (grid.dataset, grid.attribution, grid.retriever)
                    yield cls(config.study.name, *names, kind, side)

    def spec(self, config: Config) -> specs.HeatMapSpec:
        return specs.heatmap(
            config, self.dataset, self.attribution, self.retriever, self.map, self.side
        )

    def needs(self, config: Config) -> Mapping[str, Needed]:
        names = (self.retriever, config.counterpart(self.retriever))
        own, other = (
            ActivationCounts(
                self.attribution,
                config.retrievers[name].encoders[self.side],
                self.dataset,
                self.side,
            )
            for name in names
        )
        return {"own": own, "other": other, "cautions": Cautions(self.study)}

    @classmethod
    def science(cls, spec: specs.HeatMapSpec) -> Sequence[str]:
        return ["figures.heatmaps", "figures.cautions"]


@dataclass(frozen=True)
class Drawing(OfDataset):
    """How attributions concentrate, depend on the threshold, and stand up to ablation."""

    template = f"{STUDY}/{{attribution}}/{{retriever}}/{{drawing}}.png"
    rule = "drawing"
    step = "drawing"
    Slice = specs.DrawingSpec
    attribution: str
    retriever: str
    drawing: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        pairs = config.attributed_pairs()
        for grid in _drawn(config):
            # What shows a change needs a counterpart.
            compared = ["sweep"] if grid.retriever in pairs else []
            for name in (*compared, "concentration", "sanity-checks"):
                names = (grid.dataset, grid.attribution, grid.retriever)
                yield cls(config.study.name, *names, name)

    def spec(self, config: Config) -> specs.DrawingSpec:
        return specs.drawing(config, self.dataset, self.attribution, self.retriever, self.drawing)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"findings": Decentralisation(self.study), "cautions": Cautions(self.study)}

    @classmethod
    def science(cls, spec: specs.DrawingSpec) -> Sequence[str]:
        checks = spec.drawing == "sanity-checks"
        drawn = "figures.sanity_checks" if checks else "figures.attributions"
        return [drawn, "figures.cautions"]


@dataclass(frozen=True)
class Fidelity(OfDataset):
    """Which attributions predict what removing a neuron does."""

    template = f"{STUDY}/fidelity/{{retriever}}.png"
    rule = "fidelity"
    step = "fidelity"
    Slice = specs.FidelitySpec
    retriever: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        shown = dict.fromkeys((grid.retriever, grid.dataset) for grid in _drawn(config))
        for retriever, dataset in shown:
            if config.removing(config.retrievers[retriever].query, dataset):
                yield cls(config.study.name, dataset, retriever)

    def spec(self, config: Config) -> specs.FidelitySpec:
        return specs.fidelity(self.dataset, self.retriever)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"findings": Decentralisation(self.study), "cautions": Cautions(self.study)}

    @classmethod
    def science(cls, spec: specs.FidelitySpec) -> Sequence[str]:
        return ["figures.fidelity", "figures.cautions"]


@dataclass(frozen=True)
class Chart(OfDataset):
    """All evidence about a retriever's layers side by side, or what of it predicts what."""

    template = f"{STUDY}/{{chart}}/{{retriever}}.png"
    rule = "chart"
    step = "chart"
    Slice = specs.ChartSpec
    chart: str
    retriever: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        places = specs.evidenced(config)
        pairs = specs.evidence(config).pairs if places else {}
        names = dict.fromkeys(retriever for retriever, _ in places)
        shown = _shown(config, names, pairs, True)
        for retriever, dataset in (place for place in places if place[0] in shown):
            for chart in ("evidence", "evidence-correlations"):
                yield cls(config.study.name, dataset, chart, retriever)

    def spec(self, config: Config) -> specs.ChartSpec:
        return specs.chart(self.dataset, self.retriever, self.chart)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        kind = Evidence if self.chart == "evidence" else EvidenceCorrelations
        return {"findings": kind(self.study), "cautions": Cautions(self.study)}

    @classmethod
    def science(cls, spec: specs.ChartSpec) -> Sequence[str]:
        return ["figures.evidence", "figures.cautions"]


@dataclass(frozen=True)
class Ladder(Picture):
    """How quality grows with size on a dataset, or what size and stages bring on each of them."""

    template = "studies/{study}/figures/ladders/{ladder}.png"
    rule = "ladder"
    step = "ladder"
    Slice = specs.LadderSpec
    ladder: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name, name) for name in specs.drawn_ladders(config)]

    def spec(self, config: Config) -> specs.LadderSpec:
        return specs.drawn_ladders(config)[self.ladder]

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"findings": Scaling(self.study), "ladders": Ladders(self.study)}

    @classmethod
    def science(cls, spec: specs.LadderSpec) -> Sequence[str]:
        return ["figures.ladders"]


def _shown(
    config: Config, retrievers: Iterable[str], pairs: Mapping[str, str], compared: bool
) -> list[str]:
    """The retrievers that have figures of their own. A counterpart stands in those of the retriever
    that is set against it, and so do further draws of a twin.

    compared: whether a counterpart that is compared itself has its own, too.
    """
    others = {other for name, other in pairs.items() if not config.is_further_draw(name)}
    return [
        name
        for name in retrievers
        if not config.is_further_draw(name) and (name not in others or (compared and name in pairs))
    ]


def _drawn(config: Config) -> list[AttributionGrid]:
    """What is attributed and has figures."""
    names = config.attributed_retrievers()
    shown = _shown(config, names, config.attributed_pairs(), True)
    return [grid for grid in config.attributed() if grid.retriever in shown]
