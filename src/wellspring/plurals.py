"""Counts in sentences: one sample, two samples."""

from __future__ import annotations


def form(count: int, one: str, many: str) -> str:
    """The form of a word that goes with a count."""
    return one if count == 1 else many


def counted(count: int, one: str, many: str = "") -> str:
    """A count and what is counted; many: where it is not the singular with an s."""
    return f"{count:,} {form(count, one, many or f'{one}s')}"
