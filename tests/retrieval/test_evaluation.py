"""Measures of a run: by hand, against trec_eval, and in the orders that equal scores leave open."""

import numpy as np
import polars as pl
import pytest
import pytrec_eval

from wellspring.retrieval.evaluation import evaluate

MEASURES = ["MRR@10", "nDCG@10", "R@10", "R@100", "R@1000"]


def run(**lists):
    rows = [
        (query, document, float(score))
        for query, found in lists.items()
        for document, score in found
    ]
    return pl.DataFrame(rows, ["query_id", "document_id", "score"], orient="row")


def qrels(**grades):
    rows = [(query, text, grade) for query, each in grades.items() for text, grade in each.items()]
    return pl.DataFrame(rows, ["query_id", "document_id", "grade"], orient="row")


def values(table, measure, column="value"):
    rows = table.filter(measure=measure)
    return dict(zip(rows["query_id"], rows[column], strict=True))


def test_a_query_by_hand():
    found = run(q=[("x", 3), ("a", 2), ("b", 1)])

    table = evaluate(found, qrels(q={"a": 2, "b": 0, "c": 1}), MEASURES)

    assert values(table, "MRR@10") == {"q": 1 / 2}
    assert values(table, "R@10") == {"q": 1 / 2}
    assert values(table, "nDCG@10")["q"] == pytest.approx(
        (2 / np.log2(3)) / (2 / np.log2(2) + 1 / np.log2(3))
    )
    assert values(table, "R@10", "judged") == {"q": pytest.approx(2 / 3)}


def test_equal_scores_have_a_best_and_a_worst_order():
    found = run(q=[("x", 2), ("a", 2), ("y", 2)], r=[("x", 2), ("a", 1)])

    table = evaluate(found, qrels(q={"a": 1}, r={"a": 1}), ["MRR@10"])

    assert values(table, "MRR@10") == {"q": 1 / 2, "r": 1 / 2}
    assert values(table, "MRR@10", "best") == {"q": 1, "r": 1 / 2}
    assert values(table, "MRR@10", "worst") == {"q": 1 / 3, "r": 1 / 2}


def test_queries_without_documents_or_judgements():
    found = run(known=[("a", 1)], unjudged=[("a", 1)])

    table = evaluate(found, qrels(known={"a": 1}, lost={"absent": 1}), ["R@10"])

    assert values(table, "R@10") == {"known": 1, "lost": 0}
    assert values(table, "R@10", "judged") == {"known": 1, "lost": 0}


def test_nothing_judged_gives_an_empty_table():
    empty = pl.DataFrame(
        schema={"query_id": pl.String, "document_id": pl.String, "grade": pl.Int64}
    )

    assert evaluate(run(q=[("a", 1)]), empty, ["R@10"]).is_empty()


def test_values_are_those_of_trec_eval():
    draws = np.random.default_rng(0)
    lists = {
        f"q{query}": [
            (f"d{document}", score)
            for document, score in zip(
                draws.permutation(2_000)[:1_000], np.sort(draws.random(1_000))[::-1], strict=True
            )
        ]
        for query in range(20)
    }
    grades = {
        query: {f"d{each}": int(draws.integers(0, 4)) for each in draws.permutation(2_000)[:60]}
        for query in lists
    }

    table = evaluate(run(**lists), qrels(**grades), MEASURES)

    names = {"recip_rank", "ndcg_cut.10", "recall.10,100,1000"}
    judge = pytrec_eval.RelevanceEvaluator(grades, names)
    expected = judge.evaluate({query: dict(found) for query, found in lists.items()})
    for query, by_name in expected.items():
        assert values(table, "nDCG@10")[query] == pytest.approx(by_name["ndcg_cut_10"])
        for depth in (10, 100, 1000):
            assert values(table, f"R@{depth}")[query] == by_name[f"recall_{depth}"]
        reciprocal = by_name["recip_rank"]
        assert values(table, "MRR@10")[query] == (reciprocal if reciprocal >= 0.1 else 0)
