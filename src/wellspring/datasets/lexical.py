"""BM25: which passages share words with a query, and how much that says.

Lucene's variant (no factor k₁ + 1; an idf that cannot be negative: Kamphuis et al. 2020, "Which
BM25 do you mean?"), lower case, words of two characters or more, Lucene's 33 English stop words
left out, no stemmer: a floor that a dense retriever has to pass. bm25s weighs the words; its matrix
is multiplied by scipy, which gives the scores of chosen pairs without those of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Anserini's settings for passages.
K1 = 0.9
B = 0.4
# How many are held at a time, so that memory does not grow with the number of queries.
PAIRS_HELD = 1 << 13
SCORES_HELD = 1 << 24


def scores(texts: pl.DataFrame, pairs: pl.DataFrame, k1: float = K1, b: float = B) -> np.ndarray:
    """The BM25 score of every pair, float32 of shape (pairs,); 0 where no word is shared.

    texts: text_id, side, text; all its passages are the corpus that idf and mean length are taken
    from. pairs: query_id, text_id, both in texts. A word that a query repeats counts so often.
    The order of the rows of `texts` changes nothing.
    """
    passages = texts.filter(pl.col("side") == "passage").sort("text_id")
    queries = texts.filter(pl.col("side") == "query").join(
        pairs, left_on="text_id", right_on="query_id", how="semi"
    )
    index = Index(passages["text"].to_list(), k1, b)
    asked = index.queries(queries["text"].to_list())
    rows = pairs.join(
        queries.select(query_id="text_id").with_row_index("query"),
        on="query_id",
        how="left",
        maintain_order="left",
    ).join(
        passages.select("text_id").with_row_index("passage"),
        on="text_id",
        how="left",
        maintain_order="left",
    )
    return index.pairs(asked, rows["query"].to_numpy(), rows["passage"].to_numpy())


class Index:
    """BM25 over passages, which are known by their place in the list."""

    def __init__(self, passages: list[str], k1: float = K1, b: float = B) -> None:
        # Imported here: a job that only needs splits need not wait for it.
        import bm25s
        from scipy.sparse import csr_array

        tokens = bm25s.tokenize(passages, stopwords="en", show_progress=False)
        self._vocabulary: dict[str, int] = tokens.vocab
        # words × passages
        self._postings = csr_array((len(tokens.vocab), len(passages)), dtype=np.float32)
        if tokens.vocab:
            model = bm25s.BM25(k1=k1, b=b, method="lucene")
            model.index(tokens, show_progress=False, create_empty_token=False)
            columns = (model.scores[name] for name in ("data", "indices", "indptr"))
            self._postings = csr_array(tuple(columns), shape=self._postings.shape)

    def queries(self, texts: list[str]) -> csr_array:
        """How often each text has each word: float32, texts × words of the index."""
        import bm25s
        from scipy.sparse import csr_array

        data, words, starts = [], [], [0]
        tokens = bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)
        for text in tokens:
            known = Counter(self._vocabulary[word] for word in text if word in self._vocabulary)
            # In the order of the words, for sums of float32 depend on theirs.
            words.extend(sorted(known))
            data.extend(known[word] for word in sorted(known))
            starts.append(len(words))
        shape = (len(texts), self._postings.shape[0])
        return csr_array((np.array(data, np.float32), words, starts), shape=shape)

    def pairs(self, queries: csr_array, rows: np.ndarray, passages: np.ndarray) -> np.ndarray:
        """Scores of query `rows[i]` and passage `passages[i]`: float32 of shape (pairs,)."""
        weights = self._postings.T.tocsr()
        result = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), PAIRS_HELD):
            part = slice(start, start + PAIRS_HELD)
            shared = queries[rows[part]].multiply(weights[passages[part]])
            result[part] = shared.sum(axis=1)
        return result

    def matches(self, queries: csr_array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For every query the passages that share a word with it, and their scores, unsorted."""
        held = max(1, SCORES_HELD // self._postings.shape[1])
        for start in range(0, queries.shape[0], held):
            found = queries[start : start + held] @ self._postings
            for first, last in zip(found.indptr[:-1], found.indptr[1:], strict=True):
                yield found.indices[first:last], found.data[first:last]
