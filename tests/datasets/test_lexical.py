"""Lexical scorers against slow loops and other libraries; mined negatives and what they avoid."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import bm25s
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from wellspring.config.datasets import SCORERS, Bm25
from wellspring.config.vocabulary import Miner
from wellspring.datasets import beir, lexical, negatives
from wellspring.datasets.records import Source

STOP_WORDS = set(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with".split()
)
WORDS = ["wing", "lift", "drag", "Flow", "the", "x", "shock42"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


def words(text: str) -> list[str]:
    found = re.findall(r"\b\w\w+\b", text.lower())
    return [word for word in found if word not in STOP_WORDS]


def pieces(text: str) -> list[str]:
    """Runs of 2 to 4 characters of each word between spaces, with a space on either side."""
    padded = [f" {word} " for word in text.lower().split()]
    return [
        word[start : start + size]
        for word in padded
        for size in (2, 3, 4)
        for start in range(len(word) - size + 1)
    ]


def bm25(
    query: str,
    passages: list[str],
    k1: float,
    b: float,
    terms: Callable[[str], list[str]] = words,
) -> list[float]:
    """Lucene's BM25 as its documentation has it, a term of a passage at a time."""
    bags = [Counter(terms(passage)) for passage in passages]
    lengths = [bag.total() for bag in bags]
    mean = sum(lengths) / len(lengths)
    scores = []
    for bag, length in zip(bags, lengths, strict=True):
        score = 0.0
        for term in terms(query):
            holding = sum(term in other for other in bags)
            idf = math.log(1 + (len(bags) - holding + 0.5) / (holding + 0.5))
            if bag[term]:
                score += idf * bag[term] / (bag[term] + k1 * (1 - b + b * length / mean))
        scores.append(score)
    return scores


def tfidf(query: str, passages: list[str], terms: Callable[[str], list[str]]) -> list[float]:
    """The cosine of (1 + ln tf) · idf, a pair of texts at a time."""
    bags = [Counter(terms(passage)) for passage in passages]
    known = set().union(*bags)

    def vector(bag: Counter[str]) -> dict[str, float]:
        idf = {
            term: math.log((1 + len(bags)) / (1 + sum(term in other for other in bags))) + 1
            for term in bag
        }
        return {term: (1 + math.log(bag[term])) * idf[term] for term in bag if term in known}

    asked = vector(Counter(terms(query)))
    scores = []
    for other in map(vector, bags):
        dot = sum(asked[term] * other[term] for term in asked if term in other)
        size = math.hypot(*asked.values()) * math.hypot(*other.values())
        scores.append(dot / size if size else 0.0)
    return scores


def slowly(scorer: str, query: str, passages: list[str], k1: float, b: float) -> list[float]:
    terms = pieces if scorer.startswith("character") else words
    if scorer.endswith("bm25"):
        return bm25(query, passages, k1, b, terms)
    return tfidf(query, passages, terms)


def frame(queries: list[str], passages: list[str]) -> pl.DataFrame:
    rows = [(f"q{n}", "query", text) for n, text in enumerate(queries)]
    rows += [(f"p{n:03}", "passage", text) for n, text in enumerate(passages)]
    return pl.DataFrame(rows, schema=["text_id", "side", "text"], orient="row")


def side(texts: pl.DataFrame, name: str) -> pl.DataFrame:
    return texts.filter(side=name).select("text_id", "text")


def assert_frames(frames: list[pl.DataFrame], expected: list[pl.DataFrame]) -> None:
    assert all(one.equals(other) for one, other in zip(frames, expected, strict=True))


NONE = pl.DataFrame(schema={"query_id": pl.String, "text_id": pl.String})


@given(
    queries=st.lists(TEXTS, min_size=1, max_size=4),
    passages=st.lists(TEXTS, min_size=1, max_size=7),
    k1=st.sampled_from([0.9, 1.5]),
    b=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_scores_are_the_formula(
    queries: list[str], passages: list[str], k1: float, b: float
) -> None:
    texts = frame(queries, passages)
    pairs = (
        side(texts, "query")
        .select(query_id="text_id")
        .join(side(texts, "passage").select("text_id"), how="cross")
    )
    found = lexical.scores(texts, pairs, bm25=Bm25(k1=k1, b=b))
    assert list(found) == list(SCORERS)
    for scorer, scores in found.items():
        assert scores.dtype == np.float32
        expected = [slowly(scorer, query, passages, k1, b) for query in queries]
        np.testing.assert_allclose(scores, np.ravel(expected), rtol=1e-5, atol=1e-6)
    # Equal texts get equal bits: ties show.
    text = dict(texts.select("text_id", "text").iter_rows())
    same = pairs.select(pl.all().replace_strict(text)).with_columns(
        pl.Series(scorer, scores) for scorer, scores in found.items()
    )
    distinct = same.group_by("query_id", "text_id").agg(pl.col(SCORERS).n_unique())
    assert (distinct.select(SCORERS).to_numpy() == 1).all()


def test_scores_are_those_of_other_libraries() -> None:
    random = np.random.default_rng(0)
    vocabulary = ["wings", "winged", "lifting", "drag", "the", "flow-field", "42", "naïve", "Ma"]
    made = [" ".join(random.choice(vocabulary, random.integers(1, 30))) for _ in range(80)]
    queries, passages = made[:20], made[20:]
    texts = frame(queries, passages)
    pairs = side(texts, "query").select(query_id="text_id")
    pairs = pairs.join(side(texts, "passage").select("text_id"), how="cross")
    found = lexical.scores(texts, pairs, bm25=Bm25(k1=1.2, b=0.75))
    analysers = {"bm25": words, "character-bm25": pieces}
    for scorer, analyse in analysers.items():
        index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
        index.index(list(map(analyse, passages)), show_progress=False)
        known = set().union(*map(analyse, passages))
        asked = [[term for term in analyse(query) if term in known] for query in queries]
        expected = [index.get_scores(terms) for terms in asked]
        np.testing.assert_allclose(found[scorer], np.ravel(expected), rtol=1e-4, atol=1e-5)
    for scorer, analyse in {"word-tfidf": words, "character-tfidf": pieces}.items():
        vectorizer = TfidfVectorizer(analyzer=analyse, sublinear_tf=True).fit(passages)
        sides = (vectorizer.transform(texts) for texts in (queries, passages))
        expected = cosine_similarity(*sides)
        np.testing.assert_allclose(found[scorer], expected.ravel(), rtol=1e-4, atol=1e-6)


@given(
    queries=st.lists(TEXTS, min_size=1, max_size=3),
    passages=st.lists(TEXTS.filter(words), min_size=1, max_size=7, unique=True),
    depth=st.integers(1, 8),
    scorer=st.sampled_from(SCORERS),
)
def test_mining_ranks_by_the_formula(
    queries: list[str], passages: list[str], depth: int, scorer: str
) -> None:
    texts = frame(queries, passages)
    mined = negatives.mine(side(texts, "query"), side(texts, "passage"), NONE, scorer, depth)
    for number, query in enumerate(queries):
        found = mined.filter(query_id=f"q{number}")
        scores = np.array(slowly(scorer, query, passages, 0.9, 0.4))
        assert found["rank"].to_list() == list(range(1, found.height + 1))
        assert found.height == min(depth, int((scores > 0).sum()))
        best = np.sort(scores)[::-1][: found.height]
        np.testing.assert_allclose(found["score"], best, rtol=1e-5)
        own = [scores[int(identity[1:])] for identity in found["text_id"]]
        np.testing.assert_allclose(found["score"], own, rtol=1e-5)


def test_pairs_and_queries_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    vocabulary = [f"word{n}" for n in range(40)]
    made = [" ".join(random.choice(vocabulary, 6)) for _ in range(60)]
    texts = frame(made[:25], made[25:])
    pairs = pl.DataFrame(
        {
            "query_id": [f"q{n}" for n in random.integers(0, 25, 70)],
            "text_id": [f"p{n:03}" for n in random.integers(0, 35, 70)],
        }
    )
    shuffled = texts.sample(fraction=1, shuffle=True, seed=1)

    def everything(texts: pl.DataFrame) -> list[pl.DataFrame]:
        sides = side(texts, "query").sort("text_id"), side(texts, "passage").sort("text_id")
        mined = [negatives.mine(*sides, NONE, miner, 5) for miner in get_args(Miner)]
        return [pl.DataFrame(lexical.scores(texts, pairs)), *mined]

    whole = everything(texts)
    assert_frames(everything(shuffled), whole)
    monkeypatch.setattr(lexical, "PAIRS_HELD", 8)
    monkeypatch.setattr(lexical, "PASSAGES_HELD", 4)
    monkeypatch.setattr(lexical, "SCORES_HELD", 3 * 4)
    assert_frames(everything(texts), whole)


def test_a_positive_is_never_mined() -> None:
    passages = [
        "alpha beta gamma",
        "alpha beta",
        "alpha",
        "alpha beta gamma",
        "delta",
        "beta gamma",
    ]
    texts = frame(["alpha beta gamma", "delta"], passages)
    positives = pl.DataFrame({"query_id": ["q0", "q0", "q1"], "text_id": ["p000", "p002", "p004"]})
    mined = negatives.mine(side(texts, "query"), side(texts, "passage"), positives, "bm25", 9)
    # p003 has the text of p000; delta is found by nothing but its own query.
    assert set(mined.filter(query_id="q0")["text_id"]) == {"p001", "p005"}
    assert mined.filter(query_id="q1").is_empty()


def test_of_equal_texts_one_is_mined_and_ties_keep_their_order() -> None:
    passages = ["alpha one", "alpha two", "alpha one", "alpha three", "alpha four five six"]
    texts = frame(["alpha"], passages)
    mined = negatives.mine(side(texts, "query"), side(texts, "passage"), NONE, "bm25", 3)
    assert mined["text_id"].to_list() == ["p000", "p001", "p003"]
    assert mined["score"].n_unique() == 1


def test_random_negatives_are_uniform_and_depend_on_seed_and_query_alone() -> None:
    passages = [f"passage {n}" for n in range(12)]
    texts = frame(["anything"] * 400, passages)
    sides = side(texts, "query"), side(texts, "passage")
    barred = pl.DataFrame({"query_id": [f"q{n}" for n in range(400)], "text_id": "p003"})
    mined = negatives.mine(*sides, barred, "random", 4, 42)
    assert mined.group_by("query_id").agg(pl.col("text_id").n_unique())["text_id"].eq(4).all()
    counts = dict(mined["text_id"].value_counts().iter_rows())
    assert "p003" not in counts and len(counts) == 11
    # Binomial(1600, 1/11): 145 ± 11.5; five deviations.
    assert all(88 < count < 203 for count in counts.values())
    first = mined.filter(rank=1)["text_id"].value_counts()["count"]
    assert first.max() < 36 + 5 * 5.8
    assert mined.equals(negatives.mine(*sides, barred, "random", 4, 42))
    alone = negatives.mine(sides[0][7:8], sides[1], barred, "random", 4, 42)
    assert alone.equals(mined.filter(query_id="q7"))
    other = negatives.mine(*sides, barred, "random", 4, 43)
    assert not other.equals(mined)
    # As many as there are, where the corpus has fewer.
    assert negatives.mine(*sides, barred, "random", 50, 42).height == 400 * 11


@pytest.mark.parametrize("miner", get_args(Miner))
def test_neither_queries_nor_passages_is_no_error(miner: str) -> None:
    texts = frame(["alpha"], ["alpha beta"])
    sides = side(texts, "query"), side(texts, "passage")
    assert negatives.mine(sides[0][:0], sides[1], NONE, miner, 3).is_empty()
    assert negatives.mine(sides[0], sides[1][:0], NONE, miner, 3).is_empty()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("什么是光合作用？", "什么 么是 是光 光合 合作 作用"),
        ("iPhone手机 of x 5G水", "iphone 手机 5g 水"),
        ("東京タワーへ・行く", "東京 京タ タワ ワー ーへ 行く"),
        ("서울에서 나", "서울 울에 에서 나"),
        ("กินข้าว", "กิ ิน นข ข้ ้า าว"),
        ("ភ្នំ។", "ភ្ ្ន នំ"),
        ("The co-operation of Ünïcode, x", "co operation ünïcode"),
    ],
)
def test_words_of_scripts_with_and_without_spaces(text: str, expected: str) -> None:
    assert lexical.words(text, STOP_WORDS) == expected.split()


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_words_are_scikit_learns_where_spaces_are_written(text: str) -> None:
    assert lexical.words(text, STOP_WORDS) == words(text)


@pytest.mark.parametrize("scorer", SCORERS)
def test_what_is_written_without_spaces_is_ranked(scorer: lexical.Scorer) -> None:
    passages = ["光合作用把光能转化为化学能。", "股票市场今天上涨。", "苹果的价格"]
    texts = frame(["什么是光合作用？", "苹果多少钱？"], passages)
    pairs = side(texts, "query").select(query_id="text_id")
    pairs = pairs.join(side(texts, "passage").select("text_id"), how="cross")
    found = lexical.scores(texts, pairs)[scorer]
    assert found.reshape(2, 3).argmax(1).tolist() == [0, 2]


def test_stop_words_may_be_read() -> None:
    texts = frame(["to be or not to be"], ["not to be", "what is a google in math", "the will"])
    pairs = side(texts, "query").select(query_id="text_id")
    pairs = pairs.join(side(texts, "passage").select("text_id"), how="cross")
    english = lexical.scores(texts, pairs)
    every = lexical.scores(texts, pairs, stop_words="none")
    for scorer in ("bm25", "word-tfidf"):
        assert not english[scorer].any()
        assert (every[scorer] > 0).tolist() == [True, False, False]
    for scorer in ("character-bm25", "character-tfidf"):
        np.testing.assert_array_equal(english[scorer], every[scorer])
    lines = lexical.silent(english)
    assert [line.partition(" is 0 for every candidate")[0] for line in lines] == [
        "bm25",
        "word-tfidf",
    ]
    assert lexical.silent(every) == []


def test_mining_finds_nothing() -> None:
    texts = frame(["the", "unknown", ""], ["alpha", "of the"])
    mined = negatives.mine(side(texts, "query"), side(texts, "passage"), NONE, "bm25", 3)
    assert mined.is_empty()
    assert mined.columns == ["query_id", "text_id", "rank", "score"]


def test_bm25_on_cranfield(shared: Callable[[str], Path]) -> None:
    records = beir.read(Source({None: shared("data/cranfield")}, "cranfield"))
    texts = records.texts
    found = negatives.mine(side(texts, "query"), side(texts, "passage"), NONE, "bm25", 10)
    graded = found.join(records.judgements, on=["query_id", "text_id"], how="left").with_columns(
        gain=pl.col("grade").fill_null(0) / (pl.col("rank") + 1).log(2)
    )
    ideal = (
        records.judgements.sort("grade", descending=True)
        .group_by("query_id")
        .head(10)
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("query_id"))
        .with_columns(best=pl.col("grade") / (pl.col("rank") + 1).log(2))
    )
    sums = ideal.group_by("query_id").agg(pl.col("best").sum())
    gains = sums.join(graded.group_by("query_id").agg(pl.col("gain").sum()), on="query_id")
    ndcg = gains.select((pl.col("gain") / pl.col("best")).sum()).item() / 225
    # The figure that is published with this copy for plain BM25 without a stemmer.
    assert ndcg == pytest.approx(0.32, abs=0.015)
