"""What a user should know of a configuration that can be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from wellspring.config.base import PINNED
from wellspring.config.entries import Config
from wellspring.config.messages import LISTED
from wellspring.config.models import Model
from wellspring.config.teachers import CrossEncoder
from wellspring.config.vocabulary import LANGUAGE


def notes(config: Config, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the terminal should know of a configuration that can be used.

    files: the contents of the configuration files, the workflow's own first. Names entries of the
    last file that the study does not use, and says so where no overlay has a study of its own.
    Names revisions of a hub that may move, encoders that use a model otherwise than its recipe
    trains it, and margins that a student may be unable to follow.
    """
    return [*_idle(config, files), *_moving(config), *_otherwise(config), *_margins(config)]


def _moving(config: Config) -> list[str]:
    """A line for each source of the study that is on a hub and names no commit."""
    models = config.models_used()
    entries: dict[str, Model | CrossEncoder] = {f"models.{n}": config.models[n] for n in models}
    for name in config.teachers_used():
        if (teacher := config.teachers.get(name)) and teacher.cross_encoder:
            entries[f"teachers.{name}.cross_encoder"] = teacher.cross_encoder
    sources = {
        f"{key}.{part}": source
        for key, entry in entries.items()
        for part, (source, _) in entry.sources.items()
    }
    for name in config.datasets_read():
        source = getattr(config.datasets[name], "source", "")
        sources[f"datasets.{name}.source"] = source if isinstance(source, str) else ""
    return [
        f"{key}: {source} names a branch or a tag, which may move: name a commit to pin it"
        for key, source in sources.items()
        if source.startswith("hub:") and not re.fullmatch(PINNED, source)
    ]


def _otherwise(config: Config) -> list[str]:
    """A line for each encoder on a trained model that asks for something else than was trained."""
    lines = []
    for name in config.encoders_used():
        encoder = config.encoders[name]
        recipe = config.recipe_of(encoder.model)
        if recipe and config.recipes[recipe].stage in LANGUAGE:
            # Words were learned, and no vector.
            continue
        keys = ("pooling", "query_template", "passage_template", "term_weights")
        for key in keys if recipe else ():
            own, trained = getattr(encoder, key), getattr(config.recipes[recipe or ""], key)
            if key == "query_template" and own in config.recipes[recipe or ""].query_templates:
                continue
            # Sparse vectors are not pooled: whatever an encoder takes, it looks at the backbone.
            # How words are weighed is the recipe's where an encoder says nothing.
            if None not in (own, trained) and own != trained:
                lines.append(
                    f"encoders.{name}.{key}: is {own!r}, and the model is trained with {trained!r} "
                    f"(recipes.{recipe})"
                )
    return lines


def _margins(config: Config) -> list[str]:
    """A line for each recipe whose student may be unable to follow its teacher's margins, or is to
    follow wider ones than these."""
    lines = []
    for name in config.recipes_used():
        recipe = config.recipes[name]
        if recipe.objective != "margin-mse":
            continue
        divided, key = recipe.teacher_temperature, f"recipes.{name}"
        if divided < 1:
            lines.append(
                f"{key}.teacher_temperature: makes the teacher's margins {1 / divided:.3g} times "
                "as wide: leave it out to keep them"
            )
        elif divided == 1 and recipe.similarity == "cosine" and recipe.teacher in config.teachers:
            lines.append(
                f"{key}: margins of cosines are at most 2, and teacher {recipe.teacher!r} may have "
                "wider ones: similarity: dot can follow them, and a teacher_temperature above 1 "
                "narrows them"
            )
    return lines


def _is_swept(entry: object, name: str, used: set[str]) -> bool:
    """Whether an entry is a sweep of which some retriever is used."""
    is_sweep = isinstance(entry, Mapping) and "sweep" in entry
    return is_sweep and any(each.startswith(f"{name}-") for each in used)


def _idle(config: Config, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line on the entries of the last file that the study does not use, if there are any."""
    last = files[-1] if files else {}
    retrievers = {*config.retrievers_used()}
    teachers = config.teachers_used()
    retrievers |= {*teachers}
    ladders = config.study.scaling.ladders if config.study.scaling else []
    teaching = [config.retrievers[name] for name in teachers if name in config.retrievers]
    encoders = {
        *config.encoders_used(),
        *(each for retriever in teaching for each in retriever.encoders.values()),
    }
    used = {
        # A ladder copies its bases and recipes for each seed.
        "models": {*config.models_used(), *(name for each in ladders for name in each.bases)},
        "recipes": {
            *config.recipes_used(),
            *(name for each in ladders for chain in each.chains for name in chain),
        },
        "teachers": {*teachers},
        "encoders": encoders,
        "retrievers": retrievers,
        "datasets": {*config.datasets_read()},
        "attributions": {grid.attribution for grid in config.attributed()},
    }
    idle = [
        f"{key}.{name}"
        for key, names in used.items()
        for name, entry in (last.get(key) or {}).items()
        if name not in names and not _is_swept(entry, name, names)
    ]
    if not idle:
        return []
    listed = ", ".join(idle[:LISTED]) + (" …" if len(idle) > LISTED else "")
    line = f"the study {config.study.name!r} does not use {listed}"
    if len(files) > 1 and not any("study" in content for content in files[1:]):
        line += (
            ": no overlay has a study, so the one of config.yaml is computed; name them in a study "
            "of your own"
        )
    return [line]
