"""The narrow slice of the configuration that each step uses, as canonical JSON.

A rule's `params.spec` is one of these and nothing else, so an edit of the configuration reruns
the steps whose slice it touches. The same text stands in an artefact's identity.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wellspring.config import Bm25, Config, Encoder, Findings, Model, Negatives, Probing, Splits
from wellspring.errors import ConfigError

Side = Literal["query", "passage"]


class Spec(BaseModel):
    """Base of all slices: strict, frozen, and canonical when written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def canonical(self) -> str:
        """Sorted, compact JSON: equal slices give equal bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @classmethod
    def read(cls, text: str):
        """The slice that `canonical` wrote; ConfigError where the text is none."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"--spec: {where}: {first['msg']}") from None


class TextsSpec(Spec):
    """Source of a dataset: where it lies and how its format is read."""

    dataset: str
    format: str
    files: dict[str, str]
    """Published split to path; the key is empty where the source publishes none."""
    sha256: dict[str, str]
    options: dict[str, Any]


class SamplesSpec(Spec):
    """Hard negatives and splits."""

    negatives: Negatives
    splits: Splits
    bm25: Bm25 | None
    """None where nothing is mined."""


class QrelsSpec(Spec):
    """Which split a judgement belongs to."""

    splits: Splits


class Bm25Spec(Spec):
    """The lexical scores of the candidates."""

    bm25: Bm25


class ModelSpec(Spec):
    """A checkpoint, or a fresh one of another's architecture."""

    source: str
    architecture: str
    layers: int
    seed: int | None = None
    base: ModelSpec | None = None


class EmbedSpec(Spec):
    """One side of an encoder, and which shard of how many."""

    model: ModelSpec
    side: Side
    pooling: Literal["cls", "mean", "eos"]
    template: str
    length: int
    normalise: bool
    dtype: Literal["float32", "bfloat16", "float16"]
    storage: Literal["float16", "float32"]
    shard: int
    shards: int


class ProbeSpec(Spec):
    """Probe kinds and their fitting; the shards and samples that they are fitted to."""

    kinds: list[str]
    seeds: list[int]
    rank: int | None
    optimiser: dict[str, Any]
    query: list[EmbedSpec]
    passage: list[EmbedSpec]


class SimilaritySpec(Spec):
    """Two retrievers' shards of one dataset, and how many texts enter."""

    texts: int
    seed: int
    query: list[EmbedSpec]
    passage: list[EmbedSpec]
    other_query: list[EmbedSpec]
    other_passage: list[EmbedSpec]
    layers: list[int]


class FindingsSpec(Spec):
    """The grid of a study's probes and the settings of its tests."""

    study: str
    settings: Findings
    layers: dict[str, list[int]]
    """Retriever to the layers that were probed."""
    datasets: list[str]
    passages: list[int]
    pairs: dict[str, str]


def texts(config: Config, dataset: str) -> TextsSpec:
    """The slice that reading a source depends on."""
    entry = config.datasets[dataset]
    common = {"format", "source", "sha256", "negatives", "splits", "bm25", "shards"}
    source = getattr(entry, "source", {})
    digests = getattr(entry, "sha256", None) or {}
    return TextsSpec(
        dataset=dataset,
        format=entry.format,
        files={"": source} if isinstance(source, str) else source,
        sha256={"": digests} if isinstance(digests, str) else digests,
        options=entry.model_dump(mode="json", exclude=common),
    )


def samples(config: Config, dataset: str) -> SamplesSpec:
    """The slice that negatives and splits depend on."""
    entry = config.datasets[dataset]
    return SamplesSpec(
        negatives=entry.negatives,
        splits=entry.splits,
        bm25=entry.bm25 if entry.negatives.mined else None,
    )


def qrels(config: Config, dataset: str) -> QrelsSpec:
    """The slice that the judgements' splits depend on."""
    return QrelsSpec(splits=config.datasets[dataset].splits)


def bm25(config: Config, dataset: str) -> Bm25Spec:
    """The slice that the candidates' lexical scores depend on."""
    return Bm25Spec(bm25=config.datasets[dataset].bm25)


def model(config: Config, name: str) -> ModelSpec:
    """The slice that a model's weights depend on."""
    entry: Model = config.models[name]
    fresh = entry.scheme == "random"
    return ModelSpec(
        source="random" if fresh else entry.source,
        architecture=entry.architecture,
        layers=entry.layers,
        seed=entry.seed if fresh else None,
        base=model(config, entry.place) if fresh else None,
    )


def embed(config: Config, encoder: str, dataset: str, side: Side, shard: int | str) -> EmbedSpec:
    """The slice that one embedding shard depends on: nothing of the dataset but its shards."""
    entry: Encoder = config.encoders[encoder]
    return EmbedSpec(
        model=model(config, entry.model),
        side=side,
        pooling=entry.pooling,
        template=getattr(entry, f"{side}_template"),
        length=getattr(entry, f"{side}_length"),
        normalise=entry.normalise,
        dtype=entry.dtype,
        storage=entry.storage,
        shard=int(shard),
        shards=config.datasets[dataset].shards,
    )


def shards(config: Config, retriever: str, dataset: str, side: Side) -> list[EmbedSpec]:
    """The slices of all shards of one side of a retriever."""
    encoder = config.retrievers[retriever].encoders[side]
    count = config.datasets[dataset].shards
    return [embed(config, encoder, dataset, side, shard) for shard in range(count)]


def probe(config: Config, retriever: str, dataset: str) -> ProbeSpec:
    """The slice that a probe job depends on, but for its wildcards."""
    probing: Probing = config.study.probe
    return ProbeSpec(
        kinds=probing.kinds,
        seeds=probing.seeds,
        rank=probing.rank if "bilinear" in probing.kinds else None,
        optimiser=probing.optimiser.model_dump(mode="json"),
        query=shards(config, retriever, dataset, "query"),
        passage=shards(config, retriever, dataset, "passage"),
    )


def similarity(config: Config, retriever: str, dataset: str) -> SimilaritySpec:
    """The slice that comparing a retriever's vectors with its counterpart's depends on."""
    other = config.retrievers[retriever].compared_with
    settings = config.study.findings
    return SimilaritySpec(
        texts=settings.similarity_texts,
        seed=settings.seed,
        query=shards(config, retriever, dataset, "query"),
        passage=shards(config, retriever, dataset, "passage"),
        other_query=shards(config, other, dataset, "query"),
        other_passage=shards(config, other, dataset, "passage"),
        layers=[layer for layer in config.layers(retriever) if layer in config.layers(other)],
    )


def findings(config: Config) -> FindingsSpec:
    """The slice that the study's table depends on."""
    probing = config.study.probe
    return FindingsSpec(
        study=config.study.name,
        settings=config.study.findings,
        layers={name: config.layers(name) for name in probing.retrievers},
        datasets=probing.datasets,
        passages=sorted(probing.passages),
        pairs=config.pairs(),
    )
