"""Files of searches: what was found for each query, how good that is, and a study's table of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wellspring import shards, specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard, TermShard
from wellspring.artefacts.models import Model, variant
from wellspring.config import Config

if TYPE_CHECKING:
    from wellspring.inspection import Section
    from wellspring.retrieval.ranking import Ranking

FOUND = {
    "query_id": Column("text"),
    "document_id": Column("text", "id of a passage"),
    "rank": Column("integer", "from 1; equal scores in the order of the ids"),
    "score": Column("number"),
}
CLUSTER = Column("text", "the first id with the query's text: the unit of intervals")
JUDGED = {
    "measure": Column("text", "as ir_measures names it, such as `nDCG@10`"),
    "query_id": Column("text"),
    "cluster": CLUSTER,
    "value": Column("number"),
    "best": Column("number", "in the best order among equal scores"),
    "worst": Column("number", "in the worst one"),
    "judged": Column("number", "of the first ten documents, those with a judgement", "share"),
}
SCORER = {"scorer": Column("text", "of words, or of pieces of words")}
LAYER = {"layer": Column("integer", "0 = embedding output")}


@dataclass(frozen=True)
class LexicalRun(Artefact):
    """The best passages of each query by every lexical scorer, out of the whole corpus."""

    template = "datasets/{dataset}/retrieval/run.parquet"
    rule = "rank"
    Slice = specs.RankSpec
    step = "rank"
    columns = {**SCORER, **FOUND}
    dataset: str

    def spec(self, config: Config) -> specs.RankSpec:
        return specs.rank(config, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"texts": Texts(self.dataset), "qrels": Qrels(self.dataset)}

    @classmethod
    def science(cls, spec: specs.RankSpec) -> Sequence[str]:
        return ["retrieval.words", "retrieval.evaluation"]

    @classmethod
    def beside(cls, path: Path) -> Path:
        return path.with_name(PurePosixPath(cls.template).name)


@dataclass(frozen=True)
class LexicalMetrics(LexicalRun):
    """How good each lexical scorer's ranking of each query is."""

    template = "datasets/{dataset}/retrieval/metrics.parquet"
    columns = {**SCORER, **JUDGED}


@dataclass(frozen=True)
class LexicalValidation(LexicalRun):
    """The same of the validation queries, where they are not among those that are asked: they
    choose the best scorer."""

    template = "datasets/{dataset}/retrieval/validation.parquet"
    columns = {**SCORER, **JUDGED}


@dataclass(frozen=True)
class Scan(Artefact):
    """The best passages of each query at every layer, out of one shard of a corpus that is not
    stored: it is encoded, searched and dropped. A row group a layer."""

    template = "retrieval/{retriever}/{dataset}/scans/shard-{shard:03d}.parquet"
    rule = "scan"
    Slice = specs.ScanSpec
    step = "scan"
    threads = 8
    columns = {
        **LAYER,
        "query_id": Column("text"),
        "documents": Column(
            "vector",
            "positions of passages among those of the dataset in the order of their ids, from 0, "
            "the highest score first; -1 behind the last passage",
        ),
        "scores": Column("vector", "of the same passages"),
    }
    retriever: str
    dataset: str
    shard: int

    @classmethod
    def all_of(cls, config: Config, retriever: str, dataset: str) -> list[Scan]:
        """Those of all shards of a dataset."""
        count = config.datasets[dataset].shards
        return [cls(retriever, dataset, shard) for shard in range(count)]

    def spec(self, config: Config) -> specs.ScanSpec:
        return specs.search(config, self.retriever, self.dataset).scan(self.shard)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        encoder = config.retrievers[self.retriever].encoders["passage"]
        return {
            "texts": Texts(self.dataset),
            "qrels": Qrels(self.dataset),
            "model": Model.of_encoder(config, encoder),
            "query": EmbeddingShard.side_of(config, self.retriever, self.dataset, "query"),
        }

    @classmethod
    def science(cls, spec: specs.ScanSpec) -> Sequence[str]:
        searching = ["retrieval.search", "retrieval.streaming", "retrieval.run"]
        return [*searching, "embeddings", "models.load", *variant(spec.encoding)]

    def sections(self, results: Path) -> Iterable[Section]:
        from wellspring.artefacts import contents

        return contents.scan(self.at(results))

    @classmethod
    def write_rankings(
        cls,
        path: Path,
        rankings: Mapping[int, Ranking],
        queries: Sequence[str],
        provenance: shards.Provenance,
    ) -> None:
        """Write the rankings of these queries at each layer atomically."""
        import numpy as np
        import pyarrow as pa

        places = max(ranking.places for ranking in rankings.values())
        kinds = {"layer": pa.int64(), "query_id": pa.string()}
        kinds |= {"documents": shards.fixed("int32", places)}
        kinds |= {"scores": shards.fixed("float32", places)}
        with shards.stream(path, pa.schema(kinds), provenance) as table:
            for layer, ranking in rankings.items():
                documents = ranking.documents.astype(np.int32)
                layers = np.full(len(queries), layer, np.int64)
                table.write([layers, queries, documents, ranking.scores])

    @classmethod
    def merged(
        cls, folder: Path, spec: specs.SearchSpec, **identity: object
    ) -> Iterator[tuple[int, Ranking]]:
        """Each layer and its ranking of the whole corpus, from the files of all shards.

        identity: fingerprints of texts and judgements. All files must come from the same weights.
        """
        import numpy as np

        from wellspring.retrieval.ranking import Ranking, merged

        paths = [folder / shards.shard_name(shard) for shard in range(spec.shards)]
        for shard, path in enumerate(paths):
            stored = cls.check(path, spec.scan(shard), **identity)
            identity["weights"] = stored.identity["weights"]
        columns = ["documents", "scores"]
        readers = [shards.row_groups(path, ["layer", *columns]) for path in paths]
        for layer in spec.layers:
            best: list[Ranking] = []
            for reader in readers:
                group = next(reader)
                assert set(group["layer"].to_pylist()) == {layer}, "a row group is a layer"
                documents, scores = (shards.matrix(group[name]) for name in columns)
                own = Ranking(documents.astype(np.int64), scores)
                best = [merged([*best, own], spec.rank.depth + 1)]
            yield layer, best[0]


@dataclass(frozen=True)
class Run(Artefact):
    """The best passages of each query at every layer, out of the whole corpus."""

    template = "retrieval/{retriever}/{dataset}/run.parquet"
    rule = "search"
    Slice = specs.SearchSpec
    step = "search"
    threads = 8
    columns = {**LAYER, **FOUND}
    retriever: str
    dataset: str

    def spec(self, config: Config) -> specs.SearchSpec:
        return specs.search(config, self.retriever, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        kept = config.searching(self.retriever, self.dataset).block.keep
        return self._made_from(config, kept)

    def keyed(self, config: Config) -> Mapping[str, Needed]:
        # Scans find what a search of the same vectors finds: what is stored changes no number.
        return self._made_from(config, kept=True)

    def _made_from(self, config: Config, kept: bool) -> Mapping[str, Needed]:
        names = (config, self.retriever, self.dataset)
        return {
            "texts": Texts(self.dataset),
            "qrels": Qrels(self.dataset),
            "words": LexicalRun(self.dataset),
            "words_metrics": LexicalMetrics(self.dataset),
            "words_validation": LexicalValidation(self.dataset),
            "query": EmbeddingShard.side_of(*names, "query") if kept else [],
            "passage": EmbeddingShard.side_of(*names, "passage") if kept else [],
            "scans": [] if kept else Scan.all_of(*names),
        }

    @classmethod
    def science(cls, spec: specs.SearchSpec) -> Sequence[str]:
        # Of both ways, so that an edit of either makes it again.
        searching = ["retrieval.search", "retrieval.streaming", "retrieval.run"]
        return [*searching, "retrieval.evaluation"]

    @classmethod
    def beside(cls, path: Path) -> Path:
        return path.with_name(PurePosixPath(cls.template).name)


@dataclass(frozen=True)
class SearchMetrics(Run):
    """How good each layer's ranking of each query is."""

    template = "retrieval/{retriever}/{dataset}/metrics.parquet"
    columns = {**LAYER, **JUDGED}


@dataclass(frozen=True)
class SearchValidation(Run):
    """The same of the validation queries, where they are not among those that are asked: they
    choose the best layer."""

    template = "retrieval/{retriever}/{dataset}/validation.parquet"
    columns = {**LAYER, **JUDGED}


@dataclass(frozen=True)
class FusionMetrics(Run):
    """How good the last layer's rankings are when they are fused with those of the best lexical
    scorer."""

    template = "retrieval/{retriever}/{dataset}/fusion.parquet"
    columns = {**SCORER, **JUDGED}


@dataclass(frozen=True)
class TermRun(Artefact):
    """The best passages of each query by the terms of a sparse retriever, out of the whole
    corpus."""

    template = "retrieval/{retriever}/{dataset}/terms/run.parquet"
    rule = "match"
    Slice = specs.MatchSpec
    step = "match"
    columns = FOUND
    retriever: str
    dataset: str

    def spec(self, config: Config) -> specs.MatchSpec:
        return specs.match(config, self.retriever, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {
            "texts": Texts(self.dataset),
            "qrels": Qrels(self.dataset),
            "query": TermShard.side_of(config, self.retriever, self.dataset, "query"),
            "passage": TermShard.side_of(config, self.retriever, self.dataset, "passage"),
        }

    @classmethod
    def science(cls, spec: specs.MatchSpec) -> Sequence[str]:
        return ["retrieval.sparse", "retrieval.run", "retrieval.evaluation"]

    @classmethod
    def beside(cls, path: Path) -> Path:
        return path.with_name(PurePosixPath(cls.template).name)


@dataclass(frozen=True)
class TermMetrics(TermRun):
    """How good the ranking of each query by terms is."""

    template = "retrieval/{retriever}/{dataset}/terms/metrics.parquet"
    columns = JUDGED


@dataclass(frozen=True)
class TermValidation(TermRun):
    """The same of the validation queries, where they are not among those that are asked."""

    template = "retrieval/{retriever}/{dataset}/terms/validation.parquet"
    columns = JUDGED


def metrics_of(retriever: str, dataset: str, by_terms: bool) -> SearchMetrics | TermMetrics:
    """How good the ranking is that a retriever is made for: by its terms, or by its layers."""
    return (TermMetrics if by_terms else SearchMetrics)(retriever, dataset)


@dataclass(frozen=True)
class Retrieval(Artefact):
    """What every retriever of a study finds at every layer and by its terms, beside words and
    beside its counterpart."""

    panels = ("page.retrieval",)
    template = "studies/{study}/findings/retrieval.parquet"
    rule = "retrieval"
    Slice = specs.RetrievalSpec
    step = "retrieval"
    also = ("csv",)
    columns = {
        "finding": Column(
            "text",
            "`value`; `difference`: less the counterpart's value; `control`: of vectors, less that "
            "of the best lexical scorer, of fusion, less that of the last layer",
        ),
        "dataset": Column("text", "what the row is about, as the next six columns"),
        "retriever": Column("text", "null where words rank alone"),
        "compared_with": Column("text"),
        "ranker": Column(
            "text",
            "`vectors`, `terms` of a sparse retriever, `lexical`, or `fusion` of the last layer "
            "with the best lexical scorer",
        ),
        "scorer": Column("text", "of the words"),
        "layer": Column("integer", "0 = embedding output"),
        "measure": Column("text"),
        "test": Column("text", "null in rows without a test, as the next three of its columns"),
        "estimate": Column("number", "mean over queries, paired where two sides are compared"),
        "low": Column("number", "lower end of the 95 % interval"),
        "high": Column("number", "its upper end"),
        "detectable": Column(
            "number",
            "of a difference: the smallest true one that such an interval excludes 0 for, at 80 % "
            "power",
        ),
        "p_value": Column("number"),
        "p_adjusted": Column("number", "over the layers of a measure"),
        "significant": Column("boolean"),
        "best": Column("number", "the mean in the best order among equal scores"),
        "worst": Column("number", "the mean in the worst one"),
        "judged": Column("number", "of the first ten documents, those with a judgement", "share"),
        "queries": Column("integer", "distinct texts"),
        "chosen": Column(
            "text",
            "on which queries the first measure chose this layer or scorer as the best one: "
            "`validation`, or `same queries` where they judge it, too; of fusion, its scorer; null "
            "for all others",
        ),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)] if config.searched() else []

    def spec(self, config: Config) -> specs.RetrievalSpec:
        return specs.retrieval(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        searches = [(grid.retriever, grid.dataset) for grid in config.searched()]
        return {
            "metrics": [
                kind(*names)
                for names in searches
                for kind in (SearchMetrics, SearchValidation, FusionMetrics)
            ],
            "terms": [TermMetrics(*names) for names in searches if config.gives_terms(names[0])],
            "lexical": [
                kind(dataset)
                for dataset in config.searched_datasets()
                for kind in (LexicalMetrics, LexicalValidation)
            ],
        }

    @classmethod
    def science(cls, spec: specs.RetrievalSpec) -> Sequence[str]:
        return ["findings.retrieval"]
