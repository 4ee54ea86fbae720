"""Which files make a configuration, and where its relative paths start."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from wellspring import packages
from wellspring.config.checks import parse
from wellspring.config.entries import Config
from wellspring.config.files import read
from wellspring.config.places import REMOTE
from wellspring.config.study import Study
from wellspring.errors import ConfigError


def anchor(raw: Any, files: Iterable[Path]) -> Any:
    """The configuration of the files, and of what --config adds: with absolute paths, and named.

    Snakemake has already merged the files into `raw`. Each relative path is seen from the last of
    the files that names it; a value that stands in none of them (from --config) is relative to the
    working directory. Where a file says `inherit: false`, nothing of the files before it is used.
    A study without a name has that of the last file. What should be a mapping and is none stays as
    it is, for `parse` to report.

    Raises ConfigError where a file cannot be read or is not a mapping.
    """
    layers = [(file, read(file)) for file in files]
    if not isinstance(raw, Mapping):
        return raw
    raw, layers = _inherited(raw, layers)

    def base(*keys: str) -> Path:
        for file, content in reversed(layers):
            for key in keys:
                content = content.get(key) if isinstance(content, Mapping) else None
            if content is not None:
                return file.parent
        return Path()

    config = dict(raw)
    for section, anchored in (
        ("models", _anchor_model),
        ("encoders", _anchor_encoder),
        ("retrievers", _anchor_retriever),
        ("datasets", _anchor_dataset),
        ("teachers", _anchor_teacher),
    ):
        if isinstance(entries := raw.get(section), Mapping):
            config[section] = {
                name: anchored(entry, partial(base, section, name))
                if isinstance(entry, Mapping)
                else entry
                for name, entry in entries.items()
            }
    if isinstance(study := raw.get("study"), Mapping):
        config["study"] = study = dict(study)
        if "name" not in study and layers:
            words = re.findall("[a-z0-9]+", layers[-1][0].stem.lower())
            study["name"] = "-".join(words)[:64].strip("-") or Study.model_fields["name"].default
        published = study.get("published")
        if isinstance(published, Mapping) and "source" in published:
            source = _join(base("study", "published", "source"), published["source"])
            study["published"] = {**published, "source": source}
    return config


def load(files: Iterable[Path]) -> Config:
    """The checked configuration of files, the first one first, joined as Snakemake joins them.

    Raises ConfigError where a file cannot be read or the whole cannot be used.
    """
    return parse(anchored(files))


def anchored(files: Iterable[Path]) -> Any:
    """The configuration of files as `anchor` gives it, before anything is checked."""
    files = list(files)
    return anchor(_merged(map(read, files)), files)


Layers = list[tuple[Path, Mapping[str, Any]]]
"""Files and their contents, the first one first."""


def _inherited(raw: Mapping[str, Any], layers: Layers) -> tuple[Mapping[str, Any], Layers]:
    """Without what a file does not inherit: from the last that says `inherit: false` on."""
    alone = [index for index, (_, content) in enumerate(layers) if content.get("inherit") is False]
    if not alone:
        return raw, layers
    given = _beyond(raw, _merged(content for _, content in layers))
    layers = layers[alone[-1] :]
    return _merged([*(content for _, content in layers), given]), layers


def _merged(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Mappings merged deeply, as Snakemake does; other values take the place of what was there."""
    merged: dict[str, Any] = {}
    for content in contents:
        for key, value in content.items():
            there = merged.get(key)
            if isinstance(value, Mapping):
                value = _merged([there if isinstance(there, Mapping) else {}, value])
            merged[key] = value
    return merged


def _beyond(raw: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says beyond its files: the values of --config."""
    beyond = {}
    for key, value in raw.items():
        there = merged.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            if more := _beyond(value, there):
                beyond[key] = more
        elif key not in merged or value != there:
            beyond[key] = value
    return beyond


HOLDS = {
    "source": "config.json",
    "adapter": "adapter_config.json",
    "tokenizer.source": "tokenizer.json",
}
"""Which file a folder must hold that a model's entry names."""


def check_paths(config: Config) -> None:
    """Raise ConfigError, a line each, for paths that the study reads and that are not there.

    Snakemake alone would not: it takes results that exist for results of the file that is named.
    """
    problems = []
    for name in config.datasets_read():
        entry = config.datasets[name]
        for path in local_paths(entry):
            if not path.exists():
                problems.append(f"datasets.{name}.source: {path} does not exist")
        for package in getattr(entry, "packages", ()):
            if packages.find(package) is None:
                problems.append(f"datasets.{name}.packages: {package} is not installed")
    for name in config.models_used():
        entry = config.models[name]
        for key, (source, _) in entry.sources.items():
            problems += _folder_problems(f"models.{name}.{key}", source, HOLDS[key])
    for name in config.teachers_used():
        problems += _teacher_paths(config, name)
    published = config.study.published
    if published and not Path(published.source).is_file():
        problems.append(f"study.published.source: {published.source} does not exist")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def _folder_problems(key: str, source: str, holds: str) -> list[str]:
    """A line where a source is a folder that is not there, or lacks its file."""
    scheme, _, reference = source.partition(":")
    if scheme != "path":
        return []
    if not Path(reference).is_dir():
        return [f"{key}: {reference} is not a folder"]
    return [] if Path(reference, holds).is_file() else [f"{key}: {reference} holds no {holds}"]


def _teacher_paths(config: Config, name: str) -> list[str]:
    """A line for each path of a teacher that is not there."""
    if (teacher := config.teachers.get(name)) is None:
        return []
    if teacher.cross_encoder:
        key = f"teachers.{name}.cross_encoder.source"
        return _folder_problems(key, teacher.cross_encoder.source, "config.json")
    return [
        f"teachers.{name}.scores: {path} does not exist"
        for path in teacher.files.values()
        if not Path(path).is_file()
    ]


def local_paths(entry: Any) -> list[Path]:
    """The files or folders of this machine that a dataset's entry names."""
    source = getattr(entry, "source", {})
    addresses = [source] if isinstance(source, str) else source.values()
    return [Path(address) for address in addresses if not address.startswith(REMOTE)]


def _anchor_model(entry: Mapping[str, Any], base: Callable[..., Path]) -> Any:
    entry = dict(entry)
    for key in ("source", "adapter"):
        source = entry.get(key)
        if isinstance(source, str) and source.startswith("path:"):
            entry[key] = "path:" + _join(base(key), source.removeprefix("path:"))
    if isinstance(tokenizer := entry.get("tokenizer"), Mapping):
        entry["tokenizer"] = _anchor_model(tokenizer, partial(base, "tokenizer"))
    return entry


def _anchor_encoder(entry: Mapping[str, Any], base: Callable[..., Path]) -> Any:
    if not isinstance(model := entry.get("model"), Mapping):
        return entry
    return {**entry, "model": _anchor_model(model, partial(base, "model"))}


def _anchor_retriever(entry: Mapping[str, Any], base: Callable[..., Path]) -> Any:
    inline = {
        side: _anchor_encoder(entry[side], partial(base, side))
        for side in ("query", "passage")
        if isinstance(entry.get(side), Mapping)
    }
    return {**entry, **inline}


def _anchor_dataset(entry: Mapping[str, Any], base: Callable[..., Path]) -> Any:
    return _anchor_files(dict(entry), base, "source")


def _anchor_teacher(entry: Mapping[str, Any], base: Callable[..., Path]) -> Any:
    entry = _anchor_files(dict(entry), base, "scores")
    if isinstance(network := entry.get("cross_encoder"), Mapping):
        entry["cross_encoder"] = _anchor_model(network, partial(base, "cross_encoder"))
    return entry


def _anchor_files(entry: dict[str, Any], base: Callable[..., Path], key: str) -> dict[str, Any]:
    """A file, or one for each name, under a key."""
    given = entry.get(key)
    if isinstance(given, str):
        entry[key] = _join(base(key), given)
    elif isinstance(given, Mapping):
        entry[key] = {name: _join(base(key), path) for name, path in given.items()}
    return entry


def _join(folder: Path, path: Any) -> Any:
    if not isinstance(path, str) or path.startswith(REMOTE):
        return path
    path = (folder / Path(path).expanduser()).resolve()
    here = Path.cwd()
    # Below the working directory a relative path keeps results independent of where that lies.
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
