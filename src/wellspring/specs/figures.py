"""Slices of the steps that draw."""

from __future__ import annotations

from wellspring.config import Attributing, Config
from wellspring.config.attributions import Maps
from wellspring.config.vocabulary import Normaliser, Side, Statistic
from wellspring.specs.base import Spec


class Setting(Spec):
    """When a neuron counts as active."""

    normaliser: Normaliser
    excluded_outliers: int
    threshold: float


class FigureSpec(Spec):
    """Accuracy, similarity or retrieval over layers."""

    dataset: str
    figure: str
    """layer-accuracy, similarity, layer-retrieval or indexes."""
    probes: list[str]
    retrievers: list[str] | None
    """Whose accuracy; None: of all."""
    curves: dict[str, str] | None
    """Retriever to its published curve; None where none is drawn."""
    twins: dict[str, list[str]]
    """Random twins that were drawn several times."""


class ControlsSpec(Spec):
    """A retriever's probes."""

    dataset: str
    retriever: str
    twins: dict[str, list[str]]


class HeatMapSpec(Spec):
    """Which activity of which pair is drawn, and how."""

    dataset: str
    attribution: str
    names: tuple[str, str]
    """The retriever and its counterpart."""
    map: str
    """heat or change."""
    side: Side
    setting: Setting
    bins: int
    statistic: Statistic


class DrawingSpec(Spec):
    """Attributions of a retriever."""

    dataset: str
    attribution: str
    retriever: str
    drawing: str
    setting: Setting | None
    """None where none is drawn."""
    twins: dict[str, list[str]]


class FidelitySpec(Spec):
    """All attributions of a retriever."""

    dataset: str
    retriever: str


class ChartSpec(Spec):
    """All evidence about a retriever's layers."""

    dataset: str
    retriever: str
    chart: str
    """evidence or evidence-correlations."""


def figure(config: Config, dataset: str, name: str) -> FigureSpec:
    """The slice of a figure, by its name: its kind, or kind.group."""
    kind, _, group = name.partition(".")
    drawn = kind == "layer-accuracy" and config.study.published
    return FigureSpec(
        dataset=dataset,
        figure=kind,
        probes=config.drawn_probes(dataset),
        retrievers=config.groups(dataset)[group] if group else None,
        curves=config.curves() if drawn else None,
        twins=config.twins(),
    )


def controls(config: Config, dataset: str, retriever: str) -> ControlsSpec:
    """The slice of the figure of a retriever's controls."""
    return ControlsSpec(dataset=dataset, retriever=retriever, twins=config.twins())


def heatmap(
    config: Config, dataset: str, attribution: str, retriever: str, kind: str, side: Side
) -> HeatMapSpec:
    """The slice of a heat map."""
    maps = _block(config, dataset, attribution, retriever).maps
    return HeatMapSpec(
        dataset=dataset,
        attribution=attribution,
        names=(retriever, config.counterpart(retriever)),
        map=kind,
        side=side,
        setting=_setting(maps),
        bins=maps.bins,
        statistic=maps.statistic,
    )


def drawing(
    config: Config, dataset: str, attribution: str, retriever: str, name: str
) -> DrawingSpec:
    """The slice of a figure of attributions."""
    maps = _block(config, dataset, attribution, retriever).maps
    return DrawingSpec(
        dataset=dataset,
        attribution=attribution,
        retriever=retriever,
        drawing=name,
        setting=None if name == "sanity-checks" else _setting(maps),
        twins=config.twins(),
    )


def fidelity(dataset: str, retriever: str) -> FidelitySpec:
    """The slice of the figure that compares attributions with removal."""
    return FidelitySpec(dataset=dataset, retriever=retriever)


def chart(dataset: str, retriever: str, name: str) -> ChartSpec:
    """The slice of a figure of evidence."""
    return ChartSpec(dataset=dataset, retriever=retriever, chart=name)


def _block(config: Config, dataset: str, attribution: str, retriever: str) -> Attributing:
    return config.attributing(attribution, config.retrievers[retriever].query, dataset)


def _setting(maps: Maps) -> Setting:
    return Setting(
        normaliser=maps.normaliser,
        excluded_outliers=maps.excluded_outliers,
        threshold=maps.threshold,
    )
