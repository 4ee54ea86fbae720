"""Accuracy of each probe and seed, against chance, with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

METRICS = {
    "probe": pl.String,
    "seed": pl.Int64,
    "samples": pl.Int64,
    "accuracy": pl.Float64,
    "chance": pl.Float64,
    "above_chance": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
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
above_chance (accuracy − chance) / (1 − chance); the 95 % interval of the accuracy; accuracy on the
other splits; the epoch tested (from 1; 0: the start) and how many were run; the mean bits of a
training sample under the online code, and with all slots alike (first seed of trained probes, see
wellspring.probes.portions); the penalised training loss of the last epoch, and what share of its
whole decrease fell in the last quarter of the learning rate spent (steady progress: 0.25, settled:
0); converged, whether that is below 0.1 or validation stopped the run; constant dimensions among
the vectors that the probe reads; label, `constant` where every passage looks alike, so that nothing
can rank them (credit is then chance), else `ok`; scorer, the lexical scorer of a lexical kind, else
null. Kinds without training have 0 epochs, no loss, and count as converged."""

_Z = 1.959964  # 97.5 % point of the normal distribution


def interval(credit: np.ndarray, query: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean credit [n], where the samples of a query [n] are not independent.

    Wilson's interval at the effective sample size p(1−p)/v, v the cluster-robust variance of the
    mean (Korn & Graubard 1998 with Wilson's bounds; Dean & Pagano 2015): it stays within 0 and 1
    and has a width where every sample is right. Where no credit varies between 0 and 1 exclusive
    (every sample at chance) there is nothing to estimate, and it is that value.
    """
    mean = float(credit.mean(dtype=np.float64))
    _, member = np.unique(query, return_inverse=True)
    clusters = int(member.max()) + 1
    if mean <= 0 or mean >= 1 or clusters < 2:
        size = float(clusters)
    else:
        sums = np.bincount(member, weights=credit - mean)
        variance = clusters / (clusters - 1) * np.square(sums).sum() / len(credit) ** 2
        # Equal credits leave rounding, not variance.
        if variance <= 1e-12:
            return mean, mean
        size = mean * (1 - mean) / variance
    centre = (mean + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z / (1 + _Z**2 / size) * np.sqrt(mean * (1 - mean) / size + _Z**2 / (4 * size**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def tested(credit: np.ndarray, chance: np.ndarray, query: np.ndarray) -> dict[str, object]:
    """Samples, accuracy, chance, above_chance, low and high, from what n samples earn."""
    accuracy = float(credit.mean(dtype=np.float64))
    guessed = float(chance.mean(dtype=np.float64))
    low, high = interval(credit, query)
    return {
        "samples": len(credit),
        "accuracy": accuracy,
        "chance": guessed,
        # Where every list holds one distinct text, chance is 1 and nothing can be above it.
        "above_chance": (accuracy - guessed) / (1 - guessed) if guessed < 1 else 0.0,
        "low": low,
        "high": high,
    }


def row(
    credit: np.ndarray,
    chance: np.ndarray,
    split: np.ndarray,
    query: np.ndarray,
    curve: Mapping[str, object],
) -> dict[str, object]:
    """What METRICS tells of one probe and seed, from the credit and chance [S] of all samples.

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
