"""Are verdicts and intervals right as often as they say? On null data, on planted effects.

`python -m benchmarks.calibration` prints, at the sample sizes of the default study: how often a
claim gets a verdict on data without an effect (at most 5 %), how often it sees planted effects, and
how often intervals hold the truth (at least 95 %). Whole functions run, from texts' numbers or
probes' outcomes to the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import polars as pl
from scipy import stats

from benchmarks import measure, studies
from wellspring import intervals
from wellspring.findings import activity, consistency
from wellspring.findings.claims import CLAIMS
from wellspring.findings.outcomes import Outcomes, Samples, above_chance
from wellspring.findings.statistics import moments, sign_flip_max_t
from wellspring.findings.verdicts import EQUIVALENT, NO_EVIDENCE, Rules
from wellspring.intervals import Interval
from wellspring.randomness import generator

CONFIG = studies.read()
PROBED, ATTRIBUTED = CONFIG.probed()[0], CONFIG.attributed()[0]
DATASET = CONFIG.datasets[PROBED.dataset]
TEXTS = CONFIG.attributions[ATTRIBUTED.attribution].texts
"""Attributed texts a side of the default study."""
ALL_QUESTIONS = DATASET.entries
"""Questions of the default study, each with one sample, of which a seed tests so many:"""
QUESTIONS = round(DATASET.splits.test * ALL_QUESTIONS)
SEEDS, PASSAGES = len(PROBED.block.seeds), tuple(PROBED.passages)
BLOCKS = CONFIG.depth(PROBED.retriever)
LAYERS = len(PROBED.layers)
SWEEP = ATTRIBUTED.block.thresholds
SETTINGS = [
    (name, excluded_outliers, threshold)
    for (name, thresholds), excluded_outliers in product(
        SWEEP.items(), ATTRIBUTED.block.excluded_outliers
    )
    for threshold in thresholds
]
MARGIN = CONFIG.study.findings.margin
LUCK = 0.005
"""By how much a fit's (accuracy − chance) / (1 − chance) deviates from that of another seed; in the
default study less than can be told from none."""
SILENT = {NO_EVIDENCE, EQUIVALENT}
BY_NUMBER = {claim.number: claim for claim in CLAIMS}


def activity_pair(
    trial: int,
    texts: int,
    effect: float = 0.0,
    normaliser: str | None = None,
    blocks: int = BLOCKS,
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
    claim, rules = BY_NUMBER[number], Rules(margin=MARGIN, permutations=permutations)
    setting = activity.published_setting(claim.pooling)
    found = Counter()
    for trial in range(trials):
        pair = activity_pair(trial, texts, **effect)
        made = activity.measured(claim, *pair, BLOCKS, setting, rules, str(trial))
        found[made.judgement.verdict] += 1
    return found


def probing_pair(
    trial: int,
    difference: float = 0.0,
    probe: str | None = None,
    level: float = 0.2,
    luck: float = LUCK,
) -> tuple[dict[str, Outcomes], dict[str, Outcomes], Samples]:
    """Outcomes of two retrievers' probes; each seed splits all questions anew.

    level: (accuracy − chance) / (1 − chance) of both; difference: what the first has more, of one
    probe alone or of all; luck: how far seeds deviate, half of its variance shared by all cells.
    """
    rng = generator(trial, "probing")
    tested = redrawn(rng)
    names = pl.DataFrame({"sample_id": [f"{row:05}" for row in range(len(tested))]})
    samples = Samples(
        names.with_row_index("code"), np.arange(len(tested)), tuple(range(SEEDS)), tested
    )
    hard = rng.normal(size=(len(tested), 1, 1, 1))
    sides = []
    for side in range(2):
        of_probe = {}
        for name in consistency.PROBES:
            lifted = level + (difference if side == 0 and probe in (None, name) else 0)
            of_probe[name] = _outcomes(rng, tested, hard, lifted, luck)
        sides.append(of_probe)
    return *sides, samples


def redrawn(rng: np.random.Generator) -> np.ndarray:
    """bool [Q, S], whether a seed tests a question; of the questions that some seed tests."""
    tested = np.zeros((ALL_QUESTIONS, SEEDS), dtype=bool)
    for seed in range(SEEDS):
        tested[rng.permutation(ALL_QUESTIONS)[:QUESTIONS], seed] = True
    return tested[tested.any(1)]


def _outcomes(
    rng: np.random.Generator, tested: np.ndarray, hard: np.ndarray, level: float, luck: float
) -> Outcomes:
    """Questions differ in difficulty, their layers and seeds are alike, and a fit has its luck."""
    questions, seeds = tested.shape
    shape = (questions, seeds, LAYERS, len(PASSAGES))
    latent = 0.6 * hard + 0.4 * rng.normal(size=(questions, seeds, 1, 1))
    latent = latent + 0.4 * rng.normal(size=(questions, 1, LAYERS, 1))
    latent = latent + np.sqrt(1 - 0.36 - 0.16 - 0.16) * rng.normal(size=shape)
    chance = 1 / np.array(PASSAGES)
    alike, own = rng.normal(size=(1, seeds, 1, 1)), rng.normal(size=(1, seeds, LAYERS, 1))
    wanted = chance + (level + luck * np.sqrt(0.5) * (alike + own)) * (1 - chance)
    correct = (stats.norm.cdf(latent) < wanted) & tested[..., None, None]
    correct = correct.astype(np.float64).reshape(questions, seeds, -1)
    guessed = np.broadcast_to(np.tile(chance, LAYERS), correct.shape) * tested[..., None]
    first = moments(correct[tested[:, 0], 0])
    return Outcomes(tuple(range(LAYERS)), PASSAGES, correct, guessed, first)


def probing_verdicts(number: int, trials: int, **effect: object) -> Counter[str]:
    """How often claim `number` gets each verdict."""
    claim, rules = BY_NUMBER[number], Rules(margin=MARGIN / 2, permutations=500)
    found = Counter()
    for trial in range(trials):
        pair = probing_pair(trial, **effect)
        made = consistency.measured(claim, *pair, BLOCKS, rules, str(trial))
        found[made.judgement.verdict] += 1
    return found


def cell_errors(trials: int, luck: float = LUCK) -> tuple[int, float]:
    """In how many null trials the test over layers × N finds a cell, and in which share an interval
    of an accuracy above chance excludes its truth, cell by cell."""
    found, missed = 0, []
    for trial in range(trials):
        own, theirs, samples = probing_pair(trial, luck=luck)
        a, b = (side[consistency.PROBES[0]] for side in (own, theirs))
        spread = intervals.spread(above_chance(a, samples) - above_chance(b, samples))
        tested = sign_flip_max_t(
            (a.correct - b.correct).sum(1),
            permutations=500,
            rng=generator(trial, "cells"),
            reliability=spread.reliability,
            freedom=spread.of_repetitions,
        )
        found += bool((tested.p_adjusted <= 0.05).any())
        held = intervals.interval(above_chance(a, samples), -1, 1)
        missed.append(1 - _held(held, 0.2).mean())
    return found, float(np.mean(missed))


Sampler = Callable[[np.random.Generator, int, int], np.ndarray]
"""Generator, clusters and repetitions to values [clusters, repetitions]."""


def _rank(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.8, 0.05], size=(texts, trials))


def _seldom(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.choice([-1.0, 0.0, 1.0], p=[0.08, 0.9, 0.02], size=(texts, trials))


def _exponential(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.exponential(size=(texts, trials))


def _skewed(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return np.exp(rng.normal(size=(texts, trials)))


def _shares(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.beta(0.5, 20, size=(texts, trials))


def _normal(rng: np.random.Generator, texts: int, trials: int) -> np.ndarray:
    return rng.normal(size=(texts, trials))


POPULATIONS: dict[str, tuple[Sampler, float, tuple[float, float]]] = {
    "normal": (_normal, 0.0, (-np.inf, np.inf)),
    "exponential": (_exponential, 1.0, (0.0, np.inf)),
    "lognormal": (_skewed, float(np.exp(0.5)), (0.0, np.inf)),
    "small shares": (_shares, 0.5 / 20.5, (0.0, 1.0)),
    "change of a rank": (_rank, -0.1, (-1.0, 1.0)),
    "rare change of a rank": (_seldom, -0.06, (-1.0, 1.0)),
}


def sample(population: str, texts: int, trials: int) -> np.ndarray:
    """Values of a population, [texts, trials]."""
    return POPULATIONS[population][0](generator(0, "coverage", population, texts), texts, trials)


def coverage(population: str, texts: int, trials: int) -> float:
    """How often the interval of a mean over texts holds the truth."""
    _, truth, bounds = POPULATIONS[population]
    values = sample(population, texts, trials)
    return _held(intervals.interval(intervals.mean(values), *bounds), truth).mean()


def share_coverage(share: float, questions: int, trials: int) -> float:
    """How often the interval of a share of right answers does."""
    right = generator(0, "share", str(share)).random((questions, trials)) < share
    estimate = intervals.mean(right.astype(np.float64))
    return _held(intervals.interval(estimate, 0, 1, proportion=True), share).mean()


def ratio_coverage(texts: int, trials: int) -> float:
    """How often the interval of a relative change does."""
    rng = generator(0, "ratio", texts)
    shared = rng.lognormal(0, 0.5, (texts, trials))
    theirs = shared * rng.lognormal(-0.02, 0.2, (texts, trials))
    own = 0.6 * shared * rng.lognormal(-0.02, 0.2, (texts, trials))
    return _held(intervals.interval(intervals.mean(own - theirs, theirs), -1), -0.4).mean()


def effect_coverage(questions: int, trials: int, effect: float = 0.3) -> float:
    """How often the interval of Cohen's d_z does."""
    values = generator(0, "d_z", questions).normal(effect, 1, (questions, trials))
    found = intervals.cohen_d_z(values[:, None], np.ones((1, 1, 1)))
    return _held(intervals.interval(found), effect).mean()


def repetition_coverage(luck: float, trials: int) -> float:
    """How often the interval of an accuracy over seeds with splits of their own does.

    luck: standard deviation of a seed, half of its variance shared by all cells.
    """
    held = []
    for trial in range(trials):
        rng = generator(trial, "repetitions", str(luck))
        tested = redrawn(rng)[..., None]
        shape = (*tested.shape[:2], LAYERS * len(PASSAGES))
        values = 0.3 * rng.normal(size=(shape[0], 1, 1)) + 0.4 * rng.normal(size=shape)
        shared, own = rng.normal(size=(1, SEEDS, 1)), rng.normal(size=(1, *shape[1:]))
        values = values + luck * np.sqrt(0.5) * (shared + own)
        estimate = intervals.ratio(values * tested, tested.astype(np.float64))
        held.append(_held(intervals.interval(estimate), 0.0).mean())
    return float(np.mean(held))


def _held(found: Interval, truth: float) -> np.ndarray:
    """[C], which intervals hold the truth."""
    return (found.low <= truth) & (found.high >= truth)


def verdict_count(found: Counter[str]) -> int:
    """The number of trials with a verdict that says something."""
    return found.total() - sum(found[verdict] for verdict in SILENT)


def rate(what: str, count: int, trials: int, target: str = "") -> dict[str, object]:
    """A row: how many of the trials, with the interval of Clopper & Pearson."""
    ends = stats.binomtest(count, trials).proportion_ci(method="exact")
    interval = 100 * ends.low, 100 * ends.high
    share = 100 * count / trials
    return measure.row("calibration", what, share, "%", target, interval=interval, digits=1)


def null_rates(trials: int, fewer: int) -> Iterator[dict[str, object]]:
    """Verdicts and significant cells where nothing differs."""
    for number, texts in product((7, 8, 9, 10), (16, TEXTS)):
        wrong = verdict_count(activity_verdicts(number, trials, texts))
        yield rate(f"claim {number}, {texts} texts, no effect: some verdict", wrong, trials, "≤ 5")
    for number in (2, 3, 6):
        wrong = verdict_count(probing_verdicts(number, fewer))
        yield rate(f"claim {number}, no effect: some verdict", wrong, fewer, "≤ 5")
    for number in (1, 5):
        edge = probing_verdicts(number, fewer, difference=MARGIN / 2, level=0.1)
        supported = edge["supported"]
        yield rate(f"claim {number}, at the margin: supported", supported, fewer, "≤ 5")
        alike = probing_verdicts(number, fewer, level=0.1)
        wrong = alike["contradicted"]
        yield rate(f"claim {number}, no difference: contradicted", wrong, fewer, "≤ 5")
        yield rate(f"claim {number}, no difference: supported", alike["supported"], fewer)
    for luck in (LUCK, 0.01, 0.03):
        wrong, missed = cell_errors(fewer, luck)
        deviate = f"seeds deviate by {luck}"
        yield rate(f"layers × N, {deviate}: some cell significant", wrong, fewer, "≤ 5")
        what = f"accuracy above chance, {deviate}: interval misses the truth"
        yield measure.row("calibration", what, 100 * missed, "%", "≤ 5", digits=1)


def power(trials: int) -> Iterator[dict[str, object]]:
    """How often planted effects are seen."""
    for effect, texts in product((0.2, 0.4, 0.8), (16, TEXTS)):
        seen = activity_verdicts(9, trials, texts, effect=-effect)["supported"]
        odds = f"odds × {np.exp(-effect):.2f}"
        yield rate(f"claim 9, {texts} texts, {odds}: supported", seen, trials)
    turned = activity_verdicts(9, trials, effect=-1.0, normaliser="network-max")
    some = sum(count for verdict, count in turned.items() if "normaliser" in verdict)
    yield rate("claim 9, odds × 0.37 at one normaliser: depends on it", some, trials)
    for difference in (0.01, 0.02, 0.03, 0.04):
        seen = probing_verdicts(6, trials, difference=difference)["supported"]
        yield rate(f"claim 6, {difference:+.2f}: supported", seen, trials)


def coverages(trials: int) -> Iterator[dict[str, object]]:
    """How often intervals hold the truth."""

    def held(what: str, share: float) -> dict[str, object]:
        return measure.row("calibration", what, 100 * share, "%", "≥ 95", digits=1)

    many = 20 * trials
    for population, texts in product(POPULATIONS, (16, TEXTS)):
        yield held(f"interval, {population}, {texts} texts", coverage(population, texts, many))
    for texts in (16, TEXTS):
        found = ratio_coverage(texts, many)
        yield held(f"interval of a relative change, {texts} texts", found)
    for share, questions in product((0.5, 0.9, 0.99, 0.999), (30, QUESTIONS)):
        found = share_coverage(share, questions, many)
        yield held(f"interval of a share of {share}, {questions} questions", found)
    found = effect_coverage(QUESTIONS, 4 * trials)
    yield held(f"interval of d_z, {QUESTIONS} questions", found)
    for luck in (0.0, 0.01, 0.03):
        found = repetition_coverage(luck, trials)
        yield held(f"interval over {SEEDS} splits, seeds deviate by {luck}", found)


def main(trials: int = 1000) -> list[dict[str, object]]:
    """Every rate; about a quarter of an hour at 1,000 trials."""
    fewer = 2 * trials // 5
    return [*null_rates(trials, fewer), *power(fewer), *coverages(trials)]


if __name__ == "__main__":
    measure.show(main())
