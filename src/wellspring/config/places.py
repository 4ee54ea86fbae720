"""Where the files of a dataset may lie, and what their parts are called."""

from __future__ import annotations

PUBLISHED = ("train", "dev", "validation", "test")
"""Splits that a source may publish."""

REMOTE = ("http://", "https://", "hub:", "irds:")
"""How a source that has to be fetched begins."""

PARTS = {
    "beir": ("corpus", "queries"),
    "trec": ("documents", "topics"),
    "squad": ("passages", "questions"),
}
"""Which files of a format may have a source each; judgements of a collection stand beside them."""

QRELS = "qrels"
"""The part of a source that holds judgements whose split is not published."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
"""How the name of an archive ends."""


def is_archive(path: str) -> bool:
    """Whether a path or address is of an archive, by its name."""
    return path.lower().endswith(ARCHIVES)
