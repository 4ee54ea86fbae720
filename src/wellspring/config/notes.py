"""What a user should know of a configuration that can be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from wellspring.config.base import PINNED
from wellspring.config.entries import Config
from wellspring.config.messages import LISTED


def notes(config: Config, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the terminal should know of a configuration that can be used.

    files: the contents of the configuration files, the workflow's own first. Names entries of the
    last file that the study does not use, and says so where no overlay has a study of its own.
    Names revisions of a hub that may move, and encoders that use a model otherwise than its recipe
    trains it.
    """
    return [*_idle(config, files), *_moving(config), *_otherwise(config)]


def _moving(config: Config) -> list[str]:
    """A line for each source of the study that is on a hub and names no commit."""
    models = config.models_used()
    sources = {f"models.{name}.source": config.models[name].source for name in models}
    sources |= {f"models.{name}.adapter": config.models[name].adapter or "" for name in models}
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
        recipe = config.models[encoder.model].recipe
        for key in ("pooling", "query_template", "passage_template") if recipe else ():
            own, trained = getattr(encoder, key), getattr(config.recipes[recipe or ""], key)
            # Sparse vectors are not pooled: whatever an encoder takes, it looks at the backbone.
            if trained is not None and own != trained:
                lines.append(
                    f"encoders.{name}.{key}: is {own!r}, and the model is trained with {trained!r} "
                    f"(recipes.{recipe})"
                )
    return lines


def _idle(config: Config, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line on the entries of the last file that the study does not use, if there are any."""
    last = files[-1] if files else {}
    retrievers = {*config.probed_retrievers(), *config.attributed_retrievers()}
    teachers = config.teachers_used()
    retrievers |= {*teachers}
    encoders = {
        *config.encoders_used(),
        *(each for name in teachers for each in config.retrievers[name].encoders.values()),
    }
    used = {
        "models": {*config.models_used()},
        "recipes": {*config.recipes_used()},
        "encoders": encoders,
        "retrievers": retrievers,
        "datasets": {*config.datasets_read()},
        "attributions": {grid.attribution for grid in config.attributed()},
    }
    idle = [
        f"{key}.{name}"
        for key, names in used.items()
        for name in last.get(key) or {}
        if name not in names
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
