"""The studies that use a results folder: by their files, and by what their last runs left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellspring import config as configuration
from wellspring.artefacts.base import RESULTS
from wellspring.config import Config
from wellspring.errors import ConfigError
from wellspring.shards import write_json

RECORD = "configuration.json"
"""Below a study's folder: the configuration that its last run had."""


@dataclass(frozen=True)
class Study:
    """A study whose configuration is known."""

    config: Config
    origin: str
    """Where the configuration stands."""

    @property
    def name(self) -> str:
        """Its folder's name below results/studies."""
        return self.config.study.name


@dataclass(frozen=True)
class Survey:
    """What is known of the studies that use a folder of results."""

    known: Sequence[Study]
    unknown: Mapping[str, str]
    """Names of studies that have a folder there and whose configuration is not known, to why."""
    unusable: Sequence[str]
    """A line for each file of studies/ that cannot be used, alone or on top of another."""


def folder(name: str, results: Path = Path(RESULTS)) -> Path:
    """Where the results of one study alone lie."""
    return results / "studies" / name


def record(name: str, anchored: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Leave a study's configuration beside its results, so that its needs stay known.

    anchored: before anything is checked. files: those that it was read from; they are named where
    they alone say all of it.
    """
    alone = configuration.anchored(files) == anchored
    names = [nearby(file) for file in files] if alone else []
    write_json(folder(name) / RECORD, {"files": names, "configuration": anchored})


def survey(own: Path, overlays: Sequence[Path], results: Path = Path(RESULTS)) -> Survey:
    """The studies that files or records tell of: that of the workflow's own file, alone and with
    the overlays; one for each file of the folder studies/ beside it, or, where a file is none
    alone, on top of each other one with which it is one; and those that ran here.

    Raises ConfigError where the own file cannot be used, alone or with the overlays.
    """
    known: dict[tuple[Path, ...], Study] = {_resolved([own]): _loaded([own])}
    bases = [(own, *overlays)]
    known[_resolved(bases[0])] = _loaded(bases[0])
    alone: dict[Path, str] = {}
    unusable: list[str] = []
    for file in sorted((own.parent / "studies").glob("*.yaml")):
        try:
            known.setdefault(_resolved((own, file)), _loaded((own, file)))
            bases.append((own, file))
        except ConfigError as error:
            alone[file] = str(error).splitlines()[0]
    unknown = {
        path.name: f"{path} holds no {RECORD}"
        for path in sorted(results.glob("studies/*"))
        if path.is_dir() and path.name not in {study.name for study in known.values()}
    }
    for file, reason in alone.items():
        together = {}
        for base in bases:
            with suppress(ConfigError):
                together[_resolved((*base, file))] = _loaded((*base, file))
        known |= {files: study for files, study in together.items() if files not in known}
        if not together:
            said = "" if reason.startswith(f"{file}:") else f"{file}: cannot be used: "
            unusable.append(f"{said}{reason}")
    for path in sorted(results.glob(f"studies/*/{RECORD}")):
        name = path.parent.name
        try:
            recorded, study = _recorded(path)
            known.setdefault(recorded, study)
            if study.name == name:
                unknown.pop(name, None)
        except ConfigError as error:
            unknown[name] = str(error)
    return Survey(list(known.values()), unknown, unusable)


def recorded(results: Path, name: str) -> Config | None:
    """The configuration of a study as its last run left it; None where there is no word of it."""
    study = _recorded(results / "studies" / name / RECORD)[1]
    return study.config if study else None


def nearby(file: Path) -> str:
    """A path, relative to the working directory where it lies below: the same in every checkout."""
    path, here = file.resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _loaded(files: Sequence[Path]) -> Study:
    return Study(configuration.load(files), ", ".join(map(str, files)))


def _resolved(files: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(file.resolve() for file in files)


def _recorded(path: Path) -> tuple[tuple[Path, ...], Study]:
    """The files and the study that a run left word of.

    Raises ConfigError, in one line, where neither they nor what it says of them can be used.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names, stored = content["files"], content["configuration"]
        files = _resolved([Path(file) for file in names])
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{path}: cannot be read: it is cut off, damaged, or something else"
        ) from None
    if files and all(file.is_file() for file in files):
        # What they said when the study ran is the next best answer.
        with suppress(ConfigError):
            study = Study(configuration.load(files), ", ".join(names))
            if study.name == path.parent.name:
                return files, study
    try:
        return (path,), Study(configuration.parse(stored), str(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: cannot be used: {str(error).splitlines()[0]}") from None
