"""Are verdicts and intervals right as often as they say? On null data, on planted effects.

`python -m benchmarks.calibration` prints, at the sample sizes of the default study: how often a
claim gets a verdict on data without an effect (at most 5 %), how often it sees planted effects, and
how often intervals hold the truth (at least 95 %). Whole functions run, from texts' numbers or
probes' outcomes to the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product

import numpy as np
import polars as pl
from scipy import stats

from benchmarks import measure
from wellspring import intervals
from wellspring.findings import activity, consistency
from wellspring.findings.claims import CLAIMS
from wellspring.findings.outcomes import Outcomes, Samples, above_chance
from wellspring.findings.statistics import moments, sign_flip_max_t
from wellspring.findings.verdicts import EQUIVALENT, NO_EVIDENCE, Rules
from wellspring.intervals import Interval
from wellspring.randomness import generator

TEXTS = 48
"""Attributed texts a side of the default study."""
QUESTIONS = 800
"""Test questions a seed of the default study, of so many in all:"""
ALL_QUESTIONS = 4000
LAYERS = 7
PASSAGES = (2, 5)
SWEEP = {
    "network-max": (0.01, 0.02, 0.05, 0.1, 0.2),
    "sublayer-max": (0.01, 0.02, 0.05, 0.1, 0.2),
    "sublayer-mean": (0.5, 1.0, 2.0, 5.0, 10.0),
}
SETTINGS = [
    (name, left_out, threshold)
    for (name, thresholds), left_out in product(SWEEP.items(), (0, 1))
    for threshold in thresholds
]
SILENT = {NO_EVIDENCE, EQUIVALENT}
BY_NUMBER = {claim.number: claim for claim in CLAIMS}


def activity_pair(
    trial: int, texts: int, effect: float = 0.0, normaliser: str | None = None, blocks: int = 4
) -> list[pl.DataFrame]:
    """Shares of active neurons of two encoders; both have one distribution where effect is 0.

    effect: added to the first encoder's log-odds, at one normaliser's settings alone or at all.
    """
    rng = generator(trial, "activity", texts, blocks)
    level = np.array([-4 + 3 * (name != "network-max") - 0.5 * rank for name, rank in _ranks()])
    shape = (texts, blocks, 2, len(SETTINGS))
    of_text = rng.normal(size=(texts, 1, 1, 1))
    frames = []
    for side in range(2):
        of_side = 0.5 * rng.normal(size=(texts, 1, 1, 1)) + 0.3 * rng.normal(size=(*shape[:3], 1))
        odds = level + 0.5 * of_text + of_side + 0.2 * rng.normal(size=shape)
        if side == 0:
            touched = np.array([normaliser in (None, name) for name, _, _ in SETTINGS])
            odds = odds + effect * touched
        grid = list(product(range(texts), range(1, blocks + 1), ("intermediate", "output")))
        rows = pl.DataFrame(grid, ["text_id", "layer", "sublayer"], orient="row")
        choices = pl.DataFrame(SETTINGS, list(activity.SETTING), orient="row")
        values = (1 / (1 + np.exp(-odds))).ravel()
        frames.append(rows.join(choices, how="cross", maintain_order="left_right"))
        frames[-1] = frames[-1].with_columns(value=pl.Series(values))
    return frames


def _ranks() -> list[tuple[str, int]]:
    return [(name, SWEEP[name].index(threshold)) for name, _, threshold in SETTINGS]


def activity_verdicts(
    number: int, trials: int, texts: int = TEXTS, permutations: int = 1000, **effect: object
) -> Counter[str]:
    """How often claim `number` gets each verdict."""
    claim, rules = BY_NUMBER[number], Rules(permutations=permutations)
    setting = activity.published_setting(claim.pooling)
    found = Counter()
    for trial in range(trials):
        pair = activity_pair(trial, texts, **effect)
        made = activity.measured(claim, *pair, 4, setting, rules, str(trial))
        found[made.judgement.verdict] += 1
    return found


def probing_pair(
    trial: int, difference: float = 0.0, probe: str | None = None, level: float = 0.2
) -> tuple[dict[str, Outcomes], dict[str, Outcomes], Samples]:
    """Outcomes of two retrievers' probes; three seeds that split 4,000 questions each anew.

    level: (accuracy − chance) / (1 − chance) of both; difference: what the first has more, of one
    probe alone or of all.
    """
    rng = generator(trial, "probing")
    tested = np.zeros((ALL_QUESTIONS, 3), dtype=bool)
    for seed in range(3):
        tested[rng.permutation(ALL_QUESTIONS)[:QUESTIONS], seed] = True
    tested = tested[tested.any(1)]
    names = pl.DataFrame({"sample_id": [f"{row:05}" for row in range(len(tested))]})
    samples = Samples(names.with_row_index("code"), np.arange(len(tested)), (0, 1, 2), tested)
    hard = rng.normal(size=(len(tested), 1, 1, 1))
    sides = []
    for side in range(2):
        of_probe = {}
        for name in consistency.PROBES:
            lifted = level + (difference if side == 0 and probe in (None, name) else 0)
            of_probe[name] = _outcomes(rng, tested, hard, lifted)
        sides.append(of_probe)
    return *sides, samples


def _outcomes(
    rng: np.random.Generator, tested: np.ndarray, hard: np.ndarray, level: float
) -> Outcomes:
    """Questions differ in difficulty, their layers and seeds are alike, and a fit has its luck."""
    questions, seeds = tested.shape
    shape = (questions, seeds, LAYERS, len(PASSAGES))
    latent = 0.6 * hard + 0.4 * rng.normal(size=(questions, seeds, 1, 1))
    latent = latent + 0.4 * rng.normal(size=(questions, 1, LAYERS, 1))
    latent = latent + np.sqrt(1 - 0.36 - 0.16 - 0.16) * rng.normal(size=shape)
    chance = 1 / np.array(PASSAGES)
    luck = 0.005 * rng.normal(size=(1, seeds, LAYERS, 1))
    wanted = chance + (level + luck) * (1 - chance)
    correct = (stats.norm.cdf(latent) < wanted) & tested[..., None, None]
    correct = correct.astype(np.float64).reshape(questions, seeds, -1)
    guessed = np.broadcast_to(np.tile(chance, LAYERS), correct.shape) * tested[..., None]
    first = moments(correct[tested[:, 0], 0])
    return Outcomes(tuple(range(LAYERS)), PASSAGES, correct, guessed, first)


def probing_verdicts(number: int, trials: int, **effect: object) -> Counter[str]:
    """How often claim `number` gets each verdict."""
    claim, rules = BY_NUMBER[number], Rules(margin=0.05, permutations=500)
    found = Counter()
    for trial in range(trials):
        made = consistency.measured(claim, *probing_pair(trial, **effect), rules, str(trial))
        found[made.judgement.verdict] += 1
    return found


def cell_errors(trials: int) -> tuple[float, float]:
    """Share of null trials in which the test over layers × N finds any cell, and in which an
    interval of an accuracy above chance excludes its truth, cell by cell."""
    found = missed = cells = 0
    for trial in range(trials):
        own, theirs, samples = probing_pair(trial)
        a, b = own["concat"], theirs["concat"]
        difference = above_chance(a, samples) - above_chance(b, samples)
        tested = sign_flip_max_t(
            (a.correct - b.correct).sum(1),
            permutations=500,
            rng=generator(trial, "cells"),
            reliability=intervals.spread(difference).reliability,
        )
        found += bool((tested.p_adjusted <= 0.05).any())
        held = intervals.interval(above_chance(a, samples), -1, 1)
        missed += int(((held.low > 0.2) | (held.high < 0.2)).sum())
        cells += len(held.low)
    return found / trials, missed / cells


Sampler = Callable[[np.random.Generator, int, int], np.ndarray]
"""Generator, clusters and repetitions to values [clusters, repetitions]."""


def _rank(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.8, 0.05], size=(texts, trials))


def _skewed(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return np.exp(rng.normal(size=(texts, trials)))


def _shares(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.beta(0.5, 20, size=(texts, trials))


def _normal(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.normal(size=(texts, trials))


POPULATIONS: dict[str, tuple[Sampler, float, tuple[float, float]]] = {
    "normal": (_normal, 0.0, (-np.inf, np.inf)),
    "lognormal": (_skewed, float(np.exp(0.5)), (0.0, np.inf)),
    "small shares": (_shares, 0.5 / 20.5, (0.0, 1.0)),
    "change of a rank": (_rank, -0.1, (-1.0, 1.0)),
}


def coverage(population: str, texts: int, trials: int) -> float:
    """How often the interval of a mean over texts holds the truth."""
    sample, truth, bounds = POPULATIONS[population]
    values = sample(generator(0, "coverage", population, texts), texts, trials)
    return _held(intervals.interval(intervals.mean(values), *bounds), truth)


def share_coverage(share: float, questions: int, trials: int) -> float:
    """How often the interval of a share of right answers does."""
    right = generator(0, "share", str(share)).random((questions, trials)) < share
    estimate = intervals.mean(right.astype(np.float64))
    return _held(intervals.interval(estimate, 0, 1, proportion=True), share)


def ratio_coverage(texts: int, trials: int) -> float:
    """How often the interval of a relative change does."""
    rng = generator(0, "ratio", texts)
    shared = rng.lognormal(0, 0.5, (texts, trials))
    theirs = shared * rng.lognormal(-0.02, 0.2, (texts, trials))
    own = 0.6 * shared * rng.lognormal(-0.02, 0.2, (texts, trials))
    return _held(intervals.interval(intervals.mean(own - theirs, theirs), -1), -0.4)


def effect_coverage(questions: int, trials: int, effect: float = 0.3) -> float:
    """How often the interval of Cohen's d_z does."""
    values = generator(0, "d_z", questions).normal(effect, 1, (questions, trials))
    return _held(intervals.interval(intervals.cohen_d_z(values)), effect)


def repetition_coverage(luck: float, trials: int) -> float:
    """How often the interval of an accuracy over three seeds with splits of their own does.

    luck: standard deviation of a seed, half of its variance shared by all cells.
    """
    held = []
    for trial in range(trials):
        rng = generator(trial, "repetitions", str(luck))
        tested = np.zeros((ALL_QUESTIONS, 3, 1))
        for seed in range(3):
            tested[rng.permutation(ALL_QUESTIONS)[:QUESTIONS], seed] = 1
        tested = tested[tested.any((1, 2))]
        shape = (len(tested), 3, LAYERS * len(PASSAGES))
        values = 0.3 * rng.normal(size=(shape[0], 1, 1)) + 0.4 * rng.normal(size=shape)
        shared, own = rng.normal(size=(1, 3, 1)), rng.normal(size=(1, *shape[1:]))
        values = values + luck * np.sqrt(0.5) * (shared + own)
        held.append(_held(intervals.interval(intervals.ratio(values * tested, tested)), 0.0))
    return float(np.mean(held))


def _held(found: Interval, truth: float) -> float:
    return float(((found.low <= truth) & (found.high >= truth)).mean())


def verdict_rate(found: Counter[str]) -> float:
    """The share of trials with a verdict that says something."""
    return 1 - sum(found[verdict] for verdict in SILENT) / found.total()


def main(trials: int = 1000) -> list[dict[str, object]]:
    """Every rate; about twenty minutes at 1,000 trials."""
    rows = []

    def add(what: str, share: float, target: str = "") -> None:
        rows.append(measure.row("calibration", what, 100 * share, "%", target))

    for number in (7, 8, 9, 10):
        for texts in (16, TEXTS):
            rate = verdict_rate(activity_verdicts(number, trials, texts))
            add(f"claim {number}, {texts} texts, no effect: some verdict", rate, "≤ 5")
    for number in (2, 3, 6):
        level = {2: 0.2}.get(number, 0.2)
        rate = verdict_rate(probing_verdicts(number, trials // 4, level=level))
        add(f"claim {number}, no effect: some verdict", rate, "≤ 5")
    for number in (1, 5):
        edge = probing_verdicts(number, trials // 4, difference=0.05, level=0.1)
        add(f"claim {number}, at the margin: supported", edge["supported"] / edge.total(), "≤ 5")
        alike = probing_verdicts(number, trials // 4, level=0.1)
        add(f"claim {number}, no difference: contradicted", alike["contradicted"] / alike.total())
        add(f"claim {number}, no difference: supported", alike["supported"] / alike.total())
    family, missed = cell_errors(trials // 4)
    add("layers × N, no effect: some cell significant", family, "≤ 5")
    add("accuracy above chance: interval misses the truth", missed, "≤ 5")
    for effect in (0.2, 0.4, 0.8):
        for texts in (16, TEXTS):
            seen = activity_verdicts(9, trials // 4, texts, effect=-effect)
            odds = f"odds × {np.exp(-effect):.2f}"
            add(f"claim 9, {texts} texts, {odds}: supported", seen["supported"] / seen.total())
    turned = activity_verdicts(9, trials // 4, effect=-1.0, normaliser="network-max")
    some = sum(count for verdict, count in turned.items() if "normaliser" in verdict)
    add("claim 9, odds × 0.37 at one normaliser: depends on it", some / turned.total())
    for difference in (0.01, 0.02, 0.04):
        seen = probing_verdicts(6, trials // 4, difference=difference)
        add(f"claim 6, {difference:+.2f}: supported", seen["supported"] / seen.total())
    for population, texts in product(POPULATIONS, (16, TEXTS)):
        add(f"interval, {population}, {texts} texts", coverage(population, texts, 20_000), "≥ 95")
    for texts in (16, TEXTS):
        add(f"interval of a relative change, {texts} texts", ratio_coverage(texts, 20_000), "≥ 95")
    for share, questions in product((0.5, 0.9, 0.99, 0.999), (30, QUESTIONS)):
        held = share_coverage(share, questions, 20_000)
        add(f"interval of a share of {share}, {questions} questions", held, "≥ 95")
    add(f"interval of d_z, {QUESTIONS} questions", effect_coverage(QUESTIONS, 4_000), "≥ 95")
    for luck in (0.0, 0.01, 0.03):
        held = repetition_coverage(luck, trials)
        add(f"interval over three splits, seeds deviate by {luck}", held, "≥ 95")
    return rows


if __name__ == "__main__":
    measure.show(main())
