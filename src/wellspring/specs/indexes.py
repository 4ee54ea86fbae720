"""Slices of the steps that set approximate indexes beside exact search."""

from __future__ import annotations

from typing import Literal

from wellspring.config import Config
from wellspring.config.indexes import Index
from wellspring.config.vocabulary import Similarity, Split
from wellspring.specs.base import Spec
from wellspring.specs.datasets import QrelsSpec, qrels
from wellspring.specs.models import EncodingSpec, encoding


class IndexSpec(Spec):
    """Which queries are asked, how deep, how rankings are judged, and which vectors are indexed in
    which ways."""

    queries: Split | Literal["all"]
    depth: int
    measures: list[str]
    qrels: QrelsSpec
    layer: int
    similarity: Similarity
    query: EncodingSpec
    passage: EncodingSpec
    shards: int
    indexes: list[Index]


class IndexedGrid(Spec):
    """A retriever's indexes of a dataset."""

    retriever: str
    dataset: str
    measures: list[str]
    index: str
    """The digest of its slice."""


class IndexesSpec(Spec):
    """The indexes of a study."""

    study: str
    indexed: list[IndexedGrid]


def index(config: Config, retriever: str, dataset: str) -> IndexSpec:
    """The slice that a retriever's indexes of a dataset depend on."""
    grid = config.searching(retriever, dataset)
    encoders = config.retrievers[retriever].encoders
    return IndexSpec(
        queries=grid.block.queries,
        depth=grid.block.depth,
        measures=list(grid.block.measures),
        qrels=qrels(config, dataset),
        layer=grid.layers[-1],
        similarity=config.similarity(retriever),
        query=encoding(config, encoders["query"], "query"),
        passage=encoding(config, encoders["passage"], "passage"),
        shards=config.datasets[dataset].shards,
        indexes=list(grid.block.indexes),
    )


def indexes(config: Config) -> IndexesSpec:
    """The slice that the study's table of indexes depends on."""
    return IndexesSpec(
        study=config.study.name,
        indexed=[
            IndexedGrid(
                retriever=grid.retriever,
                dataset=grid.dataset,
                measures=list(grid.block.measures),
                index=index(config, grid.retriever, grid.dataset).digest,
            )
            for grid in config.indexed()
        ],
    )
