"""How likely a study was to see true differences of some sizes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from scipy.special import ndtr, ndtri

from wellspring.intervals import CONFIDENCE, POWER

KEYS = ("dataset", "retriever", "compared_with", "probe", "layer", "passages", "measure")


def power(findings: pl.DataFrame, effects: Sequence[float]) -> pl.DataFrame:
    """KEYS, effect, power: for each difference, the probability that its 95 % interval excludes 0
    where the true difference has that size.

    findings: `wellspring.findings.table.build`'s. Its `detectable` is the difference that is seen
    at 80 % power; from that follows the standard error, and from it the rest, by the normal
    distribution. Against the noncentral t distribution that is off by .001 with 16 clusters.
    """
    quantile = ndtri((1 + CONFIDENCE) / 2)
    differences = (
        findings.filter(finding="difference")
        .drop_nulls("detectable")
        .unique(KEYS, keep="first", maintain_order=True)
    )
    errors = differences["detectable"].to_numpy() / (quantile + ndtri(POWER))
    tables = [
        differences.select(*KEYS).with_columns(
            effect=pl.lit(float(effect)),
            power=pl.Series(ndtr(effect / errors - quantile) + ndtr(-effect / errors - quantile)),
        )
        for effect in effects
    ]
    return pl.concat(tables).sort(*KEYS, "effect", maintain_order=True)
