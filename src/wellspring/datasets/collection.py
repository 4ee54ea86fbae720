"""A test collection: queries and passages by their own ids, and judgements that name the ids.

The formats `beir` and `trec` share this module. It repairs more than `records` does: a judgement of
a query or passage that is not there is dropped (published qrels have some), up to a share that can
be set, and a grade below 0, by which TREC marks junk, counts as 0.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from wellspring.config.vocabulary import Side
from wellspring.datasets.files import File
from wellspring.datasets.records import JUDGEMENTS, TEXTS, Records, Rows, Source, repaired
from wellspring.errors import SourceError

LOST = 0.01
LOCATED = pl.Schema({**TEXTS, "location": pl.String})


@dataclass(frozen=True)
class Listing:
    """A file of queries or of passages."""

    path: File
    rows: Callable[[], Iterator[tuple[str, str, str]]]
    """The location of each ("path:line"), its id and its text."""


class Qrels:
    """Judgements as they are read."""

    def __init__(self, path: File, columns: str) -> None:
        self.path = path
        """The file or the folder that holds them."""
        self.columns = columns
        """What its columns should be."""
        self._rows = Rows(JUDGEMENTS)
        self._negative = 0

    def append(
        self, location: str, query: str, passage: str, grade: str, split: str | None
    ) -> None:
        """Adds one; SourceError where the grade is no small whole number."""
        try:
            # Some collections write whole grades as 1.0.
            number = float(grade)
        except ValueError:
            number = math.nan
        if not (abs(number) <= 1000 and number.is_integer()):
            raise SourceError(
                f"{location}: field 'score' must be a small whole number, found {grade!r}"
            )
        self._negative += number < 0
        self._rows.append(query, passage, max(int(number), 0), split)

    def frame(self, positive_from: int, counts: Counter[str]) -> pl.DataFrame:
        """All of them; a grade below `positive_from` is 0."""
        judgements = self._rows.frame()
        low = pl.col("grade") < positive_from
        counts["judgements_read"] = judgements.height
        counts["negative_grades_raised_to_0"] += self._negative
        counts["grades_below_positive_from_set_to_0"] += judgements.filter(
            low & (pl.col("grade") > 0)
        ).height
        return judgements.with_columns(grade=pl.when(low).then(0).otherwise("grade"))


def assemble(source: Source, queries: Listing, passages: Listing, qrels: Qrels) -> Records:
    """The records of a collection.

    Options of the source: `judged_only`, leave out the passages that no query judges;
    `positive_from`, the lowest grade of a positive; `lost_judgements`, the largest share of
    judgements that may name a query or passage that is not there. Raises SourceError for an id that
    has two texts, and where more judgements are lost.
    """
    judged_only = source.options.get("judged_only", False)
    counts: Counter[str] = Counter()
    judgements = qrels.frame(source.options.get("positive_from", 1), counts)
    judged = set(judgements["text_id"]) if judged_only else None
    asked = _texts(queries, "query", None, counts)
    answers = _texts(passages, "passage", judged, counts)
    known = _fitting(judgements, asked, answers, "unknown", counts)
    sides = (("query_id", asked, queries), ("text_id", answers, passages))
    warnings = tuple(
        _lost(qrels.path, listing, name, judgements, texts)
        for name, texts, listing in sides
        if not judgements[name].is_in(texts["text_id"].implode()).all()
    )
    _check_lost(source, qrels, judgements, known, warnings)
    asked, answers = _filled(asked, "queries", counts), _filled(answers, "passages", counts)
    judgements = _fitting(known, asked, answers, "empty", counts)
    texts = pl.concat([asked, answers])
    return repaired(
        source.name, texts, judgements, counts, unjudged=not judged_only, warnings=warnings
    )


def _lost(
    qrels: File, listing: Listing, name: str, judgements: pl.DataFrame, texts: pl.DataFrame
) -> str:
    """How many judgements name an id that the file does not hold, with two ids of each side: first
    those that look alike."""
    noun = "query" if name == "query_id" else "passage"
    lost = judgements.join(texts, left_on=name, right_on="text_id", how="anti")
    named, unknown = set(judgements[name]), set(lost[name])
    alike = {_bare(identity) for identity in unknown}
    ids = (identity for _, identity, _ in listing.rows())
    ranked = ((_bare(identity) not in alike, identity) for identity in ids if identity not in named)
    there = [identity for _, identity in heapq.nsmallest(2, set(ranked))]
    alike = {_bare(identity) for identity in there}
    missing = sorted(unknown, key=lambda identity: (_bare(identity) not in alike, identity))[:2]
    examples = f", which holds {_quoted(there)}" if there else ""
    return (
        f"{qrels}: {lost.height:,} of {judgements.height:,} judgements "
        f"({100 * lost.height / judgements.height:.1f} %) are lost: their {noun} "
        f"ids, such as {_quoted(missing)}, are not in {listing.path.name}{examples}"
    )


def _bare(identity: str) -> str:
    """An id without case, zeros and punctuation, in which different spellings of it differ."""
    return re.sub(r"[\W_0]+", "", identity).casefold()


def _quoted(names: list[str]) -> str:
    return " and ".join(map(repr, names))


def _check_lost(
    source: Source,
    qrels: Qrels,
    judgements: pl.DataFrame,
    known: pl.DataFrame,
    warnings: tuple[str, ...],
) -> None:
    """Raises SourceError where more judgements are lost than may be."""
    if judgements.is_empty():
        raise SourceError(f"{qrels.path}: holds no judgement")
    limit = source.options.get("lost_judgements", LOST)
    lost, total = judgements.height - known.height, judgements.height
    if known.is_empty():
        raise SourceError(
            f"{'; '.join(warnings)}; are the columns of qrels {qrels.columns}, in this order?"
        )
    if lost / total > limit:
        enough = -(-10_000 * lost // total) / 10_000
        raise SourceError(
            f"{'; '.join(warnings)}; repair the ids, or set datasets.{source.name}.lost_judgements "
            f"(now {limit}) to {enough} to go on without these judgements"
        )


def _texts(
    listing: Listing, side: Side, ids: set[str] | None, counts: Counter[str]
) -> pl.DataFrame:
    """The texts of one file, each once; only those with one of the `ids`, where these are given."""
    rows = Rows(LOCATED)
    for location, identity, text in listing.rows():
        if ids is None or identity in ids:
            rows.append(identity, side, text.strip(), location)
    texts = rows.frame()
    first = texts.unique("text_id", keep="first", maintain_order=True)
    if first.height < texts.height:
        original = texts.join(first, on="text_id", how="left", maintain_order="left")
        other = original.filter(pl.col("text") != pl.col("text_right"))
        if other.height:
            identity, location, earlier = other.select("text_id", "location", "location_right").row(
                0
            )
            raise SourceError(
                f"{location}: repeats the id {identity!r} of line {earlier.rpartition(':')[2]} "
                "with another text"
            )
        counts["duplicate_texts_dropped"] += texts.height - first.height
    return first.drop("location")


def _filled(texts: pl.DataFrame, noun: str, counts: Counter[str]) -> pl.DataFrame:
    """The texts that are not empty."""
    filled = texts.filter(pl.col("text") != "")
    counts[f"empty_{noun}_dropped"] += texts.height - filled.height
    return filled


def _fitting(
    judgements: pl.DataFrame,
    queries: pl.DataFrame,
    passages: pl.DataFrame,
    reason: str,
    counts: Counter[str],
) -> pl.DataFrame:
    """The judgements whose query and passage are among these."""
    asked = judgements.join(
        queries, left_on="query_id", right_on="text_id", how="semi", maintain_order="left"
    )
    both = asked.join(passages, on="text_id", how="semi", maintain_order="left")
    counts[f"judgements_of_{reason}_queries_dropped"] += judgements.height - asked.height
    counts[f"judgements_of_{reason}_passages_dropped"] += asked.height - both.height
    return both
