"""A corpus ranked by words and by pieces of words: the floor of every search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from wellspring.config.vocabulary import Scorer
from wellspring.datasets import lexical
from wellspring.retrieval.ranking import NOTHING, Ranking
from wellspring.retrieval.run import table


def search(
    texts: pl.DataFrame,
    queries: Sequence[str],
    scorers: Sequence[Scorer],
    depth: int,
    **settings: Any,
) -> dict[Scorer, pl.DataFrame]:
    """The best passages of queries by each scorer, as `retrieval.run.table` gives them.

    texts: text_id, side, text; all its passages are the corpus. queries: ids. settings: as in
    `lexical.best`. A passage that shares no term with a query is not found.
    """
    passages = texts.filter(pl.col("side") == "passage").sort("text_id")
    asked = texts.filter(pl.col("side") == "query", pl.col("text_id").is_in(list(queries)))
    asked = asked.sort("text_id")
    found = lexical.best(asked["text"], passages["text"], scorers, depth, **settings)
    return {
        scorer: table(_ranking(lists, depth), asked["text_id"], passages["text_id"])
        for scorer, lists in found.items()
    }


def _ranking(lists: Sequence[lexical.Found], depth: int) -> Ranking:
    documents = np.full((len(lists), depth), NOTHING, np.int64)
    scores = np.full((len(lists), depth), -np.inf, np.float32)
    for query, (rows, values) in enumerate(lists):
        documents[query, : len(rows)], scores[query, : len(rows)] = rows, values
    return Ranking(documents, scores)
