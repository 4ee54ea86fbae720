"""A chart of how likely the study was to see a difference."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.intervals import POWER
from wellspring.page.data import as_text, ordered, short, thinned
from wellspring.page.drawing import LAYERS, along, curves, level_at, made, up
from wellspring.page.pairs import chosen
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.probing import BETWEEN_N, PROBES
from wellspring.page.series import Series

MEASURES = {
    "difference": "accuracy − chance",
    "code_length_difference": "code length (bits)",
}


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Power over layers, a line for each true difference."""
    power = tables.get("power")
    if power is None:
        return []
    power = power.filter(
        pl.col("measure").is_in(list(MEASURES)),
        pl.col("retriever").is_in(chosen(settings, power["retriever"].unique())),
    )
    if power.is_empty():
        return []
    effects = power["effect"].unique().sort()
    rows = power.select(
        *("dataset", "retriever", "compared_with", "passages", "probe", "layer"),
        estimate="power",
        effect=pl.format("a difference of {}", pl.col("effect")),
        measure=pl.col("measure").replace(MEASURES),
    ).sort(
        *ordered("measure", [*MEASURES.values()]),
        *ordered("probe", PROBES),
        "retriever",
        "dataset",
        "passages",
        "effect",
        "layer",
    )
    data, left_out = thinned(short(rows), [BETWEEN_N])
    data = data.with_columns(as_text("passages"))
    series = Series.of(data, "effect", [f"a difference of {effect}" for effect in effects])
    return [
        made(
            "power",
            "What the study could see",
            "The probability that the 95 % interval of a single difference from the counterpart "
            "excludes 0 where the true difference has a given size. The level line is "
            f"{100 * POWER:.0f} %. Tests that correct for several cells see less.",
            data,
            {
                "dataset": "Dataset",
                "retriever": "Retriever",
                "measure": "Difference of",
                "passages": "Passages (N)",
                "probe": "Probe",
            },
            {"probe": settings.probe},
            [
                level_at(POWER),
                *curves(along("layer", LAYERS), up("power", "~%", domain=[0, 1]), series),
            ],
            {
                "effect": "true difference",
                "compared_with": "from",
                "layer": "layer",
                "estimate": "power",
            },
            settings.sources("power", "effect", "power"),
            left_out,
        )
    ]
