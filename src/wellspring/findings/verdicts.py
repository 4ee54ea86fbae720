"""What data say of a claim, over a family of settings that are tested together.

A claim has parts, all of which must hold, and a family of settings at which it can be asked. Every
decision below is made at one error rate for the whole family:

- A setting *supports* the claim where every part holds, and *contradicts* it where one part is
  turned around. Parts that say above or below are tested by sign flips of whole clusters, max-T
  over settings × parts; so data without an effect give a verdict in at most α of all studies.
- Parts that say *within* bounds hold where the interval at 1 − 2α lies inside (two one-sided tests)
  and are turned around where the one at 1 − α lies outside, both Bonferroni over the family.
- The claim *depends* on a choice only where two settings that differ in that choice alone decide
  differently and the difference between their effects itself excludes 0, max-T over all such pairs.
- A setting with so few clusters that no flip could be significant is left out of the family, and
  the reason says so. Where that leaves none, the claim is *not testable here*.
- Where nothing is decided, the effect is *equivalent* to none if two one-sided tests place it
  within the margin at every setting; else there is *no evidence*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from wellspring import intervals
from wellspring.findings import statistics
from wellspring.findings.statistics import Significance
from wellspring.intervals import Estimate
from wellspring.plurals import counted
from wellspring.randomness import generator

SUPPORTED, CONTRADICTED = "supported", "contradicted"
EQUIVALENT, NO_EVIDENCE = "equivalent", "no evidence"
NOT_TESTABLE = "not testable here"
DEPENDS = "depends on the "
"""What a verdict may say; the last is followed by the names of choices."""


@dataclass(frozen=True)
class Above:
    """The quantity is above 0."""

    sign = 1


@dataclass(frozen=True)
class Below:
    """The quantity is below 0."""

    sign = -1


@dataclass(frozen=True)
class Within:
    """The quantity lies between two bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparable:
    """The quantity lies within the margin of 0."""


Hypothesis = Above | Below | Within | Comparable


@dataclass(frozen=True)
class Setting:
    """One way to ask a claim.

    Attributes:
        label: for people.
        choices: name of each choice to what was chosen. Two settings compare where they differ in
            one choice alone.
    """

    label: str
    choices: Mapping[str, object]

    def apart(self, other: Setting) -> str | None:
        """The one choice in which two settings differ; None where there is not exactly one."""
        names = [name for name, value in self.choices.items() if other.choices[name] != value]
        return names[0] if len(names) == 1 else None


@dataclass(frozen=True)
class Family:
    """A claim on one pair: its parts at every setting, in cells S × P (parts within settings).

    Attributes:
        settings: the S settings, the published one first.
        parts: the P hypotheses.
        effects: [S × P] what the parts speak of, each on its own scale.
        compared: [S × P] the same on a scale on which settings compare; NaN where there is none.
        observed: [Q, S × P] the clusters that an effect is measured on; None: all.
        unit: what a cluster is: one, and several.
    """

    settings: Sequence[Setting]
    parts: Sequence[Hypothesis]
    effects: Estimate
    compared: Estimate
    observed: np.ndarray | None = None
    unit: tuple[str, str] = ("text", "texts")

    def distinct(self) -> np.ndarray:
        """[K] the distinct settings, by index: the first of those with the same number for every
        text.

        Which are the same depends on the data: leaving an outlier unit out changes the largest
        score of the sub-layer that it lies in, and no other sub-layer's.
        """
        numbers = [
            part.reshape(-1, len(self.settings), len(self.parts)).swapaxes(0, 1)
            for each in (self.effects, self.compared)
            for part in (each.value, each.influence)
        ]
        firsts: dict[bytes, int] = {}
        for setting, own in enumerate(zip(*numbers, strict=True)):
            # Adding 0 leaves one zero of the two.
            firsts.setdefault(b"".join((part + 0.0).tobytes() for part in own), setting)
        return np.array(list(firsts.values()))

    def alone(self) -> Family:
        """The published setting by itself."""
        return self.of(np.arange(len(self.settings)) == 0)

    def of(self, settings: np.ndarray) -> Family:
        """Some of the settings, [S] of bool."""
        cells = np.repeat(settings, len(self.parts))
        return replace(
            self,
            settings=[each for each, kept in zip(self.settings, settings, strict=True) if kept],
            effects=self.effects.kept(cells),
            compared=self.compared.kept(cells),
            observed=None if self.observed is None else self.observed[:, cells],
        )

    def sizes(self) -> np.ndarray:
        """[S]: the fewest clusters of a part."""
        return self.effects.clusters.reshape(len(self.settings), len(self.parts)).min(1)

    def testable(self, alpha: float) -> np.ndarray:
        """[S]: whether there are so many clusters that some flip is significant."""
        return 2.0 ** (1 - self.sizes()) <= alpha

    def undecided(self, clusters: int) -> str:
        """What to say of so few clusters."""
        return f"{counted(clusters, *self.unit)} cannot decide anything"


@dataclass(frozen=True)
class Rules:
    """How a family is judged.

    Attributes:
        alpha: error rate of a family.
        margin: an effect this small, on the scale on which settings compare, counts as none.
        permutations: sign flips.
        seed: of the flips.
    """

    alpha: float = 0.05
    margin: float = 0.1
    permutations: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class Judgement:
    """The verdict of a family.

    Attributes:
        verdict: one of the texts above.
        reason: in words, where the verdict needs one.
        states: [S] 1 where a setting supports the claim, −1 where it contradicts it, else 0.
    """

    verdict: str
    reason: str | None
    states: np.ndarray


def judge(family: Family, rules: Rules, *ids: str) -> Judgement:
    """The verdict of a family; `ids` name it for its random flips."""
    sizes, kept = family.sizes().tolist(), family.testable(rules.alpha)
    states = np.zeros(len(kept), int)
    if not kept.any():
        return Judgement(NOT_TESTABLE, family.undecided(max(sizes)), states)
    judgement = _judged(family.of(kept), rules, *ids)
    states[kept] = judgement.states
    reasons = [judgement.reason] if judgement.reason else []
    reasons += [
        f"{setting.label} is left out: {family.undecided(size)}"
        for setting, size, stays in zip(family.settings, sizes, kept, strict=True)
        if not stays
    ]
    return Judgement(judgement.verdict, "; ".join(reasons) or None, states)


def _judged(family: Family, rules: Rules, *ids: str) -> Judgement:
    """The verdict of settings that can be tested."""
    states = _states(family, rules, *ids)
    if not states.any():
        return _undecided(family, rules, states)
    choices = sorted(set(_turns(family, states, rules, *ids)))
    if choices:
        return Judgement(DEPENDS + " and the ".join(choices), None, states)
    if states.min() < 0 < states.max():
        reason = "settings decide against each other, but their effects do not differ significantly"
        return Judgement(NO_EVIDENCE, reason, states)
    return Judgement(SUPPORTED if states.max() > 0 else CONTRADICTED, None, states)


def significance(family: Family, rules: Rules, *ids: str) -> Significance:
    """[S × P]: the sign-flip tests by which `judge` decides on parts that say above or below; 1 for
    other parts, and at settings that are left out. `ids` are those of `judge`."""
    signed = [isinstance(part, Above | Below) for part in family.parts]
    tested = np.outer(family.testable(rules.alpha), signed).ravel()
    return _flipped(family.effects, rules, *ids, "parts", tested=tested, observed=family.observed)


def _states(family: Family, rules: Rules, *ids: str) -> np.ndarray:
    """[S]: 1 where every part holds, −1 where one is turned around, else 0."""
    parts = len(family.parts)
    decided = np.zeros((len(family.settings), parts), int)
    signs = np.array([getattr(part, "sign", 0) for part in family.parts])
    if signs.any():
        p = significance(family, rules, *ids).p_adjusted
        sure = (p <= rules.alpha).reshape(decided.shape)
        decided += np.where(sure, np.sign(_values(family)) * signs, 0).astype(int)
    for number, part in enumerate(family.parts):
        if isinstance(part, Comparable):
            part = Within(-rules.margin, rules.margin)
        if isinstance(part, Within):
            column = family.effects.kept(np.arange(len(decided)) * parts + number)
            decided[:, number] = within(column, part, rules.alpha / len(decided))
    return decided.min(1)


def _values(family: Family) -> np.ndarray:
    return np.nan_to_num(family.effects.value).reshape(len(family.settings), -1)


def within(effects: Estimate, part: Within, alpha: float) -> np.ndarray:
    """[S]: 1 where an effect lies inside for certain, −1 where it lies outside, else 0."""
    inner = intervals.interval(effects, confidence=1 - 2 * alpha)
    outer = intervals.interval(effects, confidence=1 - alpha)
    inside = (inner.low >= part.low) & (inner.high <= part.high)
    outside = (outer.low > part.high) | (outer.high < part.low)
    return inside.astype(int) - outside.astype(int)


def _undecided(family: Family, rules: Rules, states: np.ndarray) -> Judgement:
    """Whether nothing is there, or nothing is known."""
    if all(isinstance(part, Within | Comparable) for part in family.parts):
        return Judgement(NO_EVIDENCE, None, states)
    inside = within(family.compared, Within(-rules.margin, rules.margin), rules.alpha)
    known = np.isfinite(family.compared.value)
    if known.any() and (inside[known] > 0).all():
        return Judgement(EQUIVALENT, f"within ±{rules.margin:g} of no effect", states)
    return Judgement(NO_EVIDENCE, None, states)


def _turns(family: Family, states: np.ndarray, rules: Rules, *ids: str) -> Iterator[str]:
    """The choices on which the decision depends, beyond what chance explains."""
    parts = len(family.parts)
    pairs = [
        (first, second, choice)
        for first, second in combinations(range(len(states)), 2)
        if (choice := family.settings[first].apart(family.settings[second]))
    ]
    if not pairs:
        return
    first, second = (
        (np.array([pair[side] for pair in pairs])[:, None] * parts + np.arange(parts)).ravel()
        for side in (0, 1)
    )
    apart = family.compared.kept(first) - family.compared.kept(second)
    p = _flipped(apart, rules, *ids, "settings").p_adjusted.reshape(-1, parts).min(1)
    for (one, other, choice), value in zip(pairs, p, strict=True):
        if states[one] != states[other] and value <= rules.alpha:
            yield choice


def _flipped(
    effects: Estimate,
    rules: Rules,
    *ids: str,
    tested: np.ndarray | bool = True,
    observed: np.ndarray | None = None,
) -> Significance:
    """[C]: the sign-flip test of the effects that are tested; 1 elsewhere, and where an effect is
    not defined."""
    tested = tested & np.isfinite(effects.value)
    alone, adjusted = np.ones(len(tested)), np.ones(len(tested))
    if tested.any():
        effects = effects.kept(tested)
        spread = intervals.spread(effects)
        contributions = effects.contributions()
        if observed is not None:
            own = effects.influence.sum(1) + effects.value / effects.clusters
            contributions = np.where(observed[:, tested], own, 0)
        found = statistics.sign_flip_max_t(
            contributions,
            permutations=rules.permutations,
            rng=generator(rules.seed, *ids),
            reliability=spread.reliability,
            freedom=spread.of_repetitions,
        )
        alone[tested], adjusted[tested] = found.p_value, found.p_adjusted
    return Significance(alone, adjusted)
