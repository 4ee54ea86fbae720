"""A teacher's scores of pairs as a file has them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import polars as pl

from wellspring.datasets.records import kind, present
from wellspring.errors import SourceError, WellspringError
from wellspring.training.teaching import Pair, of_samples, pairs

COLUMNS = ("query_id", "passage_id", "score")


def gathered(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    samples: pl.DataFrame,
    texts: Mapping[str, Collection[str]],
) -> pl.DataFrame:
    """The scores of samples, as `wellspring.training.teaching.of_samples` gives them; samples of
    other splits than `train` whose pairs lack a score are left out.

    rows: each with its location, and the columns COLUMNS. texts: the ids of a dataset, by side.

    Raises SourceError, with the location, for an id that the dataset does not have, a score that is
    no finite number, and a pair with two scores. Raises WellspringError for a pair of a training
    sample without a score.
    """
    used = set(pairs(samples))
    scores: dict[Pair, float] = {}
    for location, row in rows:
        query, passage = (_known(row, side, texts[side], location) for side in ("query", "passage"))
        score = _number(present(dict(row), "score", location), location)
        # Of all that a file may have, what is asked for is held.
        if (query, passage) in used and scores.setdefault((query, passage), score) != score:
            raise SourceError(
                f"{location}: query {query!r} and passage {passage!r} have the score {score:g}, "
                f"and {scores[query, passage]:g} before"
            )
    training = pairs(samples.filter(pl.col("split") == "train"))
    if missing := [pair for pair in training if pair not in scores]:
        query, passage = missing[0]
        raise WellspringError(
            f"there is no score for {len(missing):,} of {len(training):,} pairs of training "
            f"samples, such as query {query!r} with passage {passage!r}"
        )
    return of_samples(samples, scores)


def _known(row: Mapping[str, Any], side: str, ids: Collection[str], location: str) -> str:
    name = f"{side}_id"
    value = present(dict(row), name, location)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SourceError(f"{location}: field {name!r} must be an id, found {kind(value)}")
    if str(value) not in ids:
        raise SourceError(
            f"{location}: the dataset has no {side} {str(value)!r}: its ids stand in "
            "texts.parquet, of equal texts the lowest one"
        )
    return str(value)


def _number(value: Any, location: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(f"{location}: score: {value!r} is no finite number")
    return number
