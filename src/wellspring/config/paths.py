"""Where the relative paths of a configuration start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from wellspring.config.datasets import REMOTE, Pydocs
from wellspring.config.entries import Config
from wellspring.config.files import read
from wellspring.errors import ConfigError


def anchor(raw: Any, files: Iterable[Path]) -> Any:
    """Make each relative path absolute, seen from the last of the files that names it.

    Snakemake has already merged the files into `raw`; a value that stands in none of them (from
    --config) is relative to the working directory. What should be a mapping and is none stays as
    it is, for `parse` to report.

    Raises ConfigError where a file cannot be read or is no mapping.
    """
    layers = [(file.parent, read(file)) for file in files]
    if not isinstance(raw, Mapping):
        return raw

    def home(path: str) -> str:
        # A default is no file's: it lies beside the first one, the workflow's own.
        return _join(layers[0][0] if layers else Path(), path)

    def base(*keys: str) -> Path:
        for folder, content in reversed(layers):
            for key in keys:
                content = content.get(key) if isinstance(content, Mapping) else None
            if content is not None:
                return folder
        return Path()

    config = dict(raw)
    if isinstance(models := raw.get("models"), Mapping):
        config["models"] = {
            name: _anchor_model(entry, partial(base, "models", name))
            for name, entry in models.items()
        }
    if isinstance(datasets := raw.get("datasets"), Mapping):
        config["datasets"] = {
            name: _anchor_dataset(entry, partial(base, "datasets", name), home)
            for name, entry in datasets.items()
        }
    study = raw.get("study")
    published = study.get("published") if isinstance(study, Mapping) else None
    if isinstance(published, Mapping) and "source" in published:
        source = _join(base("study", "published", "source"), published["source"])
        config["study"] = {**study, "published": {**published, "source": source}}
    return config


def check_places(config: Config) -> None:
    """Raise ConfigError, a line each, for places that the study reads and that are not there.

    Snakemake alone would not: it takes results that exist for results of the file that is named.
    """
    problems = []
    for name in config.datasets_used():
        for path in local_places(config.datasets[name]):
            if not path.exists():
                problems.append(f"datasets.{name}.source: {path} does not exist")
    for encoder in config.encoders_used():
        name = config.encoders[encoder].model
        entry = config.models[name]
        if entry.scheme == "random":
            name, entry = entry.place, config.models[entry.place]
        adapter = (entry.adapter or "").partition(":")
        for key, scheme, place, wanted in (
            ("source", entry.scheme, entry.place, "config.json"),
            ("adapter", adapter[0], adapter[2], "adapter_config.json"),
        ):
            if scheme == "path" and not (Path(place) / wanted).is_file():
                problems.append(f"models.{name}.{key}: {place} holds no {wanted}")
    published = config.study.published
    if published and not Path(published.source).is_file():
        problems.append(f"study.published.source: {published.source} does not exist")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def local_places(entry: Any) -> list[Path]:
    """The files or folders of this machine that a dataset's entry names."""
    if isinstance(entry, Pydocs):
        return [Path(entry.lock)]
    places = [entry.source] if isinstance(entry.source, str) else entry.source.values()
    return [Path(place) for place in places if not place.startswith(REMOTE)]


def _anchor_model(entry: Any, base: Callable[[str], Path]) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    entry = dict(entry)
    for key in ("source", "adapter"):
        source = entry.get(key)
        if isinstance(source, str) and source.startswith("path:"):
            entry[key] = "path:" + _join(base(key), source.removeprefix("path:"))
    return entry


def _anchor_dataset(entry: Any, base: Callable[[str], Path], home: Callable[[str], str]) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    entry = dict(entry)
    if entry.get("format") == "pydocs":
        default = Pydocs.model_fields["lock"].default
        entry["lock"] = _join(base("lock"), entry["lock"]) if "lock" in entry else home(default)
    source = entry.get("source")
    if isinstance(source, str):
        entry["source"] = _join(base("source"), source)
    elif isinstance(source, Mapping):
        entry["source"] = {split: _join(base("source"), path) for split, path in source.items()}
    return entry


def _join(folder: Path, path: Any) -> Any:
    if not isinstance(path, str) or path.startswith(REMOTE):
        return path
    path = (folder / Path(path).expanduser()).resolve()
    here = Path.cwd()
    # Below the working directory a relative path keeps results independent of where that lies.
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
