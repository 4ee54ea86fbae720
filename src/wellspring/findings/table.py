"""The one tidy table that the figures and the report read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.config import LAYERLESS
from wellspring.findings import outcomes, statistics
from wellspring.findings.outcomes import (
    Outcomes,
    Samples,
    aligned,
    codes_of,
    outcomes_of,
    samples_of,
)
from wellspring.findings.statistics import Moments, Significance
from wellspring.intervals import Estimate, Interval
from wellspring.randomness import generator

Finding = Literal["accuracy", "trend", "code", "difference", "control", "similarity"]
Test = Literal["sign-flip max-T", "t-test Bonferroni", "McNemar"]

# A probe, the one that it is compared with in one retriever, and what the comparison asks.
CONTROLS = (
    ("interaction", "shuffled-query"),  # does the query matter?
    ("concat", "passage-scorer"),  # does the published probe find more than passages alone?
    # Does it read the relation, or remember texts? Selectivity (Hewitt & Liang 2019).
    ("concat", "random-label"),
    ("passage-scorer", "random-label-passage-scorer"),
    ("interaction", "random-label-interaction"),
    ("bilinear", "random-label-bilinear"),
    ("interaction", "cosine"),  # what does training the probe add?
    ("cosine", "lexical"),  # what do vectors add to words?
    ("interaction", "lexical"),  # and trained ones?
    ("concat", "interaction"),  # what does the published probe miss?
)
FEWEST_LAYERS = 3
"""A trend over fewer is a difference."""

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
    "detectable": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "p_study": pl.Float64,
    "significant": pl.Boolean,
    "samples": pl.Int64,
    "queries": pl.Int64,
    "seeds": pl.Int64,
}
KEYS = tuple(SCHEMA)[:11]
Where = Mapping[str, str | None]


@dataclass(frozen=True)
class Settings:
    """How findings are tested.

    Attributes:
        alpha: family-wise error rate below which a difference is called significant.
        permutations: sign flips of the questions.
        seed: of the flips.
    """

    alpha: float = 0.05
    permutations: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class _Study:
    """What every comparison on one dataset shares."""

    dataset: str
    samples: Samples
    settings: Settings

    def flipped(self, units: np.ndarray, estimate: Estimate, *names: str) -> Significance:
        """The sign-flip test of the clusters' contributions [Q, C] to an estimate."""
        spread = intervals.spread(estimate)
        return statistics.sign_flip_max_t(
            units,
            permutations=self.settings.permutations,
            rng=generator(self.settings.seed, "sign-flip", self.dataset, *names),
            reliability=spread.reliability,
            freedom=spread.of_repetitions,
            floor=statistics.TIE,
        )


Probes = dict[tuple[str, str], Outcomes]
"""The outcomes of each retriever and probe."""
Read = Callable[[pl.DataFrame, Samples, str], Outcomes]
Report = Callable[[_Study, Where, Outcomes, Outcomes | None], Iterator[pl.DataFrame]]


def build(
    credits: pl.DataFrame | pl.LazyFrame,
    similarity: pl.DataFrame | None,
    pairs: Mapping[str, str | None],
    settings: Settings,
    codes: pl.DataFrame | pl.LazyFrame | None = None,
) -> pl.DataFrame:
    """All findings of a study, one row a number.

    Args:
        credits: retriever, dataset, layer, passages, probe, seed, sample_id, query_id, correct,
            chance; a sample once for each of the first six. Seeds may test different samples, all
            retrievers the same ones. Rows in any order. One retriever on one dataset is read at a
            time: a lazy frame over many files stays small.
        similarity: dataset, retriever, compared_with, layer, side, measure, estimate, and where
            known low, high, samples; NaN means not defined.
        pairs: each retriever's `compared_with`, None where it has none.
        settings: how to test.
        codes: retriever, dataset, layer, passages, probe, seed, sample_id, query_id, bits of the
            training samples, where probes were coded.

    Returns:
        The columns of SCHEMA, sorted by KEYS. Accuracies and differences are shares, not per
        cent. Intervals are those of `wellspring.intervals`; `detectable` is the smallest true
        difference that such an interval excludes 0 for, at 80 % power. `test` is null in rows
        without p-values. The families that `p_adjusted` corrects for: layers × passages of one
        comparison for "sign-flip max-T" and "McNemar" (Bonferroni), the passages of a trend, the
        layers of one panel for "t-test Bonferroni", which is computed on the smallest seed alone,
        as published. `p_study` is corrected for the same test on other retrievers and datasets of
        the study, too (Bonferroni), and null for the published one. A `difference` is one of
        accuracy − chance: where texts repeat, kinds of probes differ in what guessing earns. A
        trend is the slope of (accuracy − chance) / (1 − chance) over the layers, as the change
        from the first to the last one. Intervals of code lengths take the fits as given and say
        what other questions would cost.

    Raises:
        StaleArtefact: samples are missing, doubled or not the same for all retrievers.
    """
    frames = [pl.DataFrame(schema=SCHEMA)]
    for read, table, report in ((outcomes_of, credits, _credit), (codes_of, codes, _code)):
        if table is not None:
            for study, probes in _datasets(table.lazy(), read, settings):
                frames.extend(_findings(study, probes, pairs, report))
    if similarity is not None:
        frames.append(_tidy(similarity.with_columns(finding=pl.lit("similarity"))))
    order = pl.col("finding").cast(pl.Enum(get_args(Finding)))
    return _over_the_study(pl.concat(frames)).sort(order, *KEYS[1:])


def comparisons() -> pl.Expr:
    """On how many retrievers and datasets of the table a row's test is made."""
    where = pl.struct("dataset", "retriever", "compared_with")
    tested = where.filter(pl.col("p_adjusted").is_not_null()).n_unique()
    return tested.over("finding", "probe", "compared_probe", "measure", "test")


def _over_the_study(findings: pl.DataFrame) -> pl.DataFrame:
    """The findings with `p_study`, but for the published test."""
    corrected = (pl.col("p_adjusted") * comparisons()).clip(upper_bound=1)
    ours = pl.col("test") != "t-test Bonferroni"
    return findings.with_columns(p_study=pl.when(ours).then(corrected))


def _datasets(
    lazy: pl.LazyFrame, read: Read, settings: Settings
) -> Iterator[tuple[_Study, Probes]]:
    """What each dataset's probes earned or cost, one retriever of a lazy frame at a time."""
    retrievers = lazy.select("dataset", "retriever").unique().collect().sort("dataset", "retriever")
    for (dataset,), group in retrievers.group_by("dataset", maintain_order=True):
        of_dataset = lazy.filter(pl.col("dataset") == dataset)
        study: _Study | None = None
        probes: Probes = {}
        for retriever in group["retriever"]:
            frame = of_dataset.filter(pl.col("retriever") == retriever).collect()
            if study is None:
                study = _Study(dataset, samples_of(frame), settings)
            for (probe,), part in frame.partition_by("probe", as_dict=True).items():
                name = f"dataset {dataset}, retriever {retriever}, probe {probe}"
                probes[retriever, probe] = read(part, study.samples, name)
        if study is not None:
            yield study, probes


def _findings(
    study: _Study, probes: Probes, pairs: Mapping[str, str | None], report: Report
) -> Iterator[pl.DataFrame]:
    """The findings on one dataset; a pair counts where both of its retrievers were probed."""
    for (retriever, probe), own in probes.items():
        where = {"dataset": study.dataset, "retriever": retriever, "probe": probe}
        yield from report(study, where, own, None)
        other = pairs.get(retriever)
        if other is not None and probe not in LAYERLESS and (other, probe) in probes:
            there = {**where, "finding": "difference", "compared_with": other}
            yield from report(study, there, own, probes[other, probe])
        for compared in (second for first, second in CONTROLS if first == probe):
            if (retriever, compared) in probes:
                there = {**where, "finding": "control", "compared_probe": compared}
                yield from report(study, there, own, probes[retriever, compared])


def _credit(study: _Study, where: Where, a: Outcomes, b: Outcomes | None) -> Iterator[pl.DataFrame]:
    """What a probe earns, or how much more than another."""
    return _accuracies(study, where, a) if b is None else _comparison(study, where, a, b)


def _code(study: _Study, where: Where, a: Outcomes, b: Outcomes | None) -> Iterator[pl.DataFrame]:
    """What a probe's targets cost, or how much more than another's."""
    if b is None:
        there = {**where, "finding": "code"}
        for measure in (outcomes.code_length, outcomes.compression):
            points = intervals.interval(measure(a, study.samples), 0)
            yield _rows(study, there, a, measure.__name__, points)
        return
    a, b = aligned(a, b)
    longer = outcomes.code_length(a, study.samples) - outcomes.code_length(b, study.samples)
    flipped = study.flipped((a.correct - b.correct).sum(1), longer, "code", *_names(where))
    visible, points = intervals.detectable(longer), intervals.interval(longer)
    measure = "code_length_difference"
    yield _rows(study, where, a, measure, points, "sign-flip max-T", flipped, visible)


def _names(where: Where) -> list[str]:
    """The names of the two sides of a comparison."""
    names = ("retriever", "compared_with", "probe", "compared_probe")
    return [str(where.get(name)) for name in names]


def _accuracies(study: _Study, where: Where, own: Outcomes) -> Iterator[pl.DataFrame]:
    """Accuracy, accuracy above chance and chance of one probe at every cell, and its trend."""
    where = {**where, "finding": "accuracy"}
    accuracy, above = (
        measure(own, study.samples) for measure in (outcomes.accuracy, outcomes.above_chance)
    )
    chance = own.chance.sum((0, 1)) / study.samples.counts.sum()
    shares = intervals.interval(accuracy, 0, 1, proportion=True)
    with np.errstate(divide="ignore"):
        lowest = -chance / (1 - chance)
    yield _rows(study, where, own, "accuracy", shares)
    yield _rows(study, where, own, "above_chance", intervals.interval(above, lowest, 1))
    yield _rows(study, where, own, "chance", _point(chance))
    yield from _trend(study, where, own, above)


def _comparison(study: _Study, where: Where, a: Outcomes, b: Outcomes) -> Iterator[pl.DataFrame]:
    """The difference a − b at every cell that both have, its tests and its effect sizes."""
    names = _names(where)
    a, b = aligned(a, b)
    excess = (a.correct - a.chance) - (b.correct - b.chance)
    units = excess.sum(1)
    difference = outcomes.excess(a, study.samples) - outcomes.excess(b, study.samples)
    # Where texts repeat, kinds of probes differ in what guessing earns.
    apart = (a.chance - b.chance).sum((0, 1)) / study.samples.counts.sum()
    points = intervals.interval(difference, -1 - apart, 1 - apart)
    flipped = study.flipped(units, difference, *names)
    visible = intervals.detectable(difference)
    yield _rows(study, where, a, "difference", points, "sign-flip max-T", flipped, visible)
    alone = _point(points.estimate)
    if where["finding"] == "difference":
        published = _published(a, b)
        yield _rows(study, where, a, "difference", alone, "t-test Bonferroni", published)
    exact = _mcnemar(study, a, b)
    if exact is not None:
        yield _rows(study, where, a, "difference", alone, "McNemar", exact)
    above = outcomes.above_chance(a, study.samples) - outcomes.above_chance(b, study.samples)
    lifted = intervals.interval(above, -2, 2)
    yield _rows(study, where, a, "above_chance_difference", lifted)
    effect = intervals.cohen_d_z(excess, study.samples.counts[..., None])
    yield _rows(study, where, a, "d_z", intervals.interval(effect))
    if where["finding"] == "difference":
        yield from _trend(study, where, a, above, names)


def _trend(
    study: _Study, where: Where, own: Outcomes, above: Estimate, names: Iterable[str] = ()
) -> Iterator[pl.DataFrame]:
    """The slope over layers at every number of passages, for a difference with its test."""
    layers = tuple(layer for layer in own.layers if layer is not None)
    if len(layers) < FEWEST_LAYERS:
        return
    slopes = slope(above, layers)
    test = flipped = None
    if names:
        flipped = study.flipped(slopes.contributions(), slopes, *names, "trend")
        test = "sign-flip max-T"
    line = replace(own, layers=(None,))
    points = intervals.interval(slopes)
    yield _rows(study, {**where, "finding": "trend"}, line, "slope", points, test, flipped)


def slope(cells: Estimate, layers: tuple[int, ...]) -> Estimate:
    """Least-squares slopes over layers [P] of cells [L × P], times the distance from the first
    layer to the last: how much the line changes over the network."""
    away = np.array(layers) - np.mean(layers)
    weights = away / np.square(away).sum() * (layers[-1] - layers[0])
    panels = len(cells.value) // len(layers)
    return cells.weighted(np.kron(weights[:, None], np.eye(panels)))


def _published(a: Outcomes, b: Outcomes) -> Significance:
    """The published test on the first seed, panel by panel."""
    panels = len(a.passages)

    def of_panel(side: Outcomes, panel: int) -> Moments:
        means, deviations, samples = (values[panel::panels] for values in side.first_seed)
        return means, deviations, samples

    tests = [
        statistics.published_test(of_panel(a, panel), of_panel(b, panel)) for panel in range(panels)
    ]
    return Significance(
        np.stack([panel.p_value for panel in tests], 1).ravel(),
        np.stack([panel.p_adjusted for panel in tests], 1).ravel(),
    )


def _mcnemar(study: _Study, a: Outcomes, b: Outcomes) -> Significance | None:
    """McNemar's test at every cell, NaN where credits were shared; None where samples depend, or
    where guessing earns one side more."""
    if not study.samples.are_independent or not np.allclose(a.chance, b.chance):
        return None
    sides = (side.correct[:, 0].T for side in (a, b))
    p_values = [statistics.mcnemar(one, other) for one, other in zip(*sides, strict=True)]
    p = np.array([np.nan if value is None else value for value in p_values])
    return Significance(p, np.minimum(1.0, p * p.size))


def _point(estimate: np.ndarray) -> Interval:
    """An estimate whose interval is not given, or stands in another row."""
    nothing = np.full(len(estimate), np.nan)
    return Interval(estimate, nothing, nothing)


def _rows(
    study: _Study,
    where: Where,
    own: Outcomes,
    measure: str,
    interval: Interval,
    test: Test | None = None,
    significance: Significance | None = None,
    detectable: np.ndarray | None = None,
) -> pl.DataFrame:
    """One row a cell."""
    layers, passages = zip(*own.cells, strict=True)
    values = {
        **where,
        "layer": layers,
        "passages": passages,
        "measure": measure,
        "test": test,
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "detectable": detectable,
        "samples": study.samples.codes.height,
        "queries": len(study.samples.starts),
        "seeds": len(study.samples.seeds),
    }
    if significance is not None:
        values |= {"p_value": significance.p_value, "p_adjusted": significance.p_adjusted}
    frame = _tidy(pl.DataFrame(values))
    if significance is None:
        return frame
    return frame.with_columns(significant=pl.col("p_adjusted") <= study.settings.alpha)


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the columns of SCHEMA; null for what is absent or not defined."""
    columns = [
        pl.col(name) if name in frame.columns else pl.lit(None).alias(name) for name in SCHEMA
    ]
    cast = [column.cast(kind) for column, kind in zip(columns, SCHEMA.values(), strict=True)]
    return frame.select(cast).with_columns(pl.col(pl.Float64).fill_nan(None))
