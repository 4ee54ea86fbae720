"""Commands as a person types them: errors in one line, kills without a trace, bounded input."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import checkpoints
import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner

from wellspring import shards, specs
from wellspring.cli import cli

WELLSPRING = [sys.executable, "-m", "wellspring"]


def run(*arguments: object) -> None:
    """Call a command in this process; its error comes as an exception."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception


def write_texts(path: Path, texts: list[str]) -> None:
    table = pa.table(
        {
            "text_id": [f"t{number}" for number in range(len(texts))],
            "side": ["passage"] * len(texts),
            "text": texts,
        }
    )
    digests = {"query": "none", "passage": str(len(texts))}
    shards.write(path, table, shards.Provenance({"step": "texts", "texts": digests}))


def embed_spec(source: str, layers: int, **changes: object) -> specs.EmbedSpec:
    spec = {
        "model": specs.ModelSpec(source=source, architecture="bert", layers=layers),
        "side": "passage",
        "pooling": "mean",
        "template": "{text}",
        "length": 128,
        "normalise": False,
        "dtype": "float32",
        "storage": "float16",
        "shard": 0,
        "shards": 1,
    }
    return specs.EmbedSpec(**(spec | changes))


@pytest.fixture
def tiny(tmp_path):
    """A described tiny BERT: its source and its model.json."""
    source = f"path:{checkpoints.bert(tmp_path / 'checkpoint')}"
    described = tmp_path / "tiny" / "model.json"
    run("model", described, "--spec", embed_spec(source, 2).model.canonical())
    return source, described


def test_an_error_is_one_line_and_status_1(tmp_path):
    done = subprocess.run(
        [*WELLSPRING, "embed", "no.parquet", "no.json", "out", "--spec", "{}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr == "wellspring: --spec: model: Field required\n"
    assert list(tmp_path.iterdir()) == []


def test_an_embedding_job_that_is_killed_leaves_nothing_and_comes_back_the_same(tmp_path, tiny):
    """SIGKILL at ten random moments, then a rerun: byte for byte an undisturbed run's shard."""
    source, described = tiny
    texts, out = tmp_path / "texts.parquet", tmp_path / "out" / "shard-000.parquet"
    chance = random.Random(1)
    words = [f"word{number}" for number in range(500)]
    write_texts(texts, [" ".join(chance.choices(words, k=60)) for _ in range(4000)])
    command = [*WELLSPRING, "embed", texts, described, out, "--threads", "1"]
    command = [*map(str, command), "--spec", embed_spec(source, 2).canonical()]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - started
    undisturbed = out.read_bytes()
    out.unlink()
    for _ in range(10):
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 0.95) * whole)
        job.send_signal(signal.SIGKILL)
        job.wait()
        assert not out.exists() or out.read_bytes() == undisturbed
        out.unlink(missing_ok=True)
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == undisturbed
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_shards_cut_a_side_and_give_the_same_vectors(tmp_path, tiny):
    source, described = tiny
    texts = tmp_path / "texts.parquet"
    write_texts(texts, [f"text number {number} " * (number % 7 + 1) for number in range(50)])
    found = {}
    for shards_in_all in (1, 3):
        for shard in range(shards_in_all):
            path = tmp_path / f"{shard}-of-{shards_in_all}.parquet"
            spec = embed_spec(source, 2, shard=shard, shards=shards_in_all, storage="float32")
            run("embed", texts, described, path, "--spec", spec.canonical())
            ids, vectors = shards.read_vectors(path, 2)
            rows = dict(zip(ids, vectors, strict=True))
            assert not rows.keys() & found.get(shards_in_all, {}).keys()
            found.setdefault(shards_in_all, {}).update(rows)
    assert found[1].keys() == found[3].keys() == {f"t{number}" for number in range(50)}
    assert all(abs(found[1][key] - found[3][key]).max() < 1e-5 for key in found[1])


def test_an_empty_text_and_a_megabyte_are_embedded(tmp_path, tiny):
    source, described = tiny
    texts, out = tmp_path / "texts.parquet", tmp_path / "shard.parquet"
    write_texts(texts, ["", "a " * 500_000, "plain"])
    run("embed", texts, described, out, "--spec", embed_spec(source, 2).canonical())
    assert sorted(shards.read_vectors(out, 0)[0]) == ["t0", "t1", "t2"]
    assert shards.provenance(out).facts["at_full_length"] == 1


def test_weights_that_changed_behind_the_description_are_refused(tmp_path, tiny):
    source, described = tiny
    texts = tmp_path / "texts.parquet"
    write_texts(texts, ["a"])
    weights = Path(source.removeprefix("path:")) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    spec = embed_spec(source, 2).canonical()
    with pytest.raises(shards.StaleArtefact, match=r"not those of .*model\.json; make it again"):
        run("embed", texts, described, tmp_path / "out.parquet", "--spec", spec)
    other = embed_spec("path:elsewhere", 2).canonical()
    with pytest.raises(shards.StaleArtefact, match="describes another model"):
        run("embed", texts, described, tmp_path / "out.parquet", "--spec", other)


def test_an_artefact_opens_in_three_lines(tmp_path, tiny):
    source, described = tiny
    texts, out = tmp_path / "texts.parquet", tmp_path / "shard.parquet"
    write_texts(texts, ["one", "two"])
    run("embed", texts, described, out, "--spec", embed_spec(source, 2).canonical())
    frame = pl.read_parquet(out)
    assert frame.columns == ["text_id", "layer_00", "layer_01", "layer_02"]
    assert frame["layer_02"].to_numpy().shape == (2, 32)
