"""Made-up evidence about a retriever and its counterpart, as its two tables have it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from wellspring.findings import evidence, prediction
from wellspring.findings.curves import Control, Curve, Given, Measured, Name
from wellspring.intervals import Interval
from wellspring.randomness import generator

NAMES = (
    Name("accuracy", "concat"),
    Name("nDCG@10"),
    Name("gini", "norm, output", "query"),
    Name("margin_loss", "norm, output", "query"),
)


def curve(name: Name, layers: int, slope: float, *ids: str) -> Curve:
    """Values of 20 queries that rise with the layer."""
    first = 1 if name.side else 0
    places = np.arange(first, layers)
    rng = generator(0, *ids, *map(str, name))
    values = 0.2 + slope * places / layers + 0.1 * rng.random((20, 1, len(places)))
    unit = "query text" if name.side else "query"
    queries = np.array([f"q{number:02}" for number in range(20)], object)
    return Curve(name, unit, tuple(places.tolist()), queries, values, np.ones_like(values))


def tables(layers: int = 7, shared: int = 20) -> dict[str, pl.DataFrame]:
    """Both tables on dataset `toy`, of `tuned` and of `plain`, which it is compared with.

    shared: how many of the 20 queries that searches have are probed, too.
    """
    lines = {
        retriever: [
            Measured(
                curve(name, layers, slope, retriever),
                [Control("lexical", "bm25", curve(name, layers, 0, "words"))],
            )
            for name in NAMES
        ]
        for retriever, slope in (("tuned", 0.4), ("plain", 0.1))
    }
    if shared < 20:
        ids = np.array([f"q{20 - shared + number:02}" for number in range(20)], object)
        (line, controls), *others = lines["tuned"]
        lines["tuned"] = [Measured(replace(line, ids=ids), controls), *others]
    alike = np.linspace(0.9, 0.3, layers)
    cka = Given(Name("cka", None, "query"), tuple(range(layers)), Interval(*[alike] * 3), 50)
    lines["tuned"].append(Measured(cka))
    held = evidence.Evidence("toy", lines, {"tuned": "plain"}, {})
    return {
        "evidence": evidence.build(held),
        "evidence_correlations": prediction.correlations(held, 0, 50),
    }
