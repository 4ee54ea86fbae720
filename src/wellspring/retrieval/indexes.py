"""Approximate indexes of a corpus beside exact search of it: what each finds, and what it costs.

A graph that is asked for many documents looks at many, so what the first ten are depends on how
many are asked for. Each measure is therefore taken from a search for as many documents as it looks
at, and a search is timed at each of these depths.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.config.indexes import GraphIndex, ListsIndex
from wellspring.errors import WellspringError
from wellspring.plurals import counted
from wellspring.retrieval import approximate, run
from wellspring.retrieval.approximate import Flat, Graph, Lists, Settings
from wellspring.retrieval.evaluation import evaluate
from wellspring.retrieval.ranking import Ranking
from wellspring.retrieval.search import search

EXACT = "exact"
"""What the index without a structure is called in tables."""
RECALL = 10
"""Recall is told of so many first documents, whatever the measures look at."""
TIMED = 100
"""At most so many queries are timed, evenly spaced among all."""
REPEATS = 5
"""Searches of each of them, of which the median counts."""


@dataclass(frozen=True)
class Tried:
    """An index at one setting, asked for so many documents."""

    index: str
    """How it is built, in words."""
    setting: str | None
    """How far a query looks; None where it always looks at everything."""
    depth: int
    ranking: Ranking
    recall: np.ndarray
    """float64 [queries]: of the first `depth` documents of exact search, the share that is found;
    NaN where that found none."""
    size: int
    """Bytes of the index."""
    seconds: float
    """What building it took."""
    milliseconds: np.ndarray
    """float64 [timed queries], as `approximate.milliseconds` measures them."""


def settings(entry: GraphIndex | ListsIndex, documents: int) -> list[Graph] | list[Lists]:
    """The settings of an entry of the configuration: one index, from the narrowest look on.

    Lists that the entry leaves out are 4 √documents, as in faiss's "Guidelines to choose an index".
    Raises WellspringError where there are more lists than documents.
    """
    if isinstance(entry, GraphIndex):
        return [Graph(entry.m, entry.ef_construction, wide) for wide in entry.ef_search]
    lists = min(documents, round(4 * documents**0.5)) if entry.lists is None else entry.lists
    if lists > documents:
        raise WellspringError(
            f"study.search.indexes: {lists} lists for {documents} passages: name at most "
            f"{documents}, or leave `lists` out"
        )
    return [Lists(lists, probes) for probes in entry.probes]


def depths(measures: Sequence[str], deepest: int) -> dict[int, list[str]]:
    """How many documents are searched for, rising, to the measures that look at so many.

    measures: names that end in @k. No search is for more than the deepest.
    """
    of_depth: dict[int, list[str]] = {min(RECALL, deepest): [], deepest: []}
    for measure in measures:
        cut = int(measure.partition("@")[2])
        of_depth.setdefault(min(cut, deepest), []).append(measure)
    return dict(sorted(of_depth.items()))


def tried(
    queries: np.ndarray,
    corpus: np.ndarray,
    indexes: Sequence[Sequence[Settings]],
    depths: Sequence[int],
) -> Iterator[Tried]:
    """Exact search, then every index at each of its settings; each at every depth.

    queries: float32 [queries, hidden], corpus: float32 [documents, hidden] in the order of ids,
    scored by inner products. indexes: the settings of each; all of one are built alike. One thread
    builds and searches, so the rankings are the same in every run. Only times differ.
    """
    blocks = [(np.arange(len(corpus)), {0: corpus})]
    exact = search({0: queries}, blocks, max(depths))[0]
    chosen = np.unique(np.linspace(0, len(queries) - 1, TIMED).round().astype(int))
    for alike in ([Flat()], *indexes):
        began = time.perf_counter()
        index = approximate.build(corpus, alike[0])
        seconds = time.perf_counter() - began
        size = approximate.size(index)
        for each in alike:
            approximate.adjust(index, each)
            for depth in depths:
                best = Ranking(exact.documents[:, :depth], exact.scores[:, :depth])
                if isinstance(each, Flat):
                    ranking = best
                else:
                    with approximate.threads(1):
                        ranking = approximate.found(index, queries, depth)
                yield Tried(
                    *_named(each),
                    depth,
                    ranking,
                    approximate.recall(ranking, best),
                    size,
                    seconds,
                    approximate.milliseconds(index, queries[chosen], depth, REPEATS),
                )


def judged(
    found: Tried,
    queries: pl.Series,
    documents: pl.Series,
    qrels: pl.DataFrame,
    measures: Sequence[str],
) -> pl.DataFrame:
    """index, setting, depth, bytes, measure, query_id, value: the measures of each query, then its
    recall, `recall@10` at the depth 10.

    queries, documents: ids, as they lie in the ranking. qrels: the columns of `evaluate`'s. The
    measures look at as many documents as were searched for.
    """
    recall = pl.DataFrame(
        {"measure": f"recall@{found.depth}", "query_id": queries, "value": found.recall}
    ).fill_nan(None)
    parts = [recall]
    if measures:
        values = evaluate(run.table(found.ranking, queries, documents), qrels, measures)
        parts.insert(0, values.select(recall.columns))
    return pl.concat(parts).select(
        pl.lit(found.index).alias("index"),
        pl.lit(found.setting, pl.String).alias("setting"),
        pl.lit(found.depth, pl.Int64).alias("depth"),
        pl.lit(found.size, pl.Int64).alias("bytes"),
        pl.all(),
    )


def _named(settings: Settings) -> tuple[str, str | None]:
    """How an index is built, and how far a query looks, in words."""
    if isinstance(settings, Graph):
        built = f"graph, m {settings.m}, ef_construction {settings.ef_construction}"
        return built, f"ef_search {settings.ef_search}"
    if isinstance(settings, Lists):
        return counted(settings.lists, "list"), counted(settings.probes, "probe")
    return EXACT, None
