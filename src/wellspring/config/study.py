"""What a study computes from the catalogues: blocks of what is probed and attributed, and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from wellspring.config.attributions import Attributing
from wellspring.config.base import Fraction, Slug, Strict
from wellspring.config.datasets import SCORERS
from wellspring.config.indexes import Index
from wellspring.config.vocabulary import Order, ProbeKind, Schedule, Selection, Start

MEASURE = r"^(nDCG|MRR|R|P|AP|Success)@[1-9][0-9]*$"
"""What names a measure of retrieval."""
MEASURES = ("nDCG@10", "MRR@10", "R@10", "R@100", "R@1000")
MeasureName = Annotated[str, Field(pattern=MEASURE)]
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
    schedule: Schedule = "cosine"
    """How the step size falls over the epochs."""
    standardise: bool = True
    """Scale every feature by the training split's mean and standard deviation."""
    select: Selection = "loss"
    """The best epoch is the one with the best validation value of this."""
    initial: Start = "zero"
    """Starting weights; `uniform` is what a fresh linear layer gets, and the published way. An
    `interaction` always starts as the cosine."""
    order: Order = "fixed"
    """Of a sample's candidates: one draw a seed, or new negatives in a new order in every epoch and
    in every evaluation of one, the published way."""
    patience: int | None = Field(default=None, ge=1)
    """Stop when so many epochs brought no better validation value."""


class Probing(Strict):
    """A block of what is probed: every retriever × dataset × layer × passage count of it."""

    retrievers: list[Slug] = Field(min_length=1)
    """Names under `retrievers`; what they are compared with is probed with them."""
    datasets: list[Slug] = Field(min_length=1)
    """Names under `datasets`."""
    passages: list[Annotated[int, Field(ge=2, le=99)]] = Field(default=[2, 3, 4, 5], min_length=1)
    """N: one positive and N − 1 hard negatives."""
    layers: Literal["all", "last"] | list[Annotated[int, Field(ge=0, le=99)]] = "all"
    """All of them, the last one of each retriever, or a list; 0 is the embedding output."""
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


class Searching(Strict):
    """A block of what is searched: the whole corpus of each dataset by each retriever."""

    retrievers: list[Slug] = Field(min_length=1)
    """Names under `retrievers`; what they are compared with is searched with them."""
    datasets: list[Slug] = Field(min_length=1)
    """Names under `datasets`."""
    layers: Literal["all", "last"] | list[Annotated[int, Field(ge=0, le=99)]] = "all"
    """All of them, the last one of each retriever, or a list; 0 is the embedding output."""
    queries: Literal["test", "validation", "train", "all"] = "test"
    """The split whose judged queries are asked. Splits are those of the samples: where a source
    publishes no train split, `test` is a share of its queries, and `all` takes every one."""
    depth: int = Field(default=1000, ge=1)
    """So many passages are ranked for each query."""
    measures: list[MeasureName] = Field(default=[*MEASURES], min_length=1)
    """Measures with a depth, as ir_measures names them. The first one chooses the best lexical
    scorer and the best layer."""
    indexes: list[Index] = Field(default=[])
    """Approximate indexes of the last of the layers, a mapping each: `{kind: graph}`, or `{kind:
    lists}`. What they find, their size and their speed are set beside exact search."""
    keep: bool = True
    """Whether the vectors of the passages are stored. Where they are not, each shard of the corpus
    is encoded, searched and dropped: for a corpus that is too large to store. The results are the
    same. Two blocks may differ in it, if no encoder's passages of a dataset are in both."""

    @field_validator("indexes")
    @classmethod
    def _once(cls, indexes: list[Index]) -> list[Index]:
        built = [index.built for index in indexes]
        for index in indexes:
            if built.count(index.built) > 1:
                raise ValueError(
                    f"the same {index.kind} index stands here twice: name it once, with all its "
                    f"{'ef_search' if index.kind == 'graph' else 'probes'}"
                )
        return indexes


class Findings(Strict):
    """How differences are tested."""

    alpha: Fraction = 0.05
    """Family-wise error rate below which a difference is significant."""
    permutations: int = Field(default=10_000, ge=100)
    """Sign flips of the max-T test."""
    margin: float = Field(default=0.1, gt=0, lt=1)
    """A relative change of the share of active neurons this small counts as none, in the verdicts
    on claims; of (accuracy − chance) / (1 − chance) half as much."""
    retrieval_margin: float = Field(default=0.02, gt=0, lt=1)
    """A difference of a retrieval measure this small counts as none, in the dimensions."""
    similarity_texts: int = Field(default=2_000, ge=10)
    """At most so many texts a side enter the representation similarity."""
    seed: int = 42
    """Seed of the flips and of the choice of texts."""


class Ladder(Strict):
    """Models of several sizes that are made alike: every base × chain of recipes × seed becomes a
    model, an encoder and a retriever, named BASE-RECIPE-RECIPE.SEED."""

    bases: list[Slug] = Field(min_length=1)
    """A name under `models` for each size. A `random:` one is drawn anew for each seed."""
    chains: list[list[Slug]] = Field(min_length=1)
    """Recipes that are applied one after the other; an empty list is the base as it is. Chains that
    begin alike share the models of their beginning."""
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    """Of all fresh weights and all training; three are the fewest that show a variance."""
    learning_rates: dict[Slug, Annotated[list[float], Field(min_length=1)]] = Field(default={})
    """Recipe to the learning rates that are tried where it is the last of a chain. The best one of
    each size on validation data is kept, and told. Else a recipe has its own. Name as many for all
    recipes that are compared."""
    encoder: dict[str, Any]
    """Settings of all encoders: `{pooling: mean, query_length: 32}`."""


class Scaling(Strict):
    """Which models stand on a ladder of sizes, and on what they are compared."""

    ladders: Annotated[
        list[Ladder],
        BeforeValidator(lambda given: blocks(given), json_schema_input_type=Ladder | list[Ladder]),
    ] = Field(default=[])
    """What makes the models, so that they need no entries of their own."""
    retrievers: list[Slug] = Field(default=[])
    """Names under `retrievers` that stand on ladders beside those of `ladders`. Size, seed, stage,
    objective and paradigm follow from their models and recipes."""
    datasets: list[Slug] = Field(min_length=1)
    """Names under `datasets`: on which they are probed, by the cosine of the last layer."""
    measures: list[MeasureName] = Field(default=[])
    """What they are measured by beside that: the whole corpus of each dataset is then searched with
    the last layer, or with the terms of a sparse model, which has no other measure. The ledger of
    claims takes the first one."""
    in_domain: list[Slug] | None = None
    """Those of them whose texts are of the kind that models learn from; claims on other domains are
    asked of the rest. Claims on domains are not asked where it is left out."""
    passages: Annotated[int, Field(ge=2, le=99)] = 5
    """N: one positive and N − 1 hard negatives."""


class Published(Strict):
    """Published curves that the study's own are set against."""

    source: str
    """A CSV file (dataset, retriever, passages, layer, correct, samples), relative to the file that
    names it."""
    curves: dict[Slug, str] = Field(default={})
    """Retriever to the name of its curve, where the two differ."""


def blocks(given: Any) -> Any:
    """The blocks of a section of the study: one may stand without a list."""
    if given is None:
        return []
    return [given] if isinstance(given, Mapping) else given


class Study(Strict):
    """What is computed from the catalogues."""

    name: Slug = "study"
    """Names the folder under results/studies; the name of the last configuration file where left
    out."""
    probe: Annotated[
        list[Probing],
        BeforeValidator(blocks, json_schema_input_type=Probing | list[Probing] | None),
    ] = Field(default=[])
    """What is probed: a block, or a list of blocks, each with settings of its own; nothing where
    left out. A retriever has the same settings in all blocks that probe it on a dataset, which may
    add layers or passages."""
    search: Annotated[
        list[Searching],
        BeforeValidator(blocks, json_schema_input_type=Searching | list[Searching] | None),
    ] = Field(default=[])
    """What is searched: a block, or a list of blocks; nothing where left out. A dataset has the
    same settings in all blocks that search it, but for `layers` and `keep`."""
    attribute: Annotated[
        list[Attributing],
        BeforeValidator(blocks, json_schema_input_type=Attributing | list[Attributing] | None),
    ] = Field(default=[])
    """What is attributed to neurons: a block, or a list of blocks, each with settings of its own;
    nothing where left out."""
    layers_per_job: int = Field(default=4, ge=1)
    """So many layers of a side are attributed by one job, at most. It loads the model once. Fewer
    layers make more jobs that run side by side. The results are the same."""
    findings: Findings = Findings()
    """How differences are tested."""
    groups: dict[Slug, Annotated[list[Slug], Field(min_length=1)]] = Field(default={})
    """Retrievers that share a figure of accuracy over layers, as far as they are probed; one figure
    of all, where left out."""
    published: Published | None = None
    """Published curves to compare with."""
    scaling: Scaling | None = None
    """Ladders of models: what a doubling of parameters, operations or tokens brings, and whether it
    is the same for two objectives, paradigms, stages or datasets."""
