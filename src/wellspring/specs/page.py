"""The slice of a study's page: what it tells of the study beside its tables."""

from __future__ import annotations

from wellspring.config import Config, Recipe, Tokenizer
from wellspring.config.changed import FOLDERS, Change, changed
from wellspring.config.vocabulary import Side
from wellspring.specs.attributions import AttributionSummary, attribution, summary
from wellspring.specs.base import Spec
from wellspring.specs.figures import Setting
from wellspring.specs.findings import ProbedGrid, probed
from wellspring.specs.models import EncodingSpec, encoding


class StudiedModel(Spec):
    """Where a model's weights come from."""

    source: str
    architecture: str
    layers: int
    adapter: str | None
    fresh: bool
    """Whether weights were drawn at random: all of them, or those above the trained blocks."""
    trained_blocks: int | None
    """Of fresh weights: so many of the lowest blocks have the source's; None: all are fresh."""
    recipe: Recipe | None
    """What trained it here."""
    tokenizer: Tokenizer | None
    """Of fresh weights: one that the source has not."""
    share: float | None
    """Of a checkpoint on the way: how much of the training of the source was done."""


class StudiedDataset(Spec):
    """How a dataset was read, sampled and split."""

    format: str
    negatives: dict[str, object]
    splits: dict[str, object]


class StudiedSide(Spec):
    """The scores of one side of a retriever under one attribution."""

    attribution: str
    dataset: str
    retriever: str
    side: Side
    encoder: str
    method: str
    summary: AttributionSummary


class PageSpec(Spec):
    """A study's catalogue entries in short, its grids, and what its page shows first."""

    study: str
    probe: str
    """The probe that figures show; empty where nothing is probed."""
    probed: list[ProbedGrid]
    pairs: dict[str, str]
    """Retriever to what it is compared with, whether it is probed or attributed."""
    twins: dict[str, list[str]]
    models: dict[str, StudiedModel]
    encoders: dict[str, dict[Side, EncodingSpec]]
    retrievers: dict[str, dict[Side, str]]
    """Each retriever's encoders."""
    datasets: dict[str, StudiedDataset]
    attributed: list[StudiedSide]
    activity: Setting | None
    """When figures count a neuron as active."""
    curves: dict[str, str] | None
    """Retriever to its published curve; None where the study names none."""
    changed: list[Change]
    """Settings that are not the defaults."""
    shown: list[str]
    """The files whose panels the page shows, below results/."""


def page(config: Config, shown: list[str]) -> PageSpec:
    """The slice of a study's page; shown: the files whose panels it has."""
    encoders, grids = config.encoders_used(), config.attributed()
    return PageSpec(
        study=config.study.name,
        probe=next(iter(config.drawn_probes()), ""),
        probed=probed(config),
        pairs={**config.pairs(), **config.searched_pairs(), **config.attributed_pairs()},
        twins=config.twins(),
        models={
            name: _model(config, name)
            for name in dict.fromkeys(
                [
                    *(config.encoders[encoder].model for encoder in encoders),
                    *config.trained_models(),
                ]
            )
        },
        encoders={
            name: {
                "query": encoding(config, name, "query"),
                "passage": encoding(config, name, "passage"),
            }
            for name in encoders
        },
        retrievers={name: config.retrievers[name].encoders for name in config.retrievers_used()},
        datasets={name: _dataset(config, name) for name in config.datasets_used()},
        attributed=_attributed(config),
        activity=_activity(grids[0].block.maps) if grids else None,
        curves=config.curves() if config.study.published else None,
        changed=changed(config),
        shown=shown,
    )


def _model(config: Config, name: str) -> StudiedModel:
    entry = config.models[name]
    fresh = entry.scheme == "random"
    return StudiedModel(
        source=FOLDERS.sub("…/", entry.source),
        architecture=entry.architecture,
        layers=entry.layers,
        adapter=FOLDERS.sub("…/", entry.adapter) if entry.adapter else None,
        fresh=fresh,
        trained_blocks=entry.trained_blocks if fresh else None,
        recipe=config.recipes[entry.recipe] if entry.recipe else None,
        tokenizer=_tokenizer(entry.tokenizer) if entry.tokenizer else None,
        share=entry.share,
    )


def _tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The same without the folders above its own."""
    source = FOLDERS.sub("…/", tokenizer.source) if tokenizer.source else None
    return tokenizer.model_copy(update={"source": source})


def _dataset(config: Config, name: str) -> StudiedDataset:
    entry = config.datasets[name]
    return StudiedDataset(
        format=entry.format,
        negatives=entry.negatives.model_dump(mode="json"),
        splits=entry.splits.model_dump(mode="json"),
    )


def _attributed(config: Config) -> list[StudiedSide]:
    sides = []
    for name, retriever, dataset, _ in config.attributed():
        for side, encoder in config.retrievers[retriever].encoders.items():
            spec = attribution(config, name, encoder, dataset, side)
            sides.append(
                StudiedSide(
                    attribution=name,
                    dataset=dataset,
                    retriever=retriever,
                    side=side,
                    encoder=encoder,
                    method=spec.method,
                    summary=summary(config, name, encoder, dataset, spec),
                )
            )
    return sides


def _activity(maps) -> Setting:
    return Setting(
        normaliser=maps.normaliser,
        excluded_outliers=maps.excluded_outliers,
        threshold=maps.threshold,
    )
