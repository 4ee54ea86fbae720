"""Every entry of config.yaml with its default: the source of the schema.

Catalogues (models, encoders, retrievers, datasets) are mappings from a name to a definition; the
study selects from them by name. Unknown keys are errors.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SLUG = r"[a-z0-9]+(?:[-_.][a-z0-9]+)*"
"""Names become folders: lower case, digits, single inner dashes, dots and underscores."""

Slug = Annotated[str, Field(pattern=f"^{SLUG}$", max_length=64)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]

PUBLISHED = ("train", "dev", "validation", "test")
"""Splits that a source may publish."""

ProbeKind = Literal[
    "concat",
    "passage-scorer",
    "interaction",
    "bilinear",
    "shuffled-query",
    "random-label",
    "cosine",
    "cosine-standardised",
    "bm25",
]


class Strict(BaseModel):
    """Unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Model(Strict):
    """Where weights come from."""

    source: str = Field(pattern=r"^(package|path|random|hub):.+$")
    """`package:MODULE` (an installed package that carries a checkpoint), `path:DIR` (a checkpoint
    folder, relative to the file that names it) or `random:MODEL` (the architecture and tokenizer
    of another entry, fresh weights)."""
    architecture: Literal["bert", "llama"]
    """The module under `wellspring.models` that knows the checkpoint's classes."""
    layers: int = Field(ge=1, le=99)
    """Transformer blocks; checked against the checkpoint. Layer 0 is the embedding output. At most
    99: file names have two digits."""
    seed: int = 0
    """Seed of the fresh weights; `random:` alone reads it."""

    @property
    def scheme(self) -> str:
        """The part of the source before the colon."""
        return self.source.partition(":")[0]

    @property
    def place(self) -> str:
        """The part of the source behind the colon."""
        return self.source.partition(":")[2]


class Encoder(Strict):
    """A model with everything that turns a text into a vector at every layer."""

    model: Slug
    """A name under `models`."""
    pooling: Literal["cls", "mean", "eos"]
    """First token, mean over the tokens, or last token; padding never counts."""
    query_template: str = "{text}"
    """How a query is written for the model."""
    passage_template: str = "{text}"
    """How a passage is written for the model."""
    query_length: int = Field(default=128, ge=3)
    """Longest query in tokens, special tokens included."""
    passage_length: int = Field(default=512, ge=3)
    """Longest passage in tokens, special tokens included."""
    normalise: bool = False
    """Divide every vector by its L2 norm."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the forward pass."""
    storage: Literal["float16", "float32"] = "float16"
    """Precision of the stored vectors."""

    @model_validator(mode="after")
    def _templates(self) -> Encoder:
        for name in ("query_template", "passage_template"):
            if getattr(self, name).count("{text}") != 1:
                raise ValueError(f"{name} must contain {{text}} exactly once")
        return self


class Retriever(Strict):
    """A query encoder and a passage encoder, often the same one."""

    query: Slug
    """The encoder of the queries."""
    passage: Slug | None = None
    """The encoder of the passages; the query encoder where left out."""
    compared_with: Slug | None = None
    """The retriever that this one is set against, usually the one on the untrained backbone."""

    @property
    def encoders(self) -> dict[str, str]:
        """Side to encoder name."""
        return {"query": self.query, "passage": self.passage or self.query}


class Negatives(Strict):
    """Which hard negatives a sample gets."""

    count: int = Field(default=4, ge=1)
    """Hard negatives a sample; fewer in the source are oversampled, none drops the sample."""
    mined: Literal["bm25"] | None = None
    """Mine them with BM25 where the source has none (or its own are not wanted)."""
    depth: int = Field(default=20, ge=1)
    """Mined negatives are drawn from the first `depth` passages that BM25 finds."""
    seed: int = 42
    """Seed of the draw."""

    @model_validator(mode="after")
    def _deep_enough(self) -> Negatives:
        if self.mined and self.depth < self.count:
            raise ValueError(f"depth {self.depth} is less than count {self.count}")
        return self


class Splits(Strict):
    """Training, validation and test samples; splits that the source publishes are kept."""

    by: Literal["query", "sample"] = "query"
    """`query`: no query on two sides. `sample`: the published way, which leaks queries."""
    test: Fraction = 0.2
    """A share of the queries, or samples."""
    validation: Fraction = 0.12
    """A share of what is not test."""
    seed: int = 42
    """Seed of the split."""


class Bm25(Strict):
    """The lexical scorer that mines negatives and serves as the `bm25` control."""

    k1: float = Field(default=0.9, gt=0)
    """How soon repeating a word stops to count."""
    b: float = Field(default=0.4, ge=0, le=1)
    """How much length is held against a passage: a low b prefers long ones."""


class _Dataset(Strict):
    negatives: Negatives = Negatives()
    """Which hard negatives a sample gets."""
    splits: Splits = Splits()
    """How samples are split, where the source publishes no splits."""
    bm25: Bm25 = Bm25()
    """The lexical scorer that mines negatives and serves as a control."""
    shards: int = Field(default=1, ge=1, le=1000)
    """Pieces in which a side is embedded, one job each."""


class _FileDataset(_Dataset):
    source: str | dict[Slug, str]
    """A path, or a path for each published split (train, dev, validation, test); relative to the
    file that names it."""
    sha256: Sha256 | dict[Slug, Sha256] | None = None
    """Checked before reading, where given: of the one file, or of files by their split."""


class Pydocs(_Dataset):
    """Docstrings of the standard library and of the locked packages: summary line, body."""

    format: Literal["pydocs"]
    """How the source is read."""
    entries: int = Field(default=4000, ge=10)
    """How many docstrings are kept, chosen by hash."""
    seed: int = 42
    """Seed of that choice."""
    lock: str = "requirements.lock"
    """Names the packages that are read; relative to the file that names it, the default to the
    workflow's own."""


class Jsonl(_FileDataset):
    """Lines of `{"query": str, "pos": [str], "neg": [str]}`."""

    format: Literal["jsonl"]
    """How the source is read."""


class Beir(_FileDataset):
    """A folder with corpus.jsonl, queries.jsonl and qrels/*.tsv."""

    format: Literal["beir"]
    """How the source is read."""
    source: str
    """The folder; relative to the file that names it."""
    sha256: None = None
    """A folder has none."""
    judged_only: bool = False
    """Keep only the passages that some query judges."""

    @field_validator("sha256", mode="before")
    @classmethod
    def _no_digest(cls, value: Any) -> None:
        if value is not None:
            raise ValueError("source is a folder, and only files are checked: leave this out")


class Dpr(_FileDataset):
    """DPR's JSON (positive_ctxs, hard_negative_ctxs), plain or gzip."""

    format: Literal["dpr"]
    """How the source is read."""
    max_negatives: int | None = Field(default=None, ge=1)
    """Keep so many hard negatives a query, the first ones: what is kept is what is embedded."""


Dataset = Annotated[Pydocs | Jsonl | Beir | Dpr, Field(discriminator="format")]


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
    """Starting weights; `uniform` is what a fresh linear layer gets, and the published way."""
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
        ],
        min_length=1,
    )
    """The published probe (`concat`) and its controls."""
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    """Each draws its own negatives, orders and starts."""
    rank: int = Field(default=16, ge=1)
    """Rank of the `bilinear` probe."""
    optimiser: Optimiser = Optimiser()
    """How the trained probes are fitted."""


class Findings(Strict):
    """How differences are tested."""

    alpha: Fraction = 0.05
    """Family-wise error rate below which a difference is significant."""
    permutations: int = Field(default=10_000, ge=100)
    """Sign flips of the max-T test."""
    resamples: int = Field(default=2_000, ge=100)
    """Bootstrap resamples of the intervals."""
    similarity_texts: int = Field(default=2_000, ge=10)
    """At most so many texts a side enter the representation similarity."""
    seed: int = 42
    """Seed of permutations, resamples and the choice of texts."""


class Study(Strict):
    """What is computed from the catalogues."""

    name: Slug
    """Names the folder under results/studies."""
    probe: Probing
    """What is probed."""
    findings: Findings = Findings()
    """How differences are tested."""


class Config(Strict):
    """A whole configuration: catalogues and the study that selects from them."""

    models: dict[Slug, Model]
    """Where weights come from."""
    encoders: dict[Slug, Encoder]
    """How texts become vectors."""
    retrievers: dict[Slug, Retriever]
    """Query encoder and passage encoder."""
    datasets: dict[Slug, Dataset]
    """Queries, passages and judgements."""
    study: Study
    """What is computed from them."""

    def layers(self, retriever: str) -> list[int]:
        """The layers at which a retriever is probed."""
        if self.study.probe.layers != "all":
            return sorted(set(self.study.probe.layers))
        return list(range(self.depth(retriever) + 1))

    def depth(self, retriever: str) -> int:
        """Transformer blocks of a retriever's (query) model."""
        return self.models[self.encoders[self.retrievers[retriever].query].model].layers

    def pairs(self) -> dict[str, str]:
        """Each probed retriever that is compared, and what with."""
        chosen = {name: self.retrievers[name].compared_with for name in self.study.probe.retrievers}
        return {name: other for name, other in chosen.items() if other}
