"""Slices of the tables of a study's attributions, side by side."""

from __future__ import annotations

from wellspring.config import Config
from wellspring.specs.attributions import ablate, activations, agreement
from wellspring.specs.base import Side, Spec


class CountedSide(Spec):
    """The active neurons of one side of a retriever under one attribution, by digest."""

    attribution: str
    dataset: str
    retriever: str
    side: Side
    encoder: str
    activations: str


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
    return DecentralisationSpec(
        study=config.study.name,
        grid=attributed(config),
        pairs=config.attributed_pairs(),
        depths=depths(config),
        agreement={
            name: {
                dataset: agreement(config, name, dataset).digest
                for dataset in config.study.attribute.datasets
            }
            for name in config.agreeing()
        },
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
        for name, retriever in config.attributed()
        for dataset in config.study.attribute.datasets
        for side, encoder in config.retrievers[retriever].encoders.items()
    ]


def depths(config: Config) -> dict[str, int]:
    """Each attributed encoder's number of blocks."""
    names = dict.fromkeys(
        encoder
        for _, retriever in config.attributed()
        for encoder in config.retrievers[retriever].encoders.values()
    )
    return {name: config.models[config.encoders[name].model].layers for name in names}


def attributes_all(config: Config) -> bool:
    """Whether a study attributes every block of its encoders."""
    wanted = config.study.attribute
    if wanted is None or wanted.layers == "all":
        return wanted is not None
    return all({*range(1, depth + 1)} <= {*wanted.layers} for depth in depths(config).values())


def comparable(config: Config) -> list[str]:
    """The attributions whose largest score in the network is the published normaliser: of weights,
    towards a length, in both sub-layers."""
    wanted = config.study.attribute
    if wanted is None:
        return []
    entries = {name: config.attributions[name] for name in wanted.attributions}
    return [
        name
        for name, entry in entries.items()
        if {*entry.sublayers} == {"intermediate", "output"}
        and entry.method == "weights"
        and entry.target.endswith("norm")
    ]
