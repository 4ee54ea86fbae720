"""Made-up searches of one dataset: what per-query measures of layers and of words look like."""

import numpy as np
import polars as pl

from wellspring.findings.retrieval import Search, Settings, Words, compare


def metrics(of, means, queries=40, seed=0, measures=("nDCG@10", "R@100"), prefix="q"):
    """A table of measures whose layers or scorers have about these means.

    The noise of a query is the same everywhere, so that differences are paired. Each has a text of
    its own.
    """
    noise = np.random.default_rng(seed).normal(0, 0.1, (len(measures), queries))
    frames = [
        pl.DataFrame(
            {
                of: name,
                "measure": measure,
                "query_id": [f"{prefix}{query:03d}" for query in range(queries)],
                "value": np.clip(mean + noise[index], 0, 1),
                "judged": 0.5,
            }
        )
        for name, mean in means.items()
        for index, measure in enumerate(measures)
    ]
    frame = pl.concat(frames).with_columns(best="value", worst="value", cluster="query_id")
    return frame.select(of, "measure", "query_id", "cluster", "value", "best", "worst", "judged")


def table(own=(0.2, 0.3, 0.5), other=(0.2, 0.25, 0.2), validation=None, terms=None, **settings):
    """The study's table of two retrievers that search one dataset.

    terms: retriever to what it finds by its terms.
    """
    empty = metrics("layer", {0: 0.5}).clear()
    by_terms = terms or {}
    searches = {
        name: Search(
            metrics("layer", dict(enumerate(means)), seed=seed),
            empty if validation is None else metrics("layer", dict(enumerate(validation))),
            metrics("scorer", {"bm25": max(means) + 0.05}, seed=seed),
            metrics("layer", {0: by_terms[name]}, seed=seed).drop("layer")
            if name in by_terms
            else None,
        )
        for seed, (name, means) in enumerate({"tuned": own, "plain": other}.items())
    }
    scorers = metrics("scorer", {"word-tfidf": 0.3, "bm25": 0.4})
    words = Words(scorers, scorers.clear())
    return compare("docs", searches, words, {"tuned": "plain"}, Settings(**settings))
