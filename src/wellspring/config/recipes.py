"""Entries of recipes: how `train:` models are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wellspring.config.base import Slug, Strict
from wellspring.config.vocabulary import (
    DISTILLING,
    Decline,
    ObjectiveName,
    Paradigm,
    Similarity,
)

Share = Annotated[float, Field(ge=0, lt=1)]


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


class Recipe(Strict):
    """How a model is trained, on pairs of query and passage of a training split: contrastively,
    with the other passages of a batch as negatives, or after a teacher, or both."""

    datasets: list[Slug] = Field(min_length=1)
    """Their training splits are learned from, as one. Validation and test splits are never seen."""
    paradigm: Paradigm = "dense"
    """`dense`: a vector is pooled from the last layer's states. `sparse`: it has a weight for every
    word of the vocabulary, log(1 + relu(max over the tokens of the word's logit)), of a head for
    masked words (SPLADE, Formal et al. 2021) or, where there is none, of a decoder's head with
    logits times (hidden size)^(−1/4) and without its begin token (arXiv 2502.15526)."""
    pooling: Literal["cls", "mean", "eos"] | None = None
    """As of an encoder: how token states become the vector that is trained; of `dense`, which needs
    it."""
    flops: Flops | None = None
    """Of `sparse`: what makes the vectors sparse; where left out, its defaults."""
    top_terms: int | None = Field(default=None, ge=1)
    """Of `sparse`: so many words of a text, the heaviest, are kept when a model is used; 512 where
    left out. Training sees all."""
    query_template: str = "{text}"
    """How a query is written for the model."""
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
    """A retriever whose last layer scores each query's own passages, for objectives that follow a
    teacher."""
    teacher_temperature: float = Field(default=0.05, gt=0)
    """Of `kl`: the teacher's similarities are divided by it, the student's by `temperature`."""
    similarity: Similarity = "cosine"
    """What student and teacher compare vectors by; inner products where vectors are sparse."""
    temperature: float = Field(default=0.05, gt=0)
    """Similarities are divided by it; `margin-mse` has none. 0.05 is the usual one of cosines
    (SimCSE); RepLLaMA has 0.01. Inner products need it to be given: DPR has 1. Those of sparse
    vectors have 1 where it is left out (arXiv 2502.15526 has none)."""
    negatives: int = Field(default=0, ge=0)
    """Hard negatives of each query, beside the other passages of its batch."""
    batch: int = Field(default=64, ge=2)
    """Queries of a step. A passage that answers another query of the batch, too, is no negative
    there."""
    gradient_cache: int | None = Field(default=None, ge=1)
    """So many texts run through the model at once, and gradients are cached between it and the
    objective (GradCache, Gao et al. 2021): memory does not grow with the batch, and every text runs
    twice. Where left out, the activations of the whole batch are kept."""
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
    neither this nor `steps` nor `budget_flops` is given."""
    steps: int | None = Field(default=None, ge=1)
    """How many batches are seen."""
    budget_flops: float | None = Field(default=None, gt=0)
    """As many batches as this number of floating-point operations pays for, forward and backward,
    up to half a batch: what makes models of different size comparable."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward pass; weights and their updates stay in float32."""
    seed: int = 0
    """Of the order of the examples, the hard negatives, fresh updates and dropout."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_sparse(cls, given: Any) -> Any:
        if not (isinstance(given, Mapping) and given.get("paradigm") == "sparse"):
            return given
        usual = {"similarity": "dot", "temperature": 1.0, "flops": {}, "top_terms": 512}
        return {**usual, **{name: each for name, each in given.items() if each is not None}}

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        self._fits_paradigm()
        for name in ("query_template", "passage_template"):
            if getattr(self, name).count("{text}") != 1:
                raise ValueError(f"{name} must contain {{text}} exactly once")
        if sum(each is not None for each in (self.epochs, self.steps, self.budget_flops)) > 1:
            raise ValueError("give one of epochs, steps and budget_flops")
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

    def _fits_paradigm(self) -> None:
        if self.paradigm == "dense":
            if self.pooling is None:
                raise ValueError("pooling: missing: dense vectors are pooled by cls, mean or eos")
            for name in ("flops", "top_terms"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: is for paradigm: sparse")
            return
        if self.pooling is not None:
            raise ValueError("pooling: is for paradigm: dense: sparse vectors take a maximum")
        if self.similarity != "dot":
            raise ValueError("similarity: sparse vectors are compared by dot")
        if "kl" in self.objective and "teacher_temperature" not in self.model_fields_set:
            raise ValueError("teacher_temperature: missing: its default is for cosines")
