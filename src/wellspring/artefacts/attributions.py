"""Files of attributions: scores, what is counted of them, and what ablation and removal do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Qrels, Samples, Texts
from wellspring.artefacts.models import Model, variant
from wellspring.config import Config

if TYPE_CHECKING:
    from wellspring.inspection import Section

SELECTED = ("attributions.selection", "embeddings", "models.load")
SETTING = {
    "normaliser": Column("text", "what a score is divided by"),
    "excluded_outliers": Column("integer", "how many outlier units the normaliser leaves out"),
    "threshold": Column("number", "active: score / normaliser > threshold"),
}
NEURON = {
    "layer": Column("integer", "1 is the first block"),
    "sublayer": Column("text"),
    "neuron": Column("integer"),
}


@dataclass(frozen=True)
class AttributionShard(Artefact):
    """The scores of every neuron of one layer, for one shard of one side's texts.

    A text is quiet where its target changes by no more than rounding: its scale is 0 there, and
    readers leave it out in every layer.
    """

    template = (
        "attributions/{attribution}/{encoder}/{dataset}/{side}"
        "/layer-{layer:02d}/shard-{shard:03d}.parquet"
    )
    rule = "attribute"
    Slice = specs.AttributeSpec
    step = "attributions"
    sliced_by = ("attribution", "encoder", "dataset", "side", "shard")
    batched_by = "layer"
    columns = {
        "text_id": Column("text"),
        "partner_id": Column("text", "whose vector the target needs, where it needs one"),
        "full": Column("number", "F(1), the target of the whole text"),
        "positions": Column(
            "integer", "to how many the text was padded, where the target depends on it"
        ),
        "{sublayer}_scale": Column(
            "number", "the text's largest absolute score in that sub-layer; 0: quiet"
        ),
        "{sublayer}_change": Column("number", "F(1) − F(0) of the target"),
        "{sublayer}_residual": Column("number", "what the quadrature misses of it"),
        "{sublayer}_scores": Column(
            "vector", "absolute score of every neuron, as float16", "share of the scale"
        ),
        "{sublayer}_signed": Column("vector", "the same, signed", "share of the scale"),
        "{sublayer}_points": Column(
            "integer", "points that the text took, where `tolerance` is set"
        ),
    }
    attribution: str
    encoder: str
    dataset: str
    side: specs.Side
    layer: int
    shard: int

    def spec(self, config: Config) -> specs.AttributeSpec:
        return specs.attribute(
            config,
            *(self.attribution, self.encoder, self.dataset, self.side),
            self.shard,
        )

    @classmethod
    def batches(cls, config: Config) -> Mapping[Sequence[str], Sequence[Sequence[int]]]:
        leads = {
            (grid.attribution, encoder, grid.dataset): None
            for grid in config.attributed()
            for encoder in config.retrievers[grid.retriever].encoders.values()
        }
        most = config.study.layers_per_job
        return {lead: _even(config.attributed_layers(*lead), most) for lead in leads}

    def needs(self, config: Config) -> Mapping[str, Needed]:
        entry = config.attributions[self.attribution]
        graded = Samples if entry.target == "margin" else Qrels
        return {
            "texts": Texts(self.dataset),
            "judgements": graded(self.dataset),
            "model": Model.of_encoder(config, self.encoder),
            "partner": Model.of_encoder(config, entry.partner(self.encoder)),
        }

    @classmethod
    def told(cls, spec: specs.AttributeSpec) -> Mapping[str, Any]:
        whole = spec.attribution.model_dump(mode="json")
        return {"spec": whole, "shard": spec.shard}

    @classmethod
    def science(cls, spec: specs.AttributeSpec) -> Sequence[str]:
        whole = spec.attribution
        method = [] if whole.method == "weights" else ["attributions.methods"]
        fused = [
            f"attributions.{name}"
            for name in ("fused", "quadrature", "ranking", "scores", "targets")
        ]
        return [*SELECTED, *fused, *method, *variant(whole.encoding)]

    @classmethod
    def optional(cls) -> Sequence[str]:
        return ["partner_id", "positions"]

    def sections(self, results: Path) -> Iterable[Section]:
        from wellspring.artefacts import contents

        return contents.scores(self, results)


@dataclass(frozen=True)
class ActivationCounts(Artefact):
    """For how many texts each neuron is active."""

    panels = ("page.heat",)
    condensed = "page.heat:condensed"
    template = "activations/{attribution}/{encoder}/{dataset}/{side}.parquet"
    rule = "activations"
    Slice = specs.ActivationsSpec
    step = "activations"
    columns = {
        **NEURON,
        **SETTING,
        "texts": Column("integer", "how many texts there are"),
        "active": Column("integer", "for how many of them the neuron is active"),
    }
    attribution: str
    encoder: str
    dataset: str
    side: specs.Side

    def spec(self, config: Config) -> specs.ActivationsSpec:
        return specs.activations(config, self.attribution, self.encoder, self.dataset, self.side)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"scores": scores_of(config, **vars(self))}

    @classmethod
    def shown(cls, config: Config) -> Iterable[ActivationCounts]:
        sides = (
            cls(grid.attribution, encoder, grid.dataset, side)
            for grid in config.attributed()
            for side, encoder in config.retrievers[grid.retriever].encoders.items()
        )
        return dict.fromkeys(sides)

    @classmethod
    def science(cls, spec: specs.ActivationsSpec) -> Sequence[str]:
        return ["activations"]


@dataclass(frozen=True)
class ActivationTexts(ActivationCounts):
    """How every text's scores are spread over neurons, and how far they can be trusted."""

    panels = ()
    template = "activations/{attribution}/{encoder}/{dataset}/{side}.texts.parquet"
    columns = {
        "text_id": Column("text"),
        "layer": NEURON["layer"],
        "sublayer": NEURON["sublayer"],
        "measure": Column(
            "text",
            "`share_active`, `effective_number` (exponential of the entropy), `gini`; `residual`: "
            "|residual| / scale; `signal`: |F(1) − F(0)| / |F(1)|, how much of the target the "
            "sub-layer moves",
        ),
        **SETTING,
        "value": Column("number", "shares, not per cent; 1 … neurons for `effective_number`"),
    }


@dataclass(frozen=True)
class TopNeurons(ActivationCounts):
    """Which neurons have a text's largest score."""

    panels = ()
    template = "activations/{attribution}/{encoder}/{dataset}/{side}.top_neurons.parquet"
    columns = {
        "scope": Column("text", "the largest score of the `network` or of the `sublayer`"),
        **NEURON,
        "texts": Column("integer", "for how many texts"),
        "of": Column("integer", "of how many"),
    }


@dataclass(frozen=True)
class Ablations(Artefact):
    """What embeddings lose with a text's highest and lowest neurons, and with random ones."""

    template = "ablations/{attribution}/{encoder}/{dataset}/{side}.parquet"
    rule = "ablate"
    Slice = specs.AblateSpec
    step = "ablations"
    columns = {
        "text_id": Column("text"),
        "layer": Column("integer", "whose neurons they are; null: those of all layers"),
        "sublayer": Column("text"),
        "neurons": Column("integer", "so many neurons"),
        "by": Column(
            "text",
            "what takes the place of their outputs: `zero`, their `mean`, or `resample` (another "
            "text's)",
        ),
        "choice": Column(
            "text",
            "`top` or `bottom` by score, `random-as-top` or `random-as-bottom` with as many in "
            "each layer (and of each magnitude, where asked for)",
        ),
        "draw": Column("integer"),
        "shared": Column(
            "number",
            "of a random choice, what is also in the choice that it matches; above 0 where a layer "
            "has too few others",
            "share",
        ),
        "change": Column("number", "1 − cosine with the whole vector"),
        "length_change": Column("number", "relative change of the length"),
        "margin": Column("number", "s(q, p⁺) − mean s(q, p⁻), with the ablated vector"),
        "margin_before": Column("number", "with the whole vector"),
        "first": Column("number", "credit 0 … 1 that the positive ranks first, ablated"),
        "first_before": Column("number", "with the whole vector"),
    }
    attribution: str
    encoder: str
    dataset: str
    side: specs.Side

    def spec(self, config: Config) -> specs.AblateSpec:
        return specs.ablate(config, self.attribution, self.encoder, self.dataset, self.side)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        partner = config.attributions[self.attribution].partner(self.encoder)
        return {
            "scores": scores_of(config, **vars(self)),
            "texts": Texts(self.dataset),
            "samples": Samples(self.dataset),
            "model": Model.of_encoder(config, self.encoder),
            "candidates": Model.of_encoder(config, partner),
        }

    @classmethod
    def science(cls, spec: specs.AblateSpec) -> Sequence[str]:
        own = ["attributions.ablation", "attributions.replacement", "attributions.ranking"]
        return [*SELECTED, *own, *variant(spec.attribution.encoding)]


@dataclass(frozen=True)
class Removals(Artefact):
    """What embeddings lose with single neurons, or with small groups of them."""

    template = "removals/{encoder}/{dataset}/{side}.parquet"
    rule = "remove"
    Slice = specs.RemoveSpec
    step = "removals"
    columns = {
        "text_id": Column("text"),
        "layer": NEURON["layer"],
        "sublayer": NEURON["sublayer"],
        "neurons": Column(
            "list",
            "which were removed (set to zero) together; empty: none, so that the row is what "
            "rounding changes",
        ),
        "change": Column("number", "1 − cosine with the whole vector"),
        "length_change": Column("number", "relative change of the length"),
        "margin_change": Column("number", "change of s(q, p⁺) − mean s(q, p⁻)"),
    }
    encoder: str
    dataset: str
    side: specs.Side

    def spec(self, config: Config) -> specs.RemoveSpec:
        return specs.remove(config, self.encoder, self.dataset, self.side)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        other = config.removal_partners(self.encoder, self.dataset, self.side)[0]
        return {
            "texts": Texts(self.dataset),
            "samples": Samples(self.dataset),
            "model": Model.of_encoder(config, self.encoder),
            "candidates": Model.of_encoder(config, other),
        }

    @classmethod
    def science(cls, spec: specs.RemoveSpec) -> Sequence[str]:
        own = ["attributions.ablation", "attributions.removal", "attributions.ranking"]
        return [*SELECTED, *own, *variant(spec.encoding)]


def scores_of(
    config: Config, attribution: str, encoder: str, dataset: str, side: specs.Side
) -> list[AttributionShard]:
    """Every shard of one side's scores."""
    return [
        AttributionShard(attribution, encoder, dataset, side, layer, shard)
        for layer in config.attributed_layers(attribution, encoder, dataset)
        for shard in range(config.attributions[attribution].shards)
    ]


def _even(layers: Sequence[int], most: int) -> list[list[int]]:
    """The layers in parts of nearly the same size, at most so many each."""
    parts = -(-len(layers) // most)
    return [
        list(layers[len(layers) * part // parts : len(layers) * (part + 1) // parts])
        for part in range(parts)
    ]
