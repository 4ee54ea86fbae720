"""The narrow slice of the configuration that each step uses, as canonical JSON.

A rule's `params.spec` is one of these and nothing else, so an edit of the configuration reruns
the steps whose slice it touches. The same text stands in an artefact's identity.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
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

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the slice where it would be too long."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

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


class EncodingSpec(Spec):
    """One side of an encoder. The model stands by its name: where it lies changes no vector."""

    model: str
    architecture: str
    layers: int
    side: Side
    pooling: Literal["cls", "mean", "eos"]
    template: str
    length: int
    normalise: bool
    dtype: Literal["float32", "bfloat16", "float16"]
    storage: Literal["float16", "float32"]


class EmbedSpec(Spec):
    """One shard, out of how many, of one side of an encoder."""

    encoding: EncodingSpec
    shard: int
    shards: int


class ProbeSpec(Spec):
    """Probe kinds and their fitting; the samples and vectors that they are fitted to."""

    kinds: list[str]
    seeds: list[int]
    rank: int | None
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


def encoding(config: Config, encoder: str, side: Side) -> EncodingSpec:
    """The slice that a side's vectors depend on, whatever the dataset."""
    entry: Encoder = config.encoders[encoder]
    named = config.models[entry.model]
    return EncodingSpec(
        model=entry.model,
        architecture=named.architecture,
        layers=named.layers,
        side=side,
        pooling=entry.pooling,
        template=getattr(entry, f"{side}_template"),
        length=getattr(entry, f"{side}_length"),
        normalise=entry.normalise,
        dtype=entry.dtype,
        storage=entry.storage,
    )


def embed(config: Config, encoder: str, dataset: str, side: Side, shard: int | str) -> EmbedSpec:
    """The slice that one embedding shard depends on: nothing of the dataset but its shards."""
    return EmbedSpec(
        encoding=encoding(config, encoder, side),
        shard=int(shard),
        shards=config.datasets[dataset].shards,
    )


def probe(config: Config, retriever: str, dataset: str) -> ProbeSpec:
    """The slice that a probe job depends on, but for its wildcards."""
    probing: Probing = config.study.probe
    encoders = config.retrievers[retriever].encoders
    return ProbeSpec(
        kinds=probing.kinds,
        seeds=probing.seeds,
        rank=probing.rank if "bilinear" in probing.kinds else None,
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


def source_files(config: Config, dataset: str) -> list[str]:
    """The files that a dataset is read from."""
    wanted = texts(config, dataset)
    if wanted.format == "pydocs":
        return [wanted.options["lock"]]
    found = []
    for path in map(Path, wanted.files.values()):
        inside = sorted([*path.glob("*.jsonl"), *path.glob("qrels/*.tsv")])
        found.extend(map(str, inside or [path]))
    return found


def checkpoint_files(config: Config, name: str) -> list[str]:
    """The files of a checkpoint folder; none for a package, whose version is locked."""
    entry = config.models[name]
    if entry.scheme == "random":
        entry = config.models[entry.place]
    if entry.scheme != "path":
        return []
    patterns = ("*.safetensors", "*.json", "*.txt", "*.model")
    return sorted(str(path) for pattern in patterns for path in Path(entry.place).glob(pattern))
