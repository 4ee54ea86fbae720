"""schema: the JSON schema of config.yaml, generated from the configuration's classes."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import click

from wellspring.cli.step import FILE
from wellspring.config import Config
from wellspring.config.base import Strict
from wellspring.shards import write_text


def generate() -> str:
    """The schema as text."""
    schema = Config.model_json_schema()
    for model in _models(Strict):
        own = schema if model is Config else schema["$defs"].get(model.__name__, {})
        described = {key: text for base in model.__mro__[::-1] for key, text in _told(base)}
        entries = own.get("properties", {})
        for key in entries.keys() & described.keys():
            entry = {"description": described[key], **entries[key]}
            entries[key] = dict(sorted(entry.items()))
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _models(model: type[Strict]) -> Iterator[type[Strict]]:
    """The classes below one, at any depth."""
    for below in model.__subclasses__():
        yield below
        yield from _models(below)


def _told(model: type) -> Iterator[tuple[str, str]]:
    """Each key of a class that has a docstring behind it, and that."""
    if not issubclass(model, Strict):
        return
    (definition,) = ast.parse(dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    for line, behind in zip(definition.body, definition.body[1:], strict=False):
        match line, behind:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(
                value=ast.Constant(value=str(told))
            ):
                yield key, inspect.cleandoc(told)


@click.command()
@click.argument("path", type=FILE)
def schema(path: Path) -> None:
    """Write the schema to PATH."""
    write_text(path, generate())
