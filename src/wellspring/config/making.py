"""Whether models can be made as their entries say: of what, and by which recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wellspring.config.base import HUB, PYPI
from wellspring.config.entries import Config
from wellspring.config.messages import unknown
from wellspring.config.models import ARCHITECTURES, COPYING, Model
from wellspring.config.recipes import Recipe


def model_problems(config: Config, name: str) -> Iterable[str]:
    """A line for everything that is wrong with a model's entry."""
    model = config.models[name]
    if model.architecture not in {*ARCHITECTURES, *config.architectures}:
        yield (
            f"models.{name}.architecture: {model.architecture!r} is neither built in "
            f"({', '.join(ARCHITECTURES)}) nor defined under architectures"
        )
    for key in ("source", "adapter"):
        source = getattr(model, key) or ""
        if source.startswith("hub:") and not re.fullmatch(HUB, source):
            yield f"models.{name}.{key}: must be hub:OWNER/NAME@REVISION, got {source!r}"
        if source.startswith("pypi:") and not re.fullmatch(PYPI, source):
            yield (
                f"models.{name}.{key}: must be pypi:PROJECT==VERSION, or "
                f"pypi:PROJECT==VERSION/FOLDER, got {source!r}"
            )
    if model.sha256 is not None and model.scheme != "pypi":
        yield f"models.{name}.sha256: is for sources pypi:PROJECT==VERSION"
    for other, entry in config.models.items():
        if model.scheme == "pypi" and entry.source == model.source and entry.sha256 != model.sha256:
            yield f"models.{name}.sha256: differs from that of {other!r}, which has the same source"
    if model.recipe and model.scheme != "train":
        yield f"models.{name}.recipe: is for sources train:MODEL"
    if model.scheme == "train":
        yield from _training_problems(config, name, model)
    if model.scheme == "checkpoint":
        yield from _checkpoint_problems(config, name, model)
    elif model.share is not None:
        yield f"models.{name}.share: is for sources checkpoint:MODEL"
    if model.scheme != "random":
        if model.trained_blocks is not None:
            yield f"models.{name}.trained_blocks: is for sources random:MODEL"
        if model.sizes is not None:
            yield f"models.{name}.sizes: is for sources random:MODEL"
        if model.draws > 1:
            yield f"models.{name}.draws: is for sources random:MODEL"
        return
    if model.trained_blocks is not None and model.trained_blocks >= model.layers:
        yield (
            f"models.{name}.trained_blocks: must be below layers ({model.layers}), "
            "or nothing is fresh"
        )
    if model.sizes and model.trained_blocks is not None:
        yield f"models.{name}.trained_blocks: trained blocks have the sizes of {model.reference!r}"
    yield from _base_problems(config, name, model)
    base = config.models.get(model.reference)
    if base and base.scheme == "random":
        yield f"models.{name}.source: {model.reference!r} is itself random: name what it copies"
    if model.adapter:
        yield f"models.{name}.adapter: fresh weights take no adapter"


def _training_problems(config: Config, name: str, model: Model) -> Iterable[str]:
    yield from _base_problems(config, name, model)
    if model.recipe is None:
        yield f"models.{name}.recipe: missing: it says how {model.reference!r} is trained"
    elif model.recipe not in config.recipes:
        yield f"models.{name}.recipe: {unknown('recipe', model.recipe, config.recipes)}"
    if model.adapter:
        yield (
            f"models.{name}.adapter: goes to the entry of {model.reference!r}: training begins "
            "with that model as it is"
        )
    if name in _ingredients(config, name):
        yield (
            f"models.{name}: is made of itself, by sources train:MODEL or by teachers of recipes"
        )


def _checkpoint_problems(config: Config, name: str, model: Model) -> Iterable[str]:
    yield from _base_problems(config, name, model)
    trained = config.models.get(model.reference)
    recipe = config.recipes.get(trained.recipe or "") if trained else None
    if trained and trained.scheme != "train":
        yield f"models.{name}.source: {model.reference!r} is not trained here: name a train: model"
    elif trained and recipe:
        shares = ", ".join(map(str, recipe.checkpoints)) or "none"
        key = f"recipes.{trained.recipe}.checkpoints"
        if model.share is None:
            yield f"models.{name}.share: missing: give one of {key} ({shares})"
        elif model.share not in recipe.checkpoints:
            yield f"models.{name}.share: {model.share} is none of {key} ({shares}): add it there"
    if model.adapter:
        yield f"models.{name}.adapter: a checkpoint takes no adapter"


def _ingredients(config: Config, name: str) -> set[str]:
    """All models that a model is made of: its base, its teacher's, and so on."""
    models: set[str] = set()
    waiting = _parts(config, name)
    while waiting:
        part = waiting.pop()
        if part not in models and part in config.models:
            models.add(part)
            waiting += _parts(config, part)
    return models


def _parts(config: Config, name: str) -> list[str]:
    """The models that a model is made of at once."""
    entry = config.models[name]
    recipe = config.recipes.get(entry.recipe or "")
    teacher = config.retrievers.get(recipe.teacher or "") if recipe else None
    encoders = [config.encoders.get(each) for each in teacher.encoders.values()] if teacher else []
    base = [entry.reference] if entry.scheme in COPYING else []
    return [*base, *(encoder.model for encoder in encoders if encoder)]


def _base_problems(config: Config, name: str, model: Model) -> Iterable[str]:
    """What does not fit between a model and the one that its source names."""
    base = config.models.get(model.reference)
    if base is None:
        yield f"models.{name}.source: {unknown('model', model.reference, config.models)}"
        return
    own = model.sizes.layers if model.sizes else None
    if own and model.layers != own:
        yield f"models.{name}.layers: differs from sizes.layers, which is {own}"
    for key in ("layers", "architecture"):
        there = getattr(base, key)
        if getattr(model, key) != there and not (key == "layers" and own):
            yield f"models.{name}.{key}: differs from {model.reference!r}, which has {there!r}"


def recipe_problems(config: Config, name: str, recipe: Recipe) -> Iterable[str]:
    """A line for everything that is wrong with a recipe."""
    if len(set(recipe.datasets)) < len(recipe.datasets):
        yield f"recipes.{name}.datasets: names something twice"
    if recipe.teacher and recipe.teacher not in config.retrievers:
        yield f"recipes.{name}.teacher: {unknown('retriever', recipe.teacher, config.retrievers)}"
    for dataset in recipe.datasets:
        if dataset not in config.datasets:
            yield f"recipes.{name}.datasets: {unknown('dataset', dataset, config.datasets)}"
            continue
        count = config.datasets[dataset].negatives.count
        if recipe.negatives > count:
            yield (
                f"recipes.{name}.negatives: {recipe.negatives}, but datasets.{dataset}.negatives."
                f"count is {count}: lower the one or raise the other"
            )
