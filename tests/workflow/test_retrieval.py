"""A search from texts to the study's table, on tiny checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.support import checkpoints
from tests.support.study import jobs_by_rule
from wellspring.artefacts.retrieval import (
    FusionMetrics,
    LexicalMetrics,
    Retrieval,
    Run,
    Scan,
    TermRun,
)

TABLE = "results/studies/small/findings/retrieval.parquet"
FIGURE = "results/studies/small/figures/questions/layer-retrieval.png"


def test_a_study_searches(study):
    def edit(config):
        same = {"datasets": ["questions"], "depth": 20}
        config["study"]["search"] = [
            {"retrievers": ["tiny"], **same},
            # Its passages are not stored.
            {"retrievers": ["words"], "keep": False, **same},
        ]
        config["models"]["words"] = {"source": "path:words", "architecture": "bert", "layers": 2}
        config["encoders"]["words"] = {
            **{"model": "words", "pooling": "mean", "passage_length": 32, "top_terms": 50}
        }
        config["retrievers"]["words"] = {"query": "words"}

    checkpoints.make(study.folder / "words", "BertForMaskedLM")
    study.configure(edit)
    study.run(TABLE, FIGURE)

    results = study.folder / "results"
    assert [*results.glob("retrieval/words/questions/scans/*")]
    assert not [*results.glob("embeddings/words/questions/passage/*")]
    found = Retrieval.read(study.folder / TABLE)
    assert set(found["measure"]) == {"nDCG@10", "MRR@10", "R@10", "R@100", "R@1000"}
    assert found.filter(finding="difference")["layer"].unique().to_list() == [0, 1, 2]
    terms = found.filter(ranker="terms")
    assert terms["retriever"].unique().to_list() == ["words"]
    assert [len(terms.filter(finding=name)) for name in ("value", "control")] == [5, 5]
    by_terms = TermRun.read(TermRun("words", "questions").at(results))
    assert by_terms["query_id"].n_unique() == terms["queries"][0]
    run = pl.DataFrame(Run.read(Run("tiny", "questions").at(results)))
    assert run.group_by("layer", "query_id").len()["len"].unique().to_list() == [20]
    assert run.filter(pl.col("score").diff().over("layer", "query_id") > 0).is_empty()
    # A passage repeats its query's number. Words have two characters or more: those find it.
    words = LexicalMetrics.read(LexicalMetrics("questions").at(results))
    texts = pl.read_parquet(results / "datasets/questions/texts.parquet")
    numbered = texts.filter(pl.col("text").str.contains(r"^what is \w+ \d\d$"))["text_id"]
    ranks = words.filter(scorer="bm25", measure="MRR@10")
    ranks = ranks.filter(pl.col("query_id").is_in(numbered.implode()))["value"]
    assert len(ranks) > 10 and (ranks == 1).all()
    fused = FusionMetrics.read(FusionMetrics("tiny", "questions").at(results))
    assert fused["query_id"].n_unique() == run["query_id"].n_unique()

    # A deeper layer is written as a run file and measured: the same numbers.
    study.wellspring("run-file", Run("tiny", "questions").main_file, "tiny.run", "--layer", "1")
    qrels = pl.read_parquet(results / "datasets/questions/qrels.parquet").filter(split="test")
    lines = (f"{q} 0 {d} {g}" for q, d, g in qrels["query_id", "text_id", "grade"].iter_rows())
    (study.folder / "qrels.txt").write_text("\n".join(lines))
    told = study.wellspring("measure", "tiny.run", "qrels.txt", "--measure", "MRR@10").stdout
    stored = found.filter(finding="value", retriever="tiny", layer=1, measure="MRR@10")
    assert f"MRR@10 {stored['estimate'].item():.4f}" in told
    assert study.planned(TABLE, FIGURE) == {}

    # How many terms are kept changes terms alone, and how states are pooled changes vectors alone.
    gathered = {"retrieval": 1, "figure": 1}
    study.configure(lambda c: c["encoders"]["words"].update(top_terms=40))
    assert study.planned(TABLE, FIGURE) == {"weigh": 2, "match": 1, **gathered}
    study.configure(lambda c: c["encoders"]["words"].update(top_terms=50, pooling="cls"))
    # What is searched at every layer is evidence, which cautions below the figure look at.
    told = {"evidence": 1, "cautions": 1}
    again = {"embed": 1, "scan": 1, "search": 1}
    assert study.planned(TABLE, FIGURE) == {**again, **told, **gathered}


@pytest.mark.slow
def test_a_corpus_that_is_not_stored_is_searched_as_one_that_is(study):
    """Whether vectors are stored changes no byte, and makes nothing again."""
    path = study.folder / Run("tiny", "questions").main_file
    files = [path.with_name(f"{name}.parquet") for name in ("run", "metrics", "fusion")]
    passages = study.folder / "results" / "embeddings" / "tiny" / "questions" / "passage"
    shutil.rmtree(passages)

    def edit(config):
        search = {"retrievers": ["tiny"], "datasets": ["questions"], "depth": 20, "keep": False}
        config["study"] = {"name": "small", "search": search}
        config["datasets"]["questions"]["shards"] = 3
        config["retrievers"]["tiny"].pop("compared_with")

    study.configure(edit)
    done = study.run(TABLE)
    assert jobs_by_rule(done.stdout + done.stderr) == {
        **{"embed": 3, "scan": 3, "rank": 1, "search": 1, "retrieval": 1}
    }
    dropped = [file.read_bytes() for file in files]
    assert not passages.exists()

    def keep(value):
        study.configure(lambda config: config["study"]["search"].update(keep=value))

    # Neither the vectors nor all scans are there, and nothing reads them any more.
    Path(study.folder, Scan("tiny", "questions", 1).main_file).unlink()
    keep(True)
    assert study.planned(TABLE) == {}
    left = study.wellspring("clean", "--dry-run").stdout
    assert "tiny/questions/scans/shard-000.parquet" in left
    assert "tiny/questions/query/shard-000.parquet" not in left
    path.unlink()
    keep(False)
    # The scans that are there are not made again.
    assert study.planned(TABLE) == {"scan": 1, "search": 1, "retrieval": 1}
    keep(True)
    study.run(str(path.relative_to(study.folder)))
    assert [file.read_bytes() for file in files] == dropped
    assert len(list(passages.iterdir())) == 3
