"""A part of what is shown of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TEXT = 100
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Section:
    """A small table."""

    name: str
    """In JSON: one word, or several joined by underscores."""
    title: str
    rows: Sequence[Mapping[str, object]]
    """All with the same keys: the headings."""
    note: str = ""
    """How much of the file stands behind it, and what a heading leaves open."""


def in_bytes(size: int) -> str:
    """A number of bytes in the unit in which it is best read."""
    from rich.filesize import decimal

    return decimal(size)


def shortened(text: str | None) -> str:
    """The beginning of a text in one line; nothing where the text is not at hand."""
    line = " ".join((text or "").split())
    return line if len(line) <= TEXT else f"{line[: TEXT - 1]}…"
