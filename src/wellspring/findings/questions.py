"""What a claim asks of a study's tables: a question gives the columns of the ledger that say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from wellspring.findings.growth import SEEDS
from wellspring.findings.scaling import holm
from wellspring.findings.verdicts import (
    CONTRADICTED,
    DEPENDS,
    EQUIVALENT,
    NO_EVIDENCE,
    NOT_TESTABLE,
    SUPPORTED,
)
from wellspring.plurals import counted

SIGNS = {"above": 1, "below": -1, "apart": 0}


@dataclass(frozen=True)
class Tables:
    """What entries are asked of.

    Attributes:
        claims: `wellspring.findings.claims`'s.
        scaling: `wellspring.findings.ladders`'s; None where the study has no ladders.
        in_domain: datasets of the kind that models learn from; None: not said.
    """

    claims: pl.DataFrame
    scaling: pl.DataFrame | None = None
    in_domain: Sequence[str] | None = None


@dataclass(frozen=True)
class Part:
    """A row of the table of ladders, and what is said of its estimate.

    Attributes:
        finding: slope, interaction or advantage.
        of: column to a pattern of the ladder; what has none may be anything, and is the place.
        against: pattern of the ladder that it is compared with, in the column `by`.
        says: the estimate is above 0, below it, or either.
        axis: what the size is.
    """

    finding: Literal["slope", "interaction", "advantage"]
    of: Mapping[str, str] = field(default_factory=dict)
    by: str | None = None
    against: str = ""
    says: Literal["above", "below", "apart"] = "above"
    axis: str = "non_embedding"

    def rows(self, table: pl.DataFrame, against: bool = False) -> dict[str, dict[str, Any]]:
        """Place to the row there, both ways round: a difference stands in the table once.

        against: whether the place names what is compared with, too.
        """
        rows = table.filter(finding=self.finding, axis=self.axis, scale="log-odds")
        if self.by:
            rows = rows.filter(factor=self.by)
            turned = rows.with_columns(
                pl.col("compared_with").alias(self.by),
                pl.col(self.by).alias("compared_with"),
                pl.col("compared_ladder").alias("ladder"),
                pl.col("ladder").alias("compared_ladder"),
                estimate=-pl.col("estimate"),
                low=-pl.col("high"),
                high=-pl.col("low"),
            )
            rows = pl.concat([rows, turned]) if self.against else rows
            rows = rows.filter(pl.col("compared_with").str.contains(self.against))
        for column, pattern in self.of.items():
            rows = rows.filter(pl.col(column).str.contains(pattern))
        named = ("dataset", "stages", "objective", "paradigm", "ladder", "measure")
        places: dict[str, dict[str, Any]] = {}
        for row in rows.iter_rows(named=True):
            place = ", ".join(str(row[name]) for name in named if row[name] is not None)
            other = row["compared_with"]
            if row["compared_ladder"] not in (row["ladder"], other):
                other = f"{other} ({row['compared_ladder']})"
            # Of several ladders that a part is set against, the study's first one counts.
            places.setdefault(f"{place}, against {other}" if against else place, row)
        return places


@dataclass(frozen=True)
class Ladders:
    """A claim about ladders of models.

    Attributes:
        parts: all that must hold.
        domain: of the datasets.
    """

    parts: Sequence[Part]
    domain: Literal["in", "out", "across", "any"] = "any"

    def answer(self, tables: Tables, alpha: float, margin: float) -> dict[str, Any]:
        """The columns of SCHEMA that tables fill."""
        if tables.scaling is None:
            return _untestable("the study has no ladders of models (study.scaling)")
        if tables.scaling.is_empty():
            return _untestable("the ladders of the study have one size each")
        if self.domain != "any" and tables.in_domain is None:
            return _untestable("study.scaling.in_domain does not say what models learn from")
        names = list(tables.in_domain or ())
        known, other = (pl.col(name).is_in(names) for name in ("dataset", "compared_with"))
        within = {"in": known, "out": ~known, "across": known != other, "any": pl.lit(True)}
        # The first measure is the one that the study names first.
        measured = tables.scaling.filter(measure=tables.scaling["measure"][0])
        table = measured.filter(within[self.domain])
        if not self._places(table)[1]:
            return _untestable(f"no ladder on {DOMAINS[self.domain]} is what the claim is about")
        rows, places = self._places(table.filter(pl.col("seeds") >= SEEDS))
        if not places:
            return _untestable(f"a size has fewer than the {SEEDS} seeds that a variance needs")
        cells = [[some[place] for some in rows] for place in places]
        adjusted = iter(holm([row["p_value"] for place in cells for row in place]))
        states = [self._state(place, adjusted, alpha) for place in cells]
        first = cells[0][0]
        verdict = _verdict(states, [row for place in cells for row in place], margin)
        many = len(places) > 1 and verdict in (SUPPORTED, CONTRADICTED)
        warned = "; ".join(filter(None, (row["warnings"] for row in cells[0])))
        warnings = dict.fromkeys(warned.split("; ") if warned else ())
        told = f"in {max(states.count(1), states.count(-1))} of {counted(len(places), 'place')}"
        return {
            "place": places[0],
            **{name: first[name] for name in ("estimate", "low", "high")},
            "places": len(places),
            "supporting": states.count(1),
            "contradicting": states.count(-1),
            "verdict": verdict,
            "reason": "; ".join([*([told] if many else []), *warnings]) or None,
        }

    def _places(self, table: pl.DataFrame) -> tuple[list[dict[str, dict[str, Any]]], list[str]]:
        """The rows of each part, and where all parts have one."""
        named = len(self.parts) == 1 and self.parts[0].by is not None
        rows = [part.rows(table, named) for part in self.parts]
        return rows, [place for place in rows[0] if all(place in other for other in rows[1:])]

    def _state(self, rows: list[dict[str, Any]], p_values: Iterator[float], alpha: float) -> int:
        """1 where all parts hold, −1 where one is turned around, else 0."""
        decided = []
        for part, row in zip(self.parts, rows, strict=True):
            sure, sign = next(p_values) <= alpha, 1 if row["estimate"] > 0 else -1
            decided.append(sure * (sign * SIGNS[part.says] or 1))
        return min(decided)


DOMAINS = {
    "in": "a dataset in the domain",
    "out": "a dataset out of the domain",
    "across": "a dataset in the domain and one out of it",
    "any": "a dataset",
}


@dataclass(frozen=True)
class Published:
    """One of the ten claims of arXiv 2505.07166: the row of the published pair, or of the first
    pair that it can be asked of."""

    number: int

    def answer(self, tables: Tables, alpha: float, margin: float) -> dict[str, Any]:
        """The columns of SCHEMA that tables fill."""
        rows = tables.claims.filter(claim=self.number)
        asked = rows.filter(pl.col("verdict") != NOT_TESTABLE)
        if asked.is_empty():
            reasons = rows["reason"].drop_nulls().to_list()
            return _untestable(reasons[0] if reasons else "no pair of the study can be asked")
        row = asked.sort(~pl.col("as_published"), maintain_order=True).row(0, named=True)
        names = ("dataset", "retriever", "attribution", "side")
        decided = asked["verdict"].to_list()
        return {
            "place": ", ".join(row[name] for name in names if row[name]),
            **{name: row[name] for name in ("estimate", "low", "high", "verdict", "reason")},
            "places": asked.height,
            "supporting": decided.count(SUPPORTED),
            "contradicting": decided.count(CONTRADICTED),
        }


@dataclass(frozen=True)
class Untestable:
    """A claim for which no study has what it needs."""

    reason: str

    def answer(self, tables: Tables, alpha: float, margin: float) -> dict[str, Any]:
        """The columns of SCHEMA that tables fill."""
        return _untestable(self.reason)


@dataclass(frozen=True)
class Entry:
    """A claim of one of the studied documents.

    Attributes:
        claim: its name, the letter of its document first.
        source: the document.
        statement: what it says.
        measured: what is measured for it here.
        design: what a study must have.
        question: to the tables of a study.
    """

    claim: str
    source: str
    statement: str
    measured: str
    design: str
    question: Ladders | Published | Untestable


def _untestable(reason: str) -> dict[str, Any]:
    return {
        "places": 0,
        "supporting": 0,
        "contradicting": 0,
        "verdict": NOT_TESTABLE,
        "reason": reason,
    }


def _verdict(states: Sequence[int], rows: Sequence[Mapping[str, Any]], margin: float) -> str:
    if 1 in states and -1 in states:
        return f"{DEPENDS}place"
    if any(states):
        return SUPPORTED if 1 in states else CONTRADICTED
    inside = all(
        abs(row[end] if row[end] is not None else margin) < margin
        for row in rows
        for end in ("low", "high")
    )
    return EQUIVALENT if inside else NO_EVIDENCE
