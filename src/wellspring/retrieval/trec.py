"""TREC's files of runs and judgements, which other tools of retrieval read and write."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wellspring.datasets import beir, trec
from wellspring.datasets.collection import Qrels
from wellspring.datasets.files import first_line, lines
from wellspring.errors import SourceError, WellspringError
from wellspring.retrieval.run import RUN

FIELDS = ("query", "Q0", "document", "rank", "score", "tag")


@dataclass(frozen=True)
class Read:
    """A run as it was read."""

    frame: pl.DataFrame
    """The columns of RUN, sorted: falling score, and equal scores in the order of ids."""
    unsorted: int
    """Queries with a line whose score is above that of the line before it."""


def written(run: pl.DataFrame, tag: str) -> Iterator[str]:
    """The lines of a run, the columns of RUN, in its order; tag: what its last field says.

    Raises WellspringError for an id that is no single field of such a line: none could be read.
    """
    for column in ("query_id", "document_id"):
        for name in run[column].unique(maintain_order=True):
            if name.split() != [name]:
                raise WellspringError(
                    f"{column} {name!r}: a run file separates its fields by white space, so no id "
                    "may hold any or be empty: give the source ids without it"
                )
    for query, document, rank, score in run.select(RUN.keys()).iter_rows():
        yield f"{query} Q0 {document} {rank} {score:.9g} {tag}"


def read_run(path: Path) -> Read:
    """A run of lines with six fields; their scores decide, not their ranks or their order.

    Raises SourceError for another number of fields, a score that is no finite number, and a
    document that stands twice under a query.
    """
    rows: list[tuple[str, str, float]] = []
    seen: set[tuple[str, str]] = set()
    for location, line in lines(path):
        cells = line.split()
        if len(cells) != len(FIELDS):
            raise SourceError(
                f"{location}: expected six fields ({' '.join(FIELDS)}), found {len(cells)}"
            )
        query, document = cells[0], cells[2]
        try:
            score = float(cells[4])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise SourceError(f"{location}: field 'score' must be a number, found {cells[4]!r}")
        if (query, document) in seen:
            raise SourceError(f"{location}: names document {document!r} of query {query!r} again")
        seen.add((query, document))
        rows.append((query, document, score))
    fields = {"query_id": pl.String, "document_id": pl.String, "score": pl.Float64}
    given = pl.DataFrame(rows, fields, orient="row")
    rises = pl.col("score").diff().over("query_id") > 0
    ordered = given.sort("query_id", "score", "document_id", descending=[False, True, False])
    ranked = ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("query_id"))
    return Read(ranked.select(RUN.keys()), given.filter(rises)["query_id"].n_unique())


def read_qrels(path: Path) -> pl.DataFrame:
    """query_id, document_id, grade of a file in TREC's layout or in BEIR's, with its header.

    A grade below 0 counts as 0, and of two grades the higher one. Raises SourceError for a
    malformed line.
    """
    if first_line(path).split("\t") == beir.HEADER:
        qrels = Qrels(path, ", ".join(beir.HEADER))
        beir.add(qrels, path, path.stem)
    else:
        qrels = Qrels(path, trec.COLUMNS)
        trec.add(qrels, path)
    judgements = qrels.frame(1, Counter())
    if judgements.is_empty():
        raise SourceError(f"{path}: holds no judgement")
    return (
        judgements.group_by("query_id", document_id="text_id")
        .agg(pl.col("grade").max())
        .sort("query_id", "document_id")
    )
