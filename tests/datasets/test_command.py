"""The commands of the datasets: what they write, what they remember, and what they tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from tests.support.formats import renamed
from tests.support.sampling import argued, foreign
from wellspring import shards, specs
from wellspring.cli import cli
from wellspring.config import SCORERS, Bm25, Negatives, Splits
from wellspring.datasets import lexical


def run(*arguments: object, spec: specs.Spec, log: Path) -> Result:
    words = [*map(str, arguments), "--spec", spec.canonical(), "--log", str(log)]
    return CliRunner().invoke(cli, words)


def made(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.parquet" for name in names]


def read_texts(folder: Path, source: Path, out: Path, **options: object) -> Result:
    spec = specs.TextsSpec(
        dataset="toy", format="beir", files={"": str(source)}, sha256={}, options=options
    )
    return run("texts", *made(out, "texts", "judgements"), spec=spec, log=folder / "texts.log")


def draw_samples(out: Path, log: Path, **negatives: object) -> Result:
    spec = specs.SamplesSpec(
        negatives=Negatives(**negatives), splits=Splits(test=0.3, validation=0.2), bm25=None
    )
    return run("samples", *made(out, "texts", "judgements", "samples"), spec=spec, log=log)


def test_scores_stand_beside_the_samples(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert read_texts(tmp_path, argued(tmp_path / "source"), out).exit_code == 0
    log = tmp_path / "log"
    assert draw_samples(out, log, mined="character-tfidf").exit_code == 0
    spec = specs.LexicalSpec(scorers=list(SCORERS), bm25=Bm25(b=0.75))
    files = made(out, "texts", "samples", "lexical")
    assert run("lexical", *files, spec=spec, log=log).exit_code == 0
    texts, samples, scores = map(pl.read_parquet, files)
    assert scores.columns == ["sample_id", *SCORERS]
    assert scores["sample_id"].equals(samples["sample_id"])
    listed = samples.select("query_id", text_id=pl.concat_list("positive_id", "negative_ids"))
    pairs = listed.explode("text_id")
    expected = lexical.scores(texts, pairs, bm25=Bm25(b=0.75))
    for scorer in SCORERS:
        assert scores[scorer].list.len().eq(5).all()
        assert np.array_equal(scores[scorer].explode().to_numpy(), expected[scorer])
    fewer = specs.LexicalSpec(scorers=["word-tfidf"], bm25=None)
    assert run("lexical", *files, spec=fewer, log=log).exit_code == 0
    assert pl.read_parquet(out / "lexical.parquet").columns == ["sample_id", "word-tfidf"]
    assert json.loads(log.read_text().splitlines()[-1])["device"] == "cpu"


def test_lost_judgements_are_told_and_remembered(tmp_path: Path) -> None:
    out, source = tmp_path / "out", renamed(tmp_path / "source", 2)
    result = read_texts(tmp_path, source, out)
    assert result.exit_code == 0
    told = "2 of 200 judgements (1.0 %) are lost: their passage ids, such as 'CACM-0001'"
    assert told in result.stderr and told in (tmp_path / "texts.log").read_text()
    draw_samples(out, tmp_path / "samples.log", mined="random")
    facts = shards.provenance(out / "samples.parquet").facts
    assert facts["samples"] == 198
    for found in (facts["source"], shards.provenance(out / "texts.parquet").facts):
        assert found["judgements_read"] == 200
        assert found["judgements_of_unknown_passages_dropped"] == 2


def test_too_many_lost_judgements_end_the_step_in_one_line(tmp_path: Path) -> None:
    out, source = tmp_path / "out", renamed(tmp_path / "source", 20)
    result = read_texts(tmp_path, source, out)
    assert result.exit_code != 0
    message = str(result.exception)
    assert "set datasets.toy.lost_judgements (now 0.01) to 0.1 to go on" in message
    assert "\n" not in message and message in (tmp_path / "texts.log").read_text()
    assert not out.exists()
    assert read_texts(tmp_path, source, out, lost_judgements=0.1).exit_code == 0


def test_a_dataset_without_negatives_is_named(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    read_texts(tmp_path, renamed(tmp_path / "source", 0), out)
    result = draw_samples(out, tmp_path / "samples.log")
    assert str(result.exception).startswith(f"{out}/samples.parquet: the source has no hard neg")


@pytest.mark.parametrize("miner", ["bm25", "character-tfidf"])
def test_queries_without_a_negative_are_told(tmp_path: Path, miner: str) -> None:
    texts, judgements = foreign()
    digests = {"query": "a", "passage": "b"}
    for name, frame in (("texts", texts), ("judgements", judgements)):
        identity = {"step": name, "texts": digests, "judgements": "c"}
        path = tmp_path / f"{name}.parquet"
        shards.write(path, frame.to_arrow(), shards.Provenance(identity))
    result = draw_samples(tmp_path, tmp_path / "log", mined=miner, count=2)
    if miner == "bm25":
        assert "bm25 found no negative for 6 of 6 queries" in str(result.exception)
        assert not (tmp_path / "samples.parquet").exists()
    else:
        assert result.exit_code == 0 and result.stderr == ""
        files = [str(tmp_path / f"{name}.parquet") for name in ("texts", "samples", "lexical")]
        spec = specs.LexicalSpec(scorers=SCORERS, bm25=None)
        result = run("lexical", *files, spec=spec, log=tmp_path / "log")
        assert result.exit_code == 0
        for scorer in SCORERS:
            told = f"{scorer} is 0 for every candidate" in result.stderr
            assert told == (scorer in ("bm25", "word-tfidf"))
        silent = shards.provenance(tmp_path / "lexical.parquet").facts["silent"]
        assert [line.split()[0] for line in silent] == ["bm25", "word-tfidf"]
