"""A run from texts to a trained model: what a recipe makes of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from wellspring.config import Recipe
from wellspring.errors import WellspringError
from wellspring.models.load import Backbone
from wellspring.specs import TrainSpec
from wellspring.training import (
    adaptation,
    batches,
    crops,
    examples,
    instructions,
    loop,
    prices,
    quality,
)
from wellspring.training.encoding import Encoding
from wellspring.training.examples import Examples
from wellspring.training.ledger import Ledger
from wellspring.training.material import Material
from wellspring.training.objectives import Aim, Objective
from wellspring.training.shapes import shapes

Tokenised = Sequence[np.ndarray]
"""The tokens of every text."""


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
    held: Mapping[str, Examples]
    """Validation queries in every condition: see `wellspring.training.instructions`. Empty where
    there are none."""
    held_queries: Mapping[str, Tokenised]
    """Their tokens."""
    held_passages: Tokenised
    """The same in every condition."""

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

    def quality(self) -> dict[str, float | None]:
        """MRR@10 of the validation queries, among the passages that answer one of them, of the
        model as it is, in every condition; None without such queries."""
        if not self.held:
            return dict.fromkeys(instructions.conditions(self.recipe))
        passages = quality.vectors(self.encoding, self.held_passages, self.batches.padding)
        means = {}
        for condition, held in self.held.items():
            tokens = self.held_queries[condition]
            queries = quality.vectors(self.encoding, tokens, self.batches.padding)
            ranks = quality.reciprocal_ranks(
                queries, passages, held.relevant, self.recipe.similarity
            )
            means[condition] = round(float(ranks.mean()), 4)
        return means

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


def prepare(backbone: Backbone, spec: TrainSpec, material: Material, tokens: int) -> Run:
    """Make a run ready.

    tokens: of a forward pass, padding included. Raises WellspringError where nothing can be learned
    from the material, where the batches or the budget do not fit, where LoRA names layers that the
    model lacks, and for a model that lies on several devices.
    """
    recipe = spec.recipe
    if getattr(backbone.model, "hf_device_map", None):
        raise WellspringError("the model does not fit on one device: it cannot be trained here")
    learned = _learned(recipe, material)
    held = _held(recipe, material)
    parameters = sum(each.numel() for each in backbone.model.parameters())
    model = adaptation.prepare(
        backbone.model, recipe.lora, backbone.architecture.unused, recipe.seed
    )
    scores, tokens_of = material.scores, partial(material.tokens, backbone)
    passages = tokens_of(spec.passage, learned.passage_ids)
    cropped = _crops(backbone, recipe)
    stream = batches.Batches(
        learned,
        passages if cropped else tokens_of(spec.query, learned.query_ids, learned.instructions),
        passages,
        size=recipe.batch,
        steps=recipe.steps or batches.steps_of(learned, recipe.batch, recipe.epochs or 1),
        seed=recipe.seed,
        padding=backbone.padding,
        teacher=None if scores is None else examples.taught(learned, material.samples, scores),
        weights=_weights(recipe, learned),
        crops=cropped,
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
        held_queries={
            condition: tokens_of(spec.query, own.query_ids, own.instructions)
            for condition, own in held.items()
        },
        held_passages=tokens_of(spec.passage, held["quality"].passage_ids if held else ()),
    )


def _learned(recipe: Recipe, material: Material) -> Examples:
    """The examples of the training split, as far as the recipe takes them."""
    samples = examples.part(material.samples, recipe.fraction, recipe.seed)
    if recipe.stage == "contrastive-pretraining":
        learned = crops.gather(samples, material.texts)
    else:
        learned = examples.gather(samples, material.texts, "train", recipe.negatives, recipe.seed)
    if recipe.fraction < 1 and (count := len(learned.ids)) < recipe.batch:
        raise WellspringError(
            f"fraction: {recipe.fraction:g} leaves {count:,} examples, fewer than a batch of "
            f"{recipe.batch:,}: raise fraction, or lower batch"
        )
    return instructions.instructed(learned, instructions.seen(recipe), recipe.seed, learned.ids)


def _crops(backbone: Backbone, recipe: Recipe) -> crops.Crops | None:
    """How texts are cropped, in the stage that does so."""
    if recipe.stage != "contrastive-pretraining":
        return None
    around = crops.around(backbone.tokenizer, recipe.pooling)
    return crops.Crops(recipe.seed, recipe.crop, *around)


def _weights(recipe: Recipe, learned: Examples) -> list[float] | None:
    """The weight of each dataset, if they have one.

    Raises WellspringError where a batch has more of a dataset than there is.
    """
    if recipe.weights is None:
        return None
    weights = [recipe.weights[name] for name in recipe.datasets]
    counts = np.bincount(examples.datasets_of(learned.ids), minlength=len(weights))
    for name, weight, count in zip(recipe.datasets, weights, counts, strict=True):
        if (share := recipe.batch * weight / sum(weights)) > count:
            raise WellspringError(
                f"weights: {share:.3g} of the {recipe.batch:,} queries of a batch come from "
                f"{name!r}, which has {count:,} examples: lower its weight, or batch"
            )
    return weights


def _schedule(recipe: Recipe) -> loop.Schedule:
    return loop.Schedule(recipe.learning_rate, recipe.warmup, recipe.decline)


def _held(recipe: Recipe, material: Material) -> dict[str, Examples]:
    """The validation queries in every condition, which differ in their instructions alone."""
    own = quality.held_out(material.samples, recipe.seed)
    if own is None:
        return {}
    held = examples.gather(own, material.texts, "validation", 0)
    # A query has one instruction, however many passages answer it.
    ids = [held.query_ids[int(query)] for query in held.queries]
    return {
        condition: instructions.instructed(held, lists, recipe.seed, ids)
        for condition, lists in instructions.conditions(recipe).items()
    }
