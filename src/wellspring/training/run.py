"""A run from texts to a trained model: what a recipe makes of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import numpy as np
import polars as pl

from wellspring.budgets import WINDOW
from wellspring.config import Recipe
from wellspring.embeddings import tokenise
from wellspring.errors import WellspringError
from wellspring.models.load import Backbone
from wellspring.specs import TrainSpec
from wellspring.training import adaptation, batches, examples, loop, prices, quality
from wellspring.training.encoding import Encoding
from wellspring.training.examples import Examples
from wellspring.training.ledger import Ledger
from wellspring.training.objectives import Aim, Objective
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

    @property
    def checkpoints(self) -> dict[float, int]:
        """Each share of the steps at which the model is kept, to the step that completes it."""
        # 0.1 times 30 is a little more than 3 in floating point.
        steps = len(self.batches)
        return {share: max(1, ceil(share * steps - 1e-9)) for share in self.recipe.checkpoints}

    def rate(self, step: int) -> float:
        """The learning rate of a step that is counted from 0."""
        schedule = _schedule(self.recipe)
        return schedule.peak * schedule.share(step, len(self.batches))

    def quality(self) -> float | None:
        """MRR@10 of the validation queries, among the passages that answer one of them, of the
        model as it is; None without such queries."""
        if self.held is None:
            return None
        padding = self.batches.padding
        queries, passages = (
            quality.vectors(self.encoding, tokens, padding) for tokens in self.held_tokens
        )
        ranks = quality.reciprocal_ranks(
            queries, passages, self.held.relevant, self.recipe.similarity
        )
        return round(float(ranks.mean()), 4)

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
        objective = partial(Objective, aim=aim, gradient_cache=recipe.gradient_cache)
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

    def checkpoint(self) -> Any:
        """The same of a copy: training goes on as if nobody had asked."""
        # Low-rank updates that are merged and taken out again do not give the same weights.
        return adaptation.merged(deepcopy(self.encoding.model), self.recipe.lora)


def prepare(backbone: Backbone, spec: TrainSpec, material: Material, tokens: int) -> Run:
    """Make a run ready.

    tokens: of a forward pass, padding included. Raises WellspringError where nothing can be learned
    from the material, where the batches or the budget do not fit, where LoRA names layers that the
    model lacks, and for a model that lies on several devices.
    """
    recipe = spec.recipe
    if getattr(backbone.model, "hf_device_map", None):
        raise WellspringError("the model does not fit on one device: it cannot be trained here")
    learned = examples.gather(
        material.samples, material.texts, "train", recipe.negatives, recipe.seed
    )
    own = quality.held_out(material.samples, recipe.seed)
    held = None if own is None else examples.gather(own, material.texts, "validation", 0)
    parameters = sum(each.numel() for each in backbone.model.parameters())
    model = adaptation.prepare(
        backbone.model, recipe.lora, backbone.architecture.unused, recipe.seed
    )
    scores = material.scores
    stream = batches.Batches(
        learned,
        *_tokens(backbone, spec, learned, material.texts),
        size=recipe.batch,
        steps=recipe.steps or batches.steps_of(learned, recipe.batch, recipe.epochs or 1),
        seed=recipe.seed,
        padding=backbone.padding,
        teacher=None if scores is None else examples.taught(learned, material.samples, scores),
    )
    price = prices.Prices(shapes(model), backbone.hidden, tokens, recipe.gradient_cache)
    if recipe.budget_flops:
        stream = prices.within(stream, price, recipe.budget_flops)
    elif not len(stream):
        raise WellspringError(
            f"{len(learned.ids):,} examples make no batch of {recipe.batch:,}: lower batch, or "
            "raise epochs"
        )
    return Run(
        recipe=recipe,
        encoding=Encoding(model.to(backbone.device), recipe.pooling, tokens),
        batches=stream,
        ledger=prices.account(stream, price),
        in_full=prices.account(stream, prices.in_full(price)).total,
        parameters=parameters,
        held=held,
        held_tokens=_tokens(backbone, spec, held, material.texts) if held else ((), ()),
    )


def _schedule(recipe: Recipe) -> loop.Schedule:
    return loop.Schedule(recipe.learning_rate, recipe.warmup, recipe.decline)


def _tokens(backbone: Backbone, spec: TrainSpec, of: Examples, texts: pl.DataFrame) -> Tokenised:
    """The tokens of the examples' queries and passages, as the two sides write them."""

    def side(encoding, ids: Sequence[str]) -> Iterator[np.ndarray]:
        own = texts.filter(pl.col("side") == encoding.side).select("text_id", "text")
        named = pl.DataFrame({"text_id": ids})
        written = named.join(own, on="text_id", how="left", maintain_order="left")["text"]
        cut = (encoding.template, encoding.length, encoding.pooling)
        for start in range(0, len(written), WINDOW):
            window = written[start : start + WINDOW].to_list()
            for row in tokenise(backbone.tokenizer, window, *cut):
                # A tuple of Python's numbers would take ten times the memory.
                yield np.array(row, np.int32)

    return [*side(spec.query, of.query_ids)], [*side(spec.passage, of.passage_ids)]
