"""Run files and judgements of TREC: read, written, and refused in one line."""

import polars as pl
import pytest

from wellspring.errors import SourceError, WellspringError
from wellspring.retrieval.trec import read_qrels, read_run, written


def file(tmp_path, *lines):
    path = tmp_path / "file"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_what_is_written_is_read_again(tmp_path):
    given = ("q1 Q0 d3 1 2.5 tag", "q1 Q0 d1 2 0.333333343 tag", "q2 Q0 d1 1 -1e-05 tag")

    found = read_run(file(tmp_path, *given))

    assert tuple(written(found.frame, "tag")) == given
    assert found.unsorted == 0


def test_scores_decide_and_then_ids(tmp_path):
    found = read_run(file(tmp_path, "q Q0 b 1 1 t", "q Q0 c 2 7 t", "q Q0 a 3 1 t", "p Q0 a 1 1 t"))

    assert found.frame["document_id"].to_list() == ["a", "c", "a", "b"]
    assert found.frame["rank"].to_list() == [1, 1, 2, 3]
    assert found.unsorted == 1


def test_equal_scores_are_in_order_however_they_are_listed(tmp_path):
    found = read_run(file(tmp_path, "q Q0 d2 1 1.0 t", "p Q0 a 1 5.0 t", "q Q0 d1 2 1.0 t"))

    assert found.unsorted == 0
    assert found.frame["document_id"].to_list() == ["a", "d1", "d2"]


@pytest.mark.parametrize("name", ["doc a", "", "d\u2028", "\ta"])
@pytest.mark.parametrize("column", ["query_id", "document_id"])
def test_an_id_that_no_reader_takes_back_is_refused(column, name):
    row = {"query_id": "q", "document_id": "d", "rank": 1, "score": 1.0} | {column: name}

    with pytest.raises(WellspringError, match=f"^{column} .*no id may hold any") as refused:
        list(written(pl.DataFrame([row]), "t"))

    assert repr(name) in str(refused.value)


@pytest.mark.parametrize(
    "line, said",
    [
        ("q Q0 d 1 2.0", "expected six fields .*, found 5"),
        ("q Q0 d 1 nan t", "field 'score' must be a number, found 'nan'"),
        ("q Q0 d 1 high t", "field 'score' must be a number, found 'high'"),
        ("q Q0 first 2 1 t", "names document 'first' of query 'q' again"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, said):
    with pytest.raises(SourceError, match=f"file:2: {said}"):
        read_run(file(tmp_path, "q Q0 first 1 3 t", line))


def test_judgements_of_both_layouts(tmp_path):
    expected = [("q", "a", 2), ("q", "b", 0)]
    trec = file(tmp_path, "q 0 b -1", "q 0 a 1", "q 0 a 2")
    assert read_qrels(trec).rows() == expected
    beir = file(tmp_path, "query-id\tcorpus-id\tscore", "q\ta\t2", "q\tb\t0")
    assert read_qrels(beir).rows() == expected
    with pytest.raises(SourceError, match="file:1: expected four fields"):
        read_qrels(file(tmp_path, "q a 1"))
    with pytest.raises(SourceError, match="holds no judgement"):
        read_qrels(file(tmp_path))
