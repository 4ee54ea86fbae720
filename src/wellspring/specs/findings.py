"""Slices of the steps that probe, test and compare."""

from __future__ import annotations

from wellspring.config import Config
from wellspring.config.study import Optimiser
from wellspring.config.vocabulary import ProbeKind, Scorer
from wellspring.specs.base import Spec
from wellspring.specs.datasets import LexicalSpec, SamplesSpec, lexical, samples
from wellspring.specs.decentralisation import (
    ClaimedSide,
    CountedSide,
    claimed,
    comparable,
    counted,
    depths,
)
from wellspring.specs.models import EncodingSpec, encoding


class ProbeSpec(Spec):
    """Probe kinds and their fitting; the samples and vectors that they are fitted to."""

    kinds: list[ProbeKind]
    seeds: list[int]
    rank: int | None
    portions: list[float]
    redrawn: bool
    """Whether seeds after the first draw their own splits."""
    optimiser: Optimiser
    samples: SamplesSpec
    lexical: LexicalSpec
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


class ProbedGrid(Spec):
    """The probes of a retriever on a dataset, one a layer and passage count."""

    retriever: str
    dataset: str
    layers: list[int]
    passages: list[int]
    seeds: list[int]
    probe: str
    """The digest of the probes' slice."""


class FindingsSpec(Spec):
    """The grid of a study's probes and the settings of its tests."""

    study: str
    alpha: float
    permutations: int
    seed: int
    probed: list[ProbedGrid]
    pairs: dict[str, str]
    similarities: dict[str, dict[str, str]]
    """Retriever and dataset to the digest of the similarity with the counterpart."""


class Compared(Spec):
    """A retriever and its counterpart, as the published claims ask for them."""

    retriever: str
    other: str
    curves: tuple[str, str]
    """Their published names."""
    pooling: str
    fresh: dict[str, bool]
    """Those of them with weights that were never trained, to whether that is all of them."""


class ClaimsSpec(Spec):
    """The pairs of a study, their probes and active neurons, and how claims are judged."""

    study: str
    alpha: float
    margin: float
    permutations: int
    seed: int
    pairs: list[Compared]
    probed: list[ProbedGrid]
    blocks: dict[str, int]
    """Probed retriever to its number of blocks."""
    grid: list[ClaimedSide]
    depths: dict[str, int]
    comparable: list[str]
    """Attributions that measure what the paper does."""


class CautionsSpec(Spec):
    """What of a study its cautions are drawn from."""

    study: str
    datasets: list[str]
    """Those that are probed or attributed."""
    probed: list[str]
    negatives: dict[str, int]
    """Dataset to the number of a sample's negatives that the study uses at most."""
    miners: dict[str, Scorer]
    """Dataset to the lexical scorer that chose its negatives."""
    alpha: float
    published: bool
    """Whether it is set against published curves."""
    grid: list[CountedSide]
    fresh: dict[str, str]
    """Retriever to its counterpart, where that has weights that were never trained."""
    partly: list[str]
    """Those of these counterparts that have other weights, too."""
    learned: dict[str, list[str]]
    """Dataset to the models that learned from its training split."""
    evidence: bool
    """Whether it has a table of evidence."""


class PublishedSpec(Spec):
    """Which of a study's curves are set against published ones."""

    study: str
    curves: dict[str, str]
    """Retriever to the name of its published curve."""
    pairs: dict[str, str]
    probe: str


def probe(config: Config, retriever: str, dataset: str) -> ProbeSpec:
    """The slice that a probe job depends on, but for its wildcards."""
    probing = config.probing(retriever, dataset).block
    encoders = config.retrievers[retriever].encoders
    return ProbeSpec(
        kinds=probing.kinds,
        seeds=probing.seeds,
        rank=probing.rank if "bilinear" in probing.kinds else None,
        portions=probing.portions,
        redrawn=config.datasets[dataset].splits.redrawn and len(probing.seeds) > 1,
        optimiser=probing.optimiser,
        samples=samples(config, dataset),
        lexical=lexical(config, dataset),
        query=encoding(config, encoders["query"], "query"),
        passage=encoding(config, encoders["passage"], "passage"),
        shards=config.datasets[dataset].shards,
    )


def similarity(config: Config, retriever: str, dataset: str) -> SimilaritySpec:
    """The slice that comparing a retriever's vectors with its counterpart's depends on."""
    other = config.counterpart(retriever)
    mine, theirs = (config.retrievers[name].encoders for name in (retriever, other))
    settings = config.study.findings
    layers = [config.probing(name, dataset).layers for name in (retriever, other)]
    return SimilaritySpec(
        texts=settings.similarity_texts,
        seed=settings.seed,
        layers=[layer for layer in layers[0] if layer in layers[1]],
        query=encoding(config, mine["query"], "query"),
        passage=encoding(config, mine["passage"], "passage"),
        other_query=encoding(config, theirs["query"], "query"),
        other_passage=encoding(config, theirs["passage"], "passage"),
        shards=config.datasets[dataset].shards,
    )


def findings(config: Config) -> FindingsSpec:
    """The slice that the study's table depends on."""
    settings, pairs = config.study.findings, config.pairs()
    similarities: dict[str, dict[str, str]] = {}
    for name, dataset, *_ in config.probed():
        if name in pairs:
            digest = similarity(config, name, dataset).digest
            similarities.setdefault(name, {})[dataset] = digest
    return FindingsSpec(
        study=config.study.name,
        alpha=settings.alpha,
        permutations=settings.permutations,
        seed=settings.seed,
        probed=probed(config),
        pairs=pairs,
        similarities=similarities,
    )


def probed(config: Config) -> list[ProbedGrid]:
    """Every retriever with every dataset that it is probed on."""
    return [
        ProbedGrid(
            retriever=grid.retriever,
            dataset=grid.dataset,
            layers=grid.layers,
            passages=grid.passages,
            seeds=sorted(grid.block.seeds),
            probe=probe(config, grid.retriever, grid.dataset).digest,
        )
        for grid in config.probed()
    ]


def claims(config: Config) -> ClaimsSpec:
    """The slice that the verdicts on the published claims depend on."""
    settings = config.study.findings
    pairs = {**config.pairs(), **config.attributed_pairs()}
    return ClaimsSpec(
        study=config.study.name,
        alpha=settings.alpha,
        margin=settings.margin,
        permutations=settings.permutations,
        seed=settings.seed,
        pairs=[
            Compared(
                retriever=name,
                other=other,
                curves=(config.curve(name), config.curve(other)),
                pooling=config.pooling(name),
                fresh={
                    each: config.is_wholly_fresh(each)
                    for each in (name, other)
                    if config.is_fresh(each)
                },
            )
            for name, other in pairs.items()
            if not config.is_further_draw(name)
        ],
        probed=probed(config),
        blocks={name: config.depth(name) for name in config.probed_retrievers()},
        grid=claimed(config),
        depths=depths(config),
        comparable=comparable(config),
    )


def cautions(config: Config, evidence: bool) -> CautionsSpec:
    """The slice that a study's cautions depend on, beside its tables.

    evidence: whether one of these is the table of evidence.
    """
    pairs = {**config.pairs(), **config.attributed_pairs()}
    fresh = {
        name: other
        for name, other in pairs.items()
        if config.is_fresh(other) and not config.is_further_draw(name)
    }
    return CautionsSpec(
        study=config.study.name,
        datasets=config.datasets_used(),
        probed=config.probed_datasets(),
        negatives={name: config.negatives_used(name) for name in config.datasets_used()},
        miners={
            name: miner
            for name in config.datasets_used()
            if (miner := config.datasets[name].negatives.mined) and miner != "random"
        },
        alpha=config.study.findings.alpha,
        published=config.study.published is not None,
        grid=counted(config),
        fresh=fresh,
        partly=sorted({other for other in fresh.values() if not config.is_wholly_fresh(other)}),
        learned={
            dataset: [
                name
                for name in config.trained_models()
                if dataset in config.recipes[config.models[name].recipe or ""].datasets
            ]
            for dataset in config.datasets_learned()
        },
        evidence=evidence,
    )


def published(config: Config) -> PublishedSpec:
    """The slice that the comparison with published curves depends on."""
    return PublishedSpec(
        study=config.study.name,
        curves=config.curves(),
        pairs=config.pairs(),
        probe=config.drawn_probes()[0],
    )
