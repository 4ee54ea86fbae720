"""A chart of accuracy over the number of training samples."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.page.data import INTERVAL, as_text, ordered, outermost, short, thinned
from wellspring.page.drawing import curves, levels, made, powers, up
from wellspring.page.pairs import paired
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.probing import BETWEEN_LAYERS, BETWEEN_N, CHOICES, PROBES
from wellspring.page.series import CHANCE, of_pair

WHERE = (*CHOICES, "layer")


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Accuracy over the share of the training split that a probe is fitted to."""
    sizes = tables.get("probe_sizes")
    if sizes is None or sizes.is_empty():
        return []
    sizes = sizes.rename({"accuracy": "estimate"}).with_columns(measure=pl.lit("accuracy"))
    columns = (*WHERE, "measure", "portion", "train_samples", *INTERVAL, "chance")
    cell = ("probe", "passages", "layer", "portion")
    lines = paired(sizes.select(columns), settings, *cell)
    where = [name for name in WHERE if name != "layer"]
    chance = (
        lines.drop_nulls("chance")
        .group_by(*where, "layer")
        .agg(estimate=pl.mean("chance"))
        .with_columns(line=pl.lit(CHANCE), name=pl.lit("guessing"))
    )
    rows = pl.concat([lines.drop("chance", "measure"), chance], how="diagonal").sort(
        *ordered("probe", PROBES),
        "dataset",
        "passages",
        pl.col("layer"),
        maintain_order=True,
    )
    thirds = (pl.col("layer") % 3 == 0) | outermost("retriever", "layer")
    fewer = [
        ("Two layers of three are left out.", thirds),
        BETWEEN_N,
        BETWEEN_LAYERS,
    ]
    data, left_out = thinned(short(rows), fewer)
    last = data["layer"].max()
    data = data.with_columns(as_text("passages", "layer"))
    series, y = of_pair(data, settings.pairs), up("accuracy")
    x = powers("portion", "share of the training split (log scale)", data["portion"], "~%")
    labels = {**CHOICES, "layer": "Layer"}
    return [
        made(
            "sizes",
            "Accuracy over the number of training samples",
            "Accuracy on the test split of probes that are fitted to a share of the training split "
            "(first seed). Bands are 95 % intervals over queries; a band between thin lines is the "
            "range over random twins. A curve that still rises at its end asks for more data.",
            data,
            labels,
            {"probe": settings.probe, "layer": f"{last}"},
            [*curves(x, y, series, whole=False), *levels("portion", y, series)],
            {
                "line": "line",
                "name": "of",
                "portion": "share of the training split",
                "train_samples": "training samples",
                "estimate": "accuracy",
                "low": "from",
                "high": "to",
            },
            settings.sources("probe_sizes", "accuracy", "low", "high"),
            left_out,
        )
    ]
