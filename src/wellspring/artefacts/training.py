"""What a teacher says of a dataset's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.config import Config
from wellspring.config.vocabulary import Similarity


@dataclass(frozen=True)
class TeacherScores(Artefact):
    """A retriever's similarities, at its last layer, of every sample's query with its positive and
    its negatives: what training may follow."""

    template = "datasets/{dataset}/teachers/{retriever}/{similarity}.parquet"
    rule = "teach"
    Slice = specs.TeachSpec
    step = "teach"
    columns = {
        "sample_id": Column("text"),
        "scores": Column("list", "of the positive, then of each negative"),
    }
    dataset: str
    retriever: str
    similarity: Similarity

    def spec(self, config: Config) -> specs.TeachSpec:
        return specs.teach(config, self.retriever, self.dataset, self.similarity)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {
            "texts": Texts(self.dataset),
            "samples": Samples(self.dataset),
            "query": EmbeddingShard.side_of(config, self.retriever, self.dataset, "query"),
            "passage": EmbeddingShard.side_of(config, self.retriever, self.dataset, "passage"),
        }

    @classmethod
    def science(cls, spec: specs.TeachSpec) -> Sequence[str]:
        return ["training.teaching"]
