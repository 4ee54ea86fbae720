"""Format `pydocs`: docstrings of Python's standard library and of installed packages.

A query is a docstring's summary line, its positive the prose that follows: up to the first section
heading, field list, directive, table, doctest or code block, so a list of parameters is no passage.
Files are parsed with `ast`, never imported. They are read in rounds, one file of every package a
round, until there are enough entries: no package outweighs the others, and reading takes seconds.
The choice depends on the files' paths and contents alone, not on the file system: the same
versions of the packages and of Python give the same entries, but for the few files that a package
builds for one platform alone.
"""

from __future__ import annotations

import ast
import inspect
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path, PurePath

from wellspring import packages, randomness
from wellspring.datasets.records import Collector, Records, Source, text_id
from wellspring.errors import SourceError

# Lengths in characters. A longer first paragraph is no summary, shorter texts say too little.
SUMMARY_LENGTHS = range(20, 301)
SHORTEST_BODY = 80
# Code and formulas fall below.
LEAST_LETTERS = 0.8

# Tests, copies of other packages, and what some systems leave out of the library or add to it.
SKIPPED = {
    *("test", "tests", "_tests", "testing", "idle_test"),
    *("_vendor", "vendor", "_vendored", "vendored", "site-packages", "dist-packages"),
    *("distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo"),
}
SKIPPED_FILES = re.compile(r"test_.*|.*_test|conftest|sitecustomize|_sysconfigdata.*|turtle")

UNDERLINE = re.compile(r"""\s*([-=~^*+_#"'`.])\1{2,}[-=+ ]*$""")
END = re.compile(
    r"""\s*(?:
      (?:args|arguments|attributes|examples?|explanation|inputs?|keyword\ arg(?:ument)?s|methods
        |notes?|options|outputs?|parameters|params|raises|references|returns?|see\ also|shapes?
        |todo|usage|warnings?|yields?)\s*:?\s*$
    | :(?:param|arg|key|kwarg|type|return|rtype|raise|yield|var|ivar|cvar|meta)\w*\b[^:`]*:(?!`)
    | @\w+ | \.\.\s | >>> | ``` | \|
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def read(source: Source) -> Records:
    """Reads what is installed of option `packages`.

    Options: `packages`, name to version, the standard library under `packages.LIBRARY`; `entries`,
    how many docstrings are kept; `seed`, which of them; `skip`, how many are left out before,
    exactly those that are kept where `entries` is that number. A text's id is the hash of the text;
    each text is in one entry alone. Raises SourceError for a package that is not installed at its
    version, and where there are fewer docstrings than `entries` and `skip`.
    """
    options = ("packages", "entries", "skip", "seed")
    versions, count, skip, seed = (source.options[name] for name in options)
    key = f"datasets.{source.name}.packages"
    files = {name: _files(name, versions[name], key) for name in sorted(versions)}
    rounds = zip_longest(*(_shuffled(seed, name, files[name]) for name in files))
    collector = Collector()
    entries: dict[str, str] = {}
    bodies: set[str] = set()
    skipped: set[str] = set()
    for paths in rounds:
        for path in filter(None, paths):
            for summary, body in _entries(path, collector.counts):
                if summary in entries or body in bodies:
                    collector.counts["duplicate_entries_dropped"] += 1
                else:
                    entries[summary] = body
                    bodies.add(body)
        if len(entries) >= skip and not skipped:
            skipped.update(_chosen(seed, entries)[:skip])
        if len(entries) >= skip + count:
            break
    else:
        beside = f" and skip: {skip}" if skip else ""
        raise SourceError(
            f"{key}: they hold {len(entries)} docstrings that can be used, which is less than "
            f"entries: {count}{beside}"
        )
    rest = [summary for summary in _chosen(seed, entries) if summary not in skipped]
    for summary in rest[:count]:
        collector.example(summary, [entries[summary]], [], split=None)
    return collector.records(source.name)


def _chosen(seed: int, summaries: Iterable[str]) -> list[str]:
    return sorted(summaries, key=lambda summary: randomness.key(seed, text_id(summary)))


def _files(name: str, version: str, key: str) -> dict[str, Path]:
    """The files of the standard library or of an installed package, by their path in it."""
    if (installed := packages.version(name)) != version:
        raise SourceError(
            f"{key}: {name} {version} was planned, and this job finds "
            f"{installed or 'none'}: run Snakemake and its jobs with the same packages"
        )
    if name == packages.LIBRARY:
        root = Path(sysconfig.get_path("stdlib"))
        found = {path.relative_to(root): path for path in root.rglob("*.py")}
        return {file.as_posix(): path for file, path in found.items() if _is_read(file)}
    package = packages.find(name)
    listed = package.files if package else None
    if listed is None:
        raise SourceError(f"{key}: {name} has no list of its files: reinstall it with pip")
    return {file.as_posix(): Path(file.locate()) for file in listed if _is_read(file)}


def _is_read(file: PurePath) -> bool:
    parts = set(file.parts[:-1])
    skipped = ".." in parts or parts & SKIPPED or SKIPPED_FILES.fullmatch(file.stem)
    return file.suffix == ".py" and not skipped


def _shuffled(seed: int, package: str, files: dict[str, Path]) -> list[Path]:
    return [files[file] for file in randomness.shuffled(seed, list(files), package)]


def _entries(path: Path, counts: Counter[str]) -> Iterator[tuple[str, str]]:
    """Summary and body of every docstring in a file that has both, in the file's order."""
    try:
        with warnings.catch_warnings():
            # These are the file's own warnings, such as an invalid escape.
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        counts["files_not_parsed"] += 1
        return
    counts["files_parsed"] += 1
    for docstring in _docstrings(tree):
        entry = _entry(docstring)
        if entry:
            yield entry


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """Docstrings of the module and of the classes and functions in it, outer ones first."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring
        # Statements alone: to walk the expressions too would take as long as parsing.
        for block in ("finalbody", "orelse", "handlers", "cases", "body"):
            stack.extend(reversed(getattr(node, block, ())))


def _entry(docstring: str) -> tuple[str, str] | None:
    """Summary line and prose of a docstring, their white space as between words."""
    first, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    summary = " ".join(first.split())
    body = _prose(rest)
    usable = (
        len(summary) in SUMMARY_LENGTHS
        and not summary.endswith(":")
        and not any(END.match(line) or UNDERLINE.match(line) for line in first.splitlines())
        and len(body) >= SHORTEST_BODY
        and sum(letter.isalpha() or letter == " " for letter in body) >= LEAST_LETTERS * len(body)
    )
    return (summary, body) if usable else None


def _prose(text: str) -> str:
    """The text up to what is no prose, on one line."""
    prose: list[str] = []
    for line in text.splitlines():
        if UNDERLINE.match(line):
            del prose[-1:]
            break
        if END.match(line):
            break
        if line.rstrip().endswith("::"):
            prose.append(line.rstrip()[:-1])
            break
        prose.append(line)
    return " ".join(" ".join(prose).split())
