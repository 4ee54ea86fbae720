"""Slices of the steps that search a corpus."""

from __future__ import annotations

from typing import Literal

from wellspring.config import Config
from wellspring.config.vocabulary import Similarity, Split
from wellspring.specs.base import Spec
from wellspring.specs.datasets import LexicalSpec, QrelsSpec, lexical, qrels
from wellspring.specs.models import EmbedSpec, EncodingSpec, TermsSpec, encoding, terms


class AskSpec(Spec):
    """Which queries are asked, how deep, and how rankings are judged."""

    queries: Split | Literal["all"]
    depth: int
    measures: list[str]
    qrels: QrelsSpec


class RankSpec(AskSpec):
    """The same, and how words rank."""

    lexical: LexicalSpec


class MatchSpec(AskSpec):
    """The same, and the terms that are matched."""

    query: TermsSpec
    passage: TermsSpec
    shards: int


class ScanSpec(EmbedSpec):
    """One shard of the passages, and the search that it is encoded for."""

    query: EncodingSpec
    layers: list[int]
    similarity: Similarity
    queries: Split | Literal["all"]
    depth: int
    qrels: QrelsSpec


class SearchSpec(Spec):
    """How words rank, and the vectors that are searched."""

    rank: RankSpec
    layers: list[int]
    similarity: Similarity
    query: EncodingSpec
    passage: EncodingSpec
    shards: int

    def scan(self, shard: int) -> ScanSpec:
        """The slice that the best passages of one shard depend on: not how words rank, nor what is
        measured."""
        return ScanSpec(
            encoding=self.passage,
            shard=shard,
            shards=self.shards,
            query=self.query,
            layers=self.layers,
            similarity=self.similarity,
            queries=self.rank.queries,
            depth=self.rank.depth,
            qrels=self.rank.qrels,
        )


class SearchedGrid(Spec):
    """A retriever's search of a dataset."""

    retriever: str
    dataset: str
    measures: list[str]
    search: str
    """The digest of its slice."""
    match: str | None = None
    """That of its search by terms, where it gives some."""


class RetrievalSpec(Spec):
    """The searches of a study and the settings of its tests."""

    study: str
    alpha: float
    permutations: int
    seed: int
    searched: list[SearchedGrid]
    ranked: dict[str, str]
    """Dataset to the digest of the slice of its lexical rankings."""
    pairs: dict[str, str]


def rank(config: Config, dataset: str) -> RankSpec:
    """The slice that ranking a corpus by words depends on."""
    return RankSpec(**dict(_asked(config, dataset)), lexical=lexical(config, dataset))


def _asked(config: Config, dataset: str) -> AskSpec:
    block = config.ranked(dataset)
    return AskSpec(
        queries=block.queries,
        depth=block.depth,
        measures=list(block.measures),
        qrels=qrels(config, dataset),
    )


def search(config: Config, retriever: str, dataset: str) -> SearchSpec:
    """The slice that a retriever's search of a dataset depends on."""
    encoders = config.retrievers[retriever].encoders
    return SearchSpec(
        rank=rank(config, dataset),
        layers=config.searching(retriever, dataset).layers,
        similarity=config.similarity(retriever),
        query=encoding(config, encoders["query"], "query"),
        passage=encoding(config, encoders["passage"], "passage"),
        shards=config.datasets[dataset].shards,
    )


def match(config: Config, retriever: str, dataset: str) -> MatchSpec:
    """The slice that a retriever's search of a dataset by terms depends on. KeyError where it gives
    none."""
    encoders = config.retrievers[retriever].encoders
    return MatchSpec(
        **dict(_asked(config, dataset)),
        query=terms(config, encoders["query"], "query"),
        passage=terms(config, encoders["passage"], "passage"),
        shards=config.datasets[dataset].shards,
    )


def retrieval(config: Config) -> RetrievalSpec:
    """The slice that the study's table of searches depends on."""
    settings = config.study.findings
    return RetrievalSpec(
        study=config.study.name,
        alpha=settings.alpha,
        permutations=settings.permutations,
        seed=settings.seed,
        searched=searched(config),
        ranked={name: rank(config, name).digest for name in config.searched_datasets()},
        pairs=config.searched_pairs(),
    )


def searched(config: Config) -> list[SearchedGrid]:
    """Every retriever with every dataset that it searches."""
    return [
        SearchedGrid(
            retriever=grid.retriever,
            dataset=grid.dataset,
            measures=list(grid.block.measures),
            search=search(config, grid.retriever, grid.dataset).digest,
            match=match(config, grid.retriever, grid.dataset).digest
            if config.gives_terms(grid.retriever)
            else None,
        )
        for grid in config.searched()
    ]
