"""What a sweep over settings says of a claim: it holds, it does not, or what it turns with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Verdict = Literal[
    "supported",
    "contradicted",
    "depends on the normaliser",
    "depends on the threshold",
    "depends on the normaliser and the threshold",
    "not testable here",
]


@dataclass(frozen=True, order=True)
class Setting:
    """When a neuron counts as active."""

    normaliser: str
    left_out: int
    threshold: float

    @property
    def scale(self) -> tuple[str, int]:
        """What scores are divided by; thresholds compare within it alone."""
        return self.normaliser, self.left_out

    def __str__(self) -> str:
        return f"{self.normaliser}, {self.left_out} left out, threshold {self.threshold:g}"


@dataclass(frozen=True)
class Judgement:
    """What a sweep says of a claim; `reason` where it says nothing."""

    verdict: Verdict
    reason: str | None = None


def judge(states: Mapping[Setting, int], published: Setting) -> Judgement:
    """The verdict of a sweep.

    Args:
        states: each setting's decision: 1 for the claim, −1 against it, 0 none.
        published: the published setting.

    Returns:
        "supported" or "contradicted" where all settings that decide agree and the published
        one is among them. Where settings contradict each other, "depends on" names what their
        decision turns with: the normaliser (what is left out included) at the same rank of the
        threshold, the threshold under the same normaliser, or both. Where the published setting
        alone is silent, the same is asked between it and those that decide.
    """
    decided = {setting: state for setting, state in states.items() if state}
    if not decided:
        return Judgement(
            "not testable here", "no setting decides: at each an interval holds 0 or is not known"
        )
    if published not in states:
        return Judgement("not testable here", f"the sweep lacks the published setting: {published}")
    conflict = len(set(decided.values())) > 1
    if not conflict and published in decided:
        return Judgement("supported" if decided[published] > 0 else "contradicted")
    if conflict:
        turns = [(a, b) for a, b in combinations(decided, 2) if decided[a] != decided[b]]
    else:
        turns = [(published, setting) for setting in decided]
    rank = _ranks(states)
    by_threshold = any(a.scale == b.scale for a, b in turns)
    by_normaliser = any(a.scale != b.scale and rank[a] == rank[b] for a, b in turns)
    if by_threshold == by_normaliser:
        return Judgement("depends on the normaliser and the threshold")
    return Judgement(f"depends on the {'threshold' if by_threshold else 'normaliser'}")


def _ranks(settings: Iterable[Setting]) -> dict[Setting, int]:
    """Each setting's place among the thresholds of its normaliser, the lowest being 0."""
    seen: dict[tuple[str, int], int] = {}
    ranks = {}
    for setting in sorted(settings):
        ranks[setting] = seen.get(setting.scale, 0)
        seen[setting.scale] = ranks[setting] + 1
    return ranks
