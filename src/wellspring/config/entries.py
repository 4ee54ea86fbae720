"""The entries of config.yaml with their defaults: the source of the schema.

Catalogues (models, encoders, retrievers, datasets, attributions) are mappings from a name to a
definition; the study selects from them by name. Unknown keys are errors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator

from wellspring.config.attributions import Attributing, Attribution
from wellspring.config.base import Fraction, Slug, Strict
from wellspring.config.datasets import SCORERS, Dataset, Scorer
from wellspring.config.models import Architecture, Encoder, Model, Retriever

ProbeKind = Literal[
    "concat",
    "passage-scorer",
    "interaction",
    "bilinear",
    "shuffled-query",
    "random-label",
    "cosine",
    "cosine-standardised",
    Scorer,
    "lexical",
]
LAYERLESS = (*SCORERS, "lexical")
"""The kinds that read texts, not vectors: they say the same at every layer."""


class Optimiser(Strict):
    """How the trained probes are fitted."""

    learning_rate: float = Field(default=0.005, gt=0)
    """Adam's step size."""
    epochs: int = Field(default=60, ge=1)
    """Passes over the training samples."""
    batch_size: int = Field(default=32768, ge=1)
    """Samples in an optimiser step."""
    weight_decay: float = Field(default=1.0, ge=0)
    """λ of the penalty λ/2 ‖W‖² added to the mean cross-entropy; biases are free."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the step size falls over the epochs."""
    standardise: bool = True
    """Scale every feature by the training split's mean and standard deviation."""
    select: Literal["loss", "accuracy"] = "loss"
    """The best epoch is the one with the best validation value of this."""
    initial: Literal["zero", "uniform"] = "zero"
    """Starting weights; `uniform` is what a fresh linear layer gets, and the published way. An
    `interaction` always starts as the cosine."""
    order: Literal["fixed", "redrawn"] = "fixed"
    """Of a sample's candidates: one draw a seed, or new negatives in a new order in every epoch and
    in every evaluation of one, the published way."""
    patience: int | None = Field(default=None, ge=1)
    """Stop when so many epochs brought no better validation value."""


class Probing(Strict):
    """What is probed: every retriever × dataset × layer × passage count."""

    retrievers: list[Slug] = Field(min_length=1)
    """Names under `retrievers`."""
    datasets: list[Slug] = Field(min_length=1)
    """Names under `datasets`."""
    passages: list[Annotated[int, Field(ge=2, le=99)]] = Field(default=[2, 3, 4, 5], min_length=1)
    """N: one positive and N − 1 hard negatives."""
    layers: Literal["all"] | list[Annotated[int, Field(ge=0, le=99)]] = "all"
    """All of them, or a list; 0 is the embedding output."""
    kinds: list[ProbeKind] = Field(
        default=[
            "concat",
            "passage-scorer",
            "interaction",
            "shuffled-query",
            "random-label",
            "cosine",
            "cosine-standardised",
            "bm25",
            "character-tfidf",
            "lexical",
        ],
        min_length=1,
    )
    """The published probe (`concat`) and its controls. `lexical` is the lexical scorer of the
    dataset that ranks its validation samples best."""
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    """Each draws its own negatives, orders and starts, and splits (see a dataset's `splits`)."""
    rank: int = Field(default=16, ge=1)
    """Rank of the `bilinear` probe."""
    portions: list[Fraction] = Field(default=[0.03125, 0.0625, 0.125, 0.25, 0.5])
    """Rising shares of the training split where the blocks of the online code end; the probes are
    fitted to each share, too. An empty list: no code length and no curve over the size."""
    optimiser: Optimiser = Optimiser()
    """How the trained probes are fitted."""

    @field_validator("portions")
    @classmethod
    def _rising(cls, portions: list[float]) -> list[float]:
        if portions != sorted(set(portions)):
            raise ValueError(f"{portions} do not rise: name each share once, the smallest first")
        return portions


class Findings(Strict):
    """How differences are tested."""

    alpha: Fraction = 0.05
    """Family-wise error rate below which a difference is significant."""
    permutations: int = Field(default=10_000, ge=100)
    """Sign flips of the max-T test."""
    margin: float = Field(default=0.1, gt=0, lt=1)
    """A relative change of the share of active neurons this small counts as none, in the verdicts
    on claims; of (accuracy − chance) / (1 − chance) half as much."""
    similarity_texts: int = Field(default=2_000, ge=10)
    """At most so many texts a side enter the representation similarity."""
    seed: int = 42
    """Seed of the flips and of the choice of texts."""


class Published(Strict):
    """Published curves that the study's own are set against."""

    source: str
    """A CSV file (dataset, retriever, passages, layer, correct, samples), relative to the file that
    names it."""
    curves: dict[Slug, str] = Field(default={})
    """Retriever to the name of its curve, where the two differ."""


class Study(Strict):
    """What is computed from the catalogues."""

    name: Slug
    """Names the folder under results/studies."""
    probe: Probing
    """What is probed."""
    attribute: Attributing | None = None
    """What is attributed to neurons; nothing where left out."""
    findings: Findings = Findings()
    """How differences are tested."""
    groups: dict[Slug, Annotated[list[Slug], Field(min_length=1)]] = Field(default={})
    """Retrievers that share a figure of accuracy over layers, as far as they are probed; one figure
    of all, where left out."""
    published: Published | None = None
    """Published curves to compare with."""


class Config(Strict):
    """A whole configuration: catalogues and the study that selects from them."""

    architectures: dict[Slug, Architecture] = Field(default={})
    """Model families beyond the built-in ones."""
    models: dict[Slug, Model]
    """Where weights come from."""
    encoders: dict[Slug, Encoder]
    """How texts become vectors."""
    retrievers: dict[Slug, Retriever]
    """Query encoder and passage encoder."""
    datasets: dict[Slug, Dataset]
    """Queries, passages and judgements."""
    attributions: dict[Slug, Attribution] = Field(default={})
    """How embeddings are attributed to neurons."""
    study: Study
    """What is computed from them."""
    _twins: dict[str, list[str]] = PrivateAttr(default={})

    def twins(self) -> dict[str, list[str]]:
        """Retrievers on random weights that were drawn several times: the first to all of them."""
        return self._twins

    def is_further_draw(self, retriever: str) -> bool:
        """Whether a retriever is a random twin beside the first: it has no figures of its own."""
        return any(retriever in names[1:] for names in self._twins.values())

    def layers(self, retriever: str) -> list[int]:
        """The layers at which a retriever is probed."""
        if self.study.probe.layers != "all":
            return sorted(set(self.study.probe.layers))
        return list(range(self.depth(retriever) + 1))

    def depth(self, retriever: str) -> int:
        """Transformer blocks of a retriever's (query) model."""
        return self.models[self.encoders[self.retrievers[retriever].query].model].layers

    def is_fresh(self, retriever: str) -> bool:
        """Whether a retriever's (query) model was never trained."""
        model = self.models[self.encoders[self.retrievers[retriever].query].model]
        return model.scheme == "random"

    def pooling(self, retriever: str) -> str:
        """The pooling of a retriever's query encoder."""
        return self.encoders[self.retrievers[retriever].query].pooling

    def curve(self, retriever: str) -> str:
        """A retriever's published name: its own where the study gives no other."""
        published = self.study.published
        return (published.curves if published else {}).get(retriever, retriever)

    def curves(self) -> dict[str, str]:
        """Each probed retriever's published name."""
        return {name: self.curve(name) for name in self.study.probe.retrievers}

    def blocks(self, encoder: str) -> list[int]:
        """The blocks of an encoder that are attributed; none where the study attributes nothing."""
        wanted = self.study.attribute
        if wanted is None:
            return []
        if wanted.layers != "all":
            return sorted(set(wanted.layers))
        return list(range(1, self.models[self.encoders[encoder].model].layers + 1))

    def datasets_used(self) -> list[str]:
        """The datasets that the study probes or attributes."""
        attributed = self.study.attribute.datasets if self.study.attribute else []
        return list(dict.fromkeys([*self.study.probe.datasets, *attributed]))

    def encoders_used(self) -> list[str]:
        """The encoders that the study probes or attributes."""
        wanted = self.study.attribute
        names = [*self.study.probe.retrievers, *(wanted.retrievers if wanted else [])]
        used = [name for each in names for name in self.retrievers[each].encoders.values()]
        return list(dict.fromkeys(used))

    def groups(self) -> dict[str, list[str]]:
        """The probed retrievers of each group that has some."""
        probed = self.study.probe.retrievers
        groups = {
            group: [name for name in names if name in probed]
            for group, names in self.study.groups.items()
        }
        return {group: names for group, names in groups.items() if names}

    def pairs(self) -> dict[str, str]:
        """Each probed retriever that is compared, and what with."""
        return self._pairs(self.study.probe.retrievers)

    def attributed_pairs(self) -> dict[str, str]:
        """Each attributed retriever that is compared, and what with."""
        return self._pairs(self.study.attribute.retrievers if self.study.attribute else [])

    def attributed(self) -> list[tuple[str, str]]:
        """Each attribution with each retriever that it is made of."""
        wanted = self.study.attribute
        return [
            (attribution, retriever)
            for attribution in (wanted.attributions if wanted else [])
            for retriever in wanted.retrievers
            if retriever in wanted.only.get(attribution, wanted.retrievers)
        ]

    def attributions_of(self, retriever: str) -> list[str]:
        """The attributions that are made of a retriever."""
        return [attribution for attribution, name in self.attributed() if name == retriever]

    def attributed_partners(self, encoder: str, side: str) -> list[str]:
        """The encoders of the other side of the attributed retrievers that have it on this one."""
        wanted = self.study.attribute.retrievers if self.study.attribute else []
        other = {"query": "passage", "passage": "query"}[side]
        sides = [self.retrievers[name].encoders for name in wanted]
        return list(dict.fromkeys(each[other] for each in sides if each[side] == encoder))

    def sublayers_attributed(self, encoder: str) -> list[str]:
        """The sub-layers of an encoder that some attribution scores, in a fixed order."""
        names = {
            sublayer
            for attribution, retriever in self.attributed()
            if encoder in self.retrievers[retriever].encoders.values()
            for sublayer in self.attributions[attribution].sublayers
        }
        return sorted(names)

    def agreeing(self) -> list[str]:
        """The attributed retrievers whose scores have something to agree with: other scores, or
        what removal does."""
        wanted = self.study.attribute
        if wanted is None:
            return []
        pairs = self.attributed_pairs()
        return [
            name
            for name in wanted.retrievers
            if (count := len(self.attributions_of(name)))
            and (wanted.removal or name in pairs or count > 1)
        ]

    def _pairs(self, retrievers: list[str]) -> dict[str, str]:
        chosen = {name: self.retrievers[name].compared_with for name in retrievers}
        return {name: other for name, other in chosen.items() if other}
