"""A study's table of searches: every layer beside words, fusion and its counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.findings import statistics
from wellspring.randomness import generator
from wellspring.retrieval.run import Chosen, chosen

SCHEMA = {
    "finding": pl.String,
    "dataset": pl.String,
    "retriever": pl.String,
    "compared_with": pl.String,
    "ranker": pl.String,
    "scorer": pl.String,
    "layer": pl.Int64,
    "measure": pl.String,
    "test": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "detectable": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "significant": pl.Boolean,
    "best": pl.Float64,
    "worst": pl.Float64,
    "judged": pl.Float64,
    "queries": pl.Int64,
    "chosen": pl.String,
}


@dataclass(frozen=True)
class Search:
    """A retriever's search of a dataset: per-query values of measures."""

    layers: pl.DataFrame
    """layer, measure, query_id, cluster, value, best, worst, judged."""
    validation: pl.DataFrame
    """The same of the queries that choose; empty where there are none."""
    fusion: pl.DataFrame
    """The same with `scorer` for `layer`."""
    terms: pl.DataFrame | None = None
    """The same by the terms of a sparse retriever, without `layer`."""

    @property
    def ranked(self) -> pl.DataFrame | None:
        """Its terms, as the one of their kind."""
        named = pl.lit("terms").alias("ranker")
        return None if self.terms is None else self.terms.with_columns(named)


@dataclass(frozen=True)
class Words:
    """The lexical rankings of a dataset, with `scorer` for `layer`."""

    scorers: pl.DataFrame
    validation: pl.DataFrame


@dataclass(frozen=True)
class Settings:
    """How differences are tested: as in `findings.table.Settings`."""

    alpha: float = 0.05
    permutations: int = 10_000
    seed: int = 0


def compare(
    dataset: str,
    searches: Mapping[str, Search],
    words: Words,
    pairs: Mapping[str, str],
    settings: Settings,
) -> pl.DataFrame:
    """Everything that searches of one dataset found, the columns of SCHEMA.

    searches: retriever to what it found; all were asked the same queries. pairs: retriever to its
    counterpart. Means are over queries. Intervals are those of `wellspring.intervals` over
    clusters, which are distinct texts. A difference is paired by query and tested by sign flips of
    whole clusters with max-T over the layers that both have; one of terms, where both give some, is
    a family of its own. The first measure chooses the best layer and the best scorer for all
    measures, on validation queries where there are any. A `control` is paired and tested likewise:
    every layer, and terms, less the best scorer, and fusion less the last layer.
    """
    frames = [pl.DataFrame(schema=SCHEMA)]
    where: dict[str, Any] = {"dataset": dataset, "ranker": "lexical"}
    scorer = chosen(words.scorers, words.validation, "scorer")
    frames += _values(where, words.scorers, "scorer", scorer)
    floor = words.scorers.filter(scorer=scorer.name)
    for retriever, found in searches.items():
        where = {"dataset": dataset, "retriever": retriever, "ranker": "vectors"}
        layer = chosen(found.layers, found.validation, "layer")
        frames += _values(where, found.layers, "layer", layer)
        frames += _values({**where, "ranker": "fusion"}, found.fusion, "scorer", scorer)
        terms = found.ranked
        if terms is not None:
            frames += _values(where, terms, "ranker", None)
        frames += _controls(where, found, floor, settings)
        other = searches.get(pairs.get(retriever, ""))
        if other is None:
            continue
        there = {**where, "compared_with": pairs[retriever]}
        frames += _differences(there, found.layers, other.layers, "layer", settings)
        if terms is not None and other.ranked is not None:
            frames += _differences(there, terms, other.ranked, "ranker", settings)
    return pl.concat(frames)


def _values(
    where: Mapping[str, Any], metrics: pl.DataFrame, of: str, best: Chosen | None
) -> Iterator[pl.DataFrame]:
    """Rows for each layer or scorer of each measure, which `of` tells apart; that of the best one
    says so."""
    for (measure,), rows in metrics.group_by("measure", maintain_order=True):
        names, values, clusters = _matrix(rows, of)
        sums, counts = intervals.clustered(values, clusters)
        mean = intervals.interval(intervals.mean(sums, counts), 0, 1)
        means = rows.group_by(of, maintain_order=True).agg(pl.col("best", "worst", "judged").mean())
        yield _tidy(
            {
                **where,
                "finding": "value",
                "measure": measure,
                of: names,
                **_ends(mean),
                **{name: means[name] for name in ("best", "worst", "judged")},
                "queries": len(sums),
                "chosen": [best.on if best and name == best.name else None for name in names],
            }
        )


def _differences(
    where: Mapping[str, Any],
    own: pl.DataFrame,
    other: pl.DataFrame,
    of: str,
    settings: Settings,
) -> Iterator[pl.DataFrame]:
    """Rows for each layer that both have of each measure; of: the column that tells these apart."""
    shared = set(own[of]) & set(other[of])
    for (measure,), rows in own.group_by("measure", maintain_order=True):
        (layers, values, clusters), (_, theirs, _) = (
            _matrix(each.filter(pl.col(of).is_in(shared)), of)
            for each in (rows, other.filter(measure=measure))
        )
        there = {**where, "finding": "difference", "measure": measure, of: layers}
        yield _tested(there, values - theirs, clusters, settings, "sign-flip", "retrieval")


def _controls(
    where: Mapping[str, Any], found: Search, floor: pl.DataFrame, settings: Settings
) -> Iterator[pl.DataFrame]:
    """Rows for each layer and terms less the best scorer, and for fusion less the last layer."""
    for (measure,), rows in found.layers.group_by("measure", maintain_order=True):
        layers, values, clusters = _matrix(rows, "layer")
        (scorer,), words, _ = _matrix(floor.filter(measure=measure), "scorer")
        there = {**where, "finding": "control", "measure": measure}
        lexical = {**there, "scorer": scorer, "layer": layers}
        yield _tested(lexical, values - words, clusters, settings, "control", "words")
        if found.ranked is not None:
            rankers, of_terms, _ = _matrix(found.ranked.filter(measure=measure), "ranker")
            ranked = {**there, "scorer": scorer, "ranker": rankers}
            yield _tested(ranked, of_terms - words, clusters, settings, "control", "terms")
        fusion = found.fusion.filter(measure=measure)
        if fusion.is_empty():
            continue
        (fused,), both, _ = _matrix(fusion, "scorer")
        last = {**there, "ranker": "fusion", "scorer": fused, "layer": layers[-1:]}
        yield _tested(last, both - values[:, -1:], clusters, settings, "control", "fusion")


def _tested(
    where: Mapping[str, Any],
    differences: np.ndarray,
    clusters: np.ndarray,
    settings: Settings,
    *names: str,
) -> pl.DataFrame:
    """Rows of differences [queries, layers], tested over the layers.

    clusters: [queries]. names: of the test, for its random flips.
    """
    sums, counts = intervals.clustered(differences, clusters)
    estimate = intervals.mean(sums, counts)
    whom = (where["dataset"], where["retriever"], str(where["measure"]))
    tested = statistics.sign_flip_max_t(
        sums,
        permutations=settings.permutations,
        rng=generator(settings.seed, *names, *whom),
        floor=statistics.TIE,
    )
    return _tidy(
        {
            **where,
            "test": "sign-flip max-T",
            **_ends(intervals.interval(estimate, -1, 1)),
            "detectable": intervals.detectable(estimate),
            "p_value": tested.p_value,
            "p_adjusted": tested.p_adjusted,
            "significant": tested.p_adjusted <= settings.alpha,
            "queries": len(sums),
        }
    )


def _matrix(rows: pl.DataFrame, of: str) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """The layers or scorers in their order, values [queries, layers], queries by their ids, and the
    cluster of each query."""
    keys = ["query_id", "cluster"]
    wide = rows.pivot(of, index=keys, values="value").sort("query_id")
    names = rows[of].unique(maintain_order=True).to_list()
    return names, wide.drop(keys).to_numpy(), wide["cluster"].to_numpy()


def _ends(interval: intervals.Interval) -> dict[str, np.ndarray]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _tidy(values: Mapping[str, Any]) -> pl.DataFrame:
    """The rows with exactly the columns of SCHEMA; null for what is absent or not defined."""
    frame = pl.DataFrame(dict(values))
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(kind)
        for name, kind in SCHEMA.items()
    ]
    return frame.select(columns).with_columns(pl.col(pl.Float64).fill_nan(None))
