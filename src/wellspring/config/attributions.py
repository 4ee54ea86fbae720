"""Entries of attributions, and what a study attributes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from wellspring.config.base import Slug, Strict
from wellspring.config.vocabulary import (
    Choice,
    Dtype,
    Match,
    MethodName,
    Normaliser,
    Quadrature,
    ReplacedBy,
    Similarity,
    Statistic,
    SublayerName,
    TargetName,
    Wording,
)

Layer = Annotated[int, Field(ge=1, le=99)]
Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

MATCHED: dict[Choice, Choice] = {"top": "random-as-top", "bottom": "random-as-bottom"}
"""A choice by scores, and the random one that matches it."""

SIMILARITIES = ("cosine", "dot", "margin")
"""Targets that a text shares with a partner."""

MULTIPLES: tuple[Normaliser, ...] = ("sublayer-mean",)
"""Normalisers whose quotients may exceed 1."""

THRESHOLDS: dict[Normaliser, list[float]] = {
    "network-max": [0.01, 0.02, 0.05, 0.1, 0.2],
    "sublayer-max": [0.01, 0.02, 0.05, 0.1, 0.2],
    "sublayer-mean": [0.5, 1, 2, 5, 10],
}
"""What a study sweeps that names nothing else: a claim may depend on one normaliser alone."""


class Padding(Strict):
    """To how many positions a text is padded; exactly one of the keys."""

    batch: int | None = Field(default=None, ge=1)
    """The longest of so many texts, in the order in which the attribution takes its texts: the
    published way has batches of 8."""
    length: int | None = Field(default=None, ge=3)
    """So many for every text; a longer text keeps its own length."""

    @model_validator(mode="after")
    def _one(self) -> Padding:
        if (self.batch is None) == (self.length is None):
            raise ValueError("must have either batch or length")
        return self


class Attribution(Strict):
    """Which number of a text's embedding is attributed to neurons, and how."""

    target: TargetName = "norm"
    """The length of the vector before any normalisation; its similarity to a partner's vector (a
    query's positive, a passage's query), which is held constant; `margin`: that similarity less
    the mean one to the sample's hard negatives. `pooler-norm` (the first token's state through the
    model's own pooler; DPR has none) and `padded-mean-norm` (mean over padding, too) are the
    published ways of CLS and of mean pooling."""
    partners: dict[Slug, Slug] = Field(default={})
    """Encoder to the encoder of the other side, for retrievers that have two: its vectors are the
    partners, and the candidates of the ranking that ablation changes. An encoder that is not named
    is its own partner."""
    similarity: Similarity = "cosine"
    """How two vectors are compared: for `margin`, and in the ranking that ablation changes. Under
    target `dot` that ranking is by dot product."""
    method: MethodName = "weights"
    """`weights`: integrated gradients of a sub-layer's weights, the published way. The others
    attribute to its outputs: integrated gradients from zero, conductance, relevance patching
    (built-in architectures alone), gradient × activation, and the activation itself."""
    quadrature: Quadrature = "gauss-legendre"
    """Where the integral is evaluated; `paper`: 20 even points with equal weights."""
    points: int = Field(default=8, ge=1, le=512)
    """Points of `gauss-legendre`."""
    tolerance: float | None = Field(default=None, gt=0, lt=1)
    """For method `weights`, in the place of `points`: each text takes nested rules of 1, 3, 7, 15
    and 31 points, until no score changes by more than this share of the sub-layer's largest."""
    sublayers: list[SublayerName] = Field(default=["intermediate", "output"], min_length=1)
    """Linear sub-layers of every block; `up` where a gated network has one."""
    texts: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """How many texts a side, of the test split's queries and positive passages."""
    text: Wording = "original"
    """Which wording of a query is attributed. `paraphrase`: another wording, under the query's id,
    so that the two sets of scores can be compared; the dataset must have some. Passages stay."""
    seed: int = 42
    """Chooses the texts and their partners."""
    query_length: int | None = Field(default=None, ge=3)
    """Longest query in tokens; the encoder's where left out."""
    passage_length: int | None = Field(default=None, ge=3)
    """Longest passage in tokens; the encoder's where left out."""
    padding: Padding | None = None
    """To how many positions the texts are padded, where the target depends on it: under
    `padded-mean-norm` and under `last-position` pooling. The longest query or passage where left
    out."""
    dtype: Dtype | None = None
    """Arithmetic of the model; the encoder's where left out. Sums are in float32 at least."""
    quiet: float = Field(default=0.05, ge=0, lt=1)
    """The share of a side's texts, rounded up, that may be quiet in some layer: their target
    changes by no more than rounding when the weights are scaled. They are left out in every layer.
    More are an error."""
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
            raise ValueError(f"shards is {self.shards}, above texts ({self.texts}): lower it")
        return self


class Ablation(Strict):
    """Which neurons are ablated, how, and which random ones they are compared with."""

    neurons: list[Count] = Field(default=[10, 100], min_length=1)
    """How many of a text's highest and of its lowest neurons are ablated."""
    each_layer: list[Count] = Field(default=[])
    """How many of the highest and of the lowest neurons of one layer are ablated, one layer after
    the other: what the table of evidence sets beside that layer's probes and searches. Each number
    takes as long as another number of `neurons` in every layer; none where left out."""
    by: Annotated[
        list[ReplacedBy],
        BeforeValidator(
            lambda given: [given] if isinstance(given, str) else given,
            json_schema_input_type=ReplacedBy | list[ReplacedBy],
        ),
    ] = Field(default=["zero"], min_length=1)
    """What takes the place of a neuron's output, one or several: zero, its mean over the tokens of
    the ablated texts, or its output at a random token of another text (`resample`)."""
    match: Match = "layer"
    """Random neurons are as many in each layer and sub-layer as those that they are compared with.
    `magnitude`: also as many in each tenth of the layer's neurons by magnitude, which is activation
    × norm of the outgoing weights."""
    draws: int = Field(default=3, ge=1)
    """Random choices for each of the two."""


class Removal(Strict):
    """The measured effect of removing neurons, which the scores of every method are compared
    with."""

    texts: int = Field(default=16, ge=1)
    """How many texts a side, of the test split's samples."""
    neurons: int = Field(default=64, ge=2)
    """Neurons, or groups of them, that are drawn in each layer and sub-layer; each is removed
    alone."""
    group: int = Field(default=1, ge=1)
    """Neurons that are removed together."""
    similarity: Similarity = "cosine"
    """How the margin to the sample's hard negatives is measured."""
    query_length: int | None = Field(default=None, ge=3)
    """Longest query in tokens; the encoder's where left out."""
    passage_length: int | None = Field(default=None, ge=3)
    """Longest passage in tokens; the encoder's where left out."""
    seed: int = 42
    """Chooses texts and neurons. Attributions of the same seed have the same texts, but for queries
    that have no sample."""


class Maps(Strict):
    """Which activity the heat maps show."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, given: Any) -> Any:
        if isinstance(given, dict) and "threshold_of" in given:
            raise ValueError(
                "threshold_of is replaced by blocks: give those retrievers a block of their own "
                "with maps: {threshold: …}"
            )
        return given

    normaliser: Normaliser = "network-max"
    """What scores are divided by."""
    excluded_outliers: int = Field(default=0, ge=0)
    """Outlier units that the normaliser leaves out."""
    threshold: Threshold = 0.1
    """A neuron is active above it; published: 0.1, of decoders 0.01."""
    bins: int = Field(default=10, ge=1, le=1000)
    """Neurons are drawn in so many bins."""
    statistic: Statistic = "max"
    """Of a bin's neurons."""


class Attributing(Strict):
    """A block of what is attributed: every attribution × retriever × dataset × side × layer of
    it."""

    attributions: list[Slug] = Field(min_length=1)
    """Names under `attributions`."""
    retrievers: list[Slug] = Field(min_length=1)
    """Names under `retrievers`; what they are compared with is attributed with them."""
    datasets: list[Slug] = Field(min_length=1)
    """Names under `datasets`."""
    layers: Literal["all"] | list[Layer] = "all"
    """All blocks, or a list; 1 is the first block."""
    thresholds: dict[Normaliser, list[Threshold]] = Field(default=THRESHOLDS)
    """Normaliser to the quotients above which a neuron is active: the text's largest score in the
    network (published), its largest, its mean or its sum in the sub-layer. A normaliser that is not
    named keeps its default; an empty list leaves it out. Multiples of the mean are alike in
    networks of any width, shares of the sum are not."""
    excluded_outliers: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 1], min_length=1)
    """How many outlier units (dimensions of the residual stream, or single inner neurons) the
    normaliser leaves out."""
    ablate: Annotated[
        Ablation,
        BeforeValidator(
            lambda given: {"neurons": given} if isinstance(given, list) else given,
            json_schema_input_type=Ablation | list[Count],
        ),
    ] = Ablation()
    """Which neurons are ablated, and how; a list of numbers stands for its `neurons`."""
    removal: Removal | None = None
    """Neurons whose removal is measured, to see which method predicts it; none where left out. One
    block's removal serves the attributions of the same retrievers in all blocks."""
    checked_texts: int = Field(default=200, ge=2)
    """At most so many texts a side enter the checks: ablation and rank correlations."""
    seed: int = 42
    """Of random neurons and of the texts that correlations are held against."""
    maps: Maps = Maps()
    """Which activity the heat maps show."""

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, given: Any) -> Any:
        if isinstance(given, dict) and "draws" in given:
            raise ValueError(f"draws belongs to ablate: write ablate: {{draws: {given['draws']}}}")
        if isinstance(given, dict) and "only" in given:
            raise ValueError(
                "only is replaced by blocks: make attribute a list of blocks, each with its own "
                "attributions, retrievers and datasets"
            )
        return given

    @field_validator("thresholds")
    @classmethod
    def _swept(cls, given: dict[str, list[float]]) -> dict[str, list[float]]:
        swept = {name: values for name, values in {**THRESHOLDS, **given}.items() if values}
        if not swept:
            raise ValueError("names no threshold")
        for name, values in swept.items():
            if name not in MULTIPLES and max(values) >= 1:
                raise ValueError(
                    f"{name}: a quotient never exceeds 1: thresholds must be below 1 "
                    f"(those of {', '.join(MULTIPLES)} may be above)"
                )
        return swept
