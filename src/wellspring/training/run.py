"""A run from texts to a trained model: what a recipe makes of a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from wellspring.config import Recipe
from wellspring.config.vocabulary import LANGUAGE
from wellspring.errors import WellspringError
from wellspring.models.load import Backbone
from wellspring.specs import TrainSpec
from wellspring.training import adaptation, batches, examples, language, loop, prices, quality
from wellspring.training.encoding import Encoding
from wellspring.training.learner import Learner
from wellspring.training.ledger import Ledger
from wellspring.training.material import Material
from wellspring.training.objectives import Aim, Objective
from wellspring.training.shapes import shapes


@dataclass(frozen=True)
class Run:
    """A model that is ready to be trained, and all that its training depends on."""

    recipe: Recipe
    learner: Learner
    ledger: Ledger
    """What the whole run costs."""
    in_full: int
    """The operations that training all weights would take."""

    @property
    def facts(self) -> dict[str, Any]:
        """Its counts. Seconds are no part of what a model is: they stand in the log."""
        return {
            "examples": self.learner.examples,
            "steps": len(self.learner.batches),
            "trained_parameters": adaptation.trained(self.learner.module),
            "parameters": self.learner.parameters,
            "ledger": self.ledger.as_json() | {"flops_in_full": self.in_full},
        }

    def rate(self, step: int) -> float:
        """The learning rate of a step that is counted from 0."""
        schedule = _schedule(self.recipe)
        return schedule.peak * schedule.share(step, len(self.learner.batches))

    def optimise(
        self,
        state: loop.State | None,
        save: Callable[[loop.State], None],
        follow: Callable[[int, float], None],
    ) -> list[float]:
        """Train the model in place; gives each step's loss. See `wellspring.training.loop`."""
        recipe, learner = self.recipe, self.learner
        settings = loop.Settings(
            _schedule(recipe),
            recipe.weight_decay,
            recipe.max_gradient_norm,
            recipe.dtype == "bfloat16",
            recipe.seed,
        )
        device = next(learner.module.parameters()).device.type
        return loop.optimise(
            learner.module,
            learner.objective,
            learner.batches,
            settings,
            state,
            save,
            follow,
            device,
        )


def prepare(
    backbone: Backbone, folder: Path, spec: TrainSpec, material: Material, tokens: int
) -> Run:
    """Make a run ready.

    folder: the backbone's checkpoint, which may have a head. tokens: of a forward pass, padding
    included. Raises WellspringError where nothing can be learned from the material, where the
    batches or the budget do not fit, where LoRA names layers that the model lacks, and for a model
    that lies on several devices.
    """
    recipe = spec.recipe
    if getattr(backbone.model, "hf_device_map", None):
        raise WellspringError("the model does not fit on one device: it cannot be trained here")
    if recipe.stage in LANGUAGE:
        learner = language.learner(backbone, folder, spec, material, tokens)
    else:
        learner = _retriever(backbone, spec, material, tokens)
    if recipe.budget_flops:
        met = prices.within(learner.batches, learner.price, recipe.budget_flops)
        learner = replace(learner, batches=met)
    elif not len(learner.batches):
        raise WellspringError(
            f"{learner.examples:,} {learner.unit} make no batch of {recipe.batch:,}: lower batch, "
            "or raise epochs"
        )
    return Run(
        recipe=recipe,
        learner=learner,
        ledger=prices.account(learner.batches, learner.price),
        in_full=prices.account(learner.batches, prices.in_full(learner.price)).total,
    )


def _retriever(backbone: Backbone, spec: TrainSpec, material: Material, tokens: int) -> Learner:
    """A retriever under training, on pairs."""
    recipe = spec.recipe
    assert recipe.pooling is not None
    learned = examples.gather(
        material.samples, material.texts, "train", recipe.negatives, recipe.seed
    )
    parameters = sum(each.numel() for each in backbone.model.parameters())
    model = adaptation.prepare(
        backbone.model, recipe.lora, backbone.architecture.unused, recipe.seed
    )
    scores = material.scores
    stream = batches.Batches(
        learned,
        material.tokens(backbone, spec.query, learned.query_ids),
        material.tokens(backbone, spec.passage, learned.passage_ids),
        size=recipe.batch,
        steps=recipe.steps or batches.steps_of(len(learned.ids), recipe.batch, recipe.epochs or 1),
        seed=recipe.seed,
        padding=backbone.padding,
        teacher=None if scores is None else examples.taught(learned, material.samples, scores),
    )
    aim = Aim(recipe.objective, recipe.similarity, recipe.temperature, recipe.teacher_temperature)
    encoding = Encoding(model.to(backbone.device), recipe.pooling, tokens)
    return Learner(
        module=encoding,
        objective=partial(Objective, aim=aim, gradient_cache=recipe.gradient_cache),
        batches=stream,
        price=prices.Prices(shapes(model), backbone.hidden, tokens, recipe.gradient_cache),
        examples=len(learned.ids),
        parameters=parameters,
        unit="pairs",
        measure=_look(backbone, spec, material, encoding),
        measured="MRR@10",
        merged=partial(adaptation.merged, model, recipe.lora),
    )


def _look(
    backbone: Backbone, spec: TrainSpec, material: Material, encoding: Encoding
) -> Callable[[], float | None]:
    """MRR@10 of the validation queries, among the passages that answer one of them."""
    own = quality.held_out(material.samples, spec.recipe.seed)
    if own is None:
        return lambda: None
    held = examples.gather(own, material.texts, "validation", 0)
    sides = (
        material.tokens(backbone, spec.query, held.query_ids),
        material.tokens(backbone, spec.passage, held.passage_ids),
    )

    def measure() -> float:
        queries, passages = (quality.vectors(encoding, each, backbone.padding) for each in sides)
        ranks = quality.reciprocal_ranks(queries, passages, held.relevant, spec.recipe.similarity)
        return round(float(ranks.mean()), 4)

    return measure


def _schedule(recipe: Recipe) -> loop.Schedule:
    return loop.Schedule(recipe.learning_rate, recipe.warmup, recipe.decline)
