"""A run from texts to a trained model: what a recipe makes of a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from wellspring import sparse
from wellspring.budgets import logit_tokens
from wellspring.config import Recipe
from wellspring.config.vocabulary import LANGUAGE
from wellspring.errors import WellspringError
from wellspring.models.load import Backbone
from wellspring.sparse import SparseModel
from wellspring.specs import TrainSpec
from wellspring.training import (
    adaptation,
    batches,
    crops,
    examples,
    instructions,
    language,
    loop,
    order,
    prices,
    quality,
)
from wellspring.training.encoding import Encoding, SparseEncoding
from wellspring.training.examples import Examples
from wellspring.training.learner import Learner
from wellspring.training.ledger import Ledger
from wellspring.training.material import Material
from wellspring.training.objectives import Aim, Objective, Regulariser
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

    @property
    def checkpoints(self) -> dict[float, int]:
        """Each share of the steps at which the model is kept, to the step that completes it."""
        # 0.1 times 30 is a little more than 3 in floating point.
        steps = len(self.learner.batches)
        return {share: max(1, ceil(share * steps - 1e-9)) for share in self.recipe.checkpoints}

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
    included; fewer where logits of all of them would take much memory. Raises WellspringError where
    nothing can be learned from the material, where the batches or the budget do not fit, where the
    model lacks layers that LoRA names or the head that it needs, and for a model that lies on
    several devices.
    """
    recipe = spec.recipe
    if getattr(backbone.model, "hf_device_map", None):
        raise WellspringError("the model does not fit on one device: it cannot be trained here")
    if recipe.stage in LANGUAGE:
        learner = language.learner(backbone, folder, spec, material, tokens)
    else:
        learner = _retriever(backbone, folder, spec, material, tokens)
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


def _retriever(
    backbone: Backbone, folder: Path, spec: TrainSpec, material: Material, tokens: int
) -> Learner:
    """A retriever under training, on pairs."""
    recipe = spec.recipe
    learned = _learned(recipe, material)
    whole = None
    if recipe.term_weights:
        whole = sparse.on(backbone, folder, recipe.seed, recipe.term_weights)
    parameters = sum(each.numel() for each in (whole or backbone).model.parameters())
    encoding = _encoding(backbone, whole, recipe, tokens)
    scores, tokens_of = material.scores, partial(material.tokens, whole or backbone)
    passages = tokens_of(spec.passage, learned.passage_ids)
    cropped = None
    if recipe.stage == "contrastive-pretraining":
        before, after = crops.around(backbone.tokenizer, spec.passage.pooling)
        if whole and whole.begins:
            before -= 1
        cropped = crops.Crops(recipe.seed, recipe.crop, before, after)
    stream = batches.Batches(
        learned,
        passages if cropped else tokens_of(spec.query, learned.query_ids, learned.instructions),
        passages,
        size=recipe.batch,
        steps=recipe.steps or batches.steps_of(len(learned.ids), recipe.batch, recipe.epochs or 1),
        seed=recipe.seed,
        padding=backbone.padding,
        teacher=None if scores is None else examples.taught(learned, material.samples, scores),
        weights=order.weights(recipe, learned.ids),
        crops=cropped,
    )
    measured = dict.fromkeys(instructions.conditions(recipe), "MRR@10")
    if whole:
        measured |= dict.fromkeys(quality.TERMS, f"words of {whole.vocabulary:,}")
    look = _look(whole or backbone, spec, material, encoding)
    return Learner(
        module=encoding,
        objective=_objective(recipe),
        batches=stream,
        price=_price(backbone, whole, encoding, recipe),
        examples=len(learned.ids),
        parameters=parameters,
        unit="pairs",
        measure=look or partial(dict.fromkeys, measured),
        measured=measured,
        merged=partial(adaptation.merged, encoding.model, recipe.lora),
    )


def _encoding(
    backbone: Backbone, whole: SparseModel | None, recipe: Recipe, tokens: int
) -> Encoding:
    """The model with gradients where it is trained, and what makes vectors of what it gives."""
    model = adaptation.prepare(
        (whole or backbone).model,
        recipe.lora,
        backbone.architecture.unused,
        recipe.seed,
        fresh=whole.fresh if whole else None,
    ).to(backbone.device)
    if whole is None:
        return Encoding(model, recipe.pooling, tokens)
    tokens = logit_tokens(backbone.device.type, whole.numbers, tokens)
    return SparseEncoding(model, whole.scale, tokens, whole.made_of)


def _price(
    backbone: Backbone, whole: SparseModel | None, encoding: Encoding, recipe: Recipe
) -> prices.Prices:
    network, cached = shapes(encoding.model), recipe.gradient_cache
    if whole is None:
        return prices.Prices(network, backbone.hidden, encoding.tokens, cached)
    most = logit_tokens("cpu", whole.numbers)
    return prices.Prices(network, whole.vocabulary, encoding.tokens, cached, most)


def _objective(recipe: Recipe) -> Callable[[Any], Objective]:
    aim = Aim(recipe.objective, recipe.similarity, recipe.temperature, recipe.teacher_temperature)
    return partial(
        Objective,
        aim=aim,
        gradient_cache=recipe.gradient_cache,
        regulariser=Regulariser(**recipe.flops.model_dump()) if recipe.flops else None,
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


def _look(
    model: Backbone | SparseModel, spec: TrainSpec, material: Material, encoding: Encoding
) -> quality.Look | None:
    """The look at validation queries, in conditions that differ in their instructions alone; None
    without such queries."""
    recipe = spec.recipe
    own = quality.held_out(material.samples, recipe.seed)
    if own is None:
        return None
    held = examples.gather(own, material.texts, "validation", 0)
    # A query has one instruction, however many passages answer it.
    ids = [held.query_ids[int(query)] for query in held.queries]
    written = {
        condition: instructions.instructed(held, lists, recipe.seed, ids)
        for condition, lists in instructions.conditions(recipe).items()
    }
    queries = {
        condition: material.tokens(model, spec.query, each.query_ids, each.instructions)
        for condition, each in written.items()
    }
    passages = material.tokens(model, spec.passage, held.passage_ids)
    if isinstance(model, SparseModel):
        padding = model.backbone.padding
        return quality.SparseLook(
            encoding, written, queries, passages, padding, recipe.similarity, recipe.top_terms
        )
    return quality.Look(encoding, written, queries, passages, model.padding, recipe.similarity)


def _schedule(recipe: Recipe) -> loop.Schedule:
    return loop.Schedule(recipe.learning_rate, recipe.warmup, recipe.decline)
