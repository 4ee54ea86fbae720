"""A configuration file as YAML has it, or one line that says where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wellspring.errors import ConfigError


def read(file: Path) -> Mapping[str, Any]:
    """The keys of a file.

    Raises ConfigError, one line with the file's name and, where YAML is wrong, the line's number:
    for what cannot be read, for a tab or an indentation that YAML refuses, for a key that stands
    twice (YAML would take the last one without a word), for what is not a mapping, and for an empty
    file, which Snakemake refuses, too.
    """
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}") from None
    try:
        _check_keys(file, yaml.compose(text, yaml.SafeLoader))
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_fault(file, text, error)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        raise ConfigError(f"{file}: is empty: write a key into it, or do not name the file")
    if not isinstance(content, Mapping):
        raise ConfigError(f"{file}: must be a mapping of keys, found {str(content)[:80]!r}")
    return content


def _fault(file: Path, text: str, error: Any) -> str:
    """One line for an error of YAML's scanner or parser."""
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark else 1
    lines = text.splitlines()
    line = lines[number - 1] if number <= len(lines) else ""
    said = f"{file}:{number}: not valid YAML: {error.problem or error.context}"
    if re.match(r"[ ]*\t", line):
        return f"{file}:{number}: the line is indented with a tab: use spaces"
    if "mapping values are not allowed" in said:
        return (
            f"{said}: indent the line as the keys beside it are, or put a text with ': ' in quotes"
        )
    if isinstance(error.problem, str) and "expected <block end>" in error.problem:
        return f"{said}: indent the line as the keys beside it are"
    return said


def _check_keys(file: Path, root: Any) -> None:
    """Refuse a key that stands twice in a mapping."""
    import yaml

    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            _check_mapping(file, node)
            waiting.extend(value for _, value in node.value)


def _check_mapping(file: Path, node: Any) -> None:
    import yaml

    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if earlier := lines.get((key.tag, key.value)):
                raise ConfigError(
                    f"{file}:{line}: the key {key.value!r} stands in line {earlier} already: "
                    "join the two"
                )
            lines[key.tag, key.value] = line
