"""A run from texts to a trained model: what a recipe makes of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wellspring import sparse
from wellspring.budgets import TOKENS, WINDOW, logit_tokens
from wellspring.config import Recipe
from wellspring.embeddings import Tokens, tokenise
from wellspring.errors import WellspringError
from wellspring.models.load import Backbone
from wellspring.sparse import SparseModel
from wellspring.specs import EncodingSpec, TrainSpec
from wellspring.training import adaptation, batches, examples, loop, prices, quality
from wellspring.training.encoding import Encoding, SparseEncoding
from wellspring.training.examples import Examples
from wellspring.training.ledger import Ledger
from wellspring.training.objectives import Aim, Objective, Regulariser, similarities
from wellspring.training.shapes import shapes

Tokenised = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
"""The tokens of every query, and of every passage."""


@dataclass(frozen=True)
class Material:
    """What is learned from, of all datasets as of one: see `wellspring.training.examples`."""

    texts: pl.DataFrame
    samples: pl.DataFrame
    scores: pl.DataFrame | None = None
    """A teacher's, where the objective follows one."""


@dataclass(frozen=True)
class Run:
    """A model that is ready to be trained, and all that its training depends on."""

    recipe: Recipe
    encoding: Encoding
    batches: batches.Batches
    ledger: Ledger
    """What the whole run costs."""
    in_full: int
    """The operations that training all weights would take."""
    parameters: int
    """Of the model that it begins with."""
    held: Examples | None
    """Validation queries; None where there are none."""
    held_tokens: Tokenised
    vocabulary: int | None = None
    """Words of sparse vectors; None: they are dense."""

    @property
    def facts(self) -> dict[str, Any]:
        """Its counts. Seconds are no part of what a model is: they stand in the log."""
        return {
            "examples": len(self.batches.examples.ids),
            "steps": len(self.batches),
            "trained_parameters": adaptation.trained(self.encoding.model),
            "parameters": self.parameters,
            "ledger": self.ledger.as_json() | {"flops_in_full": self.in_full},
        }

    def rate(self, step: int) -> float:
        """The learning rate of a step that is counted from 0."""
        schedule = _schedule(self.recipe)
        return schedule.peak * schedule.share(step, len(self.batches))

    def quality(self) -> float | None:
        """The first part of `validated`."""
        return self.validated()[0]

    def validated(self) -> tuple[float | None, quality.Sparsity | None]:
        """MRR@10 of the validation queries, among the passages that answer one of them, of the
        model as it is, and how sparse these vectors are; None without such queries, and for vectors
        that are dense."""
        if self.held is None:
            return None, None
        padding, recipe, sparsity = self.batches.padding, self.recipe, None
        if self.vocabulary is None:
            queries, passages = (
                quality.vectors(self.encoding, tokens, padding) for tokens in self.held_tokens
            )
            scores = similarities(queries, passages, recipe.similarity).numpy()
        else:
            weights = [
                quality.sparse_vectors(self.encoding, tokens, padding, recipe.top_terms)
                for tokens in self.held_tokens
            ]
            terms = (round(each.nnz / each.shape[0], 2) for each in weights)
            sparsity = quality.Sparsity(*terms, vocabulary=self.vocabulary)
            scores = (weights[0] @ weights[1].T).toarray()
        ranks = quality.reciprocal_ranks(scores, self.held.relevant)
        return round(float(ranks.mean()), 4), sparsity

    def optimise(
        self,
        state: loop.State | None,
        save: Callable[[loop.State], None],
        follow: Callable[[int, float], None],
    ) -> list[float]:
        """Train the model in place; gives each step's loss. See `wellspring.training.loop`."""
        recipe = self.recipe
        aim = Aim(
            recipe.objective, recipe.similarity, recipe.temperature, recipe.teacher_temperature
        )
        objective = partial(
            Objective,
            aim=aim,
            gradient_cache=recipe.gradient_cache,
            regulariser=Regulariser(**recipe.flops.model_dump()) if recipe.flops else None,
        )
        settings = loop.Settings(
            _schedule(recipe),
            recipe.weight_decay,
            recipe.max_gradient_norm,
            recipe.dtype == "bfloat16",
            recipe.seed,
        )
        device = next(self.encoding.parameters()).device.type
        return loop.optimise(
            self.encoding, objective, self.batches, settings, state, save, follow, device
        )

    def merged(self) -> Any:
        """The model as it was built, with what was learned in its weights."""
        return adaptation.merged(self.encoding.model, self.recipe.lora)


def prepare(
    backbone: Backbone, folder: Path, spec: TrainSpec, material: Material, tokens: int
) -> Run:
    """Make a run ready.

    folder: the checkpoint, of which sparse vectors take the vocabulary head. tokens: of a forward
    pass, padding included; fewer where a head's logits would take much memory.

    Raises WellspringError where nothing can be learned from the material, where the batches or the
    budget do not fit, where LoRA names layers that the model lacks, where it lacks the head that
    sparse vectors need, and for a model that lies on several devices.
    """
    recipe = spec.recipe
    if getattr(backbone.model, "hf_device_map", None):
        raise WellspringError("the model does not fit on one device: it cannot be trained here")
    learned = examples.gather(
        material.samples, material.texts, "train", recipe.negatives, recipe.seed
    )
    own = quality.held_out(material.samples, recipe.seed)
    held = None if own is None else examples.gather(own, material.texts, "validation", 0)
    whole = None if recipe.paradigm == "dense" else sparse.on(backbone, folder, recipe.seed)
    model = whole.model if whole else backbone.model
    parameters = sum(each.numel() for each in model.parameters())
    model = adaptation.prepare(
        model,
        recipe.lora,
        backbone.architecture.unused,
        recipe.seed,
        fresh=whole.fresh if whole else None,
    ).to(backbone.device)
    priced = TOKENS["cpu"]
    if whole:
        tokens = logit_tokens(backbone.device.type, whole.vocabulary, tokens)
        priced = logit_tokens("cpu", whole.vocabulary)
        encoding: Encoding = SparseEncoding(model, whole.scale, tokens)
    else:
        encoding = Encoding(model, recipe.pooling, tokens)
    write = partial(_tokens, whole or backbone, spec, texts=material.texts)
    scores = material.scores
    stream = batches.Batches(
        learned,
        *write(learned),
        size=recipe.batch,
        steps=recipe.steps or batches.steps_of(learned, recipe.batch, recipe.epochs or 1),
        seed=recipe.seed,
        padding=backbone.padding,
        teacher=None if scores is None else examples.taught(learned, material.samples, scores),
    )
    width = whole.vocabulary if whole else backbone.hidden
    price = prices.Prices(shapes(model), width, tokens, recipe.gradient_cache)
    if recipe.budget_flops:
        stream = prices.within(stream, price, recipe.budget_flops, priced)
    elif not len(stream):
        raise WellspringError(
            f"{len(learned.ids):,} examples make no batch of {recipe.batch:,}: lower batch, or "
            "raise epochs"
        )
    return Run(
        recipe=recipe,
        encoding=encoding,
        batches=stream,
        ledger=prices.account(stream, price),
        in_full=prices.account(stream, prices.in_full(price)).total,
        parameters=parameters,
        held=held,
        held_tokens=write(held) if held else ((), ()),
        vocabulary=whole.vocabulary if whole else None,
    )


def _schedule(recipe: Recipe) -> loop.Schedule:
    return loop.Schedule(recipe.learning_rate, recipe.warmup, recipe.decline)


def _tokens(
    model: Backbone | SparseModel, spec: TrainSpec, of: Examples, texts: pl.DataFrame
) -> Tokenised:
    """The tokens of the examples' queries and passages, as the two sides write them."""

    def split(encoding: EncodingSpec, window: Sequence[str]) -> Sequence[Tokens]:
        if isinstance(model, SparseModel):
            return model.tokenise(window, encoding.template, encoding.length)
        return tokenise(
            model.tokenizer, window, encoding.template, encoding.length, encoding.pooling
        )

    def side(encoding: EncodingSpec, ids: Sequence[str]) -> Iterator[np.ndarray]:
        own = texts.filter(pl.col("side") == encoding.side).select("text_id", "text")
        named = pl.DataFrame({"text_id": ids})
        written = named.join(own, on="text_id", how="left", maintain_order="left")["text"]
        for start in range(0, len(written), WINDOW):
            window = written[start : start + WINDOW].to_list()
            for row in split(encoding, window):
                # A tuple of Python's numbers would take ten times the memory.
                yield np.array(row, np.int32)

    return [*side(spec.query, of.query_ids)], [*side(spec.passage, of.passage_ids)]
