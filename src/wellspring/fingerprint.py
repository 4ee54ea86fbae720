"""Which code a step's numbers come from, as one short hash.

Snakemake does not see edits in imported modules, so each rule passes this hash in `params.code`.
It ignores comments, docstrings and layout, and covers only science modules: an edit reruns a step
when, and only when, it can change the step's numbers.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

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
    return tuple(sorted(name for name in reached if _meaning(_file(name))))


def is_leaf(name: str) -> bool:
    """Whether a module is plumbing."""
    return name.partition(".")[0] in LEAVES


@cache
def code(entries: tuple[str, ...]) -> str:
    """16 hexadecimal digits for the science behind these modules, the same in every Python
    version."""
    digest = hashlib.sha256()
    for name in closure(entries):
        digest.update(f"{name}\0{_meaning(_file(name))}\0".encode())
    for path in _beside(closure(entries)):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def modules(entries: tuple[str, ...]) -> dict[str, str]:
    """Module to 8 hexadecimal digits for what it says: tells which of them an edit touched."""
    return {
        name: hashlib.sha256(_meaning(_file(name)).encode()).hexdigest()[:8]
        for name in closure(entries)
    }


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


@cache
def _imports(name: str) -> frozenset[str]:
    """The package's modules that a module imports."""
    named: set[str] = set()
    waiting: list[ast.AST] = [_tree(_file(name))]
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
    inside = {each.removeprefix("wellspring.") for each in named if each.startswith("wellspring.")}
    return frozenset(each for each in inside if _file(each).is_file())


def _file(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _meaning(path: Path) -> str:
    """What a module says to Python; empty where it says nothing."""
    tree = _tree(path)
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
