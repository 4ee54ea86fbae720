"""Which code a step's numbers come from, as one short hash.

Snakemake does not see edits in imported modules, so each rule passes this hash in `params.code`.
It ignores comments, docstrings and layout, and covers only science modules: an edit reruns a step
when, and only when, it can change the step's numbers.

Parsing a hundred modules takes seconds, and every start of Snakemake and every job asks. So what a
module says is kept beside its byte code, under the digest of its text.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from wellspring.atomic import replacing
from wellspring.errors import WellspringError

PACKAGE = Path(__file__).parent

LEAVES = frozenset(
    {
        "artefacts",
        "atomic",
        "budgets",
        "cli",
        "config",
        "digests",
        "downloads",
        "errors",
        "fingerprint",
        "inspection",
        "live",
        "packages",
        "progress",
        "shards",
        "slurm",
        "specs",
    }
)
"""Plumbing that moves numbers, and what only shows them: no result depends on either, so they stand
outside every fingerprint."""


@cache
def closure(entries: tuple[str, ...]) -> tuple[str, ...]:
    """The modules that these import inside the package, themselves included, leaves aside.

    Names are relative to the package. Imports inside functions count, those for type checkers alone
    do not. A format or an architecture is chosen by name, not by an import: it is an entry.
    """
    reached: set[str] = set()
    waiting = set(entries)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        parent = name.rpartition(".")[0]
        needed = {*_imports(name), *([parent] if parent else [])}
        waiting |= {each for each in needed if not is_leaf(each)} - reached
    _memory().save()
    return tuple(sorted(name for name in reached if _said(name).meaning))


def is_leaf(name: str) -> bool:
    """Whether a module is plumbing."""
    return name.partition(".")[0] in LEAVES


@cache
def code(entries: tuple[str, ...]) -> str:
    """16 hexadecimal digits for the science behind these modules, the same in every Python
    version."""
    digest = hashlib.sha256()
    for name in closure(entries):
        digest.update(f"{name}\0{_said(name).meaning}\0".encode())
    for path in _beside(closure(entries)):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def modules(entries: tuple[str, ...]) -> dict[str, str]:
    """Module to 8 hexadecimal digits for what it says: tells which of them an edit touched."""
    return {name: _said(name).meaning[:8] for name in closure(entries)}


def check(step: str, entries: tuple[str, ...], given: str | None) -> None:
    """Refuse to run when the code is no longer what the job was planned with."""
    if given is not None and given != code(entries):
        raise WellspringError(
            f"{step}: the code changed after this job was planned "
            f"(planned {given}, now {code(entries)}): start snakemake again"
        )


def _beside(names: tuple[str, ...]) -> list[Path]:
    """The files of these modules' packages that are templates and no code, sorted."""
    folders = {_file(name).parent for name in names} - {PACKAGE}
    return sorted(path for folder in folders for path in folder.glob("*.*") if _is_data(path))


def _is_data(path: Path) -> bool:
    return path.suffix in (".html", ".css", ".js")


class _Said(NamedTuple):
    """What a module says to Python."""

    meaning: str
    """Its sha256, hexadecimal; empty where it says nothing."""
    imports: list[str]
    """Full names, of other packages, too."""


class _Memory:
    """What the modules said when they were last read: name to the digest of a text and what it
    says. A memory that is damaged, of other rules or not to be written is none."""

    def __init__(self, file: Path, rules: str) -> None:
        """rules: the digest of what decides what a module says."""
        self._file, self._rules = file, rules
        self._known: dict[str, tuple[str, str, list[str]]] = {}
        self._new = False
        with suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            if kept["rules"] == self._rules:
                self._known = {name: (*each,) for name, each in kept["modules"].items()}

    def said(self, name: str, path: Path) -> _Said:
        """What a module says now."""
        source = path.read_bytes()
        digest = hashlib.sha256(source).hexdigest()
        known = self._known.get(name)
        if known is None or known[0] != digest:
            meaning = _meaning(source)
            told = hashlib.sha256(meaning.encode()).hexdigest() if meaning else ""
            self._known[name] = known = (digest, told, _named(source))
            self._new = True
        return _Said(*known[1:])

    def save(self) -> None:
        """Keep what was read anew."""
        if self._new and not sys.dont_write_bytecode:
            kept = {"rules": self._rules, "modules": self._known}
            with suppress(WellspringError), replacing(self._file) as part:
                part.write_text(json.dumps(kept, sort_keys=True), encoding="utf-8")
        self._new = False


@cache
def _memory() -> _Memory:
    file = Path(cache_from_source(__file__)).with_suffix(".json")
    return _Memory(file, hashlib.sha256(Path(__file__).read_bytes()).hexdigest())


@cache
def _said(name: str) -> _Said:
    return _memory().said(name, _file(name))


@cache
def _imports(name: str) -> frozenset[str]:
    """The package's modules that a module imports."""
    named = (each for each in _said(name).imports if each.startswith("wellspring."))
    inside = {each.removeprefix("wellspring.") for each in named}
    return frozenset(each for each in inside if _file(each).is_file())


def _named(source: bytes) -> list[str]:
    """All that a module imports when it runs, sorted."""
    named: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            named |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        waiting.extend(ast.iter_child_nodes(node))
    return sorted(named)


def _file(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _meaning(source: bytes) -> str:
    """What a module says to Python: no comments, no docstrings; empty where it says nothing."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        # Strings that stand alone are docstrings, of attributes too.
        kept = [
            child
            for child in body
            if not (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            )
        ]
        # What has a list as its body takes another.
        node.body = kept or ([] if node is tree else [ast.Pass()])  # pyright: ignore[reportAttributeAccessIssue]
    # Not ast.dump: its text differs between Python versions.
    return ast.unparse(tree)
