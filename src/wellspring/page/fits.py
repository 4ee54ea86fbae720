"""A chart of what became of the probes' fits."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.page.data import as_text, ordered, short, thinned
from wellspring.page.drawing import LAYERS, along, curves, made, up
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.probing import BETWEEN_LAYERS, BETWEEN_N, CHOICES, PROBES
from wellspring.page.series import Series

WHERE = (*CHOICES, "layer")
SPLITS = {
    "train_accuracy": "training",
    "validation_accuracy": "validation",
    "accuracy": "test",
}


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Accuracy of the fitted probes on the three splits, over layers."""
    fits = tables.get("training")
    if fits is None or (fits := fits.drop_nulls("train_accuracy")).is_empty():
        return []
    over = pl.format("{} to {}", pl.col("best_epoch").min(), pl.col("best_epoch").max())
    ended = pl.format("{} of {}", pl.col("converged").sum(), pl.len())
    about = fits.group_by(WHERE).agg(best=over, ended=ended)
    values = fits.unpivot(list(SPLITS), index=WHERE, variable_name="split")
    means = values.group_by(*WHERE, "split").agg(
        estimate=pl.mean("value"), low=pl.min("value"), high=pl.max("value")
    )
    rows = (
        means.join(about, on=WHERE)
        .with_columns(pl.col("split").replace(SPLITS))
        .sort(
            *ordered("retriever", [*settings.pairs]),
            *ordered("probe", PROBES),
            "dataset",
            "passages",
            *ordered("split", [*SPLITS.values()]),
            "layer",
        )
    )
    data, left_out = thinned(short(rows), [BETWEEN_N, BETWEEN_LAYERS])
    data = data.with_columns(as_text("passages"))
    series = Series.of(data, "split", [*SPLITS.values()])
    return [
        made(
            "fits",
            "How the probes' fits ended",
            "Accuracy of the fitted probes at their best epoch on the training, validation and "
            "test split: the mean over seeds. Bands and bars are the range over seeds, no "
            "intervals. A gap between training and test is what the probe remembers.",
            data,
            CHOICES,
            {"probe": settings.probe},
            curves(along("layer", LAYERS), up("accuracy"), series),
            {
                "split": "split",
                "layer": "layer",
                "estimate": "mean accuracy",
                "low": "lowest",
                "high": "highest",
                "best": "best epochs",
                "ended": "converged",
            },
            settings.sources("training", *SPLITS, "best_epoch", "converged"),
            left_out,
        )
    ]
