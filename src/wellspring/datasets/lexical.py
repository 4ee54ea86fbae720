"""Lexical scorers: how much a passage has in common with a query, and how much that says.

There are two kinds of terms. Words are in lower case, have two characters or more, are not stemmed,
and leave out Lucene's 33 English stop words, or none. In scripts that write no spaces between words
(Han, kana, Thai, Lao, Khmer, Burmese), and in Hangul, which joins particles to words, every two
characters that stand beside each other are a word, and one that stands alone is; so does Lucene's
analyser for Chinese, Japanese and Korean. Pieces are the runs of 2 to 4 characters of what lies
between white space, with a space on either side: they also match inflected or misspelt words, and
languages that write no spaces. There are two ways to weigh them: BM25 in Lucene's variant (no
factor k₁ + 1; an idf that cannot be negative: Kamphuis et al. 2020, "Which BM25 do you mean?"), and
the cosine of tf-idf vectors with damped counts (1 + ln tf). The best of the scorers is the floor
that a dense retriever has to pass. scikit-learn counts the terms. Passages are counted a block at a
time, so memory grows with the number of distinct terms and not with the number of passages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from wellspring.config.datasets import BM25, SCORERS, Bm25
from wellspring.config.vocabulary import Scorer, StopWords, Unspaced

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Unit = Literal["words", "characters"]
Found = tuple[np.ndarray, np.ndarray]
"""Rows of passages and their float32 scores, the best first."""
UNITS: dict[str, Unit] = {
    "bm25": "words",
    "word-tfidf": "words",
    "character-tfidf": "characters",
    "character-bm25": "characters",
}
# Anserini's settings for passages.
ANSERINI = Bm25()
STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
).split()
# Thai and Lao (0e00), Burmese (1000), Hangul letters (1100), Khmer (1780), kana and
# Bopomofo (3040), Han (3400, 4e00, f900, from 20000), Hangul (ac00), narrow kana (ff66): with
# vowel signs, which belong to the run, and without punctuation.
UNSPACED = (
    "\u0e00-\u0e4e\u0e50-\u0e59\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1100-\u11ff"
    "\u1780-\u17d3\u17dc-\u17ff\u3005\u3040-\u30fa\u30fc-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"
)
WORDS = re.compile(r"\b\w\w+\b")
RUNS = re.compile(rf"([{UNSPACED}]+)|([^\W{UNSPACED}]{{2,}})")
# On the docstrings of the default study, tf-idf over runs of 2 to 4, 3 to 5 or 4 characters, inside
# words or across white space, is right for .713 to .728 (N = 2) and .549 to .565 (N = 5) of the
# validation samples: within a standard error (.018, .025). Of those that find words of two letters
# where no spaces are written, these have the fewest distinct terms.
PIECES = (2, 4)
# How many are in memory at a time, so that it does not grow with the number of passages or queries.
PAIRS_HELD = 1 << 13
PASSAGES_HELD = 1 << 13
SCORES_HELD = 1 << 24


def scores(
    texts: pl.DataFrame,
    pairs: pl.DataFrame,
    scorers: Sequence[Scorer] = SCORERS,
    bm25: Bm25 = ANSERINI,
    stop_words: StopWords = "english",
    unspaced: Unspaced = "pairs",
) -> dict[Scorer, np.ndarray]:
    """Each scorer's score of every pair, float32 of shape (pairs,); 0 where no term is shared.

    texts: text_id, side, text; all its passages are the corpus that idf and mean length are taken
    from. pairs: query_id, text_id, both in texts. A word counts as often as a query repeats it.
    Equal texts get equal scores, bit for bit. The order of the rows of `texts` changes nothing.
    """
    passages = texts.filter(pl.col("side") == "passage").sort("text_id")
    queries = texts.filter(pl.col("side") == "query").join(
        pairs, left_on="text_id", right_on="query_id", how="semi"
    )
    rows = (
        pairs.with_row_index("pair")
        .join(queries.select(query_id="text_id").with_row_index("query"), on="query_id")
        .join(passages.select("text_id").with_row_index("passage"), on="text_id")
        .sort("passage", "pair")
    )
    by_scorer: dict[Scorer, np.ndarray] = {
        scorer: np.zeros(len(pairs), np.float32) for scorer in scorers
    }
    units: dict[Unit, None] = dict.fromkeys(UNITS[scorer] for scorer in scorers)
    for unit in units:
        terms = Terms(passages["text"], unit, stop_words, unspaced)
        counts = terms.counts(queries["text"])
        asked: dict[Scorer, csr_array] = {
            scorer: query_weights(counts, terms, scorer)
            for scorer in scorers
            if UNITS[scorer] == unit
        }
        for part in rows.iter_slices(PAIRS_HELD):
            distinct, index = np.unique(part["passage"].to_numpy(), return_inverse=True)
            counts = terms.counts(passages["text"].gather(distinct))
            for scorer, weights in asked.items():
                known = passage_weights(counts, terms, scorer, bm25)
                shared = weights[part["query"].to_numpy()].multiply(known[index])
                by_scorer[scorer][part["pair"].to_numpy()] = shared.sum(axis=1)
    return by_scorer


def best(
    queries: pl.Series,
    passages: pl.Series,
    scorers: Sequence[Scorer],
    depth: int,
    bm25: Bm25 = ANSERINI,
    stop_words: StopWords = "english",
    unspaced: Unspaced = "pairs",
    barred: Mapping[int, Sequence[int]] | None = None,
) -> dict[Scorer, list[Found]]:
    """The `depth` best passages of each query by each scorer, from a block of passages at a time.

    barred: row of a query to rows of passages that it must not find. A scorer does not find a
    passage that shares no term with the query; ties go to the passage that comes first.
    """
    nothing = np.empty(0, np.int64), np.empty(0, np.float32)
    found: dict[Scorer, list[Found]] = {scorer: [nothing] * len(queries) for scorer in scorers}
    units: dict[Unit, None] = dict.fromkeys(UNITS[scorer] for scorer in scorers)
    for unit in units:
        terms = Terms(passages, unit, stop_words, unspaced)
        counts = terms.counts(queries)
        asked: dict[Scorer, csr_array] = {
            scorer: query_weights(counts, terms, scorer)
            for scorer in scorers
            if UNITS[scorer] == unit
        }
        for start in range(0, len(passages), PASSAGES_HELD):
            counts = terms.counts(passages[start : start + PASSAGES_HELD])
            for scorer, weights in asked.items():
                block = passage_weights(counts, terms, scorer, bm25)
                for query, rows, values in matches(weights, block):
                    rows = rows + start
                    if barred is not None:
                        allowed = ~np.isin(rows, barred.get(query, ()))
                        rows, values = rows[allowed], values[allowed]
                    earlier, scores = found[scorer][query]
                    found[scorer][query] = _first(
                        np.concatenate([earlier, rows]), np.concatenate([scores, values]), depth
                    )
    return found


def of_samples(
    texts: pl.DataFrame, samples: pl.DataFrame, scorers: Sequence[Scorer], **settings: Any
) -> pl.DataFrame:
    """sample_id, and a list a scorer: its score of the positive, then of each negative.

    texts, settings: as in `scores`. samples: sample_id, query_id, positive_id, negative_ids.
    """
    pairs = samples.select(
        "sample_id", "query_id", text_id=pl.concat_list("positive_id", "negative_ids")
    ).explode("text_id")
    by_scorer = scores(texts, pairs.select("query_id", "text_id"), scorers, **settings)
    return (
        pairs.select("sample_id")
        .with_columns(pl.Series(scorer, values) for scorer, values in by_scorer.items())
        .group_by("sample_id", maintain_order=True)
        .agg(by_scorer.keys())
    )


class Terms:
    """The words of a corpus of passages, or their pieces, and how many passages have each."""

    def __init__(
        self,
        passages: Sequence[str] | pl.Series,
        unit: Unit,
        stop_words: StopWords = "english",
        unspaced: Unspaced = "pairs",
    ) -> None:
        # Imported here: a job that only needs splits need not wait for it.
        from sklearn.feature_extraction.text import CountVectorizer

        dropped = frozenset(STOP_WORDS if stop_words == "english" else ())
        options = {"analyzer": partial(words, stop_words=dropped, unspaced=unspaced)}
        if unit == "characters":
            options = {"analyzer": "char_wb", "ngram_range": PIECES}
        analyse = CountVectorizer(**options).build_analyzer()
        holding: Counter[str] = Counter()
        length = 0
        for passage in passages:
            terms = analyse(passage)
            holding.update(set(terms))
            length += len(terms)
        # scikit-learn takes no empty vocabulary. No text has the empty term.
        vocabulary = sorted(holding) or [""]
        self.passages = len(passages)
        self.mean_length = length / max(1, self.passages)
        """In terms."""
        self.holding = np.array([holding[term] for term in vocabulary])
        """int64 [terms], how many passages have each."""
        columns = {term: column for column, term in enumerate(vocabulary)}
        self._vectorizer = CountVectorizer(**options, vocabulary=columns, dtype=np.float32)

    def counts(self, texts: Sequence[str] | pl.Series) -> csr_array:
        """How often each text has each term of the corpus: float32 [texts, terms]."""
        from scipy.sparse import csr_array

        return csr_array(self._vectorizer.transform(texts))


def words(text: str, stop_words: Collection[str] = (), unspaced: Unspaced = "pairs") -> list[str]:
    """The words of a text, in its order, without the stop words.

    unspaced: whether runs of scripts that write no spaces are cut into pairs of neighbouring
    characters.
    """
    if unspaced == "runs":
        return [word for word in WORDS.findall(text.lower()) if word not in stop_words]
    terms = []
    for run, word in RUNS.findall(text.lower()):
        if word:
            terms += [] if word in stop_words else [word]
        elif len(run) == 1:
            terms.append(run)
        else:
            terms += map("".join, pairwise(run))
    return terms


def silent(scores: Mapping[Scorer, np.ndarray]) -> list[str]:
    """What to tell a user about scorers that give every pair 0, a line each."""
    lines = []
    for scorer, values in scores.items():
        if len(values) and not values.any():
            terms = "words" if UNITS[scorer] == "words" else "pieces of words"
            lines.append(
                f"{scorer} is 0 for every candidate: no query shares {terms} with its passages, so "
                "this control says nothing here (are the two sides in one language?)"
            )
    return lines


def query_weights(counts: csr_array, terms: Terms, scorer: Scorer) -> csr_array:
    """The weights of the terms of queries, from their counts: float32 [queries, terms]."""
    return counts if scorer in BM25 else _tfidf(counts, terms)


def passage_weights(
    counts: csr_array, terms: Terms, scorer: Scorer, bm25: Bm25 = ANSERINI
) -> csr_array:
    """The weights of the terms of passages; a score is their product with a query's weights."""
    if scorer not in BM25:
        return _tfidf(counts, terms)
    idf = np.log1p((terms.passages - terms.holding + 0.5) / (terms.holding + 0.5))
    norms = bm25.k1 * (1 - bm25.b + bm25.b * counts.sum(axis=1) / max(1e-9, terms.mean_length))
    row_norms = np.repeat(norms, np.diff(counts.indptr))
    return _weighed(counts, idf[counts.indices] * counts.data / (counts.data + row_norms))


def matches(
    queries: csr_array, passages: csr_array
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The row of every query, the passages that share a term with it, and their scores, unsorted.

    Both sides are given as weights."""
    postings = passages.T.tocsr()
    block = max(1, SCORES_HELD // max(1, passages.shape[0]))
    for start in range(0, queries.shape[0], block):
        products = queries[start : start + block] @ postings
        for index, (first, last) in enumerate(
            zip(products.indptr[:-1], products.indptr[1:], strict=True)
        ):
            yield start + index, products.indices[first:last], products.data[first:last]


def _first(rows: np.ndarray, scores: np.ndarray, depth: int) -> Found:
    """The `depth` highest scores, highest first, equal ones in the order of their rows."""
    if len(rows) > depth:
        lowest = np.partition(scores, -depth)[-depth]
        rows, scores = rows[scores >= lowest], scores[scores >= lowest]
    order = np.lexsort((rows, -scores))[:depth]
    return rows[order], scores[order]


def _tfidf(counts: csr_array, terms: Terms) -> csr_array:
    """Vectors of length 1, with scikit-learn's smooth idf; zeros where there is no term."""
    idf = np.log((1 + terms.passages) / (1 + terms.holding)) + 1
    weights = _weighed(counts, (1 + np.log(counts.data)) * idf[counts.indices])
    lengths = np.sqrt(weights.multiply(weights).sum(axis=1))
    return _weighed(counts, weights.data / np.repeat(lengths, np.diff(counts.indptr)))


def _weighed(counts: csr_array, data: np.ndarray) -> csr_array:
    """The same terms with other weights."""
    from scipy.sparse import csr_array

    return csr_array((data.astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)
