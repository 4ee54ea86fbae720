"""A corpus that is encoded, searched and dropped shard by shard: the same files as one that is
stored, byte for byte, through the real steps."""

from __future__ import annotations

import itertools
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from tests.cli.test_cli import run
from tests.support import checkpoints
from wellspring import shards, specs
from wellspring.artefacts import lookup
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.retrieval import Scan
from wellspring.config import parse
from wellspring.datasets import splits
from wellspring.errors import StaleArtefact, WellspringError

SHARDS, NAMES = 3, ("tiny", "own")
FILES = ("run", "metrics", "validation", "fusion")
# Texts that stand in every shard, whose scores are equal, and some of other lengths.
WORDS = [f"word{number % 7} of {'a long ' * (number % 5)}text" for number in range(100)]
PASSAGES = [(f"p{number:03d}", text) for number, text in enumerate(WORDS)]
QUERIES = [(f"q{number}", f"word{number % 7}") for number in range(9)]


def searched(depth: int = 4, similarity: str = "cosine") -> specs.SearchSpec:
    """The slice of a search; float16 is what an encoder stores."""
    encoder = {"model": "tiny", "pooling": "mean"}
    block = {"retrievers": ["tiny"], "datasets": ["own"], "queries": "all", "depth": depth}
    config = parse(
        {
            "models": {"tiny": {"source": "path:tiny", "architecture": "bert", "layers": 2}},
            "retrievers": {"tiny": {"query": encoder, "similarity": similarity}},
            "datasets": {"own": {"format": "jsonl", "source": "own.jsonl", "shards": SHARDS}},
            "study": {"search": block | {"measures": ["MRR@10", "nDCG@10"]}},
        }
    )
    return specs.search(config, *NAMES)


def described(folder: Path, scale: float = 1.0) -> Path:
    """The model.json of a tiny BERT, whose last normalisation multiplies by a number."""
    checkpoint = checkpoints.bert(folder / "checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.1.output.LayerNorm.weight"))
    weights[name] *= scale
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    spec = specs.ModelSpec(source=f"path:{checkpoint}", architecture="bert", layers=2)
    run("model", folder / "tiny" / "model.json", "--spec", spec.canonical())
    return folder / "tiny" / "model.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Results with texts, judgements, a model, its vectors, and the ranking by words."""
    results, spec = tmp_path_factory.mktemp("scan") / "results", searched()
    rows = [("passage", *row) for row in PASSAGES] + [("query", *row) for row in QUERIES]
    texts = pl.DataFrame(rows, ["side", "text_id", "text"], orient="row")
    texts = texts.select("text_id", "side", "text").sort("side", "text_id")
    said = {"step": "texts", "texts": {"query": "q", "passage": "p"}}
    Texts.write(Texts("own").at(results), texts, shards.Provenance(said, key="k"))
    judged = [(query, f"p{number:03d}", 1, None) for number, (query, _) in enumerate(QUERIES)]
    schema = {"query_id": pl.String, "text_id": pl.String, "grade": pl.Int64, "split": pl.String}
    judgements = pl.DataFrame(judged, schema, orient="row")
    drawn = splits.splits(texts, judgements, spec.rank.qrels.splits)
    said |= {"step": "qrels", "spec": spec.rank.qrels.model_dump(mode="json"), "judgements": "j"}
    table = splits.qrels(texts, judgements, drawn)
    Qrels.write(Qrels("own").at(results), table, shards.Provenance(said, key="k"))
    described(results / "models")
    for side, shard in itertools.product(("query", "passage"), range(SHARDS)):
        own = specs.EmbedSpec(
            encoding=spec.query if side == "query" else spec.passage, shard=shard, shards=SHARDS
        )
        path = EmbeddingShard("tiny", "own", side, shard).at(results)
        run("embed", *model(results), path, "--spec", own.canonical())
    return results


def model(results: Path) -> tuple[Path, Path]:
    return Texts("own").at(results), results / "models" / "tiny" / "model.json"


def given(results: Path) -> tuple[Path, Path]:
    return Texts("own").at(results), Qrels("own").at(results)


def side(results: Path, name: specs.Side) -> tuple[str, Path]:
    return f"--{name}", EmbeddingShard("tiny", "own", name, 0).at(results).parent


def scan(results: Path, folder: Path, spec: specs.SearchSpec, *options: object, shard=0) -> Path:
    """Scan a shard of the corpus into a folder."""
    path = folder / shards.shard_name(shard)
    own = ("--spec", spec.scan(shard).canonical(), *options)
    run("scan", *given(results), model(results)[1], path, *side(results, "query"), *own)
    return path


def search(results: Path, folder: Path, spec: specs.SearchSpec, *options: object) -> None:
    words = folder.parent / "words" / "run.parquet"
    if not words.exists():
        run("rank", *given(results), words, "--spec", spec.rank.canonical())
    own = ("--spec", spec.canonical(), "--key", "a", *options)
    run("search", *given(results), words, folder / "run.parquet", *own)


@pytest.mark.parametrize(("depth", "similarity"), [(4, "cosine"), (4, "dot"), (500, "cosine")])
def test_what_is_dropped_is_found_as_what_is_stored(made, tmp_path, depth, similarity):
    """Some depths end between passages of equal scores, and some behind the last passage."""
    spec = searched(depth, similarity)
    for shard in range(SHARDS):
        path = scan(made, tmp_path / "scans", spec, shard=shard)
        assert shards.provenance(path).facts["texts"] in (33, 34)
    search(made, tmp_path / "kept", spec, *side(made, "query"), *side(made, "passage"))
    search(made, tmp_path / "dropped", spec, "--scans", tmp_path / "scans")

    found = pl.read_parquet(tmp_path / "kept" / "run.parquet")
    ties = found.filter(pl.len().over("layer", "query_id", "score") > 1)
    assert len(ties) > 50 and found["layer"].n_unique() == 3
    for name in FILES:
        kept, dropped = (tmp_path / way / f"{name}.parquet" for way in ("kept", "dropped"))
        assert kept.read_bytes() == dropped.read_bytes(), name


def test_a_part_tells_what_it_holds(made, tmp_path):
    results = tmp_path / "results"
    path = scan(made, Scan(*NAMES, 1).at(results).parent, searched(), shard=1)
    assert path == Scan(*NAMES, 1).at(results)
    stored = shards.provenance(path)
    assert stored.facts == {"queries": 9, "texts": 33, "at_full_length": 0}
    assert stored.identity["weights"].keys() == {"query", "passage"}
    assert lookup.kinds_named("scan") == [Scan]
    layers = next(iter(Scan(*NAMES, 1).sections(results))).rows
    assert [row["layer"] for row in layers] == [0, 1, 2]
    assert {row["passages_max"] for row in layers} == {5}
    assert all(-1 <= row["score_min"] < row["score_max"] <= 1.001 for row in layers)


def test_parts_that_are_not_of_one_search_are_refused(made, tmp_path):
    spec = searched()
    paths = [scan(made, tmp_path / "scans", spec, shard=shard) for shard in range(SHARDS)]
    with pytest.raises(StaleArtefact, match=r"shard-000\.parquet: its spec is not the one .*depth"):
        search(made, tmp_path / "deeper", searched(depth=5), "--scans", tmp_path / "scans")
    stored = shards.provenance(paths[1])
    foreign = stored.standing_for(weights=stored.identity["weights"] | {"passage": "other"})
    shards.write(paths[1], shards.read(paths[1]), foreign)
    with pytest.raises(StaleArtefact, match=r"shard-001\.parquet: its weights is not .*passage"):
        search(made, tmp_path / "mixed", spec, "--scans", tmp_path / "scans")
    paths[1].unlink()
    with pytest.raises(StaleArtefact, match=r"shard-001\.parquet: does not exist; make it again"):
        search(made, tmp_path / "less", spec, "--scans", tmp_path / "scans")
    with pytest.raises(SystemExit):
        search(made, tmp_path / "both", spec, "--scans", tmp_path, *side(made, "query"))


def test_what_cannot_be_encoded_is_one_line(made, tmp_path):
    spec, out = searched(), tmp_path / "shard-000.parquet"
    own = ("--spec", spec.scan(0).canonical(), *side(made, "query"))
    with pytest.raises(StaleArtefact, match=r"model\.json: cannot be read .*--forcerun"):
        run("scan", *given(made), tmp_path / "model.json", out, *own)
    for scale, message in (
        (1e7, "text p.* or a neighbour: a vector does not fit float16: set the encoder's storage"),
        (float("nan"), "a vector is not finite: set the encoder's dtype: float32"),
    ):
        with pytest.raises(WellspringError, match=message):
            description = described(tmp_path / str(scale), scale)
            run("scan", *given(made), description, out, *own)
    assert not out.exists()
