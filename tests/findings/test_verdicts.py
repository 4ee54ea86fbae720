"""Verdicts on planted families: what is there, what is not, and what turns with a choice."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellspring import intervals
from wellspring.findings.verdicts import (
    Above,
    Below,
    Family,
    Hypothesis,
    Rules,
    Setting,
    Within,
    judge,
)
from wellspring.intervals import Estimate
from wellspring.randomness import generator

RULES = Rules(permutations=500)
GRID = list(product(("max", "sum"), (0, 1, 2)))
SETTINGS = [
    Setting(f"{name}, {rank}", {"normaliser": name, "threshold": rank}) for name, rank in GRID
]


def family(
    means: np.ndarray,
    parts: tuple[Hypothesis, ...] = (Above(),),
    texts: int = 40,
    noise: float = 1.0,
    seed: int = 0,
) -> Family:
    """Texts whose numbers have these means [S, P], a deviation of 1 and what all settings share."""
    rng = generator(seed, "family")
    values = means + noise * (
        0.5 * rng.normal(size=(texts, 1, 1)) + 0.8 * rng.normal(size=(texts, *means.shape))
    )
    effects = intervals.mean(values.reshape(texts, -1))
    return Family(SETTINGS[: len(means)], parts, effects, effects)


def everywhere(value: float) -> np.ndarray:
    return np.full((6, 1), float(value))


def of_choices(rule) -> np.ndarray:
    return np.array([[float(rule(*choice))] for choice in GRID])


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        (everywhere(2), "supported"),
        (everywhere(-2), "contradicted"),
        (everywhere(0), "no evidence"),
        (of_choices(lambda name, rank: 2 if name == "max" else -2), "depends on the normaliser"),
        (of_choices(lambda name, rank: 2 if name == "max" else 0), "depends on the normaliser"),
        (of_choices(lambda name, rank: 2 if rank else -2), "depends on the threshold"),
        (
            of_choices(lambda name, rank: 2 if rank and name == "max" else -2),
            "depends on the normaliser and the threshold",
        ),
        # All settings decide alike, though by different amounts.
        (of_choices(lambda name, rank: 1 + rank), "supported"),
    ],
)
def test_every_verdict(means: np.ndarray, verdict: str) -> None:
    found = judge(family(means), RULES)
    assert found.verdict == verdict
    assert len(found.states) == 6


def test_a_choice_needs_a_difference_that_itself_excludes_0() -> None:
    """One setting is barely significant and its neighbours are barely not: no dependence."""
    means = of_choices(lambda name, rank: 0.62 if name == "max" else 0.48)
    verdicts = [judge(family(means, seed=seed), RULES) for seed in range(40)]
    mixed = [found for found in verdicts if 0 < found.states.sum() < 6]
    assert len(mixed) > 10
    assert sum(found.verdict == "supported" for found in mixed) >= 0.9 * len(mixed)


def test_equivalent_is_not_no_evidence() -> None:
    sure = family(everywhere(0.02), noise=0.1)
    assert judge(sure, RULES).verdict == "equivalent"
    assert judge(sure, Rules(margin=0.01, permutations=500)).verdict == "no evidence"
    assert judge(family(everywhere(0.02)), RULES).verdict == "no evidence"


def test_few_texts_cannot_decide() -> None:
    found = judge(family(everywhere(50), texts=5), RULES)
    assert found.verdict == "not testable here" and found.reason == "5 texts cannot decide anything"
    found = judge(family(everywhere(50), texts=1), RULES)
    assert found.reason == "1 text cannot decide anything"
    assert judge(family(everywhere(50), texts=6), RULES).verdict == "supported"


def test_a_conjunction_needs_all_its_parts() -> None:
    both = (Above(), Below())
    good = np.tile([2.0, -2.0], (6, 1))
    assert judge(family(good, both), RULES).verdict == "supported"
    assert judge(family(good * [1, 0], both), RULES).verdict == "no evidence"
    assert judge(family(good * [1, -1], both), RULES).verdict == "contradicted"


@pytest.mark.parametrize(
    ("value", "noise", "verdict"),
    [
        (0.0, 0.02, "supported"),
        (0.2, 0.02, "contradicted"),
        (0.05, 0.1, "no evidence"),
        (0.0, 1.0, "no evidence"),
    ],
)
def test_a_claim_of_comparability(value: float, noise: float, verdict: str) -> None:
    comparable = family(np.full((1, 1), value), (Within(-0.05, 0.05),), noise=noise)
    assert judge(comparable, RULES).verdict == verdict


def test_a_setting_of_few_texts_is_left_out() -> None:
    """It neither decides nor keeps the others from deciding, whatever it says."""
    rng = generator(0, "few")
    values = rng.normal((2, 2, -9), size=(40, 3))
    values[5:, 2] = np.nan
    effects = intervals.mean(values)
    whole = Family(SETTINGS[:3], (Above(),), effects, effects, ~np.isnan(values))
    found = judge(whole, RULES)
    assert (found.verdict, found.states.tolist()) == ("supported", [1, 1, 0])
    assert found.reason == "max, 2 is left out: 5 texts cannot decide anything"
    rest = judge(whole.of(np.array([True, True, False])), RULES)
    assert (rest.verdict, rest.reason) == ("supported", None)
    weak = intervals.mean(np.column_stack([rng.normal(0, 3, (40, 2)), values[:, 2]]))
    undecided = judge(Family(SETTINGS[:3], (Above(),), weak, weak), RULES)
    assert undecided.verdict == "no evidence"
    assert undecided.reason == found.reason


def test_the_published_setting_is_judged_alone() -> None:
    """Alone it pays for no other setting, and sees more often what is there."""
    families = [family(everywhere(0.45), seed=seed) for seed in range(40)]
    decided = [
        sum(judge(each, RULES).states[0] == 1 for each in given)
        for given in (families, [whole.alone() for whole in families])
    ]
    assert decided[0] < decided[1]


def test_an_effect_that_is_not_defined_decides_nothing() -> None:
    whole = family(everywhere(2))
    gone = Estimate(
        np.where(np.arange(6) < 3, np.nan, whole.effects.value),
        np.where(np.arange(6) < 3, 0, whole.effects.influence),
        whole.effects.clusters,
    )
    found = judge(Family(whole.settings, whole.parts, gone, gone), RULES)
    assert found.states.tolist() == [0, 0, 0, 1, 1, 1] and found.verdict == "supported"


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(-1, 1))
def test_a_claim_and_its_opposite(seed: int, mean: float) -> None:
    turned = {"supported": "contradicted", "contradicted": "supported"}
    means = of_choices(lambda name, rank: mean * (rank + (name == "max")))
    one = judge(family(means, (Above(),), seed=seed), RULES).verdict
    other = judge(family(means, (Below(),), seed=seed), RULES).verdict
    assert other == turned.get(one, one)
