"""Collections of ir_datasets: what is written of one is what it holds, and what cannot be had."""

from __future__ import annotations

import builtins
import hashlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.fetching import BASE, invoke
from tests.support.formats import check, objects_of, source, write
from wellspring.datasets import beir
from wellspring.datasets import ir_datasets as reader
from wellspring.downloads import collections
from wellspring.errors import DownloadError

package = pytest.importorskip(
    "ir_datasets", reason="the optional package ir_datasets is not installed"
)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Any], None]]:
    """Adds a collection to those that the package knows."""
    known = package.registry._registered
    monkeypatch.setattr(package.registry, "_registered", dict(known))
    yield package.registry.register


def local(folder: Path) -> Any:
    """A collection of the package's own readers, of files on this machine."""
    files = (folder / name for name in ("docs.tsv", "queries.tsv", "qrels"))
    return package.create_dataset(*map(str, files))


def ignore(_: int) -> None:
    pass


def test_a_real_collection_is_written_as_it_is(
    tmp_path: Path, shared: Callable[[str], Path], register: Callable[[str, Any], None]
) -> None:
    plain = shared("data/vaswani")
    for name, file in (("docs", "corpus"), ("queries", "queries")):
        rows = objects_of(plain / f"{file}.jsonl")
        write(tmp_path / f"{name}.tsv", *(f"{row['_id']}\t{row['text']}" for row in rows))
    qrels = (plain / "qrels" / "test.tsv").read_text().splitlines()[1:]
    triples = [line.split("\t") for line in qrels]
    write(tmp_path / "qrels", *(f"{q} 0 {d} {grade}" for q, d, grade in triples))
    register("npl", local(tmp_path))
    counted = []
    counts = collections.export("npl", tmp_path / "a.zip", counted.append)
    assert counts == {"documents": 11_429, "queries": 93, "judgements": 2083}
    assert sum(counted) == 11_429 + 93
    found, expected = reader.read(source(tmp_path / "a.zip")), beir.read(source(plain))
    check(found)
    assert found.texts.equals(expected.texts)
    assert found.judgements.drop("split").equals(expected.judgements.drop("split"))
    assert found.judgements["split"].null_count() == 2083


def test_the_same_collection_gives_the_same_bytes(
    tmp_path: Path, register: Callable[[str, Any], None]
) -> None:
    write(tmp_path / "docs.tsv", "d1\tone", "d2\tzwei \u00fc")
    write(tmp_path / "queries.tsv", "q1\twhat")
    write(tmp_path / "qrels", "q1 0 d1 2", "q1 0 d2 -1")
    register("mine/test", local(tmp_path))
    digests = []
    for name in ("a.zip", "b.zip"):
        collections.export("mine/test", tmp_path / name, ignore)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(set(digests)) == 1
    assert zipfile.ZipFile(tmp_path / "a.zip").read("qrels/all.tsv").decode().splitlines() == [
        "query-id\tcorpus-id\tscore",
        "q1\td1\t2",
        "q1\td2\t-1",
    ]
    records = reader.read(source(tmp_path / "a.zip"))
    assert records.counts["negative_grades_raised_to_0"] == 1
    assert records.judgements.rows() == [("q1", "d1", 2, None), ("q1", "d2", 0, None)]


class Titled(NamedTuple):
    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class Plain(NamedTuple):
    doc_id: str
    text: str


class Picture(NamedTuple):
    doc_id: str
    png: bytes


@pytest.mark.parametrize(
    ("row", "text"),
    [(Titled("d", "A title", "words"), "A title words"), (Plain("d", "words"), "words")],
)
def test_what_stands_for_a_text(row: Any, text: str) -> None:
    assert collections._document(row) == f'{{"_id": "d", "text": "{text}"}}\n'


def test_what_has_no_text_is_named() -> None:
    with pytest.raises(DownloadError, match=r"text of its Picture is, which has doc_id, png: w"):
        collections._document(Picture("d", b""))


def test_what_cannot_be_had_is_one_line(
    tmp_path: Path, register: Callable[[str, Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs.tsv", "d1\tone\tmore")
    write(tmp_path / "queries.tsv", "q1\twhat")
    write(tmp_path / "qrels", "q1 0 d1 1")
    register("mine/broken", local(tmp_path))
    register("mine", package.create_dataset(str(tmp_path / "docs.tsv")))
    for name, message in (
        ("mine/broken", "ir_datasets cannot read mine/broken: expected 2 fields, got 3"),
        ("mine/none", "ir_datasets has no collection 'mine/none': https://ir-datasets.com lists"),
        ("mine", "ir_datasets has mine without queries and qrels; mine/broken have all"),
    ):
        with pytest.raises(DownloadError) as caught:
            collections.export(name, tmp_path / "a.zip", ignore)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.zip*"))

    def absent(name: str, *rest: Any) -> Any:
        if name == "ir_datasets":
            raise ImportError(name)
        return imported(name, *rest)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DownloadError, match=r"needs the package .*pip install 'wellspring\[ir-d"):
        collections.export("mine", tmp_path / "a.zip", ignore)


def test_the_command_writes_an_archive(
    tmp_path: Path, register: Callable[[str, Any], None]
) -> None:
    write(tmp_path / "docs.tsv", "d1\tone")
    write(tmp_path / "queries.tsv", "q1\twhat")
    write(tmp_path / "qrels", "q1 0 d1 1")
    register("mine", local(tmp_path))
    path = tmp_path / "source.zip"
    assert invoke(path, {**BASE, "source": "irds:mine"}).exit_code == 0
    assert reader.read(source(path)).counts["positives"] == 1
    error = invoke(tmp_path / "x.zip", {**BASE, "source": "irds:no/such"}).exception
    assert str(error).endswith("https://ir-datasets.com lists them")
