"""The words that configuration, its slices and the science share: each set of them stands here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Side = Literal["query", "passage"]
"""The two sides of a retriever."""
OTHER: dict[Side, Side] = {"query": "passage", "passage": "query"}

Scorer = Literal["bm25", "word-tfidf", "character-tfidf", "character-bm25"]
"""How words, or pieces of words, rank passages: see `wellspring.datasets.lexical`."""
Miner = Literal[Scorer, "random"]
"""What finds hard negatives: a lexical scorer, or chance."""
StopWords = Literal["english", "none"]
Unspaced = Literal["pairs", "runs"]
"""Which words lexical scorers leave out."""
Split = Literal["train", "validation", "test"]
"""The splits of samples."""
SplitUnit = Literal["query", "sample"]
"""What stays whole when samples are split."""
SplitPassages = Literal["shared", "disjoint"]
"""Whether a passage may be a candidate in two splits."""

FactSet = Literal[
    "statements",
    "practice",
    "taught",
    "open-book",
    "open-book-held-out-relation",
    "same-wording",
    "held-out-question",
    "held-out-passage",
    "held-out-relation",
    "held-out-fact",
]
"""From which side a dataset of invented facts shows its world: see `wellspring.datasets.facts`."""

Rows = Literal["all", "first-half", "second-half"]
"""Which output rows of a linear layer belong to a sub-layer."""
SublayerName = Literal["intermediate", "output", "up"]
"""The linear maps of a block's feed-forward network."""
Pooling = Literal["cls", "mean", "eos", "last-position"]
"""How token states become one vector."""
Swept = Literal["query_template", "passage_template", "query_length", "passage_length"]
"""Keys of an encoder that a sweep varies."""
Dtype = Literal["float32", "bfloat16", "float16"]
"""Arithmetic of a model."""
HeadName = Literal["masked", "causal"]
"""Of a vocabulary head: it tells a hidden word, or the next one."""
Storage = Literal["float16", "float32"]
"""Precision of stored vectors."""

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
"""Probes and their controls: see `wellspring.probes`."""
Schedule = Literal["constant", "cosine"]
"""How the step size falls over the epochs."""
Selection = Literal["loss", "accuracy"]
"""Which validation value chooses the epoch."""
Start = Literal["zero", "uniform"]
"""Starting weights of probes."""
Order = Literal["fixed", "redrawn"]
"""Of a sample's candidates."""

Stage = Literal["contrastive-pretraining", "fine-tuning", "mlm", "clm", "mntp"]
"""What a model is trained for: see `wellspring.training`."""
LANGUAGE: dict[Stage, HeadName] = {"mlm": "masked", "clm": "causal", "mntp": "causal"}
"""The stages that learn words of texts, and the vocabulary head that each of them needs."""
ObjectiveName = Literal["infonce", "margin-mse", "kl", "infonce+kl"]
"""What training minimises: see `wellspring.training.objectives`."""
DISTILLING: tuple[ObjectiveName, ...] = ("margin-mse", "kl", "infonce+kl")
"""Those that follow a teacher."""
Paradigm = Literal["dense", "sparse"]
"""What a retriever's vectors are: pooled states, or weights of words."""
TopTerms = Annotated[int, Field(ge=1)] | Literal["all"]
"""How many words of a text keep their weights, the heaviest first."""
TermWeights = Literal["logits", "probabilities"]
"""What the weights of words are made of: see `wellspring.sparse`."""
Decline = Literal["linear", "cosine", "constant"]
"""How the learning rate of a training run falls."""

Domain = Literal["in-domain", "zero-shot", "not known"]
"""Whether a retriever learned from a dataset, or from another part of its collection."""
Condition = Literal["none", "seen", "unseen", "not known"]
"""The instruction that a query is written with: none, one that was trained on, or another."""

TargetName = Literal["norm", "cosine", "dot", "margin", "pooler-norm", "padded-mean-norm"]
"""Which number of an embedding is attributed."""
Similarity = Literal["cosine", "dot"]
"""How two vectors are compared."""
Measure = Literal[Similarity, "logit", "given"]
"""What a teacher's scores are: similarities of vectors, the output of a cross-encoder, or what a
file says."""
OutputMethod = Literal[
    "integrated-gradients", "conductance", "relp", "gradient-x-activation", "activation"
]
"""Methods that attribute to a sub-layer's outputs: see `wellspring.attributions.methods`."""
MethodName = Literal["weights", OutputMethod]
"""All methods: `weights` attributes to a sub-layer's weights."""
Quadrature = Literal["gauss-legendre", "paper"]
"""Where the integral of a method is evaluated."""
Wording = Literal["original", "paraphrase"]
"""Which wording of a query is attributed."""
ReplacedBy = Literal["zero", "mean", "resample"]
"""What takes the place of a neuron's output."""
Match = Literal["layer", "magnitude"]
"""What random neurons have in common with those that they are compared with."""
Choice = Literal["top", "bottom", "random-as-top", "random-as-bottom"]
"""Which of a text's neurons are ablated."""
Normaliser = Literal["network-max", "sublayer-max", "sublayer-mean", "share-of-sum"]
"""What scores are divided by."""
Statistic = Literal["max", "mean"]
"""Of the neurons in a bin of a heat map."""
