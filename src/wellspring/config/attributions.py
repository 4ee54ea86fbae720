"""Entries of attributions, and what a study attributes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from wellspring.config.base import Slug, Strict

Normaliser = Literal["network-max", "sublayer-max", "share-of-sum"]
Layer = Annotated[int, Field(ge=1, le=99)]
Threshold = Annotated[float, Field(ge=0, lt=1)]

SIMILARITIES = ("cosine", "dot", "margin")
"""Targets that a text shares with a partner."""

THRESHOLDS: dict[Normaliser, list[float]] = {
    "network-max": [0.01, 0.02, 0.05, 0.1, 0.2],
    "sublayer-max": [0.01, 0.02, 0.05, 0.1, 0.2],
    "share-of-sum": [0.0005, 0.001, 0.002, 0.005, 0.01],
}
"""What a study sweeps that names nothing else: a claim may hang on one normaliser alone."""


class Attribution(Strict):
    """Which number of a text's embedding is attributed to neurons, and how."""

    target: Literal["norm", "cosine", "dot", "margin", "pooler-norm", "padded-mean-norm"] = "norm"
    """The length of the vector before any normalisation; its similarity to a partner's vector (a
    query's positive, a passage's query), which is held constant; `margin`: that similarity less
    the mean one to the sample's hard negatives. `pooler-norm` (the first token's state through the
    model's own pooler; DPR has none) and `padded-mean-norm` (mean over padding, too) are the
    published ways of CLS and of mean pooling."""
    partners: dict[Slug, Slug] = Field(default={})
    """Encoder to the encoder of the other side, for retrievers that have two: its vectors are the
    partners, and the candidates of the ranking that ablation disturbs. Others are their own."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """Of `margin`, and of the ranking that ablation disturbs (that of `dot` is by dot)."""
    method: Literal[
        "weights", "integrated-gradients", "conductance", "gradient-x-activation", "activation"
    ] = "weights"
    """`weights`: integrated gradients of a sub-layer's weights, the published way. The others
    attribute to its outputs: integrated gradients from zero, conductance, gradient × activation,
    and the activation itself."""
    quadrature: Literal["gauss-legendre", "paper"] = "gauss-legendre"
    """Where the integral is evaluated; `paper`: 20 even points with equal weights."""
    points: int = Field(default=8, ge=1, le=512)
    """Points of `gauss-legendre`."""
    tolerance: float | None = Field(default=None, gt=0, lt=1)
    """Of `weights`: instead of `points` for all, nested rules of 1, 3, 7, 15 and 31 points, until
    no score of the text changes by more than this share of the sub-layer's largest."""
    sublayers: list[Literal["intermediate", "output", "up"]] = Field(
        default=["intermediate", "output"], min_length=1
    )
    """Linear sub-layers of every block; `up` where a gated network has one."""
    texts: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """How many texts a side, of the test split's queries and positive passages."""
    seed: int = 42
    """Chooses the texts and their partners."""
    query_length: int | None = Field(default=None, ge=3)
    """Longest query in tokens; the encoder's where left out."""
    passage_length: int | None = Field(default=None, ge=3)
    """Longest passage in tokens; the encoder's where left out."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Arithmetic of the model; the encoder's where left out. Sums are in float32 at least."""
    shards: int = Field(default=1, ge=1, le=999)
    """Jobs a layer."""

    def partner(self, encoder: str) -> str:
        """The encoder of the other side."""
        return self.partners.get(encoder, encoder)

    @model_validator(mode="after")
    def _applicable(self) -> Attribution:
        if self.quadrature == "paper" and self.method != "weights":
            raise ValueError("quadrature paper needs method: weights")
        if self.tolerance and (self.method, self.quadrature) != ("weights", "gauss-legendre"):
            raise ValueError("tolerance needs method: weights and quadrature: gauss-legendre")
        if self.texts != "all" and self.shards > self.texts:
            raise ValueError(f"{self.texts} texts cannot fill {self.shards} shards")
        return self


class Maps(Strict):
    """Which activity the heat maps show."""

    normaliser: Normaliser = "network-max"
    """What scores are divided by."""
    left_out: int = Field(default=0, ge=0)
    """Outlier units that the normaliser leaves out."""
    threshold: Threshold = 0.1
    """A neuron is active above it."""
    threshold_of: dict[Slug, Threshold] = Field(default={})
    """Another threshold for the maps of some retrievers; published: 0.01 of decoders."""
    bins: int = Field(default=10, ge=1, le=1000)
    """Neurons are drawn in so many bins."""
    statistic: Literal["max", "mean"] = "max"
    """Of a bin's neurons."""


class Attributing(Strict):
    """What is attributed: every attribution × retriever × dataset × side × layer."""

    attributions: list[Slug] = Field(min_length=1)
    """Names under `attributions`."""
    retrievers: list[Slug] = Field(min_length=1)
    """Names under `retrievers`."""
    only: dict[Slug, Annotated[list[Slug], Field(min_length=1)]] = Field(default={})
    """Attributions that are made of some of these retrievers alone."""
    datasets: list[Slug] = Field(min_length=1)
    """Names under `datasets`."""
    layers: Literal["all"] | list[Layer] = "all"
    """All blocks, or a list; 1 is the first block."""
    thresholds: dict[Normaliser, list[Threshold]] = Field(default=THRESHOLDS)
    """Normaliser to the quotients above which a neuron is active: the text's largest score in the
    network (published), its largest in the sub-layer, or the sum over the sub-layer. A normaliser
    that is not named keeps its default; an empty list leaves it out."""
    left_out: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 1], min_length=1)
    """How many outlier units (dimensions of the residual stream, or single inner neurons) the
    normaliser leaves out."""
    ablate: list[Annotated[int, Field(ge=1)]] = Field(default=[10, 100], min_length=1)
    """How many neurons are set to zero: a text's highest, its lowest, and random ones."""
    draws: int = Field(default=3, ge=1)
    """Random choices of neurons a text."""
    checked_texts: int = Field(default=200, ge=2)
    """At most so many texts a side enter the checks: ablation and rank correlations."""
    seed: int = 42
    """Of random neurons and of the texts that correlations are held against."""
    maps: Maps = Maps()
    """Which activity the heat maps show."""

    @field_validator("thresholds")
    @classmethod
    def _swept(cls, given: dict[str, list[float]]) -> dict[str, list[float]]:
        swept = {name: values for name, values in {**THRESHOLDS, **given}.items() if values}
        if not swept:
            raise ValueError("names no threshold")
        return swept
