"""The catalogues of a configuration, and what their entries say of each other."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PrivateAttr

from wellspring.config.attributions import Attribution
from wellspring.config.base import Slug, Strict, or_short
from wellspring.config.datasets import Dataset
from wellspring.config.models import COPYING, Architecture, Encoder, Model, Retriever, Sweep
from wellspring.config.recipes import Recipe
from wellspring.config.teachers import CrossEncoder, Teacher
from wellspring.config.vocabulary import Measure, Similarity, TermWeights, TopTerms


class Catalogues(Strict):
    """Mappings from a name to a definition."""

    inherit: bool = True
    """Whether this file adds to the files before it, the workflow's config.yaml the first of them.
    false: nothing of them is used."""
    architectures: dict[Slug, Architecture] = Field(default={})
    """Model families beyond the built-in ones."""
    models: dict[Slug, Model] = Field(default={})
    """Where weights come from."""
    encoders: dict[Slug, Encoder] = Field(default={})
    """How texts become vectors."""
    retrievers: dict[Slug, Annotated[Retriever, or_short(Retriever | Sweep)]]
    """Query encoder and passage encoder, or a sweep over several."""
    datasets: dict[Slug, Dataset]
    """Queries, passages and judgements."""
    recipes: dict[Slug, Recipe] = Field(default={})
    """How models are trained."""
    teachers: dict[Slug, Teacher] = Field(default={})
    """What training may follow beside retrievers."""
    attributions: dict[Slug, Attribution] = Field(default={})
    """How embeddings are attributed to neurons."""
    _twins: dict[str, list[str]] = PrivateAttr(default={})

    def twins(self) -> dict[str, list[str]]:
        """Retrievers on random weights that were drawn several times: the first to all of them."""
        return self._twins

    def is_further_draw(self, retriever: str) -> bool:
        """Whether a retriever is a random twin beside the first: it has no figures of its own."""
        return any(retriever in names[1:] for names in self._twins.values())

    def depth(self, retriever: str) -> int:
        """Transformer blocks of a retriever's (query) model."""
        return self.models[self.encoders[self.retrievers[retriever].query].model].layers

    def is_fresh(self, retriever: str) -> bool:
        """Whether a retriever has weights that were never trained, on either side."""
        return any(model.scheme == "random" for model in self._models_of(retriever))

    def is_wholly_fresh(self, retriever: str) -> bool:
        """Whether none of a retriever's weights were trained."""
        return all(
            model.scheme == "random" and not model.trained_blocks
            for model in self._models_of(retriever)
        )

    def _models_of(self, retriever: str) -> list[Model]:
        encoders = self.retrievers[retriever].encoders.values()
        return [self.models[self.encoders[encoder].model] for encoder in encoders]

    def lineage(self, model: str) -> list[str]:
        """A model, what it was made of, and so on: the last one's files come from elsewhere."""
        names = [model]
        while self.models[names[-1]].scheme in COPYING:
            names.append(self.models[names[-1]].reference)
        return names

    def checkpoints(self) -> dict[str, Model | CrossEncoder]:
        """Everything that names a checkpoint: models, and cross-encoders as `teachers.NAME`."""
        teachers = {f"teachers.{name}": each.cross_encoder for name, each in self.teachers.items()}
        return {**self.models, **{name: each for name, each in teachers.items() if each}}

    def _taught_by(self, model: Model) -> list[str]:
        """The models of a trained model's teacher, where that is a retriever."""
        teacher = self.recipes[model.recipe].teacher if model.recipe else None
        retriever = self.retrievers.get(teacher or "")
        encoders = retriever.encoders.values() if retriever else ()
        return [self.encoders[encoder].model for encoder in encoders]

    def measure(self, recipe: Recipe) -> Measure:
        """What the scores of a recipe's teacher are."""
        teacher = self.teachers.get(recipe.teacher or "")
        return teacher.measure if teacher else recipe.similarity

    def recipe_of(self, model: str) -> str | None:
        """The recipe that a model is trained by, or that its run is where it is a checkpoint."""
        entry = self.models[model]
        return (self.models[entry.reference] if entry.scheme == "checkpoint" else entry).recipe

    def pooling(self, retriever: str) -> str:
        """The pooling of a retriever's query encoder."""
        return self.encoders[self.retrievers[retriever].query].pooling

    def counterpart(self, retriever: str) -> str:
        """What a retriever is compared with. KeyError where that is nothing."""
        if (other := self.retrievers[retriever].compared_with) is None:
            raise KeyError(f"{retriever} is compared with nothing")
        return other

    def top_terms(self, encoder: str) -> TopTerms | None:
        """How many terms of a text an encoder keeps; None where it gives no terms."""
        entry = self.encoders[encoder]
        if self.models[entry.model].scheme == "random":
            return None
        recipe = self.recipes.get(self.recipe_of(entry.model) or "")
        return entry.top_terms or (recipe.top_terms if recipe else None)

    def term_weights(self, encoder: str) -> TermWeights:
        """What the weights of words of an encoder that gives terms are made of."""
        entry = self.encoders[encoder]
        recipe = self.recipes.get(self.recipe_of(entry.model) or "")
        return entry.term_weights or (recipe.term_weights if recipe else None) or "logits"

    def gives_terms(self, retriever: str) -> bool:
        """Whether a retriever's texts become terms on both sides: whether it is sparse."""
        return all(map(self.top_terms, self.retrievers[retriever].encoders.values()))

    def similarity(self, retriever: str) -> Similarity:
        """How a retriever's vectors are compared in a search."""
        entry = self.retrievers[retriever]
        recipe = self.recipe_of(self.encoders[entry.query].model)
        trained = self.recipes[recipe] if recipe else None
        if entry.similarity or trained is None or trained.paradigm == "sparse":
            return entry.similarity or "cosine"
        return trained.similarity

    def _pairs(self, retrievers: list[str]) -> dict[str, str]:
        chosen = {name: self.retrievers[name].compared_with for name in retrievers}
        return {name: other for name, other in chosen.items() if other}
