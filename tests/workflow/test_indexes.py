"""Approximate indexes from vectors to the study's table and its figure, on tiny checkpoints."""

from __future__ import annotations

import json

import polars as pl
import pytest

from wellspring.artefacts.indexes import Indexes, IndexMetrics, IndexTimes
from wellspring.artefacts.retrieval import SearchMetrics

TABLE = "results/studies/small/findings/indexes.parquet"
FIGURE = "results/studies/small/figures/questions/indexes.png"


@pytest.mark.slow
def test_a_study_indexes(study):
    search = {
        "retrievers": ["tiny"],
        "datasets": ["questions"],
        "depth": 30,
        "measures": ["nDCG@10", "R@30"],
        "indexes": [
            {"kind": "graph", "m": 4, "ef_construction": 20, "ef_search": [1, 60]},
            {"kind": "lists", "lists": 9, "probes": [1, 9]},
        ],
    }
    study.configure(lambda config: config["study"].update(search=search))
    metrics = SearchMetrics("tiny", "questions").main_file
    study.run(TABLE, FIGURE, metrics)

    results = study.folder / "results"
    own = IndexMetrics("tiny", "questions").at(results)
    values = IndexMetrics.read(own)
    # Exact search is the search of the last layer, and all lists are exact.
    exact = values.filter(index="exact")
    searched = SearchMetrics.read(study.folder / metrics).filter(layer=2)
    for each in (exact, values.filter(setting="9 probes")):
        both = each.join(searched, on=["measure", "query_id"])
        assert len(both) == len(searched) and (both["value"] == both["value_right"]).all()
    recalled = values.filter(pl.col("measure").str.starts_with("recall@"))
    assert set(recalled["measure"]) == {"recall@10", "recall@30"}
    assert (recalled.filter(setting="9 probes")["value"] == 1).all()
    assert recalled.filter(setting="1 probe")["value"].mean() < 1
    assert (exact["documents"][0], exact["hidden"][0]) == (300, 32)

    # The table gathers both retrievers with the times of one query.
    table = Indexes.read(study.folder / TABLE)
    assert set(table["retriever"]) == {"tiny", "fresh"}
    row = table.filter(retriever="tiny", setting="1 probe", measure="R@30")
    value = values.filter(setting="1 probe", measure="R@30")["value"].mean()
    assert row["estimate"].item() == value and row["low"].item() <= value <= row["high"].item()
    assert (table["milliseconds"] > 0).all() and (table["bytes"] > 4 * 300 * 32).all()

    # Times are no part of the key, but a file of them belongs to what was found.
    assert study.planned(TABLE, FIGURE) == {}
    latency = IndexTimes("tiny", "questions").at(results)
    assert json.loads(latency.read_bytes())["facts"]["times"][0]["milliseconds"] > 0
    latency.unlink()
    assert study.planned(TABLE) == {"index": 1, "indexes": 1}
