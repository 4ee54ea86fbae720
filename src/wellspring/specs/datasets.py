"""Slices of the steps that make datasets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wellspring import packages
from wellspring.config import (
    BM25,
    OF_WORDS,
    REMOTE,
    Bm25,
    Config,
    Negatives,
    Splits,
    Trec,
)
from wellspring.config.vocabulary import Scorer, StopWords, Unspaced
from wellspring.specs.base import Spec

DOWNLOADS = "data/downloads"
"""Where what a source has elsewhere is kept, relative to the working directory."""


class DownloadSpec(Spec):
    """One file of a dataset that lies elsewhere."""

    source: str
    """An http(s) address, or hub:ID@REVISION."""
    sha256: str | None
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
        sha256=said("sha256"),
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
        "size",
        "subset",
        "negatives",
        "splits",
        "bm25",
        "lexical",
        "stop_words",
        "unspaced",
        "shards",
    }
    digests = getattr(entry, "sha256", None) or {}
    options = entry.model_dump(mode="json", exclude=common)
    if "packages" in options:
        names = sorted({packages.LIBRARY, *options["packages"]})
        options["packages"] = {name: packages.version(name) for name in names}
    return TextsSpec(
        dataset=dataset,
        format=entry.format,
        files=files(config, dataset),
        sha256={"": digests} if isinstance(digests, str) else digests,
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
    if isinstance(entry, Trec):
        qrels = [entry.qrels] if isinstance(entry.qrels, str) else entry.qrels.values()
        return [
            str(Path(paths_by_name[""], name)) for name in (entry.documents, entry.topics, *qrels)
        ]
    paths = []
    for path in map(Path, paths_by_name.values()):
        inside = sorted([*path.glob("*.jsonl"), *path.glob("qrels/*.tsv")])
        paths.extend(map(str, inside or [path]))
    return paths


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
    name = "x.parquet" if address.startswith("hub:") else Path(urlsplit(address).path).name.lower()
    # Readers choose by suffix; the rest of a foreign name stays outside.
    suffixes = "".join(re.findall(r"\.[a-z][a-z0-9]{0,9}(?=\.|$)", name)[-2:])
    return f"{DOWNLOADS}/{dataset}/{split or 'source'}{suffixes}"
