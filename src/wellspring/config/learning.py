"""What a retriever learned: from which datasets, for which purpose, with which instructions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, get_args

from wellspring.config.datasets import IrDatasets
from wellspring.config.entries import Config
from wellspring.config.models import Model
from wellspring.config.recipes import Recipe, written_with
from wellspring.config.vocabulary import Condition, Domain

PLAIN = "{text}"
SPLIT = re.compile(
    r"/((train|training|dev|test|val|valid|validation|eval|fold)\d*|trec-dl-hard|trec[^/]*\d)(/.*)?$"
)
"""Where a name of ir_datasets goes on from a collection to its split, or to a track of TREC."""
CONDITIONS: tuple[Condition, ...] = get_args(Condition)


def stage(config: Config, retriever: str) -> str:
    """What a retriever's (query) weights were trained for last."""
    model, recipe = _query_model(config, retriever)
    if recipe:
        return recipe.stage
    return "random" if is_fresh(config.models[model]) else "as fetched"


def domain(config: Config, retriever: str, dataset: str) -> Domain:
    """Whether a retriever learned from a dataset, or from another part of its collection."""
    known = True
    for encoder in config.retrievers[retriever].encoders.values():
        learned, all_known = _learned(config, config.encoders[encoder].model)
        if any(same_collection(config, dataset, each) for each in learned):
            return "in-domain"
        known &= all_known
    return "zero-shot" if known else "not known"


def _learned(config: Config, model: str) -> tuple[set[str], bool]:
    """The datasets that a model, and what it was made of, learned from, and whether there are no
    others: of what was fetched its entry alone can tell."""
    learned: set[str] = set()
    for name in config.lineage(model):
        entry = config.models[name]
        learned.update(entry.learned_from or ())
        if entry.scheme == "train":
            learned.update(config.recipes[entry.recipe or ""].datasets)
        elif is_fresh(entry) or entry.learned_from is not None:
            return learned, True
    return learned, False


def weights(config: Config, model: str) -> dict[str, Any]:
    """What a model's weights come from, back to what was fetched or drawn; names of entries are no
    part of it."""
    entry = config.models[model]
    if entry.scheme == "checkpoint":
        return weights(config, entry.reference) | {"share": entry.share}
    if entry.scheme == "train":
        # What is kept on the way changes nothing of the run.
        recipe = config.recipes[entry.recipe or ""].model_dump(mode="json", exclude={"checkpoints"})
        return {"base": weights(config, entry.reference), "recipe": recipe, "share": 1.0}
    own = entry.model_dump(mode="json", exclude={"learned_from", "recipe", "share"})
    if entry.scheme == "random":
        own |= {"source": "random", "base": weights(config, entry.reference)}
    return own


def is_fresh(entry: Model) -> bool:
    """Whether no block of a model was ever trained."""
    return entry.scheme == "random" and not entry.trained_blocks


def same_collection(config: Config, one: str, other: str) -> bool:
    """Whether two datasets are parts of one collection: they have a source in common, or what
    stands in its place. An archive without `inside` holds one collection alone."""
    ours, theirs = _parts(config, one), _parts(config, other)
    return one == other or any(
        ours[part] == theirs[part] or None in (ours[part], theirs[part])
        for part in ours.keys() & theirs.keys()
    )


def _parts(config: Config, dataset: str) -> dict[str, str | None]:
    """What a dataset is read from, to the folder inside it."""
    entry = config.datasets[dataset]
    source = getattr(entry, "source", None)
    if source is None:
        # A generated one: the same packages, or the same world.
        keys = {"format", "seed", "packages", "practice", "taught"}
        return {json.dumps(entry.model_dump(mode="json", include=keys), sort_keys=True): None}
    if isinstance(entry, IrDatasets):
        return {SPLIT.sub("", source): None}
    files = source.values() if isinstance(source, Mapping) else [source]
    inside = getattr(entry, "inside", None)
    return {f"{file} {getattr(entry, 'subset', None)}": inside for file in files}


def _query_model(config: Config, retriever: str) -> tuple[str, Recipe | None]:
    """A retriever's query model, and the recipe by which it was trained here."""
    model = config.encoders[config.retrievers[retriever].query].model
    recipe = config.recipe_of(model)
    return model, config.recipes[recipe] if recipe else None


def condition(config: Config, retriever: str) -> Condition:
    """Which instruction a retriever's queries are written with. Of one that no recipe names nothing
    is known where weights were fetched."""
    template = config.encoders[config.retrievers[retriever].query].query_template
    model, recipe = _query_model(config, retriever)
    trained = recipe.query_template if recipe else PLAIN
    if template in (PLAIN, written_with(trained, "")):
        return "none"
    lists = recipe.instructions.values() if recipe else ()
    if template in {written_with(trained, each) for own in lists for each in own.seen}:
        return "seen"
    if template in {written_with(trained, each) for own in lists for each in own.unseen}:
        return "unseen"
    made_here = any(is_fresh(config.models[name]) for name in config.lineage(model))
    return "unseen" if made_here else "not known"


def rank(config: Config, retriever: str) -> tuple[int, bool]:
    """Where a retriever stands among those that differ in their instruction: first without one,
    and of these first those that were not trained with any."""
    _, recipe = _query_model(config, retriever)
    return CONDITIONS.index(condition(config, retriever)), bool(recipe and recipe.instructions)


def written(config: Config, retriever: str) -> str:
    """The same in words, with what the queries are written with."""
    template = config.encoders[config.retrievers[retriever].query].query_template
    _, recipe = _query_model(config, retriever)
    words = " ".join(template.replace(PLAIN, "…").split())
    said = "" if words == "…" else f": {words}"
    trained = " (trained with some)" if recipe and recipe.instructions else ""
    return f"{condition(config, retriever)}{said}{trained}"
