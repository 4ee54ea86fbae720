"""Six dimensions of a retriever: what it finds, set against what it finds under another setting.

In-domain and zero-shot set a retriever against what it is compared with, on datasets that it
learned from and on others. Data efficiency, lengths, instructions and multi-task set retrievers
that differ in one choice alone against the one with its reference setting. arXiv 2408.12194
compares backbones along these six.

All settings of a family are tested together, on the same queries, measure by measure: sign flips of
whole queries, max-T over settings × datasets. Queries with one text are flipped together.
`wellspring.findings.verdicts` says when a family is decided, when it is equivalent to its
reference, and when it depends on a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.errors import StaleArtefact
from wellspring.findings import verdicts
from wellspring.findings.cells import Cells, cells_of
from wellspring.findings.verdicts import Above, Family, Rules, Setting, Within

HIGHER, LOWER = "higher", "lower"
WORDS = {verdicts.SUPPORTED: HIGHER, verdicts.CONTRADICTED: LOWER}
"""What verdicts on a difference are called here; the others keep their names."""


@dataclass(frozen=True)
class Place:
    """Where a retriever stands on a dataset in one dimension.

    Attributes:
        dimension: its name.
        family: what is set against each other, in a word.
        axis: what its settings are settings of, in words.
        setting: this one.
        x: the same as a number; None where it is none, 0 at what the family's training began with.
        retriever, dataset: what was searched.
        reference: the retriever with the reference setting there, which may be this one.
        stage: what its weights were trained for last.
    """

    dimension: str
    family: str
    axis: str
    setting: str
    x: float | None
    retriever: str
    dataset: str
    reference: str
    stage: str


PLACE = {name: pl.Float64 if name == "x" else pl.String for name in Place.__annotations__}


@dataclass(frozen=True)
class Spent:
    """What a retriever's last training took.

    Attributes:
        pairs: pairs, or texts, that it saw.
        flops: floating-point operations.
    """

    pairs: float
    flops: float


def dimensions(
    values: pl.DataFrame, places: Sequence[Place], spent: Mapping[str, Spent], rules: Rules
) -> pl.DataFrame:
    """A row for each measure and place: its value and its difference from the reference setting,
    both with a 95 % interval over queries, and the tests of the difference.

    Args:
        values: retriever, dataset, measure, query_id, cluster and value, which lies between 0 and
            1, of every query at the retriever's last layer, or by its terms. A query without a
            value does not count. Means are over queries, intervals and tests over clusters: the
            distinct texts.
        places: those of a family stand one behind the other.
        spent: by retriever, what its last training took, where that is known.

    Returns: the fields of `Place`; measure, queries, value, low, high; difference with its own low
    and high, detectable, p_value, p_adjusted and answer, null at the reference setting; verdict and
    reason of the family, null where it has one setting; pairs and flops, null where not known.

    Raises StaleArtefact where a place has no values, or a query two.
    """
    tables = []
    for (measure,), own in values.group_by("measure", maintain_order=True):
        query, cluster = (pl.format("{} {}", "dataset", name) for name in ("query_id", "cluster"))
        rows = own.select("retriever", "dataset", "value", text_id=query, cluster=cluster)
        cells = cells_of(rows, ("retriever", "dataset"), f"what was found, by {measure}")
        cluster_of = dict(rows.select("text_id", "cluster").iter_rows())
        clusters = np.array([cluster_of[text] for text in cells.texts])
        for names, family in groupby(places, lambda place: (place.dimension, place.family)):
            tables.append(_family(cells, clusters, list(family), rules, *names, str(measure)))
    taken = [{"retriever": name, **asdict(own)} for name, own in spent.items()]
    taking = [*Spent.__annotations__]
    known = {"retriever": pl.String, **dict.fromkeys(taking, pl.Float64)}
    table = pl.concat(tables).join(
        pl.DataFrame(taken, known), on="retriever", how="left", maintain_order="left"
    )
    # A start that was trained before has seen nothing of this training.
    begun = pl.col("x") == 0
    return table.with_columns(pl.when(begun).then(0.0).otherwise(key).alias(key) for key in taking)


def _family(
    cells: Cells, clusters: np.ndarray, places: list[Place], rules: Rules, *ids: str
) -> pl.DataFrame:
    """The rows of one family; clusters: of the cells' texts; ids: its names, the measure last."""
    values = _values(cells, places, "retriever")
    estimate = intervals.mean(*intervals.clustered(values, clusters))
    ends = intervals.interval(estimate, 0, 1)
    rows = pl.DataFrame([asdict(place) for place in places], PLACE).with_columns(
        pl.lit(ids[-1]).alias("measure"),
        pl.Series("queries", estimate.clusters, pl.Int64),
        *(
            pl.Series(name, own).fill_nan(None)
            for name, own in (("value", ends.estimate), ("low", ends.low), ("high", ends.high))
        ),
    )
    apart = np.array([place.reference != place.retriever for place in places])
    others = [place for place, other in zip(places, apart, strict=True) if other]
    differences = values[:, apart] - _values(cells, others, "reference")
    columns, verdict, reason = _judged(differences, clusters, others, rules, *ids)
    return rows.with_columns(
        *(_spread(name, own, apart) for name, own in columns.items()),
        verdict=pl.lit(verdict, pl.String),
        reason=pl.lit(reason, pl.String),
    )


def _values(cells: Cells, places: Sequence[Place], whose: str) -> np.ndarray:
    """[n, C]: what every query found at each place, or at its reference."""
    column_of = {names: number for number, names in enumerate(cells.keys.rows())}
    columns = []
    for place in places:
        retriever = getattr(place, whose)
        if (retriever, place.dataset) not in column_of:
            raise StaleArtefact(f"{retriever} on {place.dataset}: holds no values; search it again")
        columns.append(column_of[retriever, place.dataset])
    return cells.values[:, columns]


def _judged(
    differences: np.ndarray, clusters: np.ndarray, places: list[Place], rules: Rules, *ids: str
) -> tuple[dict[str, np.ndarray], str | None, str | None]:
    """What tests say of differences [n, C] from the reference, by column, and of the family."""
    sums, counts = intervals.clustered(differences, clusters)
    estimate = intervals.mean(sums, counts)
    ends = intervals.interval(estimate, -1, 1)
    family = Family(
        [_setting(place) for place in places],
        [Above()],
        estimate,
        estimate,
        ~np.isnan(sums),
        ("query", "queries"),
    )
    kept = family.testable(rules.alpha)
    tests = verdicts.significance(family, rules, *ids)
    judgement = verdicts.judge(family, rules, *ids) if places else None
    small = Within(-rules.margin, rules.margin)
    alike = verdicts.within(estimate, small, rules.alpha / max(1, kept.sum())) > 0
    sure = tests.p_adjusted <= rules.alpha
    answers = np.select(
        [~kept, sure & (estimate.value > 0), sure & (estimate.value < 0), alike],
        [verdicts.NOT_TESTABLE, HIGHER, LOWER, verdicts.EQUIVALENT],
        verdicts.NO_EVIDENCE,
    )
    columns = {
        "difference": ends.estimate,
        "difference_low": ends.low,
        "difference_high": ends.high,
        "detectable": intervals.detectable(estimate),
        "p_value": np.where(kept, tests.p_value, np.nan),
        "p_adjusted": np.where(kept, tests.p_adjusted, np.nan),
        "answer": answers,
    }
    if judgement is None:
        return columns, None, None
    return columns, WORDS.get(judgement.verdict, judgement.verdict), judgement.reason


def _setting(place: Place) -> Setting:
    choices = {"dataset": place.dataset, place.axis: place.setting}
    return Setting(f"{place.setting}, {place.dataset}", choices)


def _spread(name: str, values: np.ndarray, where: np.ndarray) -> pl.Series:
    """A column with the values in some of its rows, null in the others and where not defined."""
    numbers = iter(values.tolist())
    column = pl.Series(name, [next(numbers) if there else None for there in where], strict=False)
    return column.cast(pl.String) if name == "answer" else column.cast(pl.Float64).fill_nan(None)
