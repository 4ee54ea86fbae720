"""Runs as tables: which queries are asked, and lists that are fused."""

import polars as pl
import pytest

from wellspring.errors import WellspringError
from wellspring.retrieval.run import asked, chosen, fused


def ranks(*documents):
    return pl.DataFrame(
        {"query_id": "q", "document_id": documents, "rank": range(1, len(documents) + 1)}
    )


def test_fusion_adds_reciprocal_ranks():
    found = fused([ranks("d", "b", "z"), ranks("b", "d")], 3)

    # d and b are first and second, second and first: equal, so the lower id leads.
    assert found["document_id"].to_list() == ["b", "d", "z"]
    assert found["rank"].to_list() == [1, 2, 3]
    assert found["score"].to_list() == pytest.approx([1 / 61 + 1 / 62, 1 / 61 + 1 / 62, 1 / 63])
    assert fused([ranks("d", "b"), ranks("b")], 1)["document_id"].to_list() == ["b"]


QRELS = pl.DataFrame(
    [("test", "a", "a", "x", 1), ("validation", "b", "b", "x", 2), ("train", "c", "c", "y", 0)],
    ["split", "query_id", "cluster", "text_id", "grade"],
    orient="row",
)


def test_validation_queries_choose_where_they_are_not_asked():
    of_test = asked(QRELS, "test")
    assert (of_test.queries, of_test.validation["query_id"].to_list()) == (["a", "b"], ["b"])
    every = asked(QRELS, "all")
    assert (every.queries, len(every.validation)) == (["a", "b", "c"], 0)
    with pytest.raises(WellspringError, match="no query is in the split 'test': choose"):
        asked(QRELS.filter(pl.col("split") != "test"), "test")


def test_the_first_measure_chooses_what_has_the_highest_mean():
    def metrics(*means):
        return pl.DataFrame(
            [
                (layer, measure, query, mean)
                for layer, of_measures in enumerate(means)
                for measure, mean in zip(("first", "second"), of_measures, strict=True)
                for query in ("a", "b")
            ],
            ["layer", "measure", "query_id", "value"],
            orient="row",
        )

    same = metrics((0.6, 0.1), (0.5, 0.9), (0.6, 0.2))
    found = chosen(same, same.clear(), "layer")
    assert (found.name, found.on) == (0, "same queries")
    found = chosen(same, metrics((0.6, 0.9), (0.7, 0.1), (0.1, 0.9)), "layer")
    assert (found.name, found.on) == (1, "validation")
