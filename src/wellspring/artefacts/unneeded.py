"""Results that no study of the folder asks for any more."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wellspring import atomic, specs
from wellspring.artefacts import provenance, studies
from wellspring.artefacts.base import RESULTS, Artefact
from wellspring.artefacts.plan import Plan
from wellspring.artefacts.registry import beside, owner
from wellspring.artefacts.state import half_made
from wellspring.errors import WellspringError

FOLDERS = (Path(RESULTS), Path(specs.DOWNLOADS))
"""Where steps write."""


@dataclass(frozen=True)
class Leftovers:
    """What can go, and what looks like it and stays."""

    files: Sequence[Path]
    """To be removed in this order: what says what the others are comes last."""
    doubtful: Sequence[str]
    """A line for each file in a result's place that does not say it is that result: it stays."""
    unknown: Mapping[str, str]
    """Studies that have a folder here and whose configuration is not known, to why: it stays."""
    withheld: Sequence[Path]
    """What these, or files of studies/ that cannot be used, may need, and no known study does: it
    stays."""


def leftovers(survey: studies.Survey, dropped: Collection[str] = ()) -> Leftovers:
    """What no known study asks for, of all that steps have left in the working directory.

    dropped: names of studies that are not needed any more. What the package does not know is no
    leftover, nor are logs.
    """
    needed = _needed([study for study in survey.known if study.name not in dropped])
    unknown = {name: why for name, why in survey.unknown.items() if name not in dropped}
    # Studies share all but what stands below their own name.
    guarded = bool(unknown or survey.unusable)
    files: dict[Path, None] = {}
    withheld: dict[Path, None] = {}
    doubtful: list[str] = []
    for artefact in _present():
        if artefact.main_file in needed:
            continue
        paths = [path for path in map(Path, artefact.whole) if path.is_file()]
        if doubt := _doubt(artefact):
            doubtful.append(doubt)
        elif vars(artefact).get("study") not in unknown:
            place = withheld if guarded and not hasattr(artefact, "study") else files
            place.update(dict.fromkeys([*artefact.companions(), *reversed(paths)]))
    files.update(dict.fromkeys(part for folder in FOLDERS for part in half_made(folder)))
    records = (studies.folder(name) / studies.RECORD for name in dropped)
    files.update(dict.fromkeys(path for path in records if path.is_file()))
    return Leftovers(list(files), doubtful, unknown, list(withheld))


def remove(files: Sequence[Path]) -> int:
    """Remove files, and the folders that are empty then; gives the bytes that are free now.

    Raises WellspringError where the disk refuses.
    """
    freed = 0
    for path in files:
        try:
            size = path.lstat().st_size
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise WellspringError(f"{path}: cannot be removed: {atomic.refusal(error)}") from error
        freed += size
    for path in files:
        for parent in path.parents:
            if parent in FOLDERS or parent == Path():
                break
            with suppress(OSError):
                parent.rmdir()
    return freed


def size(files: Sequence[Path]) -> int:
    """Bytes of files; a link counts as itself."""
    return sum(path.lstat().st_size for path in files)


def _needed(known: Sequence[studies.Study]) -> set[str]:
    """The paths of all that studies ask for, and of what it is made from."""
    plans = [Plan(study.config) for study in known]
    return {
        each.main_file
        for plan in plans
        for artefact in plan.closure(plan.ends())
        for each in beside(artefact)
    }


def _present() -> list[Artefact]:
    """The artefacts of which a file is there, each once."""
    paths = (Path(at, name) for at, _, names in os.walk(RESULTS) for name in sorted(names))
    owners = (owner(path) for path in paths)
    return list(dict.fromkeys(each for each in owners if each is not None))


def _doubt(artefact: Artefact) -> str | None:
    """Why a file is perhaps not what its name says; None where it is."""
    path = Path(artefact.main_file)
    there = [each for each in map(Path, artefact.whole) if os.path.lexists(each)]
    if path not in there:
        return f"{there[0]}: {path.name} is missing beside it"
    stored = provenance.read(path)
    if stored is None:
        return f"{path}: {provenance.flaw(path)}"
    if stored.identity.get("step") != artefact.step:
        return f"{path}: is a file of another kind: {stored.identity.get('step')}"
    if broken := next(filter(None, map(provenance.broken_link, there)), None):
        return f"{path}: a file beside it {broken}"
    try:
        artefact.companions()
    except ValueError as error:
        return f"{path}: does not say what lies beside it: {error}"
    return None
