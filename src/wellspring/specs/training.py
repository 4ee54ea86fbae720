"""Slices of the steps that train a model and let a teacher judge."""

from __future__ import annotations

from wellspring.config import Config, Encoder, Model, Recipe
from wellspring.config.vocabulary import OTHER, Similarity
from wellspring.specs.base import Spec
from wellspring.specs.models import EncodingSpec, encoding, written


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

    encoder = Encoder(
        model=entry.reference,
        **recipe.model_dump(include={*Encoder.model_fields} - {"model", "dtype", "pooling"}),
        # What is not pooled is written as under any pooling that asks for no token of its own.
        pooling=recipe.pooling or "mean",
        storage="float32",
    )
    query, passage = (written(config, encoder, side) for side in OTHER)
    return TrainSpec(recipe=recipe, query=query, passage=passage)
