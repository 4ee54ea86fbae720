"""schema: the JSON schema of config.yaml, generated from the configuration's classes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from wellspring.cli.step import FILE
from wellspring.config import Config
from wellspring.shards import write_text


def generate() -> str:
    """The schema as text."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


@click.command()
@click.argument("path", type=FILE)
def schema(path: Path) -> None:
    """Write the schema to PATH."""
    write_text(path, generate())
