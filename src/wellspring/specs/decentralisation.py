"""Slices of the tables of a study's attributions, side by side."""

from __future__ import annotations

from wellspring.config import Config
from wellspring.config.vocabulary import Side
from wellspring.specs.attributions import ablate, activations, agreement
from wellspring.specs.base import Spec


class CountedSide(Spec):
    """The active neurons of one side of a retriever under one attribution, by digest."""

    attribution: str
    dataset: str
    retriever: str
    side: Side
    encoder: str
    activations: str


class ClaimedSide(CountedSide):
    """The same, as the published claims ask for it."""

    whole: bool
    """Whether every block of the encoder is attributed."""


class AttributedSide(CountedSide):
    """All that a study holds of that side."""

    ablations: str


class DecentralisationSpec(Spec):
    """The grid of a study's attributions."""

    study: str
    grid: list[AttributedSide]
    pairs: dict[str, str]
    depths: dict[str, int]
    """Encoder to the number of its blocks."""
    agreement: dict[str, dict[str, str]]
    """Retriever and dataset to the digest of the agreement's slice."""


def decentralisation(config: Config) -> DecentralisationSpec:
    """The slice that the table of a study's attributions depends on."""
    agreements: dict[str, dict[str, str]] = {}
    for name, dataset in config.agreeing():
        agreements.setdefault(name, {})[dataset] = agreement(config, name, dataset).digest
    return DecentralisationSpec(
        study=config.study.name,
        grid=attributed(config),
        pairs=config.attributed_pairs(),
        depths=depths(config),
        agreement=agreements,
    )


def attributed(config: Config) -> list[AttributedSide]:
    """Every side of every retriever under every attribution of the study."""
    return [
        AttributedSide(
            **cell.model_dump(),
            ablations=ablate(
                config, cell.attribution, cell.encoder, cell.dataset, cell.side
            ).digest,
        )
        for cell in counted(config)
    ]


def counted(config: Config) -> list[CountedSide]:
    """The same without what ablation says; empty where the study attributes nothing."""
    return [
        CountedSide(
            attribution=name,
            dataset=dataset,
            retriever=retriever,
            side=side,
            encoder=encoder,
            activations=activations(config, name, encoder, dataset, side).digest,
        )
        for name, retriever, dataset, _ in config.attributed()
        for side, encoder in config.retrievers[retriever].encoders.items()
    ]


def depths(config: Config) -> dict[str, int]:
    """Each attributed encoder's number of blocks."""
    names = dict.fromkeys(
        encoder
        for retriever in config.attributed_retrievers()
        for encoder in config.retrievers[retriever].encoders.values()
    )
    return {name: config.models[config.encoders[name].model].layers for name in names}


def claimed(config: Config) -> list[ClaimedSide]:
    """Every side of every retriever, and whether every block of its encoder is attributed."""
    known = depths(config)
    return [
        ClaimedSide(
            **cell.model_dump(),
            whole=config.attributed_layers(cell.attribution, cell.encoder, cell.dataset)
            == list(range(1, known[cell.encoder] + 1)),
        )
        for cell in counted(config)
    ]


def comparable(config: Config) -> list[str]:
    """The attributions whose largest score in the network is the published normaliser: of weights,
    towards a length, in both sub-layers."""
    names = dict.fromkeys(grid.attribution for grid in config.attributed())
    return [
        name
        for name, entry in ((name, config.attributions[name]) for name in names)
        if {*entry.sublayers} == {"intermediate", "output"}
        and entry.method == "weights"
        and entry.target.endswith("norm")
    ]
