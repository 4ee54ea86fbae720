"""Does a study of many comparisons find a difference where there is none?

`python -m benchmarks.comparisons` prints how many of 200 simulated studies do, and how often they
see one that is planted. A study compares five retrievers with another one each, on seven datasets
that ask the same 72 people, as `studies/new-knowledge.yaml` does.
"""

from __future__ import annotations

from itertools import product

import polars as pl

from benchmarks import calibration, measure
from wellspring.findings.table import Settings, build
from wellspring.randomness import generator

RETRIEVERS = {"a": "none", "b": "a", "c": "none", "d": "c", "e": "d", "none": None}
"""Each with the one that it is compared with."""
DATASETS = tuple("1234567")
PEOPLE = 72
PLANTED = ("e", "1")
"""The retriever and the dataset where an effect is planted."""


def differences(study: int, effect: float = 0.0, permutations: int = 10_000) -> pl.DataFrame:
    """The tested differences of a simulated study, one row a comparison.

    A person is as easy for all retrievers on all datasets, and each has its own luck beside that.
    effect: how much easier all people are where it is planted, in standard deviations of that luck.
    """
    rng = generator(11, "simulated study", study)
    easy = rng.normal(size=PEOPLE)
    frames = []
    for retriever, dataset in product(RETRIEVERS, DATASETS):
        lifted = effect * ((retriever, dataset) == PLANTED)
        hits = easy + lifted + rng.normal(size=PEOPLE) > 0.8
        names = [f"{person:02}" for person in range(PEOPLE)]
        frames.append(
            pl.DataFrame(
                {"sample_id": names, "query_id": names, "correct": hits.astype(float)}
            ).with_columns(retriever=pl.lit(retriever), dataset=pl.lit(dataset))
        )
    constants = {"layer": 6, "passages": 5, "probe": "cosine", "seed": 0, "chance": 0.2}
    credits = pl.concat(frames).with_columns(**{n: pl.lit(v) for n, v in constants.items()})
    table = build(credits, None, RETRIEVERS, Settings(permutations=permutations, seed=study))
    return table.filter(finding="difference", measure="difference", test="sign-flip max-T")


def main(studies: int = 200) -> list[dict[str, object]]:
    """Every rate: about ten minutes on one core."""
    null = [differences(study) for study in range(studies)]
    lifted = [differences(study, effect=1.0) for study in range(studies)]
    there = (pl.col("retriever") == PLANTED[0]) & (pl.col("dataset") == PLANTED[1])
    rows = []
    for column, target in (("p_adjusted", ""), ("p_study", "≤ 5")):
        erring = sum(bool((tested[column] <= 0.05).any()) for tested in null)
        seen = sum(tested.filter(there)[column].item() <= 0.05 for tested in lifted)
        some = f"{null[0].height} comparisons, no effect: some {column} ≤ .05"
        one = f"an effect in one of them: its {column} ≤ .05"
        rows += [
            calibration.rate(some, erring, studies, target),
            calibration.rate(one, seen, studies),
        ]
    return rows


if __name__ == "__main__":
    measure.show(main())
