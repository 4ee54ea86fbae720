"""Slice of the step that trains a model."""

from __future__ import annotations

from wellspring.config import Config, Model, Recipe
from wellspring.config.vocabulary import Side
from wellspring.specs.base import Spec
from wellspring.specs.models import EncodingSpec


class TrainSpec(Spec):
    """A recipe, and how it writes the two sides for the model that it starts from."""

    recipe: Recipe
    query: EncodingSpec
    passage: EncodingSpec


def train(config: Config, name: str) -> TrainSpec:
    """The slice that a trained model's weights depend on, beside the model that it starts from."""
    entry: Model = config.models[name]
    recipe = config.recipes[entry.recipe or ""]

    def encoding(side: Side) -> EncodingSpec:
        return EncodingSpec(
            model=entry.reference,
            architecture=entry.architecture,
            definition=config.architectures.get(entry.architecture),
            layers=entry.layers,
            side=side,
            pooling=recipe.pooling,
            template=getattr(recipe, f"{side}_template"),
            length=getattr(recipe, f"{side}_length"),
            normalise=False,
            dtype="float32",
            storage="float32",
        )

    return TrainSpec(recipe=recipe, query=encoding("query"), passage=encoding("passage"))
