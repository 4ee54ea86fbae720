"""What the models of a ladder share, and in what two ladders differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

SERIES = ("family", "stages", "objective", "paradigm", "recipes", "encoder")
"""What the models of a series share: they differ in size and seed alone."""
SIZED = ("learning_rate", "steps", "epochs", "budget_flops", "gradient_cache")
"""Settings of a recipe that sizes of one ladder may have of their own."""
TUNED = ("learning_rate", "gradient_cache")
"""Those of them that two ladders may have of their own at one size: not what training costs."""
BROUGHT: Mapping[str, Collection[str]] = {
    "objective": ("objective", "teacher", "teacher_temperature", "similarity", "temperature"),
    "paradigm": (
        *("paradigm", "pooling", "flops", "top_terms", "term_weights"),
        *("similarity", "temperature"),
    ),
}
"""Settings of recipes and encoders that come with an objective or a paradigm."""
Trainings = Sequence[Mapping[str, Any]]
"""The settings of each training that a model went through, the first one first."""


def told_apart(models: pl.DataFrame) -> pl.DataFrame:
    """The models with two columns more. `recipes`: what all trainings of a series have, as text.
    `ladder`: the first retriever of its series, by which people find what that is.

    models: retriever, SERIES but for recipes, trainings (`Trainings` as JSON).
    """
    recipes = pl.col("trainings").map_elements(_shared, pl.String)
    return models.with_columns(recipes=recipes).with_columns(
        ladder=pl.first("retriever").over(SERIES)
    )


def _shared(trainings: str) -> str:
    return json.dumps([_without(each, SIZED) for each in json.loads(trainings)], sort_keys=True)


def apart(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """In what two series differ: names of SERIES, and `dataset`.

    Stages bring objectives along: one that a stage lacks is none. Objectives and paradigms bring
    settings along (BROUGHT). Recipes are compared stage by stage, where both have the stage, and at
    one size with what its training costs.

    Args:
        first, second: dataset, SERIES, and trainings: size to `Trainings` as JSON.
    """
    others = ("recipes", "encoder")
    names = [name for name in ("dataset", *SERIES) if name not in others]
    names = [name for name in names if first[name] != second[name]]
    if "stages" in names:
        names = [name for name in names if first[name] is not None and second[name] is not None]
    sizes = first["trainings"].keys() & second["trainings"].keys()
    pairs = [(first["recipes"], second["recipes"])]
    pairs += [(first["trainings"][size], second["trainings"][size]) for size in sizes]
    if not all(_agree(json.loads(one), json.loads(other), names) for one, other in pairs):
        names.append("recipes")
    one, other = (json.loads(each["encoder"]) for each in (first, second))
    brought = [key for name in names for key in BROUGHT.get(name, ())]
    if any(_without(one[side], brought) != _without(other[side], brought) for side in one):
        names.append("encoder")
    return names


def _agree(first: Trainings, second: Trainings, apart: Collection[str]) -> bool:
    """Whether two models learned alike in the stages that both went through, up to what comes with
    the things that tell them apart."""
    for stage in {training["stage"] for training in first}:
        # An objective is that of fine-tuning; a paradigm is that of all stages.
        things = [name for name in apart if name != "objective" or stage == "fine-tuning"]
        brought = [*TUNED, *(key for name in things for key in BROUGHT.get(name, ()))]
        one, other = (
            [_without(each, brought) for each in trainings if each["stage"] == stage]
            for trainings in (first, second)
        )
        if any(mine != theirs for mine, theirs in zip(one, other, strict=False)):
            return False
    return True


def _without(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}
