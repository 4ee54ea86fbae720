"""Runs: rankings as tables of ids, which queries are asked, and lists that are fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wellspring.datasets import own as documents
from wellspring.errors import WellspringError
from wellspring.retrieval.ranking import NOTHING, Ranking

FUSION = 60
"""The constant of reciprocal rank fusion."""
VALIDATION, SAME = "validation", "same queries"
"""On which queries something was chosen."""
RUN = {
    "query_id": pl.String,
    "document_id": pl.String,
    "rank": pl.Int64,
    "score": pl.Float32,
}


@dataclass(frozen=True)
class Asked:
    """The judgements of the queries that are asked, and of those that choose."""

    test: pl.DataFrame
    """query_id, cluster, document_id, grade of the queries of the split that is asked."""
    validation: pl.DataFrame
    """The same of the validation queries, as far as they are not asked."""

    @property
    def queries(self) -> list[str]:
        """The ids of all of them, sorted."""
        return sorted({*self.test["query_id"], *self.validation["query_id"]})


def asked(qrels: pl.DataFrame, split: str) -> Asked:
    """The judgements of a split, or of `all`.

    qrels: split, query_id, cluster, text_id, grade. Raises WellspringError where no query is in the
    split.
    """
    test = _judgements(qrels if split == "all" else qrels.filter(pl.col("split") == split))
    if test.is_empty():
        raise WellspringError(
            f"no query is in the split {split!r}: choose another one by study.search.queries"
        )
    validation = _judgements(qrels.filter(pl.col("split") == "validation"))
    return Asked(test, validation.join(test, on="query_id", how="anti"))


def _judgements(qrels: pl.DataFrame) -> pl.DataFrame:
    judgements = qrels.select("query_id", "cluster", "grade", document_id="text_id")
    return judgements.unique().sort("query_id", "document_id")


def table(ranking: Ranking, queries: pl.Series, documents: pl.Series) -> pl.DataFrame:
    """A ranking with ids, the columns of RUN; a query without documents has no row."""
    there = ranking.documents != NOTHING
    query, place = there.nonzero()
    return pl.DataFrame(
        {
            "query_id": queries.gather(query),
            "document_id": documents.gather(ranking.documents[there]),
            "rank": place + 1,
            "score": ranking.scores[there],
        },
        schema_overrides=RUN,
    )


def own(texts: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """query_id, document_id of what a query must not find: itself, where it is a document of the
    corpus, unless that is judged relevant.

    texts: text_id, side, text; at least those of the queries and the passages under their ids.
    """
    judgements = pl.concat([asked.test, asked.validation])
    pairs = documents.own(texts).rename({"text_id": "document_id"})
    keys = ["query_id", "document_id"]
    return pairs.join(judgements, on="query_id", how="semi", maintain_order="left").join(
        judgements.filter(pl.col("grade") > 0), on=keys, how="anti", maintain_order="left"
    )


def without(run: pl.DataFrame, own: pl.DataFrame, depth: int) -> pl.DataFrame:
    """The best `depth` documents of each query that it may find.

    run: the columns of RUN, one place deeper. own: as the function of that name gives it, at most
    one document a query.
    """
    kept = run.join(own, on=["query_id", "document_id"], how="anti", maintain_order="left")
    ranked = kept.with_columns(rank=pl.int_range(1, pl.len() + 1).over("query_id"))
    return ranked.filter(pl.col("rank") <= depth)


def fused(runs: list[pl.DataFrame], depth: int, constant: int = FUSION) -> pl.DataFrame:
    """Reciprocal rank fusion: the best documents of each query by Σ 1 / (constant + rank).

    runs: the columns of RUN. A document that a run does not name gets nothing from it. Equal sums
    lie in the order of ids. Cormack, Clarke & Büttcher (2009), whose constant is 60.
    """
    places = pl.concat(run.select("query_id", "document_id", "rank") for run in runs)
    sums = places.group_by("query_id", "document_id").agg(
        score=(1 / (constant + pl.col("rank").sort())).sum()
    )
    return (
        sums.sort("query_id", "score", "document_id", descending=[False, True, False])
        .group_by("query_id", maintain_order=True)
        .head(depth)
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("query_id"))
        .select(pl.col(name).cast(kind) for name, kind in RUN.items())
    )


@dataclass(frozen=True)
class Chosen:
    """The layer or scorer that was chosen as the best."""

    name: Any
    on: str
    """VALIDATION, or SAME where no other queries were there to choose it."""


def chosen(metrics: pl.DataFrame, validation: pl.DataFrame, of: str) -> Chosen:
    """The layer or scorer with the highest mean of the first measure; the first of equal ones.

    metrics: the column `of`, measure, query_id, value of the queries that judge it, with measures
    in the order of the study. validation: the same of other queries. These choose where there are
    any.
    """
    choosing, on = (metrics, SAME) if validation.is_empty() else (validation, VALIDATION)
    means = (
        choosing.filter(measure=metrics["measure"][0])
        .group_by(of, maintain_order=True)
        .agg(pl.col("value").mean())
    )
    return Chosen(means[of][int(np.argmax(means["value"].to_numpy()))], on)
