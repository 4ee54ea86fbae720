"""A made study's table of accuracies and similarities, as its file has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from wellspring.config import LAYERLESS
from wellspring.findings.table import SCHEMA

PROBE_LEVELS = {
    "concat": 0.1,
    "passage-scorer": 0.15,
    "random-label": 0.0,
    "interaction": 0.7,
    "bilinear": 0.65,
    "shuffled-query": 0.12,
    "cosine": 0.75,
    "cosine-standardised": 0.77,
    "bm25": 0.55,
    "word-tfidf": 0.52,
    "character-tfidf": 0.6,
    "character-bm25": 0.58,
    "lexical": 0.6,
}
PAIR = {"tuned": "plain", "plain": None}


def table(
    layers: int | Sequence[int] = 7,
    passages: tuple[int, ...] = (2, 3, 4, 5),
    others: Mapping[str, str | None] = PAIR,
    queries: int = 1000,
) -> pl.DataFrame:
    """Retrievers and their counterparts, on dataset `toy`; layer 0 is constant; the last layer
    differs significantly from that of the counterpart.

    layers: so many, or these. others: retriever to counterpart.
    """
    layers = range(layers) if isinstance(layers, int) else layers
    blank = dict.fromkeys(SCHEMA) | {"dataset": "toy"}
    blank |= {"samples": 2 * queries, "queries": queries, "seeds": 3}
    rows = []
    for place, (retriever, other) in enumerate(others.items()):
        blank |= {"retriever": retriever}
        lift = 1.0 if other else 0.6 - 0.02 * place
        for count in passages:
            for probe, level in PROBE_LEVELS.items():
                for layer in [None] if probe in LAYERLESS else layers:
                    cell = blank | {"probe": probe, "layer": layer, "passages": count}
                    share = 1 if layer is None else layer / max(1, *layers)
                    mean = 1 / count + (1 - 1 / count) * level * lift * share
                    rows += _accuracy(cell, mean, 0.02 if layer else 0)
                    if other and layer is not None:
                        rows += _differences(cell, other, layer == layers[-1])
        for side in ("query", "passage"):
            for layer in layers:
                cell = blank | {"finding": "similarity", "side": side, "layer": layer}
                value = {"estimate": 0.3 + 0.01 * layer, "low": 0.2, "high": 0.5}
                rows.append(cell | {"measure": "anisotropy"} | value)
                if other:
                    cka = {"compared_with": other, "estimate": 0.9 if layer else None}
                    rows.append(cell | {"measure": "cka"} | cka)
    return pl.DataFrame(rows, SCHEMA)


def _accuracy(cell: dict, mean: float, width: float) -> list[dict]:
    cell = cell | {"finding": "accuracy"}
    value = {"estimate": mean, "low": mean - width, "high": mean + width}
    chance = {"measure": "chance", "estimate": 1 / cell["passages"]}
    return [cell | {"measure": "accuracy"} | value, cell | chance]


def _differences(cell: dict, other: str, last: bool) -> list[dict]:
    cell = cell | {"finding": "difference", "measure": "difference", "compared_with": other}
    tests = {"sign-flip max-T": last, "t-test Bonferroni": True}
    return [
        cell | {"test": test, "estimate": 0.1, "significant": significant}
        for test, significant in tests.items()
    ]
