"""Slices of the steps that make datasets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from wellspring import packages
from wellspring.config import (
    BM25,
    OF_WORDS,
    REMOTE,
    Beir,
    Bm25,
    Config,
    Negatives,
    Splits,
    Trec,
    is_archive,
)
from wellspring.config.vocabulary import Scorer, StopWords, Unspaced
from wellspring.specs.base import Spec

DOWNLOADS = "data/downloads"
"""Where what a source has elsewhere is kept, relative to the working directory."""


class DownloadSpec(Spec):
    """One file of a dataset that lies elsewhere."""

    source: str
    """An http(s) address, hub:ID@REVISION, or irds:ID."""
    mirrors: list[str] = Field(default_factory=list)
    """Other addresses of the same file."""
    sha256: str | None
    md5: str | None = None
    size: int | None
    """Bytes."""
    subset: str | None
    """Of a hub dataset."""
    split: str
    """Of a hub dataset."""


class TextsSpec(Spec):
    """Source of a dataset: where it lies and how its format is read."""

    dataset: str
    format: str
    files: dict[str, str]
    """Published split to path; the key is empty where the source publishes none."""
    sha256: dict[str, str]
    md5: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any]
    """Of the format. Packages have their versions here."""


class SamplesSpec(Spec):
    """Hard negatives and splits."""

    negatives: Negatives
    splits: Splits
    bm25: Bm25 | None
    """None where BM25 mines nothing."""
    stop_words: StopWords | None = None
    unspaced: Unspaced | None = None
    """None where no words are read."""


class QrelsSpec(Spec):
    """Which split a judgement belongs to."""

    splits: Splits


class LexicalSpec(Spec):
    """The lexical scores of the candidates."""

    scorers: list[Scorer]
    bm25: Bm25 | None
    """None where no scorer is a BM25."""
    stop_words: StopWords | None = None
    unspaced: Unspaced | None = None
    """None where no scorer reads words."""


def download(config: Config, dataset: str, file: str) -> DownloadSpec:
    """The slice that fetching one of a dataset's files depends on."""
    entry = config.datasets[dataset]
    split = next(split for split, path in files(config, dataset).items() if Path(path).name == file)

    def said(key: str) -> Any:
        value = getattr(entry, key, None)
        return value.get(split) if isinstance(value, dict) else value

    return DownloadSpec(
        source=said("source"),
        mirrors=said("mirrors") or [],
        sha256=said("sha256"),
        md5=said("md5"),
        size=said("size"),
        subset=getattr(entry, "subset", None),
        split=split or "train",
    )


def files(config: Config, dataset: str) -> dict[str, str]:
    """Published split (empty where there is none) to the local file or folder that is read.

    What lies elsewhere is kept as data/downloads/{dataset}/{split}, with the suffixes it has there.
    """
    source = getattr(config.datasets[dataset], "source", {})
    addresses = {"": source} if isinstance(source, str) else source
    return {split: _local(dataset, split, address) for split, address in addresses.items()}


def texts(config: Config, dataset: str) -> TextsSpec:
    """The slice that reading a source depends on."""
    entry = config.datasets[dataset]
    common = {
        "format",
        "source",
        "sha256",
        "md5",
        "size",
        "mirrors",
        "subset",
        "negatives",
        "splits",
        "bm25",
        "lexical",
        "stop_words",
        "unspaced",
        "shards",
    }
    # What is left out is as if there were no such key.
    common |= {key for key in ("inside", "qrels") if getattr(entry, key, None) is None}
    options = entry.model_dump(mode="json", exclude=common)
    if "packages" in options:
        names = sorted({packages.LIBRARY, *options["packages"]})
        options["packages"] = {name: packages.version(name) for name in names}
    return TextsSpec(
        dataset=dataset,
        format=entry.format,
        files=files(config, dataset),
        sha256=_by_split(getattr(entry, "sha256", None)),
        md5=_by_split(getattr(entry, "md5", None)),
        options=options,
    )


def samples(config: Config, dataset: str) -> SamplesSpec:
    """The slice that negatives and splits depend on."""
    entry = config.datasets[dataset]
    return SamplesSpec(
        negatives=entry.negatives,
        splits=entry.splits,
        bm25=_bm25(entry.bm25, entry.negatives.mined),
        **_words(entry, entry.negatives.mined),
    )


def qrels(config: Config, dataset: str) -> QrelsSpec:
    """The slice that the judgements' splits depend on."""
    return QrelsSpec(splits=config.datasets[dataset].splits)


def lexical(config: Config, dataset: str) -> LexicalSpec:
    """The slice that the candidates' lexical scores depend on."""
    entry = config.datasets[dataset]
    return LexicalSpec(
        scorers=entry.lexical,
        bm25=_bm25(entry.bm25, *entry.lexical),
        **_words(entry, *entry.lexical),
    )


def word_settings(spec: SamplesSpec | LexicalSpec) -> dict[str, Any]:
    """The settings of lexical scorers that a slice holds, by the names of their parameters."""
    settings = {name: getattr(spec, name) for name in ("bm25", "stop_words", "unspaced")}
    return {key: value for key, value in settings.items() if value is not None}


def source_files(config: Config, dataset: str) -> list[str]:
    """The files that a dataset is read from."""
    entry, paths_by_name = config.datasets[dataset], files(config, dataset)
    whole = Path(paths_by_name.get("", ""), getattr(entry, "inside", None) or "")
    if "" in paths_by_name and isinstance(entry, Trec) and not is_archive(paths_by_name[""]):
        qrels = [entry.qrels] if isinstance(entry.qrels, str) else entry.qrels.values()
        return [str(whole / name) for name in (entry.documents, entry.topics, *qrels)]
    if "" in paths_by_name and isinstance(entry, Beir) and whole.is_dir():
        patterns = ("corpus.*", "queries.*", "qrels/*.*")
        return sorted(str(path) for pattern in patterns for path in whole.glob(pattern))
    return list(paths_by_name.values())


def _by_split(digests: str | dict[str, str] | None) -> dict[str, str]:
    return {"": digests} if isinstance(digests, str) else digests or {}


def _bm25(settings: Bm25, *scorers: str | None) -> Bm25 | None:
    """The settings where one of these is a BM25."""
    return settings if set(scorers) & set(BM25) else None


def _words(entry: Any, *scorers: str | None) -> dict[str, Any]:
    """What counts as a word, where one of these reads words."""
    read = set(scorers) & set(OF_WORDS)
    return {"stop_words": entry.stop_words, "unspaced": entry.unspaced} if read else {}


def _local(dataset: str, split: str, address: str) -> str:
    if not address.startswith(REMOTE):
        return address
    made = {"hub": "x.parquet", "irds": "x.zip"}
    name = made.get(address.partition(":")[0]) or Path(urlsplit(address).path).name.lower()
    # Readers choose by suffix; the rest of a foreign name stays outside.
    suffixes = "".join(re.findall(r"\.[a-z][a-z0-9]{0,9}(?=\.|$)", name)[-2:])
    return f"{DOWNLOADS}/{dataset}/{split or 'source'}{suffixes}"
