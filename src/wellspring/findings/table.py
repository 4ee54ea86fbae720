"""The one tidy table that the figures and the report read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, get_args

import numpy as np
import polars as pl

from wellspring.config import LAYERLESS
from wellspring.findings import statistics
from wellspring.findings.outcomes import (
    Outcomes,
    Samples,
    aligned,
    outcomes_of,
    samples_of,
)
from wellspring.findings.statistics import Interval, Resamples, Significance
from wellspring.randomness import generator

Finding = Literal["accuracy", "difference", "control", "similarity"]
Test = Literal["sign-flip max-T", "t-test Bonferroni", "McNemar"]

# A probe and what it is set against within one retriever: what each comparison asks.
CONTROLS = (
    ("interaction", "shuffled-query"),  # does the query matter?
    ("concat", "passage-scorer"),  # does the published probe find more than passages alone?
    ("concat", "random-label"),  # selectivity (Hewitt & Liang 2019)
    ("interaction", "cosine"),  # what does training the probe add?
    ("cosine", "lexical"),  # what do vectors add to words?
    ("interaction", "lexical"),  # and trained ones?
    ("concat", "interaction"),  # what does the published probe miss?
)

SCHEMA = {
    "finding": pl.String,
    "dataset": pl.String,
    "retriever": pl.String,
    "compared_with": pl.String,
    "probe": pl.String,
    "compared_probe": pl.String,
    "layer": pl.Int64,
    "passages": pl.Int64,
    "side": pl.String,
    "measure": pl.String,
    "test": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "significant": pl.Boolean,
    "samples": pl.Int64,
    "queries": pl.Int64,
    "seeds": pl.Int64,
}
KEYS = tuple(SCHEMA)[:11]


@dataclass(frozen=True)
class Settings:
    """How findings are tested.

    Attributes:
        alpha: family-wise error rate below which a difference is called significant.
        resamples: bootstrap resamples of queries and seeds.
        permutations: sign flips of the queries.
        seed: of both.
    """

    alpha: float = 0.05
    resamples: int = 2_000
    permutations: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class _Study:
    """What every comparison on one dataset shares."""

    dataset: str
    samples: Samples
    settings: Settings
    drawn: dict[int, Resamples] = field(default_factory=dict)

    def resamples(self, seeds: int) -> Resamples:
        """The resamples of the dataset's queries, and of that many seeds."""
        if seeds not in self.drawn:
            rng = generator(self.settings.seed, "bootstrap", self.dataset)
            queries = len(self.samples.counts)
            self.drawn[seeds] = statistics.draw_resamples(
                queries, seeds, self.settings.resamples, rng
            )
        return self.drawn[seeds]


def build(
    outcomes: pl.DataFrame | pl.LazyFrame,
    similarity: pl.DataFrame | None,
    pairs: Mapping[str, str | None],
    settings: Settings,
) -> pl.DataFrame:
    """All findings of a study, one row a number.

    Args:
        outcomes: retriever, dataset, layer, passages, probe, seed, sample_id, query_id, correct,
            chance; a sample once for each of the first six. Rows in any order. One retriever on
            one dataset is held in memory at a time: a lazy frame over many files stays small.
        similarity: dataset, retriever, compared_with, layer, side, measure, estimate, and where
            known low, high, samples; NaN means not defined.
        pairs: each retriever's `compared_with`, None where it has none.
        settings: how to test.

    Returns:
        The columns of SCHEMA, sorted by KEYS. Accuracies and differences are shares, not per
        cent. `test` is null in rows without p-values. The families that `p_adjusted` corrects
        for: layers × passages of one comparison for "sign-flip max-T" and "McNemar"
        (Bonferroni), the layers of one panel for "t-test Bonferroni".

    Raises:
        StaleArtefact: samples are missing, doubled or not the same for all retrievers.
    """
    lazy = outcomes.lazy()
    held = lazy.select("dataset", "retriever").unique().collect()
    frames = [pl.DataFrame(schema=SCHEMA)]
    for (dataset,), group in held.sort("dataset", "retriever").group_by(
        "dataset", maintain_order=True
    ):
        of_dataset = lazy.filter(pl.col("dataset") == dataset)
        frames.extend(_dataset(of_dataset, dataset, group["retriever"], pairs, settings))
    if similarity is not None:
        frames.append(_similarity_rows(similarity))
    order = pl.col("finding").cast(pl.Enum(get_args(Finding)))
    return pl.concat(frames).sort(order, *KEYS[1:])


def _dataset(
    outcomes: pl.LazyFrame,
    dataset: str,
    retrievers: Iterable[str],
    pairs: Mapping[str, str | None],
    settings: Settings,
) -> Iterator[pl.DataFrame]:
    """The findings on one dataset; a pair counts where both of its retrievers were probed."""
    probes: dict[tuple[str, str], Outcomes] = {}
    study = None
    for retriever in retrievers:
        frame = outcomes.filter(pl.col("retriever") == retriever).collect()
        if study is None:
            study = _Study(dataset, samples_of(frame), settings)
        for (probe,), part in frame.partition_by("probe", as_dict=True).items():
            name = f"dataset {dataset}, retriever {retriever}, probe {probe}"
            probes[retriever, probe] = outcomes_of(part, study.samples, name)
    for (retriever, probe), found in probes.items():
        where = {"dataset": dataset, "retriever": retriever, "probe": probe}
        yield from _accuracies(study, where, found)
        other = pairs.get(retriever)
        if probe not in LAYERLESS and (other, probe) in probes:
            where = {**where, "finding": "difference", "compared_with": other}
            yield from _comparison(study, where, found, probes[other, probe])
        for compared in (second for first, second in CONTROLS if first == probe):
            if (retriever, compared) in probes:
                where = {**where, "finding": "control", "compared_probe": compared}
                where["compared_with"] = None
                yield from _comparison(study, where, found, probes[retriever, compared])


def _accuracies(study: _Study, where: Mapping[str, str], found: Outcomes) -> Iterator[pl.DataFrame]:
    """Accuracy, accuracy above chance and chance of one probe at every cell."""
    where = {**where, "finding": "accuracy"}
    correct, chance, counts = _by_query(study, found)
    resamples = study.resamples(correct.shape[1])
    accuracy = statistics.bootstrap(correct, counts, resamples)
    above = statistics.bootstrap(correct - chance[:, None], counts - chance, resamples)
    guessed = chance.sum(0) / counts.sum()
    yield _rows(study, where, found, "accuracy", accuracy)
    yield _rows(study, where, found, "above_chance", above)
    yield _rows(study, where, found, "chance", _point(guessed))


def _comparison(
    study: _Study, where: Mapping[str, str | None], a: Outcomes, b: Outcomes
) -> Iterator[pl.DataFrame]:
    """The difference a − b at every cell that both have, its tests and its effect sizes."""
    settings = study.settings
    names = [str(where.get(key)) for key in ("retriever", "compared_with", "probe")]
    names.append(str(where.get("compared_probe")))
    a, b = aligned(a, b, f"dataset {study.dataset}, {' '.join(names)}")
    correct, chance, counts = _by_query(study, a)
    difference = correct - _by_query(study, b)[0]
    resamples = study.resamples(difference.shape[1])
    points = statistics.bootstrap(difference, counts, resamples)
    means = difference.mean(1) / counts
    flipped = statistics.sign_flip_max_t(
        means,
        permutations=settings.permutations,
        rng=generator(settings.seed, "sign-flip", study.dataset, *names),
        weights=counts[:, 0],
    )
    yield _rows(study, where, a, "difference", points, "sign-flip max-T", flipped)
    if where["finding"] == "difference":
        published = _published(a, b)
        yield _rows(
            study, where, a, "difference", _point(points.estimate), "t-test Bonferroni", published
        )
    exact = _mcnemar(study, a, b)
    if exact is not None:
        yield _rows(study, where, a, "difference", _point(points.estimate), "McNemar", exact)
    above = statistics.bootstrap(difference, counts - chance, resamples)
    yield _rows(study, where, a, "above_chance_difference", above)
    yield _rows(study, where, a, "d_z", statistics.cohen_d_z(means, resamples))


def _by_query(study: _Study, found: Outcomes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over each query's samples: correct [Q, S, C], chance [Q, C], samples [Q, 1]."""
    n, seeds = found.correct.shape[:2]
    correct = study.samples.by_query(found.correct.reshape(n, seeds, -1))
    chance = study.samples.by_query(found.chance.reshape(n, -1))
    return correct, chance, study.samples.counts[:, None].astype(np.float64)


def _published(a: Outcomes, b: Outcomes) -> Significance:
    """The published test, panel by panel, on each sample's correctness averaged over seeds."""
    a_mean, b_mean = (side.correct.mean(1) for side in (a, b))
    panels = [
        statistics.published_test(a_mean[..., panel], b_mean[..., panel])
        for panel in range(len(a.passages))
    ]
    return Significance(
        np.stack([panel.p_value for panel in panels], 1).ravel(),
        np.stack([panel.p_adjusted for panel in panels], 1).ravel(),
    )


def _mcnemar(study: _Study, a: Outcomes, b: Outcomes) -> Significance | None:
    """McNemar's test at every cell, NaN where credits were shared; None where samples depend."""
    if a.correct.shape[1] > 1 or study.samples.counts.max() > 1:
        return None
    sides = (side.correct.reshape(len(side.correct), -1).T for side in (a, b))
    found = [statistics.mcnemar(one, other) for one, other in zip(*sides, strict=True)]
    p = np.array([np.nan if value is None else value for value in found])
    return Significance(p, np.minimum(1.0, p * p.size))


def _point(estimate: np.ndarray) -> Interval:
    """An estimate whose interval is not given, or stands in another row."""
    nothing = np.full(len(estimate), np.nan)
    return Interval(estimate, nothing, nothing)


def _rows(
    study: _Study,
    where: Mapping[str, str | None],
    found: Outcomes,
    measure: str,
    interval: Interval,
    test: Test | None = None,
    significance: Significance | None = None,
) -> pl.DataFrame:
    """One row a cell; cells run over passages within layers, as everywhere."""
    layers, passages = zip(*product(found.layers, found.passages), strict=True)
    values = {
        **where,
        "layer": layers,
        "passages": passages,
        "measure": measure,
        "test": test,
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "samples": study.samples.codes.height,
        "queries": len(study.samples.counts),
        "seeds": found.correct.shape[1],
    }
    if significance is not None:
        values |= {"p_value": significance.p_value, "p_adjusted": significance.p_adjusted}
    frame = _tidy(pl.DataFrame(values))
    if significance is None:
        return frame
    return frame.with_columns(significant=pl.col("p_adjusted") <= study.settings.alpha)


def _similarity_rows(similarity: pl.DataFrame) -> pl.DataFrame:
    return _tidy(similarity.with_columns(finding=pl.lit("similarity")))


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the columns of SCHEMA; null for what is absent or not defined."""
    columns = [
        pl.col(name) if name in frame.columns else pl.lit(None).alias(name) for name in SCHEMA
    ]
    cast = [column.cast(kind) for column, kind in zip(columns, SCHEMA.values(), strict=True)]
    return frame.select(cast).with_columns(pl.col(pl.Float64).fill_nan(None))
