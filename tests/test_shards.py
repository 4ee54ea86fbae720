"""Parquet with provenance: atomic, checked, and the same bytes for the same content."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from wellspring import shards
from wellspring.errors import StaleArtefact, WellspringError

IDENTITY = {"step": "texts", "spec": {"a": 1, "b": {"c": 2}}}
MADE = shards.Provenance(IDENTITY, {"code": "x"}, {"n": 3})


def table():
    return pa.table({"text_id": ["a", "b"], "value": [1.0, 2.0]})


def write_vectors(path, vectors, storage="float16"):
    identity = {"step": "embeddings", "weights": "w"}
    made = shards.Provenance(identity)
    with shards.vectors(path, *vectors.shape[::2], storage, made) as writer:
        half = vectors.shape[1] // 2
        ids = [f"t{row}" for row in range(vectors.shape[1])]
        writer.write(ids[:half], vectors[:, :half])
        writer.write(ids[half:], vectors[:, half:])
        writer.facts["texts"] = len(ids)


def test_provenance_comes_back_and_identity_is_checked(tmp_path):
    path = tmp_path / "x.parquet"
    shards.write(path, table(), MADE)
    assert shards.provenance(path) == MADE
    assert shards.read(path, step="texts", spec=IDENTITY["spec"]).equals(table())
    with pytest.raises(StaleArtefact, match=r"b\.c: expected 9, found 2.*--forcerun \S*x.parquet"):
        shards.read(path, spec={"a": 1, "b": {"c": 9}})


def test_vectors_come_back_at_every_layer(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 11, 5)).astype(np.float32)
    for storage in ("float16", "float32"):
        path = tmp_path / f"{storage}.parquet"
        write_vectors(path, vectors, storage)
        for layer in range(3):
            ids, found = shards.read_vectors(path, layer)
            assert ids == [f"t{row}" for row in range(11)]
            np.testing.assert_array_equal(found, vectors[layer].astype(storage))
        assert shards.provenance(path).facts == {"texts": 11}
    with pytest.raises(WellspringError, match="has no layer_03"):
        shards.read_vectors(path, 3)


COLUMNS = [
    (["a", "", "ü\0😀"], pa.string()),
    (["a", None], pa.string()),
    ([], pa.string()),
    (np.arange(3, dtype=np.int32), pa.int32()),
    (np.array([1.5, np.nan, -np.inf], np.float32), pa.float32()),
    (np.arange(6, dtype=np.float16)[::2], pa.float16()),
    (np.array([True, False]), pa.bool_()),
    (np.array(["a", "b"]), pa.string()),
    ([1, None], pa.int64()),
]


@pytest.mark.parametrize(("values", "kind"), COLUMNS)
def test_a_streamed_column_is_what_arrow_makes_of_it(tmp_path, values, kind):
    schema = pa.schema([("x", kind)])
    with shards.stream(tmp_path / "x.parquet", schema, shards.Provenance(IDENTITY)) as writer:
        writer.write([values])
    column = shards.read(tmp_path / "x.parquet")["x"].combine_chunks()
    assert str(column) == str(pa.array(values, kind)) and column.type == kind


def test_vectors_are_written_and_read_without_pandas(tmp_path):
    """Loading it takes half a second, and jobs by the thousand do this."""
    code = """
import sys, numpy as np
from wellspring import shards
with shards.vectors(shards.Path(sys.argv[1]), 2, 3, "float16", shards.Provenance({})) as writer:
    writer.write(["a", "b"], np.ones((2, 2, 3), np.float32))
ids, vectors = shards.read_vectors(shards.Path(sys.argv[1]), 1)
assert ids == ["a", "b"] and vectors.shape == (2, 3)
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.parquet")], check=True)


def test_equal_content_gives_equal_bytes(tmp_path):
    vectors = np.ones((2, 4, 3), np.float32)
    for name in "ab":
        write_vectors(tmp_path / name, vectors)
        shards.write(tmp_path / f"{name}.parquet", table(), MADE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_a_truncated_shard_is_one_line_with_the_mend(tmp_path, keep):
    path = tmp_path / "s.parquet"
    write_vectors(path, np.ones((2, 40, 3), np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    for read in (shards.check, lambda path: shards.read_vectors(path, 0)):
        with pytest.raises(StaleArtefact) as caught:
            read(path)
        message = str(caught.value)
        assert "\n" not in message and f"--forcerun {path}" in message


def test_a_file_without_provenance_is_refused(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(table(), tmp_path / "x.parquet")
    with pytest.raises(StaleArtefact, match="holds no provenance"):
        shards.check(tmp_path / "x.parquet")
    with pytest.raises(StaleArtefact, match="does not exist"):
        shards.check(tmp_path / "y.parquet")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "s.parquet"
    write_vectors(path, np.ones((2, 4, 3), np.float32))
    before = path.read_bytes()
    with pytest.raises(WellspringError, match="does not fit float16: set the encoder's storage"):
        write_vectors(path, np.full((2, 4, 3), 1e6, np.float32))
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["s.parquet"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(WellspringError, match=r"x\.json: cannot be written: File exists$"):
        shards.write_text(tmp_path / "file" / "x.json", "{}")
    assert (tmp_path / "file").read_text() == "kept"

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(WellspringError, match=r"x\.json: cannot be written: Permission denied$"):
        shards.write_text(tmp_path / "closed" / "x.json", "{}")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    """A file system of one megabyte, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(WellspringError) as caught:
            write_vectors(disk / "s.parquet", np.ones((2, 9000, 64), np.float32))
        assert "cannot be written" in str(caught.value) and "\n" not in str(caught.value)
        assert "No space left" in str(caught.value)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_flipped_bit_becomes_no_number(tmp_path):
    """Every byte of a shard's pages, once: the reader refuses the shard, or the vectors stay."""
    path = tmp_path / "s.parquet"
    vectors = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)
    write_vectors(path, vectors)
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    refused = 0
    for place in range(footer):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        for layer in range(2):
            try:
                ids, found = shards.read_vectors(path, layer)
            except StaleArtefact as error:
                refused += 1
                assert "\n" not in str(error) and f"--forcerun {path}" in str(error)
            else:
                assert ids == [f"t{row}" for row in range(8)]
                np.testing.assert_array_equal(found, vectors[layer].astype(np.float16))
    # Ids are read with each layer; magic bytes and the other layer are not.
    assert refused > footer


def test_a_flip_in_a_table_is_found_by_every_reader(tmp_path):
    path = tmp_path / "x.parquet"
    shards.write(path, table(), MADE)
    content = bytearray(path.read_bytes())
    content[60] ^= 4
    path.write_bytes(content)
    for read in (shards.read, lambda path: list(shards.batches(path, ["text_id", "value"], 10))):
        with pytest.raises(StaleArtefact, match=r"cannot be read .*; make it again: snakemake"):
            read(path)


def test_files_without_checksums_are_read(tmp_path):
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(table().replace_schema_metadata({shards.KEY: MADE.encode()}), path)
    assert shards.read(path, step="texts").equals(table())


def test_a_footer_that_says_nonsense_is_one_line(tmp_path):
    path = tmp_path / "x.parquet"
    shards.write(path, table(), MADE)
    content = path.read_bytes()
    for old, new in ((b'{"circumstances', b'}"circumstances'), (b"value", b"valuf")):
        path.write_bytes(content.replace(old, new))
        with pytest.raises(StaleArtefact, match=r"--forcerun \S*x\.parquet"):
            shards.read(path, ["text_id", "value"])


def test_what_is_written_at_once_is_one_row_group(tmp_path):
    """pyarrow begins another one after 2**20 rows."""
    path, rows = tmp_path / "x.parquet", 2**20 + 5
    with shards.stream(path, pa.schema({"x": pa.int32()}), shards.Provenance(IDENTITY)) as writer:
        writer.write([np.arange(rows, dtype=np.int32)])
        writer.write([np.arange(0, dtype=np.int32)])
    assert len(next(shards.row_groups(path, ["x"]))) == rows
