"""Slices of the steps that train a model and let a teacher judge."""

from __future__ import annotations

from wellspring.config import Config, Model, Recipe
from wellspring.config.vocabulary import Side, Similarity
from wellspring.specs.base import Spec
from wellspring.specs.models import EncodingSpec, encoding


class TrainSpec(Spec):
    """A recipe, and how it writes the two sides for the model that it starts from."""

    recipe: Recipe
    query: EncodingSpec
    passage: EncodingSpec


class TeachSpec(Spec):
    """A teacher's last layer, on both sides."""

    query: EncodingSpec
    passage: EncodingSpec
    shards: int
    similarity: Similarity


def teach(config: Config, retriever: str, dataset: str, similarity: Similarity) -> TeachSpec:
    """The slice that a teacher's scores depend on."""
    encoders = config.retrievers[retriever].encoders
    return TeachSpec(
        query=encoding(config, encoders["query"], "query"),
        passage=encoding(config, encoders["passage"], "passage"),
        shards=config.datasets[dataset].shards,
        similarity=similarity,
    )


def train(config: Config, name: str) -> TrainSpec:
    """The slice that a trained model's weights depend on, beside the model that it starts from."""
    entry: Model = config.models[name]
    recipe = config.recipes[entry.recipe or ""]

    def written(side: Side) -> EncodingSpec:
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

    return TrainSpec(recipe=recipe, query=written("query"), passage=written("passage"))
