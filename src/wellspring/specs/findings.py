"""Slices of the steps that probe, test and compare."""

from __future__ import annotations

from typing import Any

from wellspring.config import Config, Findings, Probing
from wellspring.specs.base import Spec
from wellspring.specs.datasets import SamplesSpec, samples
from wellspring.specs.models import EncodingSpec, encoding


class ProbeSpec(Spec):
    """Probe kinds and their fitting; the samples and vectors that they are fitted to."""

    kinds: list[str]
    seeds: list[int]
    rank: int | None
    portions: list[float]
    redrawn: bool
    """Whether seeds after the first draw their own splits."""
    optimiser: dict[str, Any]
    samples: SamplesSpec
    query: EncodingSpec
    passage: EncodingSpec
    shards: int


class SimilaritySpec(Spec):
    """Two retrievers' vectors of one dataset, and how many texts enter."""

    texts: int
    seed: int
    layers: list[int]
    query: EncodingSpec
    passage: EncodingSpec
    other_query: EncodingSpec
    other_passage: EncodingSpec
    shards: int


class FindingsSpec(Spec):
    """The grid of a study's probes and the settings of its tests."""

    study: str
    settings: Findings
    layers: dict[str, list[int]]
    """Retriever to the layers that were probed."""
    datasets: list[str]
    passages: list[int]
    pairs: dict[str, str]
    probes: dict[str, dict[str, str]]
    """Retriever and dataset to the digest of the probes' slice."""
    similarities: dict[str, dict[str, str]]
    """The same for the similarity with the counterpart."""


class PublishedSpec(Spec):
    """Which of a study's curves are set against published ones."""

    study: str
    curves: dict[str, str]
    """Retriever to the name of its published curve."""
    probe: str


def probe(config: Config, retriever: str, dataset: str) -> ProbeSpec:
    """The slice that a probe job depends on, but for its wildcards."""
    probing: Probing = config.study.probe
    encoders = config.retrievers[retriever].encoders
    return ProbeSpec(
        kinds=probing.kinds,
        seeds=probing.seeds,
        rank=probing.rank if "bilinear" in probing.kinds else None,
        portions=probing.portions,
        redrawn=config.datasets[dataset].splits.redrawn and len(probing.seeds) > 1,
        optimiser=probing.optimiser.model_dump(mode="json"),
        samples=samples(config, dataset),
        query=encoding(config, encoders["query"], "query"),
        passage=encoding(config, encoders["passage"], "passage"),
        shards=config.datasets[dataset].shards,
    )


def similarity(config: Config, retriever: str, dataset: str) -> SimilaritySpec:
    """The slice that comparing a retriever's vectors with its counterpart's depends on."""
    other = config.retrievers[retriever].compared_with
    mine, theirs = (config.retrievers[name].encoders for name in (retriever, other))
    settings = config.study.findings
    return SimilaritySpec(
        texts=settings.similarity_texts,
        seed=settings.seed,
        layers=[layer for layer in config.layers(retriever) if layer in config.layers(other)],
        query=encoding(config, mine["query"], "query"),
        passage=encoding(config, mine["passage"], "passage"),
        other_query=encoding(config, theirs["query"], "query"),
        other_passage=encoding(config, theirs["passage"], "passage"),
        shards=config.datasets[dataset].shards,
    )


def findings(config: Config) -> FindingsSpec:
    """The slice that the study's table depends on."""
    probing = config.study.probe
    names = probing.datasets
    return FindingsSpec(
        study=config.study.name,
        settings=config.study.findings,
        layers={name: config.layers(name) for name in probing.retrievers},
        datasets=names,
        passages=sorted(probing.passages),
        pairs=config.pairs(),
        probes={
            name: {dataset: probe(config, name, dataset).digest for dataset in names}
            for name in probing.retrievers
        },
        similarities={
            name: {
                dataset: similarity(config, name, dataset).digest for dataset in probing.datasets
            }
            for name in config.pairs()
        },
    )


def published(config: Config, probe: str) -> PublishedSpec:
    """The slice that the comparison with published curves depends on."""
    renamed = config.study.published.curves if config.study.published else {}
    curves = {name: renamed.get(name, name) for name in config.study.probe.retrievers}
    return PublishedSpec(study=config.study.name, curves=curves, probe=probe)
