"""Files that lie in a folder of results: found by name or by path, and whether they can be trusted.

No configuration is needed: each kind knows its wildcards, and each file says what it stands for.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from glob import glob
from pathlib import Path, PurePath
from string import Formatter
from typing import TYPE_CHECKING, Any

from wellspring import atomic
from wellspring.artefacts import provenance
from wellspring.artefacts.base import RESULTS, WILDCARDS, Artefact
from wellspring.artefacts.registry import beside, find, kinds, kinds_of
from wellspring.artefacts.sources import CACHE, Digests
from wellspring.errors import StaleArtefact, WellspringError

if TYPE_CHECKING:
    from wellspring.artefacts.plan import Plan


def name_of(kind: type[Artefact]) -> str:
    """The name of a kind's class as a user types it: `probe-metrics`."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def kinds_named(name: str) -> Sequence[type[Artefact]]:
    """The kinds of a name: that of a class, of the rule that makes it, or of a folder, of which
    several rules may fill one.

    Raises WellspringError where there are none.
    """
    firsts = [kind for kind in kinds() if kinds_of(kind.rule)[0] is kind]
    for named in (
        [kind for kind in kinds() if name_of(kind) == name],
        [kind for kind in firsts if kind.rule == name],
        [kind for kind in firsts if name in PurePath(kind.template).parts[:-1]],
    ):
        if named:
            return named
    alike = difflib.get_close_matches(name, [*map(name_of, kinds()), *_folders()], 1)
    meant = f": did you mean {alike[0]!r}?" if alike else ""
    raise WellspringError(
        f"{name!r} is no kind of result file{meant or ':'} `wellspring artefacts` lists all kinds"
    )


def existing(results: Path, kind: type[Artefact], **wildcards: Any) -> list[Artefact]:
    """The files of a kind that lie in a folder of results, sorted by path.

    wildcards: values of some of its fields. Raises WellspringError for a field that the kind does
    not have and for a value that the field cannot have.
    """
    given = {name: _value(kind, name, value) for name, value in wildcards.items()}
    pattern = "".join(
        text + (format(given[name], spec or "") if name in given else "*" if name else "")
        for text, name, spec, _ in Formatter().parse(kind.template)
    )
    # Unlike that of pathlib, this one finds broken links, too.
    paths = sorted(map(PurePath, glob(pattern, root_dir=results)))  # noqa: PTH207
    artefacts = (kind.find(f"{RESULTS}/{path.as_posix()}") for path in paths)
    return [artefact for artefact in artefacts if artefact is not None]


def fitting(results: Path, kind: type[Artefact], **wildcards: Any) -> list[Artefact]:
    """The same, at least one.

    Raises WellspringError with the values that are there where none has the value asked for.
    """
    if fit := existing(results, kind, **wildcards):
        return fit
    name, given = name_of(kind), {}
    for field in (field.name for field in fields(kind) if field.name in wildcards):
        others = existing(results, kind, **given)
        given[field] = wildcards[field]
        if others and not existing(results, kind, **given):
            values = dict.fromkeys(str(getattr(each, field)) for each in others)
            raise WellspringError(
                f"{results}: no {name} with {field} {wildcards[field]}; "
                f"there are: {', '.join(values)}"
            )
    raise WellspringError(f"{results}: holds no {name}; the rule {kind.rule} makes it")


def located(path: Path) -> tuple[Path, Artefact]:
    """The folder of results that a path leads into, and what lies there under that path.

    Raises WellspringError where the path is none of a result.
    """
    if atomic.PART.fullmatch(path.name):
        raise WellspringError(
            f"{path}: is not finished: a job writes it and then gives it its name, or was killed"
        )
    whole = path if path.is_absolute() else Path.cwd() / path
    # CSV and PDF lie beside the file that says what it is.
    for suffix in (whole.suffix, ".parquet", ".png"):
        parts = whole.with_suffix(suffix).parts if whole.suffix else ()
        for start in range(1, len(parts)):
            if artefact := find("/".join([RESULTS, *parts[start:]])):
                depth = len(parts) - start
                above = path if len(path.parts) > depth else whole
                return above.parents[depth - 1], artefact
    raise WellspringError(
        f"{path}: is not filed as a result is: `wellspring artefacts` lists the paths of all kinds"
    )


def trusted(results: Path, artefact: Artefact, plan: Plan | None = None) -> provenance.Stored:
    """What a file says of itself, after everything was compared that can be without reading it.

    plan: what it has to stand for; None: any configuration.

    Raises StaleArtefact, in one line, where the file is missing, unfinished, truncated, foreign,
    of another version or place, not what the plan asks for, or lacks a file beside it.
    """
    from wellspring import shards

    path = artefact.at(results)
    mend = shards.mend(path)
    if broken := provenance.broken_link(path):
        raise StaleArtefact(f"{path}: {broken}; {mend}")
    unfinished = next(path.parent.glob(f".{path.name}.*.part"), None)
    if unfinished and not path.exists():
        raise StaleArtefact(
            f"{path}: is not finished: {unfinished.name} is what its job writes, or what a killed "
            f"job left; {mend}"
        )
    if path.suffix == ".parquet":
        artefact.check(path)
        try:
            with shards.opened(path) as file:
                artefact.fits(file.schema_arrow)
        except ValueError as error:
            raise StaleArtefact(
                f"{path}: is damaged or of another version ({error}); {mend}"
            ) from None
    elif not path.exists():
        raise StaleArtefact(f"{path}: does not exist; {mend}")
    stored = provenance.read(path)
    if stored is None or stored.identity.get("step") != artefact.step:
        raise StaleArtefact(
            f"{path}: does not say how it was made, or cannot be read, so it was not made here; "
            f"{mend}"
        )
    spec = stored.identity.get("spec")
    numbered = {**(spec if isinstance(spec, Mapping) else {}), **stored.identity}
    for name, value in vars(artefact).items():
        if isinstance(value, int) and numbered.get(name, value) != value:
            raise StaleArtefact(
                f"{path}: was made for {name} {numbered[name]}, not {value}; {mend}"
            )
    for other in map(Path, _beside(artefact)):
        if not (results / other).exists():
            raise StaleArtefact(f"{path}: {results / other} is missing beside it; {mend}")
    if plan is not None and stored.key != plan.key(artefact):
        raise StaleArtefact(f"{path}: {plan.reason(artefact, stored)}; {mend}")
    return stored


def asked(results: Path, files: Sequence[Path]) -> Plan:
    """What configuration files, config.yaml first, ask for of a folder of results.

    Raises ConfigError where they cannot be used.
    """
    from wellspring import config as configuration
    from wellspring.artefacts.plan import Plan

    plan = Plan(configuration.load(files))
    plan.digests = Digests(results / CACHE.name)
    return plan


def _beside(artefact: Artefact) -> list[str]:
    """The files that its job leaves, below the folder of results."""
    paths = [path for each in beside(artefact) for path in each.whole]
    return [path.removeprefix(f"{RESULTS}/") for path in paths if path.startswith(f"{RESULTS}/")]


def _value(kind: type[Artefact], name: str, value: Any) -> Any:
    """The value of a field as an instance has it."""
    types = {field.name: field.type for field in fields(kind)}
    if name not in types:
        known = ", ".join(types)
        raise WellspringError(f"{name_of(kind)} has no {name}: it has {known}")
    if types[name] == "int" and re.fullmatch(r"\d{1,9}", str(value)):
        return int(value)
    if types[name] == "int" or not re.fullmatch(WILDCARDS[name], str(value)):
        raise WellspringError(f"{value!r} is no {name} of {name_of(kind)}")
    return str(value)


def _folders() -> list[str]:
    return [
        part
        for kind in kinds()
        for part in PurePath(kind.template).parts[:-1]
        if not part.startswith("{")
    ]
