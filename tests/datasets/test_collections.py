"""Collections in archives and in files by themselves: the same as in a folder, and what is bad."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.support.formats import check, doc, folder, query, refused, source, write
from wellspring.datasets import archives, beir, ir_datasets, trec
from wellspring.datasets.records import Records

Shared = Callable[[str], Path]

CORPUS = [doc("d1", "one", "Title"), doc("d2", "two"), doc("d3", "three"), doc("d4", "four")]
QUERIES = [query("q1", "what"), query("q2", "who")]
TRAIN = [("q1", "d1", 2), ("q1", "d2", 0)]
TEST = [("q2", "d3", 1), ("q2", "d4", 0)]


def planted(path: Path) -> Path:
    return folder(path, CORPUS, QUERIES, train=TRAIN, test=TEST)


def zipped(path: Path, contents: Path, below: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(contents.rglob("*")):
            if file.is_file():
                archive.write(file, f"{below}{file.relative_to(contents)}")
    return path


def tarred(path: Path, contents: Path, below: str = "") -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        archive.add(contents, below or ".")
    return path


def same(one: Records, other: Records) -> None:
    check(one)
    assert one.texts.equals(other.texts)
    assert one.judgements.equals(other.judgements)
    assert one.counts == other.counts


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.zip", zipped), ("a.tar.gz", tarred), ("a.tgz", tarred), ("a.tar", tarred)],
)
@pytest.mark.parametrize("below", ["", "scifact/"])
def test_an_archive_is_read_as_its_folder(
    tmp_path: Path, name: str, pack: Callable[..., Path], below: str
) -> None:
    plain = planted(tmp_path / "plain")
    # What macOS adds to archives looks like files of the collection.
    write(plain / "__MACOSX" / "corpus.jsonl", "junk")
    write(plain / "qrels" / "._test.tsv", "junk")
    packed = pack(tmp_path / name, plain, below)
    (plain / "qrels" / "._test.tsv").unlink()
    same(beir.read(source(packed)), beir.read(source(plain)))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "plain"])


def test_archives_of_real_collections(tmp_path: Path, shared: Shared) -> None:
    plain = shared("data/cranfield")
    expected = beir.read(source(plain))
    same(beir.read(source(zipped(tmp_path / "c.zip", plain, "cranfield/"))), expected)
    same(beir.read(source(tarred(tmp_path / "c.tgz", plain, "cranfield"))), expected)


def test_one_of_several_collections_in_an_archive(tmp_path: Path) -> None:
    planted(tmp_path / "all" / "android")
    folder(tmp_path / "all" / "gis", CORPUS[:2], QUERIES[:1], test=TRAIN)
    packed = zipped(tmp_path / "a.zip", tmp_path / "all", "cqadupstack/")
    refused(
        beir.read,
        source(packed),
        f"{packed}: holds corpus.jsonl or corpus.jsonl.gz or corpus.parquet 2 times, in "
        "cqadupstack/android, cqadupstack/gis: name the folder of one with "
        "datasets.planted.inside",
    )
    for name in ("android", "gis"):
        same(
            beir.read(source(packed, inside=f"cqadupstack/{name}")),
            beir.read(source(tmp_path / "all" / name)),
        )
    same(
        beir.read(source(tmp_path / "all", inside="gis")),
        beir.read(source(tmp_path / "all" / "gis")),
    )
    refused(beir.read, source(packed, inside="tex"), "a.zip: holds no corpus.jsonl or", " in tex")


def test_the_test_collection_of_a_tar_and_judgements_beside_it(tmp_path: Path) -> None:
    """As MS MARCO has them: passages and queries in one archive, judgements of TREC elsewhere."""
    write(tmp_path / "all" / "collection.tsv", "d1\tone", "d2\ttwo", "d3\tthree")
    write(tmp_path / "all" / "queries.dev.small.tsv", "q1\twhat", "q3\tnot judged")
    write(tmp_path / "all" / "qrels.dev.small.tsv", "q1\t0\td1\t1")
    packed = tarred(tmp_path / "all.tar.gz", tmp_path / "all")
    options = {"documents": "collection.tsv", "topics": "queries.dev.small.tsv"}
    whole = trec.read(source(packed, **options, qrels="qrels.dev.small.tsv"))
    check(whole)
    assert whole.judgements.rows() == [("q1", "d1", 1, None)]
    assert whole.counts["passages"] == 3
    assert whole.counts["queries_without_judgement_dropped"] == 1
    topics = tmp_path / "2019.tsv.gz"
    topics.write_bytes(gzip.compress(b"q7\twho\nq8\twhen\n"))
    graded = write(
        tmp_path / "2019qrels.txt", "q7 Q0 d1 3", "q7 Q0 d2 0", "q7 Q0 d9 2", "q8 Q0 d3 1"
    )
    parts = {"documents": packed, "topics": topics, "test": graded}
    records = trec.read(source(parts, **options, qrels="qrels.txt", lost_judgements=0.25))
    check(records)
    assert records.judgements.rows() == [
        ("q7", "d1", 3, "test"),
        ("q7", "d2", 0, "test"),
        ("q8", "d3", 1, "test"),
    ]
    assert records.counts["judgements_of_unknown_passages_dropped"] == 1
    assert len(records.warnings) == 1
    related = trec.read(source(parts, **options, qrels="x", lost_judgements=0.25, positive_from=2))
    assert related.counts["queries_without_positive_dropped"] == 1


@pytest.mark.parametrize("scored", [True, False])
def test_files_by_themselves_as_the_hub_has_them(tmp_path: Path, scored: bool) -> None:
    plain = planted(tmp_path / "plain")
    expected = beir.read(source(plain))
    corpus, queries = tmp_path / "corpus.parquet", tmp_path / "queries.jsonl.gz"
    rows = [{"_id": each["_id"], "text": each["text"], "title": each["title"]} for each in CORPUS]
    pl.DataFrame(rows).write_parquet(corpus)
    queries.write_bytes(gzip.compress((plain / "queries.jsonl").read_bytes()))
    names = ["query-id", "corpus-id", "score"]
    judged = {"train": TRAIN, "test": TEST}
    parts: dict[str | None, Path] = {"corpus": corpus, "queries": queries}
    for split, triples in judged.items():
        kept = triples if scored else triples[:1]
        width = 3 if scored else 2
        frame = pl.DataFrame(kept, schema=names, orient="row").select(names[:width])
        parts[split] = tmp_path / f"{split}.parquet"
        frame.write_parquet(parts[split])
    found = beir.read(source(parts))
    check(found)
    if scored:
        # In the order in which the source names its splits.
        every = found.judgements.columns
        assert found.judgements.sort(every).equals(expected.judgements.sort(every))
        assert found.texts.equals(expected.texts)
    else:
        assert found.judgements.rows() == [("q1", "d1", 1, "train"), ("q2", "d3", 1, "test")]


def test_judgements_as_json_lines(tmp_path: Path) -> None:
    plain = planted(tmp_path / "plain")
    lines = [
        {"query-id": q, "corpus-id": d, "score": float(grade)} for q, d, grade in [*TRAIN, *TEST]
    ]
    parts = {
        "corpus": plain / "corpus.jsonl",
        "queries": plain / "queries.jsonl",
        "qrels": write(tmp_path / "qrels.jsonl", *lines),
    }
    records = beir.read(source(parts))
    check(records)
    assert records.judgements.rows() == [(*row, None) for row in [*TRAIN, *TEST]]
    for score, message in ((0.5, "found '0.5'"), (True, "must be a number, found true")):
        write(parts["qrels"], {"query-id": "q1", "corpus-id": "d1", "score": score})
        refused(beir.read, source(parts), f"{parts['qrels']}:1: field 'score'", message)
    refused(
        beir.read,
        source({key: parts[key] for key in ("corpus", "queries")}),
        "dataset planted: source names no judgements: name them qrels, or by split",
    )
    refused(beir.read, source({"corpus": plain, "qrels": plain}), "source names no queries")


def test_judgements_of_some_splits(tmp_path: Path) -> None:
    plain = planted(tmp_path / "plain")
    records = beir.read(source(plain, qrels=["test"]))
    check(records)
    assert records.judgements.rows() == [(*row, "test") for row in TEST]
    assert records.counts["queries_without_judgement_dropped"] == 1
    refused(beir.read, source(plain, qrels=["dev"]), "no qrels of 'dev'; there is test, train")


# Bad archives


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar"])
def test_what_is_no_archive_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    refused(beir.read, source(path), f"{path}: cannot be read as an archive: ")
    path.write_bytes(b"<html>not here</html>" * 100)
    refused(beir.read, source(path), f"{path}: cannot be read as an archive: ")
    path.write_bytes(b"")
    refused(beir.read, source(path), f"{path}: ")


@pytest.mark.parametrize(("name", "pack"), [("a.zip", zipped), ("a.tar.gz", tarred)])
def test_a_damaged_archive_is_one_line(
    tmp_path: Path, name: str, pack: Callable[..., Path]
) -> None:
    rows = [doc(f"d{n}", os.urandom(200).hex()) for n in range(200)]
    plain = folder(tmp_path / "plain", rows, [query("q1")])
    packed = pack(tmp_path / name, plain)
    whole = packed.read_bytes()
    middle = len(whole) // 2
    packed.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    refused(beir.read, source(packed), str(packed))
    packed.write_bytes(whole[:middle])
    refused(beir.read, source(packed), str(packed))


def bomb(path: Path, size: int, pack: Callable[..., Path], packed: bool) -> Path:
    """An archive of a collection whose corpus is `size` bytes of blanks."""
    plain = planted(path.parent / "plain")
    corpus = plain / "corpus.jsonl"
    corpus.write_bytes(b" " * size)
    if packed:
        (plain / "corpus.jsonl.gz").write_bytes(gzip.compress(corpus.read_bytes()))
        corpus.unlink()
    return pack(path, plain)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "pack"), [("a.zip", zipped), ("a.tar.gz", tarred)])
def test_a_bomb_is_refused(
    tmp_path: Path,
    name: str,
    pack: Callable[..., Path],
    packed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "SLACK", 1 << 18)
    path = bomb(tmp_path / name, 8 << 20, pack, packed)
    assert path.stat().st_size < 20_000
    refused(beir.read, source(path), f"unpacks to more than 100 times the size of {name}")
    monkeypatch.setattr(archives, "SLACK", 10 << 20)
    refused(beir.read, source(path), "4 of 4 judgements (100.0 %) are lost")


def test_names_links_and_holes_lead_nowhere(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.jsonl", doc("d1", "secret"))
    packed = tmp_path / "in" / "a.tar"
    packed.parent.mkdir()
    with tarfile.open(packed, "w") as archive:
        for kind, target in ((tarfile.SYMTYPE, secret), (tarfile.LNKTYPE, "other")):
            link = tarfile.TarInfo("corpus.jsonl")
            link.type, link.linkname = kind, str(target)
            archive.addfile(link)
        hole = tarfile.TarInfo("corpus.jsonl")
        hole.type, hole.size = tarfile.GNUTYPE_SPARSE, 0
        archive.addfile(hole)
    assert archives.members(packed) == []
    refused(beir.read, source(packed), f"{packed}: holds no corpus.jsonl")
    climbing = tmp_path / "in" / "b.zip"
    with zipfile.ZipFile(climbing, "w") as archive:
        archive.writestr("../corpus.jsonl", json.dumps(doc("d1", "one")))
        archive.writestr("../queries.jsonl", json.dumps(query("q1")))
        archive.writestr("/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    # They are read from within the archive, and nothing is written.
    assert beir.read(source(climbing)).counts["positives"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"in", "secret.jsonl"}


def test_an_encrypted_archive_is_one_line(tmp_path: Path) -> None:
    packed = zipped(tmp_path / "a.zip", planted(tmp_path / "plain"))
    data = bytearray(packed.read_bytes())
    # The flag of encryption, in the central directory and before each file.
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        start = data.find(mark)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(mark, start + 4)
    packed.write_bytes(bytes(data))
    refused(beir.read, source(packed), f"{packed}/", "cannot be read: ", "encrypted")


# ir_datasets


def test_a_collection_of_ir_datasets_publishes_no_split(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain", CORPUS, QUERIES, all=[*TRAIN, *TEST])
    records = ir_datasets.read(source(zipped(tmp_path / "source.zip", plain)))
    check(records)
    assert records.judgements.rows() == [(*row, None) for row in [*TRAIN, *TEST]]
