"""What a teacher says of a dataset's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.models import checkpoint_files
from wellspring.config import Config, Recipe
from wellspring.config.vocabulary import Measure


@dataclass(frozen=True)
class TeacherScores(Artefact):
    """A teacher's scores of every sample's query with its positive and its negatives: what training
    may follow. They are similarities of a retriever's last layer (`cosine`, `dot`), outputs of a
    cross-encoder (`logit`), or those of a file (`given`), which may leave out samples that are not
    trained on."""

    template = "datasets/{dataset}/teachers/{teacher}/{measure}.parquet"
    rule = "teach"
    Slice = specs.TeachSpec
    step = "teach"
    threads = 8
    columns = {
        "sample_id": Column("text"),
        "scores": Column("list", "of the positive, then of each negative"),
    }
    dataset: str
    teacher: str
    measure: Measure

    @classmethod
    def followed(cls, config: Config, recipe: Recipe) -> list[TeacherScores]:
        """Those that a recipe's training follows, of each of its datasets."""
        if recipe.teacher is None:
            return []
        measure = config.measure(recipe)
        return [cls(dataset, recipe.teacher, measure) for dataset in recipe.datasets]

    def spec(self, config: Config) -> specs.TeachSpec:
        return specs.teach(config, self.teacher, self.dataset, self.measure)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        query: list[Artefact] = []
        passage: list[Artefact] = []
        checkpoint: list[Artefact | str] = []
        scores: list[str] = []
        if self.measure == "logit":
            network = config.teachers[self.teacher].cross_encoder
            checkpoint += checkpoint_files(network.source) if network else []
        elif self.measure == "given":
            scores.append(config.teachers[self.teacher].file(self.dataset))
        else:
            query += EmbeddingShard.side_of(config, self.teacher, self.dataset, "query")
            passage += EmbeddingShard.side_of(config, self.teacher, self.dataset, "passage")
        return {
            "texts": Texts(self.dataset),
            "samples": Samples(self.dataset),
            "query": query,
            "passage": passage,
            "checkpoint": checkpoint,
            "scores": scores,
        }

    @classmethod
    def science(cls, spec: specs.TeachSpec) -> Sequence[str]:
        if spec.vectors:
            return ["training.teaching"]
        if spec.cross_encoder:
            return ["training.crossencoding", "training.teaching"]
        return ["training.given", "datasets.table"]
