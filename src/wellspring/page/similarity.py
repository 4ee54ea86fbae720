"""A chart of how alike a retriever's vectors and its counterpart's are, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.page.data import INTERVAL, short, thinned
from wellspring.page.drawing import LAYERS, along, curves, made, up
from wellspring.page.pairs import paired
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import TWINS, of_pair

MEASURES = {
    "cka": "linear CKA with the counterpart",
    "anisotropy": "anisotropy (mean cosine of two texts)",
}


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """CKA and anisotropy over layers."""
    findings = tables.get("findings")
    if findings is None:
        return []
    columns = ("dataset", "retriever", "side", "measure", "layer", *INTERVAL, "samples")
    similarities = findings.filter(finding="similarity").drop_nulls("estimate")
    if similarities.is_empty():
        return []
    further = {name: draws[1:] for name, draws in settings.twins.items()}
    # CKA belongs to two retrievers: that of a further draw is its likeness to the first one.
    alike = pl.col("measure") == "cka"
    between = pl.col("retriever").is_in([name for names in further.values() for name in names])
    lines = paired(similarities.select(columns), settings, "side", "layer")
    drawn = paired(similarities.filter(~alike | between).select(columns), settings, "side", "layer")
    rows = pl.concat([lines.filter(pl.col("line") != TWINS), drawn.filter(line=TWINS)]).sort(
        pl.col("measure") != "cka", "dataset", pl.col("side") != "query", maintain_order=True
    )
    rows = rows.with_columns(
        measure=pl.col("measure").replace(MEASURES), samples=pl.col("samples").cast(pl.String)
    )
    data, left_out = thinned(short(rows), [])
    series = of_pair(data, settings.pairs)
    return [
        made(
            "similarity",
            "Similarity of vectors over layers",
            "How alike the vectors of the same texts are in the retriever and in its counterpart "
            "(debiased linear CKA: 1 is alike, 0 is unrelated), or how much a model's vectors "
            "share one direction (anisotropy). Bands are 95 % intervals over texts; a band "
            "between thin lines is the range over random twins.",
            data,
            {
                "dataset": "Dataset",
                "retriever": "Retriever",
                "measure": "Measure",
                "side": "Side",
            },
            {},
            curves(along("layer", LAYERS), up("similarity"), series),
            {
                "line": "line",
                "name": "of",
                "layer": "layer",
                "estimate": "estimate",
                "low": "from",
                "high": "to",
                "samples": "texts",
            },
            settings.sources("findings", *INTERVAL),
            left_out,
        )
    ]
