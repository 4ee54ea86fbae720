"""Planted ladders: fresh models of three sizes on two datasets, and the same after fine-tuning."""

from __future__ import annotations

from functools import cache
from itertools import product

import polars as pl

from benchmarks import scaling as simulated
from wellspring.findings import ladders
from wellspring.findings.series import told_apart
from wellspring.randomness import generator

GAIN = 0.1
"""What fine-tuning brings at every size."""
MEASURE = "accuracy"


@cache
def planted() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Values and models, fresh ones first. Sizes lie within a decade of what is trained alone, and
    fresh models trained nothing."""
    world = simulated.World((0.02, 0.02, 0.02), queries=30)
    values, models = simulated.study(1, {"infonce": 0.06}, world=world)
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in ("trainable", "flops", "tokens")]
    fresh = models.with_columns(
        *nothing,
        pl.format("fresh-{}", "retriever").alias("retriever"),
        stages=pl.lit("random"),
        objective=pl.lit(None, pl.String),
    )
    before = values.with_columns(pl.format("fresh-{}", "retriever").alias("retriever"))
    before = before.with_columns(pl.col("value") - GAIN)
    return pl.concat([before, values]), told_apart(pl.concat([fresh, models]))


def bent(exponent: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A ladder of six sizes with three seeds on one dataset whose quality is .9 less a power."""
    template = planted()[1].row(-1, named=True)
    rng = generator(12, "bent")
    models, frames = [], []
    for size, seed in product(range(6), range(3)):
        name = f"s{size}.{seed}"
        axes = dict.fromkeys(ladders.AXES, 1e5 * 2.0**size)
        models.append({**template, **axes, "size": f"s{size}", "retriever": name})
        quality = 0.9 - 0.5 * 2 ** (-exponent * size) + 0.01 * rng.normal()
        frames.append(
            pl.DataFrame(
                {
                    "dataset": "near",
                    "measure": MEASURE,
                    "retriever": name,
                    "query_id": [f"{query:03}" for query in range(100)],
                    "value": (quality + 0.05 * rng.normal(size=100)).clip(0, 1),
                }
            )
        )
    return pl.concat(frames), pl.DataFrame(models, planted()[1].schema)


@cache
def tables() -> dict[str, pl.DataFrame]:
    """Both tables of the planted ladders, under their names on a study's page."""
    return told(*planted())


def told(values: pl.DataFrame, models: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Both tables of some ladders."""
    return {
        "ladders": ladders.points(values, models),
        "scaling": ladders.table(values, models, 0, 0),
    }


def of_one_size() -> dict[str, pl.DataFrame]:
    """Both tables where only the smallest models are there."""
    values, models = planted()
    smallest = models.filter(size=models["size"][0])
    return told(values.join(smallest, on="retriever", how="semi"), smallest)
