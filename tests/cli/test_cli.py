"""Commands as a person types them: errors in one line, kills without a trace, bounded input."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner

from tests.support import checkpoints, forks
from tests.support.paths import ROOT
from wellspring import shards, specs
from wellspring.artefacts.datasets import Qrels
from wellspring.cli import cli
from wellspring.cli.step import Job, logged
from wellspring.config import Splits
from wellspring.errors import WellspringError

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


def parts(path: Path) -> list[Path]:
    """What writers of a file have not finished."""
    return list(path.parent.glob(f".{path.name}.*.part"))


def wait_for(path: Path, size: int = 0) -> float:
    """Wait until a part of a file has so many bytes; gives the time."""
    for _ in range(12_000):
        # A writer may end between the two looks.
        with suppress(FileNotFoundError):
            if any(part.stat().st_size >= size for part in parts(path)):
                return time.monotonic()
        time.sleep(0.005)
    raise AssertionError(f"{path} never came to {size} bytes")


def embed_spec(**changes: object) -> specs.EmbedSpec:
    encoding = {
        "model": "tiny",
        "architecture": "bert",
        "layers": 2,
        "side": "passage",
        "pooling": "mean",
        "template": "{text}",
        "length": 128,
        "normalise": False,
        "dtype": "float32",
        "storage": "float16",
    }
    place = {key: changes.pop(key, default) for key, default in (("shard", 0), ("shards", 1))}
    return specs.EmbedSpec(encoding=specs.EncodingSpec(**(encoding | changes)), **place)


@pytest.fixture
def tiny(tmp_path):
    """The model.json of a tiny BERT."""
    source = f"path:{checkpoints.bert(tmp_path / 'checkpoint')}"
    described = tmp_path / "tiny" / "model.json"
    spec = specs.ModelSpec(source=source, architecture="bert", layers=2)
    run("model", described, "--spec", spec.canonical())
    return described


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(given, expected):
    code = (
        "import atexit, os, sys\nfrom wellspring.cli import main\n"
        "told = lambda: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "atexit.register(told)\nsys.argv = ['', '--version']\nmain()"
    )
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    own = others | ({"OMP_WAIT_POLICY": given} if given else {})
    done = subprocess.run(
        [sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True
    )
    # It is read when torch is loaded.
    assert done.stdout.splitlines()[-1] == f"{expected} False"


def test_an_error_is_one_line_and_status_1(tmp_path):
    done = subprocess.run(
        [*WELLSPRING, "embed", "no.parquet", "no.json", "out", "--spec", "{}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr == "wellspring: --spec: encoding: Field required\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_embedding_job_that_is_killed_leaves_nothing_and_comes_back_the_same(tmp_path, tiny):
    """SIGKILL at six random moments, then a rerun: byte for byte an undisturbed run's shard."""
    texts, out = tmp_path / "texts.parquet", tmp_path / "out" / "shard-000.parquet"
    chance = random.Random(1)
    words = [f"word{number}" for number in range(500)]
    write_texts(texts, [" ".join(chance.choices(words, k=20)) for _ in range(6000)])
    command = [*WELLSPRING, "embed", texts, tiny, out, "--threads", "1"]
    command = [*map(str, command), "--spec", embed_spec().canonical()]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = wait_for(out)
    assert first.wait() == 0
    writing = time.monotonic() - started
    undisturbed = out.read_bytes()
    out.unlink()
    torn = 0
    own = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for attempt in range(6):
        job = forks.start("wellspring", *command[3:], folder=tmp_path, environment=own)
        # Every other kill falls between the first row group and the end.
        wait_for(out, size=100_000 * (attempt % 2))
        time.sleep(chance.uniform(0, 0.1 if attempt % 2 else writing))
        job.send_signal(signal.SIGKILL)
        job.wait()
        left = parts(out)
        torn += any(part.stat().st_size > 100_000 for part in left)
        assert not out.exists() or out.read_bytes() == undisturbed
        for path in (out, *left):
            path.unlink(missing_ok=True)
        if left:
            of_the_dead = left[0]
    assert torn, "no kill hit a half-written file"
    of_the_dead.write_bytes(b"what a killed job leaves")
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == undisturbed
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_shards_cut_a_side_and_give_the_same_vectors(tmp_path, tiny):
    texts = tmp_path / "texts.parquet"
    write_texts(texts, [f"text number {number} " * (number % 7 + 1) for number in range(50)])
    found = {}
    for shards_in_all in (1, 3):
        for shard in range(shards_in_all):
            path = tmp_path / f"{shard}-of-{shards_in_all}.parquet"
            spec = embed_spec(shard=shard, shards=shards_in_all, storage="float32")
            run("embed", texts, tiny, path, "--spec", spec.canonical())
            ids, vectors = shards.read_vectors(path, 2)
            rows = dict(zip(ids, vectors, strict=True))
            assert not rows.keys() & found.get(shards_in_all, {}).keys()
            found.setdefault(shards_in_all, {}).update(rows)
    assert found[1].keys() == found[3].keys() == {f"t{number}" for number in range(50)}
    assert all(abs(found[1][key] - found[3][key]).max() < 1e-5 for key in found[1])


def test_an_empty_text_and_a_megabyte_are_embedded(tmp_path, tiny):
    texts, out = tmp_path / "texts.parquet", tmp_path / "shard.parquet"
    write_texts(texts, ["", "a " * 500_000, "plain"])
    run("embed", texts, tiny, out, "--spec", embed_spec().canonical())
    assert sorted(shards.read_vectors(out, 0)[0]) == ["t0", "t1", "t2"]
    assert shards.provenance(out).facts["at_full_length"] == 1


def test_weights_that_changed_behind_the_description_are_refused(tmp_path, tiny):
    texts = tmp_path / "texts.parquet"
    write_texts(texts, ["a"])
    weights = tmp_path / "checkpoint" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    spec = embed_spec().canonical()
    with pytest.raises(
        shards.StaleArtefact,
        match=r"model\.safetensors: is not the file that .*model\.json describes; .*--forcerun",
    ):
        run("embed", texts, tiny, tmp_path / "out.parquet", "--spec", spec)
    other = embed_spec(layers=3).canonical()
    with pytest.raises(shards.StaleArtefact, match="describes another model"):
        run("embed", texts, tiny, tmp_path / "out.parquet", "--spec", other)


def test_an_artefact_opens_in_three_lines(tmp_path, tiny):
    texts, out = tmp_path / "texts.parquet", tmp_path / "shard.parquet"
    write_texts(texts, ["one", "two"])
    run("embed", texts, tiny, out, "--spec", embed_spec().canonical())
    frame = pl.read_parquet(out)
    assert frame.columns == ["text_id", "layer_00", "layer_01", "layer_02"]
    assert frame["layer_02"].to_numpy().shape == (2, 32)


@contextmanager
def opened(log: Path) -> Iterator[Job]:
    """A job with this log."""
    spec = specs.QrelsSpec(splits=Splits()).canonical()
    with logged(log) as stream:
        yield Job(Qrels, spec, None, (), (), stream)


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with (
        pytest.raises(WellspringError, match=r"^/dev/full: cannot be written: No space left"),
        opened(full) as messages,
    ):
        messages.say("first words")
    with (
        pytest.raises(WellspringError, match=r"^/dev/full: cannot be written: No space left"),
        opened(full) as messages,
        messages.track(3, "texts") as progress,
    ):
        progress.advance(3)
    (tmp_path / "file").write_text("")
    log = tmp_path / "file" / "step.log"
    with (
        pytest.raises(WellspringError, match=r"step\.log: cannot be written: File exists$"),
        opened(log),
    ):
        raise AssertionError("the step has begun")


@pytest.mark.parametrize("error", [WellspringError("mend this"), KeyError("a bug")])
def test_a_log_that_cannot_be_written_hides_no_other_error(tmp_path, error):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    for log in (full, tmp_path / "step.log"):
        with pytest.raises(type(error)) as caught, opened(log):
            raise error
        assert caught.value is error
    *above, last = (tmp_path / "step.log").read_text().splitlines()
    assert last == ("error: KeyError: 'a bug'" if above else "error: mend this")
    # A bug leaves its traceback, too.
    assert isinstance(error, WellspringError) or above[0].startswith("Traceback")


def test_a_failed_step_ends_its_log_with_one_line(tmp_path):
    log = tmp_path / "step.log"
    with pytest.raises(ValueError, match="shorter"), opened(log) as messages:
        messages.say("first words")
        raise ValueError("zip() argument 2 is shorter than argument 1\nand more")
    lines = log.read_text().splitlines()
    assert lines[0] == "first words" and lines[1].startswith("Traceback")
    assert lines[-1] == "error: ValueError: zip() argument 2 is shorter than argument 1"
    with pytest.raises(KeyboardInterrupt), opened(log):
        raise KeyboardInterrupt
    assert log.read_text() == "error: KeyboardInterrupt\n"
