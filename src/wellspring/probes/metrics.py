"""Accuracy of each probe and seed, against chance, with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from wellspring import intervals

TESTED = {
    "samples": pl.Int64,
    "accuracy": pl.Float64,
    "chance": pl.Float64,
    "above_chance": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
"""The columns that `tested` gives."""
METRICS = {
    "probe": pl.String,
    "seed": pl.Int64,
    **TESTED,
    "train_accuracy": pl.Float64,
    "validation_accuracy": pl.Float64,
    "best_epoch": pl.Int64,
    "epochs": pl.Int64,
    "code_length": pl.Float64,
    "uniform_length": pl.Float64,
    "final_train_loss": pl.Float64,
    "train_loss_change": pl.Float64,
    "converged": pl.Boolean,
    "constant_features": pl.Int64,
    "label": pl.String,
    "scorer": pl.String,
}
"""Columns of the metrics: probe and seed; test samples and their mean accuracy and chance;
above_chance (accuracy − chance) / (1 − chance); the 95 % interval of the accuracy, not a number
where one query was tested; accuracy on the other splits; the epoch tested (from 1; 0: the start)
and how many were run; the mean bits of a training sample under the online code, and with all slots
alike (first seed of trained probes, see wellspring.probes.portions); the penalised training loss of
the last epoch, and what share of its whole decrease fell in the last quarter of the learning rate
spent (steady progress: 0.25, settled: 0); converged, whether that is below 0.1 or validation
stopped the run; constant dimensions among the vectors that the probe reads; label, `constant` where
every passage looks alike, so that nothing can rank them (credit is then chance), else `ok`; scorer,
the lexical scorer of a lexical kind, else null. Kinds without training have 0 epochs, no loss, and
count as converged."""


def tested(credit: np.ndarray, chance: np.ndarray, query: np.ndarray) -> dict[str, object]:
    """The columns of TESTED, from what n samples earn.

    query: str [n], whose samples are not independent of one another.
    """
    accuracy = float(credit.mean(dtype=np.float64))
    guessed = float(chance.mean(dtype=np.float64))
    _, member = np.unique(query, return_inverse=True)
    sums, counts = (np.bincount(member, weights)[:, None, None] for weights in (credit, None))
    share = intervals.interval(intervals.ratio(sums, counts), 0, 1, proportion=True)
    return {
        "samples": len(credit),
        "accuracy": accuracy,
        "chance": guessed,
        # Where every list holds one distinct text, chance is 1 and nothing can be above it.
        "above_chance": (accuracy - guessed) / (1 - guessed) if guessed < 1 else 0.0,
        "low": share.low.item(),
        "high": share.high.item(),
    }


def row(
    credit: np.ndarray,
    chance: np.ndarray,
    split: np.ndarray,
    query: np.ndarray,
    curve: Mapping[str, object],
) -> dict[str, object]:
    """The columns of METRICS for one probe and seed, from the credit and chance [S] of all samples.

    curve: best_epoch, epochs, final_train_loss, train_loss_change and converged of a trained
    probe, or nothing.
    """
    test = split == "test"
    return {
        **tested(credit[test], chance[test], query[test]),
        "train_accuracy": float(credit[split == "train"].mean(dtype=np.float64)),
        "validation_accuracy": float(credit[split == "validation"].mean(dtype=np.float64)),
        **(curve or {"best_epoch": 0, "epochs": 0, "converged": True}),
    }
