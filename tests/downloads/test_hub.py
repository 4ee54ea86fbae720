"""Checkpoints and datasets of a hub, from a server on this machine that speaks its protocol."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.support.fetching import BASE, BODY, SHA256, names, refused, run, run_many, start
from tests.support.hub import Hub
from wellspring.downloads import repositories
from wellspring.errors import DownloadError


@pytest.fixture
def hub():
    with Hub() as started:
        started.files["facts.json.gz"] = BODY
        yield started


# Checkpoints ---------------------------------------------------------------------------------

WEIGHTS = BODY + BODY[:7]
MODEL = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "sentencepiece.bpe.model": b"pieces",
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS[::-1],
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "pytorch_model.bin": b"a pickle",
    "pytorch_model.bin.index.json": b"{}",
    "training_args.bin": b"a pickle",
    "consolidated.safetensors": b"the same again",
    "tf_model.h5": b"",
    "onnx/model.safetensors": b"x",
    "README.md": b"A model.",
}
CHOSEN = sorted(
    ["config.json", "tokenizer.json", "sentencepiece.bpe.model", "model.safetensors.index.json"]
    + [name for name in MODEL if name.startswith("model-")]
)


def fetched(path: Path) -> dict:
    return json.loads(path.read_text())


def test_what_says_how_texts_are_read_is_fetched_with_the_weights(hub, tmp_path):
    beside = {
        "modules.json": b"[]",
        "config_sentence_transformers.json": b"{}",
        "sentence_bert_config.json": b"{}",
        "1_Pooling/config.json": b"{}",
        "2_Dense/config.json": b"{}",
    }
    more = {"2_Dense/model.safetensors": b"x", "1_A/b/config.json": b"{}", "old/config.json": b"{}"}
    hub.add("group/encoder", MODEL | beside | more)
    path = tmp_path / "encoder" / "fetched.json"
    stale = path.parent / "3_Normalize" / "config.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    spec = {"source": "hub:group/encoder@main"}
    status, messages = run(hub, tmp_path, "fetch", path, spec)
    assert status == 0, messages
    found = (file for file in path.parent.rglob("*") if file.is_file())
    found = sorted(file.relative_to(path.parent).as_posix() for file in found)
    assert found == sorted([*CHOSEN, *beside, "fetched.json"])
    assert sorted(fetched(path)["files"]) == sorted([*CHOSEN, *beside])


def test_a_checkpoint_is_chosen_fetched_checked_and_described(hub, tmp_path):
    commit = hub.add("group/encoder", MODEL, token="secret")
    path = tmp_path / "encoder" / "fetched.json"
    spec = {"source": "hub:group/encoder@main", "sha256": None}
    [line] = refused(hub, tmp_path, [("fetch", path, spec)])
    page = f"{hub.endpoint}/group/encoder"
    assert f"is gated: accept its licence at {page} and set HF_TOKEN" in line
    [line] = refused(hub, tmp_path, [("fetch", path, spec)], HF_TOKEN="another")
    assert "is gated" in line
    assert not path.exists() and not hub.sent

    (path.parent / "model.safetensors").write_bytes(b"of an earlier commit")
    (path.parent / "notes.txt").write_bytes(b"mine")
    status, messages = run(hub, tmp_path, "fetch", path, spec, HF_TOKEN="secret")
    assert status == 0, messages
    assert f"pin it with hub:group/encoder@{commit}" in messages
    assert names(path.parent) == sorted([*CHOSEN, "fetched.json", "notes.txt"])
    assert all((path.parent / name).read_bytes() == MODEL[name] for name in CHOSEN)
    said = fetched(path)
    assert said.pop("circumstances")["code"] and said.pop("facts") == {}
    assert said == {
        "identity": {"step": "fetch", "spec": spec},
        "commit": commit,
        "files": {
            name: {
                "size": len(MODEL[name]),
                "sha256": hashlib.sha256(MODEL[name]).hexdigest(),
            }
            for name in CHOSEN
        },
    }
    assert sum(hub.sent.values()) == sum(len(MODEL[name]) for name in CHOSEN)
    elsewhere = [headers for _, place, headers in hub.requests if place.startswith("/content/")]
    assert elsewhere and not any("Authorization" in headers for headers in elsewhere)


def test_a_cut_or_killed_checkpoint_is_continued(hub, tmp_path):
    commit = hub.add("group/encoder", MODEL)
    spec = {"source": f"hub:group/encoder@{commit}"}
    path, first = tmp_path / "encoder" / "fetched.json", "model-00001-of-00002.safetensors"
    part = path.parent / f".{first}.part"
    hub.fault(first, pause=0.05, times=1)
    with start(hub, tmp_path, "fetch", path, spec) as process:
        while not part.exists() or part.stat().st_size < 500_000:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    held = part.stat().st_size
    assert not path.exists() and not (path.parent / first).exists()
    time.sleep(0.2)
    hub.sent.clear()
    hub.fault("model-00002-of-00002.safetensors", cut=400_000, times=1)
    status, messages = run(hub, tmp_path, "fetch", path, spec)
    assert status == 0, messages
    assert hub.sent[first] == len(WEIGHTS) - held
    assert hub.sent["model-00002-of-00002.safetensors"] == len(WEIGHTS)
    assert "config.json" not in hub.sent
    assert "pin it" not in messages
    assert all((path.parent / name).read_bytes() == MODEL[name] for name in CHOSEN)


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "config.json"])
def test_a_file_that_is_not_the_hubs_is_refused_and_removed(hub, tmp_path, name):
    hub.add("group/encoder", MODEL)
    hub.fault(name, wrong=True)
    path = tmp_path / "encoder" / "fetched.json"
    line = refused_last(hub, tmp_path, path)
    assert name in line or hashlib.sha256(MODEL[name]).hexdigest() in line
    assert "was expected" in line
    assert not path.exists() and not (path.parent / name).exists()
    assert not any(left.startswith(f".{name}") for left in names(path.parent))


def refused_last(hub: Hub, home: Path, path: Path, name: str = "encoder") -> str:
    status, messages = run(hub, home, "fetch", path, {"source": f"hub:group/{name}@main"})
    assert status == 1 and "Traceback" not in messages, messages
    return messages.splitlines()[-1]


def test_pickles_are_fetched_only_where_there_are_no_safetensors(hub, tmp_path):
    files = {name: body for name, body in MODEL.items() if "model-" not in name}
    hub.add("group/encoder", {**files, "pytorch_model.bin": BODY})
    hub.add("group/adapter", {"adapter_config.json": b"{}", "adapter_model.safetensors": BODY})
    for name, weights in (
        ("encoder", "pytorch_model.bin"),
        ("adapter", "adapter_model.safetensors"),
    ):
        path = tmp_path / name / "fetched.json"
        status, messages = run(hub, tmp_path, "fetch", path, {"source": f"hub:group/{name}@main"})
        assert status == 0, messages
        found = [file for file in fetched(path)["files"] if file.endswith((".bin", ".safetensors"))]
        assert found == [weights]
    assert "training_args.bin" not in hub.sent


@pytest.mark.slow
def test_an_adapter_and_its_model_choose_their_weights_each_for_itself(hub, tmp_path):
    model = {"config.json": b"{}", "tokenizer.json": b"{}"}
    adapter = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"adapter"}
    shards = {f"pytorch_model-0000{n}-of-00002.bin": b"shard %d" % n for n in (1, 2)}
    index = {"pytorch_model.bin.index.json": b"{}"}
    weights = {
        "pickled": {"pytorch_model.bin": b"model"},
        "sharded": {**shards, **index},
        "reversed": {"model.safetensors": b"model", "adapter_model.bin": b"adapter"},
    }
    for name, files in weights.items():
        chosen = {**adapter, **model, **files}
        if "adapter_model.bin" in files:
            del chosen["adapter_model.safetensors"]
            left = {"pytorch_model.bin": b"again", **index}
        else:
            left = {"adapter_model.bin": b"again", "model.safetensors.index.json": b"{}"}
        hub.add(f"group/{name}", {**chosen, **left})
        path = tmp_path / name / "fetched.json"
        status, messages = run(hub, tmp_path, "fetch", path, {"source": f"hub:group/{name}@main"})
        assert status == 0, messages
        assert sorted(fetched(path)["files"]) == sorted(chosen)
    # A shard of the adapter does not stand for one of the model.
    first = "pytorch_model-00001-of-00002.bin"
    other = {"adapter_model-00001-of-00002.safetensors": b"adapter", first: shards[first]}
    hub.add("group/half", {**model, **other})
    assert "1 of 2 files of its weights are there" in refused_last(
        hub, tmp_path, tmp_path / "half" / "fetched.json", "half"
    )


def test_what_cannot_be_fetched_is_one_line(hub, tmp_path):
    hub.add("group/encoder", MODEL)
    hub.add("group/card", {"README.md": b"soon", "config.json": b"{}", "training_args.bin": b"x"})
    half = {name: body for name, body in MODEL.items() if "00002-of" not in name}
    hub.add("group/half", half)
    path = tmp_path / "m" / "fetched.json"

    def lines(*sources: str, **more: str) -> list[str]:
        commands = [("fetch", path, {"source": f"hub:group/{source}"}) for source in sources]
        return refused(hub, tmp_path, commands, **more)

    none, revision, card, half = lines("none@main", "encoder@v9", "card@main", "half@main")
    assert f"no such model at {hub.endpoint}, or it is private" in none
    assert "hub:group/encoder@v9: the model has no such revision" in revision
    assert "hub:group/card@main: holds no weights" in card
    assert "1 of 2 files of its weights are there" in half
    [offline] = lines("encoder@main", HF_HUB_OFFLINE="1")
    assert f"is not in the cache ({tmp_path}) and HF_HUB_OFFLINE is set: unset it" in offline
    [nowhere] = lines("encoder@main", HF_ENDPOINT="http://127.0.0.1:1")
    assert "http://127.0.0.1:1 cannot be reached" in nowhere and "HF_ENDPOINT" in nowhere
    assert not path.exists() and not hub.sent


def test_no_space_for_a_checkpoint_is_one_line(hub, tmp_path):
    hub.add("group/encoder", MODEL)
    script = (
        "import shutil, collections\n"
        "shutil.disk_usage = lambda _: collections.namedtuple('u', 'free')(10**6)\n"
        "from wellspring.cli import main\nmain()\n"
    )
    spec = json.dumps({"source": "hub:group/encoder@main"})
    done = subprocess.run(
        [sys.executable, "-c", script, "fetch", str(tmp_path / "m/fetched.json"), "--spec", spec],
        env={**os.environ, **hub.environment(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    needed = sum(len(MODEL[name]) for name in CHOSEN)
    assert f"needs {needed:,} bytes and {tmp_path / 'm'} has 1,000,000 free" in done.stderr
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert not hub.sent


@pytest.mark.slow
def test_what_is_cached_is_linked_and_needs_no_network(hub, tmp_path):
    commit = hub.add("group/encoder", MODEL)
    home = tmp_path / "home"
    script = "import huggingface_hub as h; h.snapshot_download('group/encoder')"
    subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **hub.environment(home)}, check=True
    )
    hub.requests.clear()
    asked = [
        (("commit", commit), {}),
        (("offline", commit), ("branch", "main"), {"HF_HUB_OFFLINE": "1"}),
        (("unreachable", "main"), {"HF_ENDPOINT": "http://127.0.0.1:1"}),
    ]
    for *wanted, more in asked:
        paths = {name: tmp_path / name / "fetched.json" for name, _ in wanted}
        commands = [
            ("fetch", paths[name], {"source": f"hub:group/encoder@{revision}"})
            for name, revision in wanted
        ]
        run_many(hub, home, commands, **more)
        for path in paths.values():
            assert fetched(path)["commit"] == commit
            assert sorted(fetched(path)["files"]) == CHOSEN
            assert all((path.parent / name).read_bytes() == MODEL[name] for name in CHOSEN)
            assert not any((path.parent / name).is_symlink() for name in CHOSEN)
    assert hub.requests == []

    # A cached file that was damaged is not taken, and fetched instead.
    shard = next(home.glob("hub/models--group--encoder/snapshots/*/model-00001*")).resolve()
    shard.unlink()
    shard.write_bytes(WEIGHTS[:-1] + b"?")
    hub.sent.clear()
    path = tmp_path / "mended" / "fetched.json"
    status, messages = run(hub, home, "fetch", path, {"source": "hub:group/encoder@main"})
    assert status == 0, messages
    assert dict(hub.sent) == {"model-00001-of-00002.safetensors": len(WEIGHTS)}


def cache(hub: Hub, home: Path, name: str, *files: str) -> None:
    """Have some files of a repository in the cache as loading a model leaves them there."""
    script = (
        "import sys, huggingface_hub as h\nfor f in sys.argv[2:]: h.hf_hub_download(sys.argv[1], f)"
    )
    environment = {**os.environ, **hub.environment(home)}
    subprocess.run([sys.executable, "-c", script, name, *files], env=environment, check=True)


@pytest.mark.slow
def test_a_model_cached_in_part_is_refused_without_a_network(hub, tmp_path):
    model = {"config.json": b"{}", "model.safetensors": BODY, "vocab.txt": b"a"}
    whole = {**model, "tokenizer_config.json": b"{}"}
    adapter = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}
    hub.add("group/part", whole)
    hub.add("group/whole", whole)
    hub.add("group/adapter", adapter)
    hub.add("group/configured", whole)
    commit = hub.add("group/listed", whole)
    cache(hub, tmp_path, "group/part", *model)
    cache(hub, tmp_path, "group/whole", *whole)
    cache(hub, tmp_path, "group/adapter", *adapter)
    cache(hub, tmp_path, "group/configured", "config.json", "tokenizer_config.json")
    script = (
        "import huggingface_hub as h\n"
        "h.snapshot_download('group/listed', ignore_patterns=['vocab.txt'])"
    )
    environment = {**os.environ, **hub.environment(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    hub.requests.clear()

    sources = ["part@main", "configured@main", "listed@main", f"listed@{commit}"]
    path = tmp_path / "m" / "fetched.json"
    commands = [("fetch", path, {"source": f"hub:group/{source}"}) for source in sources]
    missing = ["tokenizer.json or tokenizer_config.json", "weights", "vocab.txt", "vocab.txt"]
    for more in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:1"}):
        lines = refused(hub, tmp_path, commands, **more)
        for source, lacking, line in zip(sources, missing, lines, strict=True):
            assert f"hub:group/{source}: the cache ({tmp_path}) has a part of it" in line
            assert f"without {lacking}: fetch it once with a network" in line
        assert names(path.parent) == []
        kept = [
            ("fetch", tmp_path / name / str(len(more)) / "fetched.json", {"source": source})
            for name in ("whole", "adapter")
            for source in [f"hub:group/{name}@main"]
        ]
        run_many(hub, tmp_path, kept, **more)
        found = [sorted(fetched(path)["files"]) for _, path, _ in kept]
        assert found == [sorted(whole), sorted(adapter)]
        for _, kept_path, _ in kept:
            kept_path.unlink()
    assert hub.requests == []


@pytest.mark.parametrize("absolute", [False, True])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, absolute):
    outside, folder = tmp_path / "mine.txt", tmp_path / "data" / "files"
    outside.write_bytes(b"mine")
    name = str(outside) if absolute else "a/../../../mine.txt"
    file = repositories.File(9, None, None)
    repository = repositories.Repository("dataset", "group/evil", "main", "0" * 40, {name: file})
    with pytest.raises(DownloadError, match=r"hub:group/evil@main: names a file .*mine\.txt"):
        repositories.obtain(repository, [name], folder, lambda _: nullcontext(lambda _: None))
    assert outside.read_bytes() == b"mine"
    assert not folder.exists()


# Datasets ------------------------------------------------------------------------------------

CARD = b"""---
configs:
- config_name: v1
  data_files:
  - {split: train, path: v1/train-*}
  - {split: test, path: v1/test-*}
- config_name: v2
  data_files: v2/*.parquet
---
"""


def parquet(rows: int, first: int = 0) -> bytes:
    buffer = io.BytesIO()
    numbers = range(first, first + rows)
    frame = pl.DataFrame(
        {"query": [f"query {n}" for n in numbers], "answers": [[n] for n in numbers]}
    )
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def questions(hub) -> str:
    return hub.add(
        "group/questions",
        {
            "README.md": CARD,
            "v1/train-0.parquet": parquet(20_000),
            "v1/train-1.parquet": parquet(5, 20_000),
            "v1/test-0.parquet": parquet(3),
            "v2/train-0.parquet": parquet(9),
        },
        kind="dataset",
    )


def test_a_hub_dataset_becomes_parquet(hub, questions, tmp_path):
    path = tmp_path / "data" / "train.parquet"
    spec = {**BASE, "source": "hub:group/questions@main", "subset": "v1"}
    hub.fault("v1/train-0.parquet", cut=50_000, times=1)
    status, messages = run(hub, tmp_path, "download", path, spec)
    assert status == 0, messages
    assert f"pin it with source: hub:group/questions@{questions}" in messages
    assert names(path.parent) == ["train.parquet"]
    frame = pl.read_parquet(path)
    assert frame["query"].to_list() == [f"query {n}" for n in range(20_005)]
    assert frame["answers"].to_list() == [[n] for n in range(20_005)]
    facts = pq.ParquetFile(path).metadata
    assert [facts.row_group(n).num_rows for n in range(facts.num_row_groups)] == [16_384, 3_621]
    assert "v1/test-0.parquet" not in hub.sent
    assert hub.sent["v1/train-0.parquet"] == len(parquet(20_000))

    lines = b"".join(b'{"query": "q%d", "passages": {"text": ["a", "b"]}}\n' % n for n in range(9))
    commit = hub.add("group/lines", {"train.jsonl": lines}, kind="dataset")
    spec = {**BASE, "source": f"hub:group/lines@{commit}"}
    status, messages = run(hub, tmp_path, "download", path, spec)
    assert status == 0, messages
    assert pl.read_parquet(path)["passages"].to_list() == [{"text": ["a", "b"]}] * 9
    assert hub.unknown == []


@pytest.mark.slow
def test_a_dataset_that_is_not_there_is_one_line_with_what_there_is(hub, questions, tmp_path):
    path = tmp_path / "data" / "train.parquet"

    def lines(*changes: dict, **more: str) -> list[str]:
        spec = {**BASE, "source": "hub:group/questions@main", "subset": "v1"}
        commands = [("download", path, {**spec, **change}) for change in changes]
        return refused(hub, tmp_path, commands, **more)

    none, revision, subset, several, split, pinned = lines(
        {"source": "hub:group/none@main"},
        {"source": "hub:group/questions@v9"},
        {"subset": "v3"},
        {"subset": None},
        {"split": "dev"},
        {"sha256": SHA256},
    )
    assert "no such dataset" in none
    assert "has no such revision" in revision
    assert "has no subset 'v3'; there is v1, v2" in subset
    assert "has several subsets; there is v1, v2" in several
    assert "has no split 'dev'; there is test, train" in split
    assert "leave out sha256 and size" in pinned
    [offline] = lines({}, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline

    hub.add("group/plain", {"train.jsonl": b'{"query": "q"}\n'}, kind="dataset")
    single = CARD.replace(b"- config_name: v2\n  data_files: v2/*.parquet\n", b"")
    hub.add("group/single", {"README.md": single}, kind="dataset")
    plain, unread = lines(
        {"source": "hub:group/plain@main", "subset": None, "split": "test"},
        {"source": "hub:group/single@main", "subset": None},
    )
    assert "has no split 'test'; there is train" in plain
    assert "hub:group/single@main: No (supported) data files found" in unread
    assert not path.exists()


@pytest.mark.slow
def test_a_dataset_cached_at_another_commit_is_refused(hub, questions, tmp_path):
    script = "import datasets; datasets.load_dataset('group/questions', 'v1')"
    environment = {**os.environ, **hub.environment(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
    hub.requests.clear()
    path = tmp_path / "train.parquet"
    spec = {**BASE, "source": f"hub:group/questions@{questions}", "subset": "v1"}
    status, messages = run(hub, tmp_path, "download", path, spec, HF_HUB_OFFLINE="1")
    assert status == 0, messages
    assert pl.read_parquet(path).height == 20_005
    other = {**spec, "source": f"hub:group/questions@{'0' * 40}"}
    status, messages = run(hub, tmp_path, "download", path, other, HF_HUB_OFFLINE="1")
    assert status == 1
    assert f"the cache of datasets holds commit {questions}" in messages.splitlines()[-1]
    assert hub.requests == []
