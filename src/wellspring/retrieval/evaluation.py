"""How good rankings are, a query and a measure at a time, by ir_measures.

trec_eval sorts by score itself, and among equal scores by falling id. It is given the ranks, so
that a ranking counts as it stands. Where equal scores leave an order open, the best and the worst
one are measured, too: documents with one grade in common may change places at no cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ir_measures
import polars as pl

DEPTH = 10
"""Of this many first documents the share that is judged is told."""
METRICS = {
    "measure": pl.String,
    "query_id": pl.String,
    "value": pl.Float64,
    "best": pl.Float64,
    "worst": pl.Float64,
    "judged": pl.Float64,
}


def evaluate(run: pl.DataFrame, qrels: pl.DataFrame, measures: Sequence[str]) -> pl.DataFrame:
    """The columns of METRICS: each measure of each judged query, sorted by query.

    run: query_id, document_id, score, the best document of a query first; a document once a query.
    qrels: query_id, document_id, grade; from 1 on a document is relevant, and nDCG takes grades as
    gains. measures: names of ir_measures, such as MRR@10. A judged query that the run does not name
    found nothing: its values are 0. A query of the run without a judgement is left out. `best` and
    `worst` are the value in the best and worst order among equal scores, of the documents that the
    run holds. `judged` is the share of the first ten documents that have a judgement.
    """
    graded = run.filter(pl.col("query_id").is_in(qrels["query_id"].implode())).join(
        qrels, on=["query_id", "document_id"], how="left", maintain_order="left"
    )
    judgements = _nested(qrels, "grade")
    values = _calculated(measures, graded, judgements)
    open_queries = _open(graded)
    orders = {}
    for name, descending in (("best", True), ("worst", False)):
        ordered = graded.join(open_queries, on="query_id", how="semi").sort(
            pl.col("query_id"),
            pl.col("score"),
            pl.col("grade").fill_null(0),
            descending=[False, True, descending],
            maintain_order=True,
        )
        some = {query: judgements[query] for query in open_queries["query_id"]}
        orders[name] = _calculated(measures, ordered, some).rename({"value": name})
    judged = (
        graded.group_by("query_id", maintain_order=True)
        .head(DEPTH)
        .group_by("query_id")
        .agg(judged=pl.col("grade").is_not_null().mean())
    )
    keys = ["measure", "query_id"]
    return (
        values.join(orders["best"], on=keys, how="left")
        .join(orders["worst"], on=keys, how="left")
        .join(judged, on="query_id", how="left")
        .with_columns(pl.col("best", "worst").fill_null(pl.col("value")))
        .with_columns(pl.col("judged").fill_null(0))
        .select(*METRICS)
        .sort(pl.col("measure").replace_strict(measures, range(len(measures))), "query_id")
    )


def _open(graded: pl.DataFrame) -> pl.DataFrame:
    """The queries with documents of equal scores and different grades."""
    return (
        graded.group_by("query_id", "score")
        .agg(grades=pl.col("grade").fill_null(0).n_unique())
        .filter(pl.col("grades") > 1)
        .select("query_id")
        .unique()
        .sort("query_id")
    )


def _calculated(
    measures: Sequence[str], run: pl.DataFrame, judgements: Mapping[str, Mapping[str, float]]
) -> pl.DataFrame:
    """measure, query_id, value."""
    names = {ir_measures.parse_measure(name): name for name in measures}
    ranked = run.with_columns(place=-pl.int_range(pl.len()).over("query_id").cast(pl.Float64))
    calculated = (
        ir_measures.iter_calc(list(names), judgements, _nested(ranked, "place"))
        if judgements
        else ()
    )
    rows = [(names[each.measure], each.query_id, float(each.value)) for each in calculated]
    return pl.DataFrame(rows, {name: METRICS[name] for name in list(METRICS)[:3]}, orient="row")


def _nested(frame: pl.DataFrame, value: str) -> dict[str, dict[str, float]]:
    """Query to document to a value, as trec_eval takes them."""
    lists: Iterable[tuple[str, list[str], list[float]]] = (
        frame.select("query_id", "document_id", value)
        .group_by("query_id", maintain_order=True)
        .agg(pl.all())
        .iter_rows()
    )
    return {query: dict(zip(ids, values, strict=True)) for query, ids, values in lists}
