"""Which values of a configuration are not the defaults: what a reader of a study must know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from wellspring.config.entries import Config

Change = tuple[str, str, str]
"""Key, value and default, the last two as JSON."""

SILENT = ("compared_with", "keep", "layers_per_job", "name")
"""Keys that change no number, and those that the page tells elsewhere."""
FOLDERS = re.compile(r"(?<![\w.])/(?:[^/\s\"]+/)+")
"""Of absolute paths: they say nothing of a study, and differ from machine to machine."""


def changed(config: Config) -> list[Change]:
    """Every value that the study uses and that is not the default of its key.

    Values that have no default, such as a source or a pooling, are not among them.
    """
    encoders = config.encoders_used()
    retrievers = dict.fromkeys(config.retrievers_used(), config.retrievers)
    catalogues = {
        "models": ({config.encoders[name].model for name in encoders}, config.models),
        "encoders": (encoders, config.encoders),
        "retrievers": (retrievers, config.retrievers),
        "datasets": (config.datasets_used(), config.datasets),
        "attributions": ({grid.attribution for grid in config.attributed()}, config.attributions),
    }
    changes: list[Change] = []
    for catalogue, (used, entries) in catalogues.items():
        for name, entry in entries.items():
            if name in used:
                changes.extend(_of(entry, f"{catalogue}.{name}"))
    return [*changes, *_of(config.study, "study")]


def _of(entry: BaseModel, key: str) -> Iterator[Change]:
    """The values of an entry that differ from the defaults of its class."""
    for name, field in type(entry).model_fields.items():
        if name in SILENT:
            continue
        value = getattr(entry, name)
        if field.is_required():
            yield from _inside(value, f"{key}.{name}")
        else:
            default = field.get_default(call_default_factory=True)
            yield from _differing(value, default, f"{key}.{name}")


def _differing(value: Any, default: Any, key: str) -> Iterator[Change]:
    if value == default:
        return
    if isinstance(value, BaseModel) and type(value) is type(default):
        for name in type(value).model_fields:
            yield from _differing(getattr(value, name), getattr(default, name), f"{key}.{name}")
    elif isinstance(value, BaseModel) or _is_blocks(value):
        yield from _inside(value, key)
    else:
        yield key, _text(value), _text(default)


def _inside(value: Any, key: str) -> Iterator[Change]:
    """The changes inside a value that has no default itself."""
    if isinstance(value, BaseModel):
        yield from _of(value, key)
    elif _is_blocks(value):
        for number, block in enumerate(value, start=1):
            yield from _of(block, key if len(value) == 1 else f"{key}[{number}]")


def _is_blocks(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], BaseModel)


def _text(value: Any) -> str:
    return FOLDERS.sub("…/", json.dumps(to_jsonable_python(value), ensure_ascii=False))
