"""Entries of recipes: how `train:` models are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wellspring.config.base import Fraction, Slug, Strict
from wellspring.config.vocabulary import (
    DISTILLING,
    LANGUAGE,
    Decline,
    ObjectiveName,
    Paradigm,
    Similarity,
    Stage,
    TermWeights,
)

_PAIRS: tuple[Stage, ...] = ("fine-tuning",)
_VECTORS: tuple[Stage, ...] = ("contrastive-pretraining", *_PAIRS)
_HIDING: tuple[Stage, ...] = ("mlm", "mntp")
STAGES: Mapping[str, tuple[Stage, ...]] = {
    "crop": ("contrastive-pretraining",),
    "mask": _HIDING,
    "mask_token": _HIDING,
    "paradigm": _VECTORS,
    "pooling": _VECTORS,
    "flops": _VECTORS,
    "top_terms": _VECTORS,
    "term_weights": _VECTORS,
    "query_template": _PAIRS,
    "instructions": _PAIRS,
    "passage_template": (*_PAIRS, *LANGUAGE),
    "query_length": _VECTORS,
    "objective": _PAIRS,
    "teacher": _PAIRS,
    "teacher_temperature": _PAIRS,
    "similarity": _VECTORS,
    "temperature": _VECTORS,
    "negatives": _PAIRS,
    "gradient_cache": _VECTORS,
}
"""The stages that use a key of a recipe, for keys that not all stages use."""
PARADIGMS: Mapping[str, Paradigm] = {
    "pooling": "dense",
    "flops": "sparse",
    "top_terms": "sparse",
    "term_weights": "sparse",
}
"""The paradigm that uses a key of a recipe, for keys that not both use."""
Share = Annotated[float, Field(ge=0, lt=1)]
Crop = Annotated[float, Field(gt=0, le=1)]


class Lora(Strict):
    """Low-rank updates of linear layers; all other weights stay (Hu et al. 2021)."""

    rank: int = Field(default=16, ge=1)
    """Rank of every update."""
    alpha: int = Field(default=32, ge=1)
    """An update is multiplied with alpha / rank."""
    dropout: Share = 0
    """Of what goes into the updates."""
    targets: list[str] = Field(min_length=1)
    """The linear layers that get an update, by the last parts of their names, as PEFT reads them:
    `query`, `attention.output.dense`."""


class Flops(Strict):
    """A regulariser that makes vectors sparse: Σ over the words of (mean over the texts of their
    weights)², for each side times a weight (Paria et al. 2020). SPLADE++ takes 0.5 for queries and
    0.4 for passages, with a ramp over a third of its 150,000 steps."""

    query: float = Field(default=0.05, ge=0)
    """The weight for queries: 0.05 is that of arXiv 2502.15526, for decoders."""
    passage: float = Field(default=0.04, ge=0)
    """The weight for passages: 0.04 is that of arXiv 2502.15526."""
    ramp: Share = 1 / 3
    """Share of the steps in which both rise from 0, with the square of the step."""


def written_with(template: str, instruction: str) -> str:
    """A query's template with an instruction in its place."""
    return template.replace("{instruction}", instruction)


class Instructions(Strict):
    """What queries of a dataset are written with, in the place of `{instruction}`."""

    seen: list[str] = Field(min_length=1)
    """Each training sample's query is written with one of them, drawn from the seed and the
    sample's id. An empty one leaves its place empty."""
    unseen: list[str] = Field(default=[])
    """Never trained on. Validation queries are looked at with them, too."""

    @model_validator(mode="after")
    def _apart(self) -> Instructions:
        both = [*self.seen, *self.unseen]
        if twice := next((each for each in both if both.count(each) > 1), None):
            raise ValueError(f"{twice!r} stands there twice: take one out")
        if wrong := next((each for each in both if "{text}" in each), None):
            raise ValueError(f"{wrong!r} must not contain {{text}}: query_template has it")
        return self


class Recipe(Strict):
    """How a model is trained, on pairs of query and passage of a training split: contrastively,
    with the other passages of a batch as negatives, or after a teacher, or both."""

    datasets: list[Slug] = Field(min_length=1)
    """Their training splits are learned from, as one. Validation and test splits are never seen."""
    stage: Stage = "fine-tuning"
    """`fine-tuning`: queries are to find their passages. `contrastive-pretraining`: a crop of a
    text is to find another crop of it, among those of the batch's other texts (Contriever, Izacard
    et al. 2022). The others learn words. `mlm`: hidden ones, of an encoder (Devlin et al. 2019).
    `clm`: the next one, of a decoder. `mntp`: hidden ones, of a decoder whose attention is made
    bidirectional, from the position before (LLM2Vec, BehnamGhader et al. 2024). The texts of all
    but `fine-tuning` are the passages of the training samples, less those that answer a query of
    another split."""
    paradigm: Paradigm = "dense"
    """`dense`: a vector is pooled from the last layer's states. `sparse`: it has a weight for every
    word of the vocabulary, log(1 + relu(max over the tokens of the word's logit)), of a head for
    masked words (SPLADE, Formal et al. 2021) or, where there is none, of a decoder's head with
    logits times (hidden size)^(−1/4) and without its begin token (arXiv 2502.15526)."""
    crop: tuple[Crop, Crop] = (0.05, 0.5)
    """Of `contrastive-pretraining`: the shortest and the longest crop, as shares of the tokens that
    `passage_length` leaves of a text. The default is Contriever's, whose texts are chunks of 256
    tokens."""
    mask: float = Field(default=0.15, gt=0, lt=1)
    """Of `mlm` and `mntp`: the share of a text's tokens that is hidden, at least one. Of these 80 %
    become the mask token, 10 % a random token, and 10 % stay. 0.15 is BERT's; ModernBERT has 0.3,
    LLM2Vec 0.2 for Llama."""
    mask_token: str | None = None
    """Of `mlm` and `mntp`: what hidden tokens become. Where left out, the tokenizer's own mask
    token; where it has none, `_`, as LLM2Vec does with Llama."""
    fraction: float = Field(default=1, gt=0, le=1)
    """Share of the training queries that is learned from. The queries of a smaller fraction are
    among those of a larger one, under the same seed: what studies of data efficiency vary."""
    weights: dict[Slug, Annotated[float, Field(gt=0)]] | None = None
    """Dataset to its weight, one for each of `datasets`. Each example's dataset is then drawn in
    proportion to the weights, and every dataset runs through orders of its own. Where left out,
    datasets are drawn in proportion to their examples."""
    pooling: Literal["cls", "mean", "eos"] | None = None
    """As of an encoder: how token states become the vector that is trained. Dense vectors need it;
    it is missing where vectors are sparse, and where words are learned."""
    flops: Flops | None = None
    """Of `sparse`: what makes the vectors sparse; where left out, its defaults."""
    top_terms: int | None = Field(default=None, ge=1)
    """Of `sparse`: so many words of a text, the heaviest, are kept when a model is used; 512 where
    left out. Training sees all."""
    term_weights: TermWeights | None = None
    """Of `sparse`: what the weights of words are made of. `logits`, where left out: as published.
    `probabilities`: each logit becomes the logarithm of how many times the word is as probable as
    one among equals. A decoder's logits may all lie far above 0, since no probability changes where
    those of a token rise alike. `probabilities` keeps the logits of a pass for the gradient: give
    gradient_cache."""
    query_template: str = "{text}"
    """How a query is written for the model; `{instruction}` is where one of its dataset's
    instructions stands: `"Instruct: {instruction}\\nQuery: {text}"`."""
    instructions: dict[Slug, Instructions] = Field(default={})
    """Dataset to its instructions, for each of `datasets`, where the template has a place for
    them. Instructions are not cut. An encoder on the model writes one of them into its template."""
    passage_template: str = "{text}"
    """How a passage is written for the model."""
    query_length: int = Field(default=64, ge=3)
    """Longest query in tokens, template and special tokens included; the text alone is cut."""
    passage_length: int = Field(default=128, ge=3)
    """Longest passage in tokens, likewise."""
    objective: ObjectiveName = "infonce"
    """`infonce`: a query is to find its positive among the passages of its batch (van den Oord et
    al. 2018). `margin-mse`: its positive is to stand above each of its hard negatives by as much as
    the teacher says (Hofstätter et al. 2020). `kl`: its own passages are to be chosen as often as
    the teacher chooses them. `infonce+kl`: the mean of both."""
    teacher: Slug | None = None
    """What scores each query's own passages, for objectives that follow a teacher: a name under
    `teachers`, or a retriever, whose last layer is compared."""
    teacher_temperature: float = Field(default=0.05, gt=0)
    """The teacher's scores are divided by it. `kl` divides the student's by `temperature`; 0.05 is
    for cosines, and an entry of `teachers` needs it to be given: logits that were trained by
    cross-entropy have 1. `margin-mse` has 1 where it is left out. Raise it where the teacher's
    margins are many times those that the student begins with."""
    similarity: Similarity = "cosine"
    """What the student compares vectors by, and so does a teacher that is a retriever. It is `dot`
    where vectors are sparse."""
    temperature: float = Field(default=0.05, gt=0)
    """Similarities are divided by it; `margin-mse` has none. 0.05 is the usual one of cosines
    (SimCSE); RepLLaMA has 0.01. Inner products need it to be given: DPR has 1. Those of sparse
    vectors have 1 where it is left out (arXiv 2502.15526 has none)."""
    negatives: int = Field(default=0, ge=0)
    """Hard negatives of each query, beside the other passages of its batch."""
    batch: int = Field(default=64, ge=2)
    """Queries of a step, or texts where words are learned. A passage that answers another query of
    the batch, too, is no negative there."""
    gradient_cache: int | None = Field(default=None, ge=1)
    """So many texts run through the model at once, and gradients are cached between it and the
    objective (GradCache, Gao et al. 2021): memory does not grow with the batch, and all texts run
    twice but the first passages, which are the longest. Where left out, the activations of the
    whole batch are kept."""
    lora: Lora | None = None
    """Low-rank updates in place of training all weights; they are merged at the end."""
    learning_rate: float = Field(default=2e-5, gt=0)
    """The highest one, of AdamW. 2e-5 is DPR's, for all weights; LoRA takes about 1e-4 to 1e-3."""
    decline: Decline = "linear"
    """How the learning rate falls behind the warm-up."""
    warmup: Share = 0.1
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0, ge=0)
    """Of AdamW, on matrices alone."""
    max_gradient_norm: float = Field(default=1, gt=0)
    """Gradients are scaled down to this norm where theirs is larger."""
    epochs: float | None = Field(default=None, gt=0)
    """How often the examples are seen. Batches are full: what is left over is not seen. 1 where
    neither this nor `steps` nor `budget_flops` is given. With `weights`, too, an epoch is as many
    examples as all datasets have together: some are seen more often then, and some less."""
    steps: int | None = Field(default=None, ge=1)
    """How many batches are seen."""
    budget_flops: float | None = Field(default=None, gt=0)
    """As many batches as this number of floating-point operations pays for, forward and backward,
    up to half a batch: what makes models of different size comparable."""
    checkpoints: list[Fraction] = Field(default=[])
    """Shares of the steps, rising, of which each is kept once it is done: the model as it is then,
    for entries with `source: checkpoint:MODEL`, and MRR@10 of the validation queries."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward pass; weights and their updates stay in float32."""
    seed: int = 0
    """Of the choice and order of the examples, the hard negatives, fresh updates and dropout."""

    @property
    def query_templates(self) -> list[str]:
        """How queries are written: the template, with each instruction, or with an empty one."""
        lists = [[*each.seen, *each.unseen] for each in self.instructions.values()]
        instructions = dict.fromkeys(["", *(each for own in lists for each in own)])
        return [written_with(self.query_template, each) for each in instructions]

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any) -> Any:
        """Those that an objective or a paradigm brings, where the stage has their keys."""
        if not isinstance(given, Mapping):
            return given
        usual: dict[str, Any] = {}
        stage = given.get("stage", "fine-tuning")
        if given.get("objective") == "margin-mse" and stage in STAGES["teacher_temperature"]:
            usual["teacher_temperature"] = 1.0
        if given.get("paradigm") == "sparse" and stage in STAGES["paradigm"]:
            usual |= {"similarity": "dot", "temperature": 1.0, "flops": {}, "top_terms": 512}
            usual["term_weights"] = "logits"
        told = {key: each for key, each in given.items() if each is not None or key not in usual}
        return {**usual, **told}

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for name in ("query_template", "passage_template"):
            if getattr(self, name).count("{text}") != 1:
                raise ValueError(f"{name} must contain {{text}} exactly once")
        if sum(each is not None for each in (self.epochs, self.steps, self.budget_flops)) > 1:
            raise ValueError("give one of epochs, steps and budget_flops")
        pooled = self.stage not in LANGUAGE and self.paradigm == "dense"
        if pooled and self.pooling is None:
            raise ValueError(f"pooling: missing: the stage {self.stage} trains vectors")
        if sorted({*self.checkpoints}) != self.checkpoints:
            raise ValueError("checkpoints must rise from one to the next")
        follows = self.objective in DISTILLING
        if follows and (self.teacher is None or not self.negatives):
            raise ValueError(
                f"the objective {self.objective} needs a teacher, and negatives for it to judge"
            )
        if self.teacher is not None and not follows:
            raise ValueError(f"teacher: the objective {self.objective} follows none")
        passages = self.batch * (1 + self.negatives)
        if self.gradient_cache is not None and self.gradient_cache >= passages:
            raise ValueError(
                f"gradient_cache must be below the passages of a batch ({passages}), or it saves "
                "nothing"
            )
        tempered = self.objective != "margin-mse"
        if tempered and self.similarity == "dot" and "temperature" not in self.model_fields_set:
            raise ValueError("temperature: missing: inner products have no usual one (DPR's is 1)")
        return self
