"""config.yaml as typed, documented, checked objects."""

from wellspring.config.checks import parse
from wellspring.config.entries import (
    SLUG,
    Bm25,
    Config,
    Encoder,
    Findings,
    Model,
    Negatives,
    Probing,
    Splits,
)
from wellspring.config.paths import anchor, check_places

__all__ = [
    "SLUG",
    "Bm25",
    "Config",
    "Encoder",
    "Findings",
    "Model",
    "Negatives",
    "Probing",
    "Splits",
    "anchor",
    "check_places",
    "parse",
]
