"""Slices of the steps that train a model and let a teacher judge."""

from __future__ import annotations

from wellspring.config import Config, CrossEncoder, Encoder, Model, Recipe
from wellspring.config.vocabulary import OTHER, Measure, Similarity
from wellspring.specs.base import Spec
from wellspring.specs.models import EncodingSpec, encoding, written


class TrainSpec(Spec):
    """A recipe, and how it writes the two sides for the model that it starts from."""

    recipe: Recipe
    query: EncodingSpec
    passage: EncodingSpec


class VectorsSpec(Spec):
    """A retriever's last layer, on both sides."""

    query: EncodingSpec
    passage: EncodingSpec
    shards: int
    similarity: Similarity


class TeachSpec(Spec):
    """How a teacher judges: by a retriever's vectors, by a cross-encoder, or as a file says, which
    has no settings."""

    vectors: VectorsSpec | None = None
    cross_encoder: CrossEncoder | None = None


def teach(config: Config, teacher: str, dataset: str, measure: Measure) -> TeachSpec:
    """The slice that a teacher's scores depend on."""
    if measure in ("logit", "given"):
        return TeachSpec(cross_encoder=config.teachers[teacher].cross_encoder)
    encoders = config.retrievers[teacher].encoders
    vectors = VectorsSpec(
        query=encoding(config, encoders["query"], "query"),
        passage=encoding(config, encoders["passage"], "passage"),
        shards=config.datasets[dataset].shards,
        similarity=measure,
    )
    return TeachSpec(vectors=vectors)


def train(config: Config, name: str) -> TrainSpec:
    """The slice that a trained model's weights depend on, beside the model that it starts from."""
    entry: Model = config.models[name]
    recipe = config.recipes[entry.recipe or ""]

    said = recipe.model_dump(include={*Encoder.model_fields} - {"model", "dtype"})
    # Where nothing is pooled, a text ends as the tokenizer ends it: as under `mean`.
    said["pooling"] = recipe.pooling or "mean"
    encoder = Encoder(model=entry.reference, **said, storage="float32")
    query, passage = (written(config, encoder, side) for side in OTHER)
    return TrainSpec(recipe=recipe, query=query, passage=passage)
