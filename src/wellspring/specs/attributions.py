"""Slices of the steps that attribute embeddings to neurons and count what is active."""

from __future__ import annotations

from wellspring.config import SIMILARITIES, Config, Padding
from wellspring.config.vocabulary import (
    OTHER,
    Match,
    MethodName,
    Normaliser,
    Quadrature,
    ReplacedBy,
    Side,
    Similarity,
    SublayerName,
    TargetName,
    Wording,
)
from wellspring.specs.base import Spec
from wellspring.specs.datasets import QrelsSpec, SamplesSpec, qrels, samples
from wellspring.specs.models import EncodingSpec, encoding

LEAST_POINTS = 1
"""Where a tolerance begins."""


class AttributionSpec(Spec):
    """All layers of one side of an encoder under one attribution."""

    target: TargetName
    similarity: Similarity | None
    """Of `margin`."""
    method: MethodName
    quadrature: Quadrature | None
    """None where the method needs no integral."""
    points: int | None
    tolerance: float | None
    sublayers: list[SublayerName]
    texts: int | None
    """How many; None: all."""
    text: Wording
    """Which wording of a query."""
    seed: int
    encoding: EncodingSpec
    padding: Padding | None
    """None where no score depends on it."""
    partner: EncodingSpec | None
    """The other side's vectors, where the target needs them."""
    judgements: QrelsSpec | None
    """Which texts are in the test split."""
    samples: SamplesSpec | None
    """The same with negatives, where the target needs them."""
    shards: int

    @property
    def reading(self) -> str:
        """What becomes of a text."""
        padded = self.padding.model_dump(mode="json") if self.padding else None
        return _reading(self.encoding, self.text, padded)


class AttributeSpec(Spec):
    """One shard of every layer."""

    attribution: AttributionSpec
    shard: int


class ActivationsSpec(Spec):
    """When a neuron counts as active."""

    attribution: AttributionSpec
    layers: list[int]
    quiet: float
    """The share of texts that may be quiet."""
    thresholds: dict[Normaliser, list[float]]
    excluded_outliers: list[int]


class AblateSpec(Spec):
    """Which of a text's neurons are ablated, and which ranking that disturbs."""

    attribution: AttributionSpec
    layers: list[int]
    texts: int
    """At most so many."""
    neurons: list[int]
    """Of all layers together."""
    each_layer: list[int]
    """Of one layer at a time."""
    by: list[ReplacedBy]
    match: Match
    draws: int
    seed: int
    similarity: Similarity
    samples: SamplesSpec
    candidates: EncodingSpec
    """The other side's vectors."""


class RemoveSpec(Spec):
    """Which neurons of which texts are removed, one or a group at a time."""

    encoding: EncodingSpec
    candidates: EncodingSpec
    """The other side's vectors."""
    layers: list[int]
    sublayers: list[SublayerName]
    samples: SamplesSpec
    texts: int
    neurons: int
    group: int
    similarity: Similarity
    seed: int

    @property
    def reading(self) -> str:
        """What becomes of a text, as of `AttributionSpec`."""
        return _reading(self.encoding, "original", None)


def _reading(encoding: EncodingSpec, wording: str, padded: dict[str, int | None] | None) -> str:
    return f"{encoding.length} tokens of {encoding.template!r}, {wording}, padded to {padded}"


class AttributionSummary(Spec):
    """A side's scores, where their slice itself would be too long."""

    spec: str
    """The digest of its AttributionSpec."""
    reading: str
    """What becomes of a text: lengths, template, wording, padding."""
    target: TargetName
    sublayers: list[SublayerName]
    layers: list[int]
    """Those that are attributed."""
    shards: int


class AgreementSpec(Spec):
    """A retriever's attributions among each other and with its counterpart's, on one dataset."""

    encoders: dict[Side, str]
    attributions: dict[str, dict[Side, AttributionSummary]]
    counterpart: str | None
    others: dict[Side, str]
    """The counterpart's encoders."""
    counterparts: dict[str, dict[Side, AttributionSummary]]
    removals: dict[Side, str]
    """The digest of each side's RemoveSpec; empty where nothing is removed."""
    readings: dict[Side, str]
    """What becomes of a text whose neurons are removed, as `AttributionSummary.reading`."""
    texts: int
    seed: int


def attribution(
    config: Config, name: str, encoder: str, dataset: str, side: Side
) -> AttributionSpec:
    """The slice that a side's scores depend on, whatever the layer."""
    entry = config.attributions[name]
    paired = entry.target in SIMILARITIES
    margin = entry.target == "margin"
    partner = _encoding(config, name, encoder, OTHER[side], partner=True)
    integral = entry.method in ("weights", "integrated-gradients", "conductance")
    gauss = entry.quadrature == "gauss-legendre"
    own = _encoding(config, name, encoder, side)
    padded = entry.target == "padded-mean-norm" or own.pooling == "last-position"
    return AttributionSpec(
        target=entry.target,
        similarity=entry.similarity if margin else None,
        method=entry.method,
        quadrature=entry.quadrature if integral else None,
        points=(LEAST_POINTS if entry.tolerance else entry.points) if integral and gauss else None,
        tolerance=entry.tolerance,
        sublayers=entry.sublayers,
        texts=None if entry.texts == "all" else entry.texts,
        text=entry.text if side == "query" else "original",
        seed=entry.seed,
        encoding=own,
        padding=(entry.padding or Padding(length=own.length)) if padded else None,
        partner=partner if paired else None,
        judgements=None if margin else qrels(config, dataset),
        samples=samples(config, dataset) if margin else None,
        shards=entry.shards,
    )


def attribute(
    config: Config,
    name: str,
    encoder: str,
    dataset: str,
    side: Side,
    shard: int,
) -> AttributeSpec:
    """The slice that one shard depends on, whatever the layer."""
    whole = attribution(config, name, encoder, dataset, side)
    return AttributeSpec(attribution=whole, shard=shard)


def activations(
    config: Config, name: str, encoder: str, dataset: str, side: Side
) -> ActivationsSpec:
    """The slice that a side's active neurons depend on."""
    block = config.attributing(name, encoder, dataset)
    return ActivationsSpec(
        attribution=attribution(config, name, encoder, dataset, side),
        layers=config.attributed_layers(name, encoder, dataset),
        quiet=config.attributions[name].quiet,
        thresholds={key: sorted(values) for key, values in block.thresholds.items()},
        excluded_outliers=sorted(block.excluded_outliers),
    )


def ablate(config: Config, name: str, encoder: str, dataset: str, side: Side) -> AblateSpec:
    """The slice that setting neurons to zero depends on."""
    block, entry = config.attributing(name, encoder, dataset), config.attributions[name]
    return AblateSpec(
        attribution=attribution(config, name, encoder, dataset, side),
        layers=config.attributed_layers(name, encoder, dataset),
        texts=block.checked_texts,
        neurons=sorted(block.ablate.neurons),
        each_layer=sorted(block.ablate.each_layer),
        by=block.ablate.by,
        match=block.ablate.match,
        draws=block.ablate.draws,
        seed=block.seed,
        similarity="dot" if entry.target == "dot" else entry.similarity,
        samples=samples(config, dataset),
        candidates=_encoding(config, name, encoder, OTHER[side], partner=True),
    )


def remove(config: Config, encoder: str, dataset: str, side: Side) -> RemoveSpec:
    """The slice that removing neurons one by one depends on."""
    removing = config.removing(encoder, dataset)
    if removing is None:
        raise ValueError(f"the study removes nothing of {encoder} on {dataset}")
    removal, layers = removing

    def encoded(name: str, of: Side) -> EncodingSpec:
        whole = encoding(config, name, of)
        # The effects are small: their arithmetic is float32 whatever the encoder's.
        changes = {"normalise": False, "storage": "float32", "dtype": "float32"}
        changes["length"] = getattr(removal, f"{of}_length") or whole.length
        return whole.model_copy(update=changes)

    return RemoveSpec(
        encoding=encoded(encoder, side),
        candidates=encoded(config.removal_partners(encoder, dataset, side)[0], OTHER[side]),
        layers=layers,
        sublayers=config.removed_sublayers(encoder, dataset),
        samples=samples(config, dataset),
        texts=removal.texts,
        neurons=removal.neurons,
        group=removal.group,
        similarity=removal.similarity,
        seed=removal.seed,
    )


def agreement(config: Config, retriever: str, dataset: str) -> AgreementSpec:
    """The slice that rank correlations between a retriever's scores depend on."""
    block = config.checking(retriever, dataset)
    other = config.attributed_pairs().get(retriever)
    mine, theirs = (config.retrievers[name].encoders if name else {} for name in (retriever, other))
    removals: dict[Side, RemoveSpec] = {
        side: remove(config, encoder, dataset, side)
        for side, encoder in mine.items()
        if config.removing(encoder, dataset)
    }
    return AgreementSpec(
        encoders=mine,
        attributions=_summaries(config, retriever, mine, dataset),
        counterpart=other,
        others=theirs,
        counterparts=_summaries(config, retriever, theirs, dataset),
        removals={side: spec.digest for side, spec in removals.items()},
        readings={side: spec.reading for side, spec in removals.items()},
        texts=block.checked_texts,
        seed=block.seed,
    )


def _encoding(
    config: Config, name: str, attributed: str, side: Side, partner: bool = False
) -> EncodingSpec:
    """The side's encoding with what the attribution sets. partner: by the attributed encoder's."""
    entry = config.attributions[name]
    encoder = entry.partner(attributed) if partner else attributed
    whole = encoding(config, encoder, side)
    # Neither normalisation nor storage touches a score.
    changes = {"normalise": False, "storage": "float32"}
    if length := getattr(entry, f"{side}_length"):
        changes["length"] = length
    # The entry says how the attributed encoder computes; another one keeps its own arithmetic.
    if encoder == attributed and entry.dtype:
        changes["dtype"] = entry.dtype
    return whole.model_copy(update=changes)


def summary(
    config: Config, name: str, encoder: str, dataset: str, spec: AttributionSpec
) -> AttributionSummary:
    """What readers of a side's scores need of its slice."""
    return AttributionSummary(
        spec=spec.digest,
        reading=spec.reading,
        target=spec.target,
        sublayers=spec.sublayers,
        layers=config.attributed_layers(name, encoder, dataset),
        shards=spec.shards,
    )


def _summaries(
    config: Config, retriever: str, encoders: dict[Side, str], dataset: str
) -> dict[str, dict[Side, AttributionSummary]]:
    summaries: dict[str, dict[Side, AttributionSummary]] = {}
    for name in config.attributions_of(retriever, dataset) if encoders else []:
        for side, encoder in encoders.items():
            spec = attribution(config, name, encoder, dataset, side)
            summaries.setdefault(name, {})[side] = summary(config, name, encoder, dataset, spec)
    return summaries
