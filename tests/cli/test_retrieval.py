"""The commands rank and search on a hand-written corpus that its own queries are taken from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tests.cli.test_cli import run
from wellspring import shards, specs
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.retrieval import (
    FusionMetrics,
    LexicalMetrics,
    LexicalRun,
    Run,
    SearchMetrics,
)
from wellspring.cli import scaling
from wellspring.config import parse
from wellspring.datasets import splits

ARGUMENTS = [f"d{number}" for number in range(6)]
PASSAGES = [
    *((name, f"argument {name} is right") for name in ARGUMENTS),
    *((f"e{name}", f"argument {name} has a flaw") for name in ARGUMENTS),
    ("n", "snow falls on the hills"),
]
QUERIES = [
    *((name, f"Argument {name}  is right") for name in ARGUMENTS),
    # It has the id of a passage that is another text.
    ("n", "argument d0 has a flaw"),
    # The same question again.
    ("n2", "argument d0 has a flaw"),
]
# The own passage of d5 is judged relevant.
JUDGED = [*((name, f"e{name}") for name in ARGUMENTS), ("d5", "d5"), ("n", "ed0"), ("n2", "ed1")]
OWN = {(name, name) for name in ARGUMENTS[:5]}
DEPTH = 3


def config():
    return parse(
        {
            "models": {"tiny": {"source": "path:tiny", "architecture": "bert", "layers": 1}},
            "retrievers": {"tiny": {"query": {"model": "tiny", "pooling": "mean"}}},
            "datasets": {"own": {"format": "jsonl", "source": "own.jsonl"}},
            "study": {
                "search": {
                    "retrievers": ["tiny"],
                    "datasets": ["own"],
                    "layers": [0, 1],
                    "queries": "all",
                    "depth": DEPTH,
                    "measures": ["MRR@10", "nDCG@10"],
                }
            },
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The results of both commands."""
    results, settings = tmp_path_factory.mktemp("own") / "results", config()
    spec = specs.search(settings, "tiny", "own")
    rows = [("passage", *row) for row in PASSAGES] + [("query", *row) for row in QUERIES]
    texts = pl.DataFrame(rows, ["side", "text_id", "text"], orient="row")
    texts = texts.select("text_id", "side", "text").sort("side", "text_id")
    digests = {"query": "q", "passage": "p"}
    said = {"step": "texts", "texts": digests}
    Texts.write(Texts("own").at(results), texts, shards.Provenance(said, key="k"))
    schema = {"query_id": pl.String, "text_id": pl.String, "grade": pl.Int64, "split": pl.String}
    judgements = pl.DataFrame([(*pair, 1, None) for pair in JUDGED], schema, orient="row")
    parts = splits.splits(texts, judgements, spec.rank.qrels.splits)
    said = {"step": "qrels", "spec": spec.rank.qrels.model_dump(mode="json"), "texts": digests}
    Qrels.write(
        Qrels("own").at(results),
        splits.qrels(texts, judgements, parts),
        shards.Provenance(said | {"judgements": "j"}, key="k"),
    )
    plant(results, texts, spec, digests)
    given = [Texts("own").at(results), Qrels("own").at(results)]
    words, found = LexicalRun("own").at(results), Run("tiny", "own").at(results)
    log = results / "log"
    run("rank", *given, words, "--spec", spec.rank.canonical(), "--log", log / "rank")
    query = EmbeddingShard("tiny", "own", "query", 0).at(results).parent
    passage = EmbeddingShard("tiny", "own", "passage", 0).at(results).parent
    run(
        *("search", *given, words, found, "--query", query, "--passage", passage),
        *("--spec", spec.canonical(), "--log", log / "search"),
    )
    return results


def plant(results: Path, texts: pl.DataFrame, spec: specs.SearchSpec, digests) -> None:
    """Shards: an argument's vector is its query's, and that of its counter is near."""
    draws = np.random.default_rng(0)
    near = {name: draws.normal(size=32).astype(np.float16) for name in ARGUMENTS}
    near |= {f"e{name}": near[name] + np.float16(0.2) for name in ARGUMENTS}
    near["n"] = near["ed0"] + np.float16(0.4)
    for side, encoding in (("passage", spec.passage), ("query", spec.query)):
        ids = texts.filter(side=side)["text_id"].to_list()
        if side == "query":
            near |= {"n": near["ed0"], "n2": near["ed0"]}
        vectors = np.stack([near[name] for name in ids])
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 32)
        table = pa.table({"text_id": ids, "layer_00": column, "layer_01": column})
        whole = specs.EmbedSpec(encoding=encoding, shard=0, shards=spec.shards)
        said = {"step": "embeddings", "spec": whole.model_dump(mode="json"), "weights": "w"}
        path = EmbeddingShard("tiny", "own", side, 0).at(results)
        provenance = shards.Provenance(said | {"texts": digests[side]}, key="k")
        shards.write(path, table, provenance)


@pytest.mark.parametrize("kind", [LexicalRun("own"), Run("tiny", "own")])
def test_a_query_does_not_find_itself(made: Path, kind):
    path = kind.at(made)
    found = type(kind).read(path)

    pairs = set(found["query_id", "document_id"].iter_rows())
    assert not pairs & OWN
    # What is judged relevant stays.
    assert ("d5", "d5") in pairs
    of = found.columns[0]
    places = found.group_by(of, "query_id", maintain_order=True).agg("rank")["rank"].to_list()
    assert all(ranks == list(range(1, len(ranks) + 1)) for ranks in places)
    # The place of the own document is not lost.
    assert max(map(len, places)) == DEPTH
    if kind.rule == "search":
        # Another text under the same id stays, too.
        assert ("n", "n") in pairs
        assert {len(ranks) for ranks in places} == {DEPTH}
    assert shards.provenance(path).facts["own_documents"] == len(OWN)
    log = (made / "log" / kind.rule).read_text()
    assert "5 queries found in the corpus under the same id: left out of what they find" in log


def test_the_counter_is_then_the_first(made: Path):
    for kind in (SearchMetrics("tiny", "own"), FusionMetrics("tiny", "own")):
        metrics = (
            type(kind).read(kind.at(made)).filter(pl.col("query_id") != "n2", measure="MRR@10")
        )
        assert set(metrics["value"]) == {1.0}


def test_queries_with_one_text_are_one_cluster(made: Path):
    """The two ids keep their own judgements and values."""
    for kind in (LexicalMetrics("own"), SearchMetrics("tiny", "own"), FusionMetrics("tiny", "own")):
        metrics = type(kind).read(kind.at(made))
        clusters = dict(metrics["query_id", "cluster"].iter_rows())
        assert clusters == {name: name for name, _ in QUERIES} | {"n2": "n"}

    grid = specs.search(config(), "tiny", "own")
    named = {"retriever": "tiny", "dataset": "own", "search": grid.digest}
    searched = specs.SearchedGrid(**named, measures=grid.rank.measures)
    asked = specs.ScalingSpec.model_construct(measures=["MRR@10"], depths={"tiny": 1})
    values = scaling._searched(made, searched, asked).collect()
    metrics = SearchMetrics.read(SearchMetrics("tiny", "own").at(made))
    two = metrics.filter(pl.col("query_id").is_in(["n", "n2"]), layer=1, measure="MRR@10")
    assert two["value"].n_unique() == 2
    assert values.filter(query_id="n")["value"].to_list() == [two["value"].mean()]
    assert values.height == len(QUERIES) - 1
