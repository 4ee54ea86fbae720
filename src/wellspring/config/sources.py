"""Whether the sources of a dataset fit its format and give what is asked of them, and its digests
and mirrors fit the sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from wellspring.config.base import HUB
from wellspring.config.datasets import Dataset, Pubmedqa, Pydocs, Scienceqa, Table
from wellspring.config.places import ARCHIVES, PARTS, PUBLISHED, QRELS, REMOTE, is_archive

FOLDERS = ("beir", "trec")
"""Formats whose one source is a folder, or an archive of it."""
HTTP = ("http://", "https://")


def source_problems(name: str, dataset: Dataset) -> Iterable[str]:
    """A line for each problem, the key first."""
    key, source = f"datasets.{name}", getattr(dataset, "source", None)
    if dataset.format == "ir_datasets" or source is None:
        return
    named: Mapping[str, str] = source if isinstance(source, Mapping) else {}
    yield from _names(f"{key}.source", dataset.format, named)
    for address in [*named.values()] or [str(source)]:
        if address.startswith("hub:") and dataset.format != "table":
            yield f"{key}.source: hub: is read by format table alone, got {address!r}"
        elif address.startswith("hub:") and not re.fullmatch(HUB, address):
            yield f"{key}.source: must be hub:OWNER/NAME@REVISION, got {address!r}"
        elif address.startswith("irds:"):
            yield f"{key}.source: is read by format ir_datasets, as id: {address[5:]}"
    folder = dataset.format in FOLDERS and not named and not is_archive(str(source))
    if folder and str(source).startswith(REMOTE):
        yield (
            f"{key}.source: a folder cannot be fetched: name an archive of it "
            f"({', '.join(ARCHIVES)}), its files one by one, or unpack it and name its path"
        )
    yield from _digests(key, dataset, named, folder)
    yield from _mirrors(key, dataset, named)


def negatives_problems(name: str, dataset: Dataset) -> Iterable[str]:
    """A line where samples would get no hard negatives: no source of the format gives any."""
    match dataset:
        case Pydocs():
            given, source = False, "docstrings have"
        case Pubmedqa():
            given = dataset.passage == "long-answer-among-contexts"
            source = f"passage: {dataset.passage} has"
        case Scienceqa():
            given, source = dataset.passage == "option", f"passage: {dataset.passage} has"
        case Table():
            given, source = dataset.columns.negatives is not None, "columns.negatives names"
        case _:
            return
    if not given and dataset.negatives.mined is None:
        yield (
            f"datasets.{name}.negatives.mined: missing, and {source} no hard negatives: set it to "
            "bm25, character-tfidf or random"
        )


def _names(key: str, format: str, named: Mapping[str, str]) -> Iterable[str]:
    """Whether what a source names are splits, or the files of the format."""
    parts = PARTS.get(format, ())
    if format in FOLDERS and named:
        for part in (part for part in parts if part not in named):
            yield f"{key}.{part}: missing: name each of {', '.join(parts)}, and the judgements"
        if not named.keys() - set(parts):
            yield f"{key}: names no judgements: name them {QRELS}, or by their split"
        allowed = (*parts, QRELS, *PUBLISHED)
    elif named.keys() & set(parts):
        allowed = parts
        for part in (part for part in parts if part not in named):
            yield f"{key}.{part}: missing: name {' and '.join(parts)}, or splits"
    else:
        allowed = PUBLISHED
    for split in named:
        if split not in allowed:
            yield f"{key}.{split}: no split; it is one of {', '.join(allowed)}"


def _digests(key: str, dataset: Any, named: Mapping[str, str], folder: bool) -> Iterable[str]:
    """Whether digests and sizes stand where files do."""
    for field, one in (("sha256", "digest"), ("md5", "digest"), ("size", "number")):
        given = getattr(dataset, field, None)
        if given is not None and folder:
            yield f"{key}.{field}: source is a folder, and only files are checked: leave this out"
        elif isinstance(given, Mapping) and not named:
            yield f"{key}.{field}: names splits, but source is one path: give one {one}"
        elif given is not None and not isinstance(given, Mapping) and named:
            yield f"{key}.{field}: is one {one}, but source names splits: give one for each"
        elif isinstance(given, Mapping):
            for split in sorted(given.keys() - named.keys()):
                yield f"{key}.{field}.{split}: source has no such split"


def _mirrors(key: str, dataset: Any, named: Mapping[str, str]) -> Iterable[str]:
    """Whether each mirror is of what is fetched, and a digest tells whether it is the same."""
    given = dataset.mirrors
    if given is None:
        return
    if isinstance(given, Mapping) != bool(named):
        yield f"{key}.mirrors: is written as source is: a list, or a list for each of its files"
        return
    for split, addresses in given.items() if isinstance(given, Mapping) else [("", given)]:
        where = f"{key}.mirrors.{split}" if split else f"{key}.mirrors"
        address = named.get(split) if named else dataset.source
        if address is None:
            yield f"{where}: source has no such split"
        elif not all(each.startswith(HTTP) for each in [address, *addresses]):
            yield f"{where}: only what is fetched over http(s) has mirrors, from such addresses"
        elif not any(_of(dataset, field, split) for field in ("sha256", "md5")):
            yield f"{where}: needs sha256 or md5, which tells whether a mirror has the same file"


def _of(dataset: Any, field: str, split: str) -> Any:
    value = getattr(dataset, field)
    return value.get(split) if isinstance(value, Mapping) else value
