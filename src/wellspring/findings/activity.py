"""Claims 7 to 10 measured: the share of active neurons at every normaliser and threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.findings.cells import Cells, cells_of, common, with_regions
from wellspring.findings.claims import DECODERS, Activity, Claim, Measured
from wellspring.findings.verdicts import Family, Hypothesis, Rules, Setting, judge
from wellspring.intervals import Estimate

MEASURE = "share_active"
SETTING = ("normaliser", "excluded_outliers", "threshold")
Choice = tuple[str, int, float]
"""Normaliser, outlier units left out, threshold."""


def published_setting(pooling: str) -> Choice:
    """The setting of the paper: a tenth of the text's largest score, of decoders a hundredth."""
    return "network-max", 0, 0.01 if pooling in DECODERS else 0.1


def measured(
    claim: Claim,
    own: pl.DataFrame,
    theirs: pl.DataFrame,
    depth: int,
    published: Choice,
    rules: Rules,
    *ids: str,
) -> Measured | str:
    """A claim on one pair, attribution, dataset and side, or why it cannot be measured.

    Args:
        own, theirs: text_id, layer, sublayer, normaliser, excluded_outliers, threshold, value: each
            text's share of active neurons in the retriever and in its counterpart.
        depth: the retriever's number of blocks.
        published: the setting whose estimate is reported.
        rules: how the family is judged; ids: what names it for its random flips.

    Raises StaleArtefact where the two sides share no text.
    """
    sides = [
        with_regions(cells_of(side, ("sublayer", *SETTING, "layer"), " ".join(ids)), depth)
        for side in (own, theirs)
    ]
    ours, others = common(*sides, name=" ".join(ids))
    choices = sorted(set(ours.keys.select(SETTING).rows()))
    if published not in choices:
        return f"the sweep lacks the published setting: {_label(published)}"
    choices = [published, *(choice for choice in choices if choice != published)]
    parts: list[Hypothesis] = []
    effects, compared = [], []
    for part in cast(Sequence[Activity], claim.parts):
        columns = [_columns(part, ours, choice) for choice in choices]
        if not all(columns):
            return f"the study attributes no {part.sublayer} sub-layer in these layers"
        parts += [part.hypothesis] * len(columns[0])
        flat = np.array(columns)
        change = ours.values[:, flat.ravel()]
        level = others.values[:, flat.ravel()]
        if part.is_change:
            change = change - level
        shape = flat.shape
        effects.append((intervals.mean(change), shape))
        ratio = intervals.mean(change, level)
        undefined = ~np.isfinite(ratio.value) | (not part.is_change)
        ratio = Estimate(np.where(undefined, np.nan, ratio.value), ratio.influence, ratio.clusters)
        compared.append((ratio, shape))
    family = Family(
        [_setting(choice, choices) for choice in choices],
        parts,
        _interleaved(effects),
        _interleaved(compared),
    )
    if not np.nan_to_num(family.effects.influence).any():
        return "no neuron is active at any setting, or all alike"
    first = family.compared.kept([0])
    return Measured(
        setting=_label(published),
        interval=intervals.interval(first, -1.0),
        detectable=intervals.detectable(first).item(),
        clusters=int(first.clusters[0]),
        at_setting=judge(family.alone(), rules, *ids, "alone"),
        judgement=judge(family, rules, *ids),
        distinct=family.distinct(),
    )


def _columns(part: Activity, cells: Cells, choice: Choice) -> list[int]:
    """The columns of a part's numbers: one for a region, or one for every layer."""
    keys = cells.keys.with_row_index("column").filter(
        pl.col("sublayer") == part.sublayer,
        *(pl.col(name) == value for name, value in zip(SETTING, choice, strict=True)),
    )
    if part.is_change:
        keys = keys.filter(pl.col("region") == part.region)
    else:
        keys = keys.filter(pl.col("layer").is_not_null()).sort("layer")
    return keys["column"].to_list()


def _interleaved(parts: Sequence[tuple[Estimate, tuple[int, int]]]) -> Estimate:
    """Parts [S, columns] as cells S × P."""
    value = np.concatenate([part.value.reshape(shape) for part, shape in parts], 1)
    influence = np.concatenate(
        [part.influence.reshape(*part.influence.shape[:2], *shape) for part, shape in parts], 3
    )
    clusters = np.concatenate([part.clusters.reshape(shape) for part, shape in parts], 1)
    return Estimate(value.ravel(), influence.reshape(*influence.shape[:2], -1), clusters.ravel())


def _setting(choice: Choice, choices: Sequence[Choice]) -> Setting:
    """Thresholds of different normalisers compare by their rank in the whole sweep."""
    normaliser, excluded_outliers, threshold = choice
    swept = sorted({other[2] for other in choices if other[:2] == choice[:2]})
    return Setting(
        _label(choice),
        {
            "normaliser": normaliser,
            "outliers left out": excluded_outliers,
            "threshold": swept.index(threshold),
        },
    )


def _label(choice: Choice) -> str:
    normaliser, excluded_outliers, threshold = choice
    outliers = f", {excluded_outliers} left out" if excluded_outliers else ""
    return f"{normaliser}{outliers}, threshold {threshold:g}"
