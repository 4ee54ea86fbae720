"""Files of approximate indexes: what they find beside exact search, how long a query takes, and a
study's table of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.retrieval import CLUSTER
from wellspring.config import Config

TRIED = {
    "index": Column("text", "`exact`, or how it is built"),
    "setting": Column("text", "how far a query looks; null where it looks at everything"),
    "depth": Column(
        "integer", "passages that are searched for: as many as the measure looks at, at most"
    ),
}
MEASURE = Column(
    "text",
    "as ir_measures names it; or `recall@10`: of the first ten of exact search, the share that is "
    "found. `R@10` is of relevant passages",
)
SIZES = {
    "bytes": Column("integer", "of the index, as faiss writes it to a file; vectors are float32"),
    "documents": Column("integer", "passages that are indexed"),
    "hidden": Column("integer", "dimensions of a vector"),
}


@dataclass(frozen=True)
class IndexMetrics(Artefact):
    """How good the rankings of exact search and of each approximate index are, at the last layer
    that is searched."""

    template = "retrieval/{retriever}/{dataset}/indexes.parquet"
    rule = "index"
    Slice = specs.IndexSpec
    step = "index"
    columns = {
        "layer": Column("integer", "0 = embedding output"),
        **TRIED,
        **SIZES,
        "measure": MEASURE,
        "query_id": Column("text"),
        "cluster": CLUSTER,
        "value": Column("number", "null where the query has no exact ranking to recall"),
    }
    retriever: str
    dataset: str

    def spec(self, config: Config) -> specs.IndexSpec:
        return specs.index(config, self.retriever, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {
            "texts": Texts(self.dataset),
            "qrels": Qrels(self.dataset),
            "query": EmbeddingShard.side_of(config, self.retriever, self.dataset, "query"),
            "passage": EmbeddingShard.side_of(config, self.retriever, self.dataset, "passage"),
        }

    @classmethod
    def science(cls, spec: specs.IndexSpec) -> Sequence[str]:
        return ["retrieval.indexes"]

    @classmethod
    def beside(cls, path: Path) -> Path:
        return path.with_name(PurePosixPath(cls.template).name)


@dataclass(frozen=True)
class IndexTimes(IndexMetrics):
    """Measured times of the same indexes: building one, and searching for a query by one thread.
    They differ from run to run, and so do the bytes of this file."""

    template = "retrieval/{retriever}/{dataset}/latency.json"
    columns = {}


@dataclass(frozen=True)
class Indexes(Artefact):
    """What each retriever's approximate indexes find, beside exact search, how large they are, and
    how long a query takes. The times are those of one run."""

    panels = ("page.indexes",)
    template = "studies/{study}/findings/indexes.parquet"
    rule = "indexes"
    Slice = specs.IndexesSpec
    step = "indexes"
    also = ("csv",)
    columns = {
        "dataset": Column("text", "what is indexed, as the next two columns"),
        "retriever": Column("text"),
        "layer": Column("integer", "0 = embedding output"),
        **TRIED,
        "measure": MEASURE,
        "estimate": Column("number", "mean over queries"),
        "low": Column("number", "lower end of the 95 % interval"),
        "high": Column("number", "its upper end"),
        "difference": Column(
            "number", "less exact search, paired by query; null there, as the next two columns"
        ),
        "difference_low": Column("number", "lower end of its 95 % interval"),
        "difference_high": Column("number", "its upper end"),
        "queries": Column("integer"),
        **SIZES,
        "milliseconds": Column(
            "number",
            "of one query, asked alone, by one thread: the median over queries of each one's "
            "median over repeats",
            "ms",
        ),
        "slow_milliseconds": Column("number", "the same of the slowest twentieth at least", "ms"),
        "build_seconds": Column("number", "of building the index, by one thread", "s"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)] if config.indexed() else []

    def spec(self, config: Config) -> specs.IndexesSpec:
        return specs.indexes(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        grids = config.indexed()
        return {
            name: [kind(grid.retriever, grid.dataset) for grid in grids]
            for name, kind in (("metrics", IndexMetrics), ("times", IndexTimes))
        }

    @classmethod
    def science(cls, spec: specs.IndexesSpec) -> Sequence[str]:
        return ["findings.indexes"]
