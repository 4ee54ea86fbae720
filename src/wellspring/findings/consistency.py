"""Claims 1 to 6 measured: (accuracy − chance) / (1 − chance) of every probe that can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from wellspring import intervals
from wellspring.findings.claims import Accuracy, Claim, Measured
from wellspring.findings.outcomes import Outcomes, Samples, above_chance
from wellspring.findings.verdicts import (
    CONTRADICTED,
    NO_EVIDENCE,
    SUPPORTED,
    Family,
    Judgement,
    Rules,
    Setting,
    judge,
)
from wellspring.intervals import Estimate

PROBES = ("concat", "passage-scorer", "interaction", "cosine")
"""The published probe, and those that might answer otherwise: a claim may depend on the probe."""
DEEP = 3 / 8
"""Where "deeper layers" begin, as a share of the depth: layer 12 of 32."""


def measured(
    claim: Claim,
    own: Mapping[str, Outcomes],
    theirs: Mapping[str, Outcomes],
    samples: Samples,
    depth: int,
    rules: Rules,
    *ids: str,
) -> Measured | str:
    """A claim on one pair and dataset, or why it cannot be measured.

    Args:
        own, theirs: outcomes of the retriever's and of its counterpart's probes, by probe, at the
            same cells.
        samples: of the dataset.
        depth: the retriever's number of blocks.
        rules: how the family is judged; ids: what names it for its random flips.
    """
    probes = [name for name in PROBES if name in own and name in theirs]
    if PROBES[0] not in probes:
        return f"the study does not probe with {PROBES[0]}"
    effects = []
    for probe in probes:
        layers = [layer for layer in own[probe].layers if layer is not None]
        passages = own[probe].passages
        sides = [above_chance(side[probe], samples) for side in (own, theirs)]
        for part in cast(Sequence[Accuracy], claim.parts):
            weights = _weights(part, layers, passages, depth)
            if weights is None:
                return f"the study does not probe what this needs: {part}"
            cells = {"retriever": sides[0], "counterpart": sides[1]}.get(part.whose)
            whole = sides[0] - sides[1] if cells is None else cells
            effects.append(whole.weighted(weights[:, None]))
    family = _family(claim, probes, effects)
    first = family.effects.kept([0])
    return Measured(
        setting=probes[0],
        interval=intervals.interval(first, -2, 2),
        detectable=intervals.detectable(first).item(),
        clusters=int(first.clusters[0]),
        at_setting=judge(family.alone(), rules, *ids, "alone"),
        judgement=judge(family, rules, *ids),
        distinct=family.distinct(),
    )


def fluctuation(cells: Estimate, layers: int) -> Estimate:
    """The variance over layers of cells [layers × N], averaged over N; one cell.

    What the sampling of questions alone would make of it is subtracted, so that a smaller dataset
    does not seem to fluctuate more.
    """
    shape = (layers, -1)
    away = cells.value.reshape(shape) - cells.value.reshape(shape).mean(0)
    moved = cells.influence.reshape(*cells.influence.shape[:2], *shape)
    moved = moved - moved.mean(2, keepdims=True)
    panels = away.shape[1] * (layers - 1)
    noise = intervals.spread(
        Estimate(away.ravel(), moved.reshape(*moved.shape[:2], -1), cells.clusters)
    )
    bias = (noise.clusters + noise.repetitions).sum()
    value = (np.square(away).sum() - bias) / panels
    influence = 2 * (moved * away).sum((2, 3)) / panels
    return Estimate(np.array([value]), influence[..., None], cells.clusters[:1])


def fluctuation_of(own: Mapping[str, Outcomes], samples: Samples) -> Estimate | str:
    """The fluctuation of the published probe on one dataset, or why there is none.

    own: outcomes of a retriever's probes, by probe.
    """
    if PROBES[0] not in own:
        return f"the study does not probe with {PROBES[0]}"
    curve = own[PROBES[0]]
    if len(curve.layers) < 2:
        return "the study probes one layer"
    return fluctuation(above_chance(curve, samples), len(curve.layers))


def compared(first: Estimate | str, second: Estimate | str, rules: Rules) -> Measured | str:
    """What `fluctuates_more` says of two fluctuations, or why there are none."""
    if isinstance(first, str):
        return first
    if isinstance(second, str):
        return second
    return fluctuates_more(first, second, rules)


def fluctuates_more(first: Estimate, second: Estimate, rules: Rules) -> Measured:
    """Whether the first quantity is above the second; they come from different questions."""
    questions = sum(len(side.influence) for side in (first, second))
    influence = np.zeros((questions, max(s.influence.shape[1] for s in (first, second)), 1))
    influence[: len(first.influence), : first.influence.shape[1]] = first.influence
    influence[len(first.influence) :, : second.influence.shape[1]] = -second.influence
    clusters = np.array([questions])
    difference = Estimate(first.value - second.value, influence, clusters)
    bounds = intervals.interval(difference, confidence=1 - rules.alpha)
    state = int(bounds.low[0] > 0) - int(bounds.high[0] < 0)
    verdict = {1: SUPPORTED, -1: CONTRADICTED}.get(state, NO_EVIDENCE)
    judgement = Judgement(verdict, None, np.array([state]))
    return Measured(
        setting=PROBES[0],
        interval=intervals.interval(difference),
        detectable=intervals.detectable(difference).item(),
        clusters=questions,
        at_setting=judgement,
        judgement=judgement,
        distinct=np.array([0]),
    )


def _weights(
    part: Accuracy, layers: Sequence[int], passages: Sequence[int], depth: int
) -> np.ndarray | None:
    """[L × P] weights of a part's cells; None where there is none."""
    chosen = np.array([part.layers == "all" or layer >= DEEP * depth for layer in layers])
    of_passages = np.full(len(passages), 1 / len(passages))
    if part.over == "change":
        of_passages = np.zeros(len(passages))
        of_passages[[0, -1]] = (-1, 1)
    if not chosen.any() or (part.over == "change" and len(passages) < 2):
        return None
    return np.outer(chosen / chosen.sum(), of_passages).ravel()


def _family(claim: Claim, probes: Sequence[str], effects: Sequence[Estimate]) -> Family:
    """Cells probes × parts; they all have one scale."""
    whole = Estimate(
        np.concatenate([effect.value for effect in effects]),
        np.concatenate([effect.influence for effect in effects], 2),
        np.concatenate([effect.clusters for effect in effects]),
    )
    settings = [Setting(probe, {"probe": probe}) for probe in probes]
    return Family(settings, [part.hypothesis for part in claim.parts], whole, whole)
