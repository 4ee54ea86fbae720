"""Do intervals of what a doubling brings hold the truth, and do slopes without a difference pass?

`python -m benchmarks.scaling` prints coverage, false positives and power at three sizes with three
seeds each and 200 queries: what a small study has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import special

from wellspring.findings.claims import CLAIMS, gathered, untested
from wellspring.findings.ladders import AXES, kept, table
from wellspring.findings.ledger import ledger
from wellspring.findings.scaling import Contrast, Ladder, Outcome, Scale, outcome, slope
from wellspring.findings.verdicts import EQUIVALENT, NO_EVIDENCE
from wellspring.randomness import generator

TRIALS = 1000


@dataclass(frozen=True)
class World:
    """What qualities of models are made of, on the scale of an nDCG.

    Attributes:
        luck: of seeds, a standard deviation for each size.
        own: standard deviation of a query in a model that nothing else explains.
        uneven: standard deviation over queries of what a doubling brings.
        seeds: of a size.
        queries: of the dataset.
    """

    luck: Sequence[float]
    own: float = 0.3
    uneven: float = 0.05
    seeds: int = 3
    queries: int = 200


WORLDS = {
    "no luck": World((0, 0, 0)),
    "some luck": World((0.02, 0.02, 0.02)),
    "much luck": World((0.1, 0.1, 0.1)),
    "small models are luckier": World((0.08, 0.04, 0.02)),
    "one size alone has luck": World((0.1, 0.01, 0.01)),
    "luck alone": World((0.05, 0.05, 0.05), own=0.05, uneven=0.0),
    "five sizes": World((0.03,) * 5),
    "five seeds": World((0.03, 0.03, 0.03), seeds=5),
    "few queries": World((0.03, 0.03, 0.03), queries=30),
}


@dataclass(frozen=True)
class Queries:
    """What ladders on one dataset share: [Q] the difficulty of each query, and its unevenness."""

    difficulty: np.ndarray
    uneven: np.ndarray


def queries(world: World, rng: np.random.Generator) -> Queries:
    """Another draw of queries."""
    difficulty = 0.3 * rng.normal(size=world.queries)
    return Queries(difficulty, world.uneven * rng.normal(size=world.queries))


def ladder(world: World, rng: np.random.Generator, asked: Queries, effect: float = 0.0) -> Ladder:
    """A ladder that grows by `effect` a doubling, over all queries that there might be."""
    sizes = len(world.luck)
    cells = np.repeat(np.arange(sizes), world.seeds)
    away = cells - cells.mean()
    luck = np.repeat(world.luck, world.seeds) * rng.normal(size=len(cells))
    growing = (effect + asked.uneven)[:, None] * away
    own = world.own * rng.normal(size=(world.queries, len(cells)))
    values = 0.5 + asked.difficulty[:, None] + growing + luck + own
    return Ladder(values, cells.astype(float), cells)


def slopes(world: World, trials: int, effect: float = 0.0) -> list[Outcome]:
    """What single ladders say."""
    results = []
    for trial in range(trials):
        rng = generator(trial, "slopes", *map(str, world.luck))
        results.append(outcome(slope(ladder(world, rng, queries(world, rng), effect))))
    return results


def differences(
    world: World, trials: int, effect: float = 0.0, *, domains: bool = False
) -> list[Outcome]:
    """What the difference of two ladders says, of which the first grows by `effect` more.

    domains: they are the same models on two datasets. Else they answer the same queries.
    """
    results = []
    for trial in range(trials):
        rng = generator(trial, "differences", *map(str, world.luck))
        asked = queries(world, rng)
        first = slope(ladder(world, rng, asked, 0.03 + effect))
        apart: Contrast
        if domains:
            apart = first.elsewhere(slope(ladder(world, rng, queries(world, rng), 0.03)))
        else:
            apart = first.apart(slope(ladder(world, rng, asked, 0.03)))
        results.append(outcome(apart))
    return results


def covered(results: Sequence[Outcome], truth: float) -> float:
    """The share of intervals that hold the truth."""
    return float(
        np.mean([each.interval.low[0] <= truth <= each.interval.high[0] for each in results])
    )


def significant(results: Sequence[Outcome]) -> float:
    """The share of tests below .05."""
    return float(np.mean([each.p_value <= 0.05 for each in results]))


def graded(trials: int, scale: Scale = "log-odds", seeds: int = 3, count: int = 200) -> float:
    """The coverage of the slope of log-odds: answers are right or wrong, and the log-odds of their
    mean over all queries grow by a known number a doubling."""
    held = []
    for trial in range(trials):
        rng = generator(trial, "graded", scale)
        cells = np.repeat(np.arange(3), seeds)
        odds = 0.5 * cells + 0.15 * rng.normal(size=len(cells))
        asked = rng.uniform(size=count)
        # A copula keeps the share of right answers that the log-odds say, and shares difficulty.
        mixed = special.ndtri(asked)[:, None] * 0.8 + 0.6 * rng.normal(size=(count, len(cells)))
        values = (special.ndtr(mixed) < special.expit(odds)).astype(float)
        result = outcome(slope(Ladder(values, cells.astype(float), cells), scale))
        held.append(result.interval.low[0] <= 0.5 <= result.interval.high[0])
    return float(np.mean(held))


def study(
    trial: int,
    slopes: Mapping[str, float],
    datasets: Sequence[str] = ("near", "far"),
    stages: str = "random → fine-tuning",
    world: World = WORLDS["some luck"],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Values and models of a study: a ladder for each objective, which grows so much a doubling of
    what is trained, and half as much a doubling of the rest."""
    rng = generator(trial, "study", *slopes)
    values, models = [], []
    for dataset in datasets:
        asked = queries(world, rng)
        for objective, effect in slopes.items():
            made = ladder(world, rng, asked, effect)
            # Values between 0 and 1 have log-odds; squeezed, they keep means and slopes.
            squeezed = (
                0.5
                + 0.2 * np.tanh(made.values - 0.5)
                + 0.8 * effect * (made.doublings - made.doublings.mean())
            )
            for place, size in enumerate(made.cells):
                name = f"{objective}-{size}.{place}"
                column = {
                    "dataset": dataset,
                    "measure": "accuracy",
                    "retriever": name,
                    "query_id": [f"q{number:03}" for number in range(world.queries)],
                    "value": squeezed[:, place].clip(0, 1),
                }
                values.append(pl.DataFrame(column))
                sizes = dict.fromkeys(AXES, 1e6 * 4.0**size)
                models.append(
                    {
                        **{"retriever": name, "size": str(size), "stages": stages},
                        **{"objective": objective, "paradigm": "dense", "family": "bert"},
                        **{"trainings": "[]", "encoder": "{}"},
                        **{"learning_rate": 1e-3, "measure": "MRR@10", "quality": 0.5},
                        **sizes,
                        "trainable": 1e6 * 2.0**size,
                    }
                )
    return pl.concat(values), kept(pl.DataFrame(models).unique(maintain_order=True))[0]


def verdict_rates(trials: int) -> dict[str, float]:
    """Claim to the share of studies without an effect in which it gets a verdict."""
    nothing = gathered([untested(claim, "nothing is compared") for claim in CLAIMS])
    decided: dict[str, int] = {}
    for trial in range(trials):
        objectives = dict.fromkeys(("infonce", "margin-mse", "infonce+kl"), 0.0)
        values, models = study(trial, objectives)
        unused = [
            pl.lit(None, pl.Float64).alias(name) for name in ("parameters", "flops", "tokens")
        ]
        found = table(values, models.with_columns(unused), 0, 0)
        rows = ledger(nothing, found, alpha=0.05, margin=0.02, in_domain=["near"])
        for row in rows.filter(pl.col("places") > 0).iter_rows(named=True):
            wrong = row["verdict"] not in (NO_EVIDENCE, EQUIVALENT)
            decided[row["claim"]] = decided.get(row["claim"], 0) + wrong
    return {claim: count / trials for claim, count in sorted(decided.items())}


def main() -> None:
    """Print the tables."""
    rows = []
    for name, world in WORLDS.items():
        null, planted = differences(world, TRIALS), differences(world, TRIALS, 0.05)
        rows.append(
            (
                name,
                f"{covered(slopes(world, TRIALS, 0.03), 0.03):.3f}",
                f"{significant(slopes(world, TRIALS)):.3f}",
                f"{significant(null):.3f}",
                f"{significant(differences(world, TRIALS, domains=True)):.3f}",
                f"{significant(planted):.2f}",
                f"{np.median([each.detectable for each in null]):.3f}",
            )
        )
    print(f"{TRIALS} trials; 3 sizes, 3 seeds, 200 queries where nothing else is said")
    header = "coverage|no growth|no difference|of domains|.05 seen|detectable"
    print("world|" + header)
    for row in rows:
        print("|".join(row))
    print(f"coverage of log-odds: {graded(TRIALS):.3f}")
    for claim, rate in verdict_rates(TRIALS // 5).items():
        print(f"claim {claim}: a verdict in {100 * rate:.1f} % of studies without an effect")


if __name__ == "__main__":
    main()
