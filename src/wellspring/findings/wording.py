"""What claims and cautions both say of a retriever."""

from __future__ import annotations


def untrained(whole: bool) -> str:
    """What is said of a retriever whose weights, or some of them, were never trained."""
    return "was never trained" if whole else "has weights that were never trained"
