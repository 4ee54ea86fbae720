"""Indexes beside exact search, on planted neighbours and by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from wellspring.config.indexes import GraphIndex, ListsIndex
from wellspring.errors import WellspringError
from wellspring.retrieval import approximate, indexes
from wellspring.retrieval.approximate import Flat, Graph, Lists
from wellspring.retrieval.ranking import Ranking

GROUPS, EACH, HIDDEN = 30, 20, 16
DEPTHS = (5, 60)


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """A query a group, and the groups' documents around it; all of length 1."""
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((GROUPS, HIDDEN))
    documents = np.repeat(queries, EACH, 0) + 0.3 * rng.standard_normal((GROUPS * EACH, HIDDEN))
    return tuple(
        (each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32)
        for each in (queries, documents)
    )


@pytest.fixture(scope="module")
def tried(planted) -> list[indexes.Tried]:
    lists = [Lists(12, probes) for probes in (1, 3, 12)]
    return list(indexes.tried(*planted, [[Graph(8, 40, 20)], lists], DEPTHS))


def test_every_setting_is_tried_at_every_depth_behind_exact_search(tried):
    assert [(each.index, each.setting, each.depth) for each in tried] == [
        (index, setting, depth)
        for index, setting in (
            ("exact", None),
            ("graph, m 8, ef_construction 40", "ef_search 20"),
            ("12 lists", "1 probe"),
            ("12 lists", "3 probes"),
            ("12 lists", "12 probes"),
        )
        for depth in DEPTHS
    ]


def test_all_lists_find_what_exact_search_finds(tried, planted):
    exact, every = tried[1], tried[-1]
    assert (every.recall == 1).all() and (exact.recall == 1).all()
    np.testing.assert_array_equal(every.ranking.documents, exact.ranking.documents)
    few = [each.recall.mean() for each in tried if each.index == "12 lists" and each.depth == 60]
    assert few[0] < few[1] < few[2] == 1
    # An independent ranking of everything.
    queries, corpus = planted
    order = np.argsort(-(queries.astype(np.float64) @ corpus.T.astype(np.float64)), axis=1)
    np.testing.assert_array_equal(exact.ranking.documents, order[:, :60])


def test_an_index_is_as_large_as_its_parts(tried):
    size = {each.index: each.size for each in tried}
    vectors = 4 * GROUPS * EACH * HIDDEN
    # Lists hold a number for each document, a graph 2 m links of four bytes on its lowest level.
    assert vectors < size["exact"] < vectors + 100
    assert size["12 lists"] == pytest.approx(vectors + 8 * GROUPS * EACH + 4 * 12 * HIDDEN, rel=0.1)
    links = 2 * 8 * 4 * GROUPS * EACH
    assert vectors + links < size["graph, m 8, ef_construction 40"] < vectors + 1.6 * links


def test_times_are_those_of_single_queries(planted):
    queries, corpus = planted
    index = approximate.build(corpus, Flat())
    ticks = iter(
        # Warm-up, then two queries in three repeats: 1, 5 and 2 seconds, and 3, 3 and 9.
        [0, 100, 0, 100, 0, 1, 0, 3, 0, 5, 0, 3, 0, 2, 0, 9]
    )
    taken = approximate.milliseconds(index, queries[:2], 3, 3, ticks.__next__)
    np.testing.assert_array_equal(taken, [2000, 3000])


def test_some_queries_are_timed_and_all_are_searched(planted, monkeypatch):
    monkeypatch.setattr(indexes, "TIMED", 4)
    found = next(indexes.tried(*planted, [], [3]))
    assert len(found.milliseconds) == 4 and (found.milliseconds > 0).all()
    assert found.ranking.documents.shape == (GROUPS, 3)


def test_measures_look_at_what_was_searched_for():
    measures = ["nDCG@10", "R@100", "MRR@10", "R@1000"]
    assert indexes.depths(measures, 1000) == {
        10: ["nDCG@10", "MRR@10"],
        100: ["R@100"],
        1000: ["R@1000"],
    }
    assert indexes.depths(measures, 50) == {10: ["nDCG@10", "MRR@10"], 50: ["R@100", "R@1000"]}
    assert indexes.depths(["P@1"], 5) == {1: ["P@1"], 5: []}


def test_values_by_hand():
    scores = np.array([[3, 2], [3, 2]], np.float32)
    ranking = Ranking(np.array([[1, 0], [2, 1]]), scores)
    found = indexes.Tried(
        "two lists", "1 probe", 2, ranking, np.array([0.5, np.nan]), 77, 0.1, np.ones(2)
    )
    qrels = pl.DataFrame({"query_id": ["a", "b"], "document_id": ["d0", "d9"], "grade": [1, 1]})
    ids = pl.Series(["a", "b"]), pl.Series(["d0", "d1", "d2"])
    table = indexes.judged(found, *ids, qrels, ["MRR@2", "R@2"])
    assert table.select("measure", "query_id", "value").rows() == [
        ("MRR@2", "a", 0.5),
        ("MRR@2", "b", 0),
        ("R@2", "a", 1),
        ("R@2", "b", 0),
        ("recall@2", "a", 0.5),
        ("recall@2", "b", None),
    ]
    assert set(table.select("index", "setting", "depth", "bytes").rows()) == {
        ("two lists", "1 probe", 2, 77)
    }
    # A depth that no measure looks at has recall alone.
    assert set(indexes.judged(found, *ids, qrels, [])["measure"]) == {"recall@2"}


def test_an_entry_is_a_setting_for_each_of_its_looks():
    graph = GraphIndex(kind="graph", m=4, ef_search=[8, 9])
    assert indexes.settings(graph, 50) == [Graph(4, 200, 8), Graph(4, 200, 9)]
    lists = ListsIndex(kind="lists", lists=6, probes=[1, 6])
    assert indexes.settings(lists, 50) == [Lists(6, 1), Lists(6, 6)]
    few = ListsIndex(kind="lists", probes=[2])
    assert indexes.settings(few, 10_000) == [Lists(400, 2)]
    assert indexes.settings(few, 3) == [Lists(3, 2)]
    with pytest.raises(WellspringError, match=r"study\.search\.indexes: 6 lists for 5 passages: "):
        indexes.settings(lists, 5)
