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


def known(
    own: Path, overlays: Sequence[Path], results: Path = Path(RESULTS)
) -> tuple[list[Study], list[str]]:
    """Every study that files or records tell of: that of the workflow's own file, alone and with
    the overlays; one for each file of the folder studies/ beside it; and those that ran here.

    Gives a line, too, for each file of studies/ that is none alone. Raises ConfigError where the
    own file cannot be used, alone or with the overlays.
    """
    studies: dict[tuple[Path, ...], Study] = {_resolved([own]): _loaded([own])}
    files = (own, *overlays)
    studies[_resolved(files)] = _loaded(files)
    unusable = []
    for file in sorted((own.parent / "studies").glob("*.yaml")):
        try:
            studies.setdefault(_resolved((own, file)), _loaded((own, file)))
        except ConfigError as error:
            first = str(error).splitlines()[0]
            unusable.append(f"{file}: is no study alone, with {own}: {first}")
    for path in sorted(results.glob(f"studies/*/{RECORD}")):
        recorded, study = _recorded(path)
        if study is not None:
            studies.setdefault(recorded, study)
    return list(studies.values()), unusable


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


def _recorded(path: Path) -> tuple[tuple[Path, ...], Study | None]:
    """The files and the study that a run left word of; no study where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = _resolved([Path(file) for file in content["files"]])
    except (OSError, ValueError, KeyError, TypeError):
        return (path,), None
    name = path.parent.name
    if files and all(file.is_file() for file in files):
        # What they said when the study ran is the next best answer.
        with suppress(ConfigError):
            study = Study(configuration.load(files), ", ".join(content["files"]))
            if study.name == name:
                return files, study
    try:
        return (path,), Study(configuration.parse(content["configuration"]), str(path))
    except (ConfigError, KeyError):
        return (path,), None
