"""Files of a dataset: what was fetched, its texts and judgements, and what is drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.sources import Digests
from wellspring.config import Config


@dataclass(frozen=True)
class Download(Artefact):
    """Size and sha256 of a fetched file of a source, which itself lies under data/downloads."""

    template = "datasets/{dataset}/downloads/{file}.json"
    rule = "download"
    Slice = specs.DownloadSpec
    step = "download"
    dataset: str
    file: str

    DATA = f"{specs.DOWNLOADS}/{{dataset}}/{{file}}"
    """The fetched file's path, with the same wildcards."""

    def spec(self, config: Config) -> specs.DownloadSpec:
        return specs.download(config, self.dataset, self.file)

    @classmethod
    def told(cls, spec: specs.DownloadSpec) -> Mapping[str, Any]:
        # Where else a file lies says nothing of what it is.
        left = {"mirrors"} | ({"md5"} if spec.md5 is None else set())
        return {"spec": spec.model_dump(mode="json", exclude=left)}

    @property
    def files(self) -> Sequence[str]:
        return [self.main_file, self.DATA.format(**vars(self))]

    def harmed(self, facts: Mapping[str, Any], digests: Digests) -> str | None:
        file = self.files[1]
        if Path(file).exists() and digests.of(Path(file)) != f"{facts['size']}:{facts['sha256']}":
            return f"{file} holds something else than was fetched"
        return None


@dataclass(frozen=True)
class Texts(Artefact):
    """Every text of a dataset, once."""

    template = "datasets/{dataset}/texts.parquet"
    rule = "texts"
    Slice = specs.TextsSpec
    step = "texts"
    sliced_by = ("dataset",)
    columns = {
        "text_id": Column("text", "id of the source, or a hash of the text"),
        "side": Column(
            "text", "`query`, `passage`, or `paraphrase`: another wording of the query with that id"
        ),
        "text": Column("text", "the text itself"),
    }
    dataset: str

    def spec(self, config: Config) -> specs.TextsSpec:
        return specs.texts(config, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        paths = specs.source_files(config, self.dataset)
        folder = f"{specs.DOWNLOADS}/{self.dataset}/"
        return {
            "source": [
                Download(self.dataset, path.removeprefix(folder))
                if path.startswith(folder)
                else path
                for path in paths
            ]
        }

    @classmethod
    def told(cls, spec: specs.TextsSpec) -> Mapping[str, Any]:
        # No path: the same source may lie elsewhere.
        return {"source": spec.model_dump(mode="json", exclude={"files", "md5"})}

    @classmethod
    def science(cls, spec: specs.TextsSpec) -> Sequence[str]:
        return ["datasets.records", f"datasets.{spec.format}"]


@dataclass(frozen=True)
class Judgements(Texts):
    """What the source says about which passage answers which query."""

    template = "datasets/{dataset}/judgements.parquet"
    step = "judgements"
    columns = {
        "query_id": Column("text", "whose judgement"),
        "text_id": Column("text", "of which passage"),
        "grade": Column("integer", "above 0: positive; 0: given hard negative"),
        "split": Column("text", "where the source publishes splits"),
    }


@dataclass(frozen=True)
class Samples(Artefact):
    """Queries, each with its positive and with hard negatives, by split."""

    template = "datasets/{dataset}/samples.parquet"
    rule = "samples"
    Slice = specs.SamplesSpec
    step = "samples"
    columns = {
        "sample_id": Column("text", "hash of query and positive"),
        "split": Column("text", "`train`, `validation` or `test`"),
        "published": Column(
            "text", "the source's split under these names; null where it publishes none"
        ),
        "query_id": Column("text"),
        "positive_id": Column("text", "id of a text, of equal texts the lowest"),
        "negative_ids": Column("list", "ids of texts; an oversampled negative repeats"),
    }
    dataset: str

    def spec(self, config: Config) -> specs.SamplesSpec:
        return specs.samples(config, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"texts": Texts(self.dataset), "judgements": Judgements(self.dataset)}

    @classmethod
    def science(cls, spec: specs.SamplesSpec) -> Sequence[str]:
        return ["datasets.samples"]


@dataclass(frozen=True)
class Qrels(Artefact):
    """The judgements, by split."""

    template = "datasets/{dataset}/qrels.parquet"
    rule = "qrels"
    Slice = specs.QrelsSpec
    step = "qrels"
    columns = {
        "split": Column("text"),
        "query_id": Column("text"),
        "cluster": Column("text", "the first id with the query's text: the unit of intervals"),
        "text_id": Column("text"),
        "grade": Column("integer", "as in the judgements"),
    }
    dataset: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(dataset) for dataset in config.datasets_used()]

    def spec(self, config: Config) -> specs.QrelsSpec:
        return specs.qrels(config, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"texts": Texts(self.dataset), "judgements": Judgements(self.dataset)}

    @classmethod
    def science(cls, spec: specs.QrelsSpec) -> Sequence[str]:
        return ["datasets.splits"]


@dataclass(frozen=True)
class Lexical(Artefact):
    """The lexical scores of every sample's candidates: a list a scorer."""

    SILENT = "silent"
    """The fact that holds a sentence for each scorer that gives every candidate 0."""

    template = "datasets/{dataset}/lexical.parquet"
    rule = "lexical"
    Slice = specs.LexicalSpec
    step = "lexical"
    columns = {
        "sample_id": Column("text"),
        "{scorer}": Column("list", "its score of the positive, then of each negative"),
    }
    dataset: str

    def spec(self, config: Config) -> specs.LexicalSpec:
        return specs.lexical(config, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"texts": Texts(self.dataset), "samples": Samples(self.dataset)}

    @classmethod
    def science(cls, spec: specs.LexicalSpec) -> Sequence[str]:
        return ["datasets.lexical"]
