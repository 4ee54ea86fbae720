"""A teacher's scores from a file: what is read, and what is refused."""

from __future__ import annotations

import polars as pl
import pytest

from wellspring.datasets import table
from wellspring.errors import WellspringError
from wellspring.training.given import COLUMNS, gathered

SAMPLES = pl.DataFrame(
    {
        "sample_id": ["a", "b", "c"],
        "split": ["train", "train", "test"],
        "query_id": ["q1", "0", "q2"],
        "positive_id": ["p2", "p0", "p3"],
        "negative_ids": [["p0", "p1"], ["p2", "p2"], ["p0", "p1"]],
    }
)
TEXTS = {"query": {"q1", "0", "q2", "q3"}, "passage": {"p0", "p1", "p2", "p3", "p4"}}
ROWS = [
    ("q1", "p2", 3.5),
    ("q1", "p0", -1.0),
    ("q1", "p1", 0.25),
    ("0", "p0", 2.0),
    ("0", "p2", 1e-3),
    ("q3", "p4", 9.0),
    ("q1", "p4", 9.0),
]


def written(folder, suffix, rows=ROWS):
    frame = pl.DataFrame(rows, COLUMNS, orient="row")
    path = folder / f"scores{suffix}"
    match suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".jsonl":
            frame.write_ndjson(path)
        case _:
            frame.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    return path


def read(path):
    return gathered(table.rows(path, COLUMNS), SAMPLES, TEXTS)


@pytest.mark.parametrize("suffix", [".parquet", ".tsv", ".csv", ".jsonl"])
def test_scores_stand_in_the_order_of_the_passages(tmp_path, suffix):
    scores = read(written(tmp_path, suffix, ROWS + ROWS[:1]))
    # The test sample has no scores, and needs none.
    assert dict(scores.iter_rows()) == {"a": [3.5, -1.0, 0.25], "b": [2.0, 1e-3, 1e-3]}


def test_ids_that_are_numbers_are_texts(tmp_path):
    path = tmp_path / "scores.jsonl"
    lines = [f'{{"query_id": "{q}", "passage_id": "{p}", "score": {s}}}' for q, p, s in ROWS]
    path.write_text("\n".join(lines).replace('"0"', "0"))
    assert read(path).height == 2


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([*ROWS, ("q9", "p0", 1.0)], r"scores\.tsv:9: the dataset has no query 'q9'"),
        ([*ROWS, ("q1", "p9", 1.0)], r"scores\.tsv:9: the dataset has no passage 'p9'"),
        ([*ROWS, ("q1", "p2", 3.0)], r":9: query 'q1' and passage 'p2' have the score 3, and 3\.5"),
        (ROWS[1:], "for 1 of 5 pairs of training samples, such as query 'q1' with passage 'p2'"),
        ([("q1", "p2", float("nan")), *ROWS[1:]], r"scores\.tsv:2: score: 'NaN' is no finite"),
        ([("q1", "p2", float("inf")), *ROWS[1:]], r"scores\.tsv:2: score: 'inf' is no finite"),
    ],
)
def test_what_cannot_be_followed_is_one_line(tmp_path, rows, line):
    with pytest.raises(WellspringError, match=line) as refused:
        read(written(tmp_path, ".tsv", rows))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query_id": true, "passage_id": "p0", "score": 1}', "'query_id' must be an id"),
        ('{"query_id": "q1", "passage_id": "p0", "score": true}', "True is no finite number"),
        ('{"query_id": "q1", "passage_id": "p0", "score": null}', "None is no finite number"),
        ('{"query_id": "q1", "passage_id": "p0"}', "'score'"),
    ],
)
def test_a_line_that_is_no_score_is_named(tmp_path, line, message):
    path = tmp_path / "scores.jsonl"
    path.write_text(line)
    with pytest.raises(WellspringError, match=message) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}:1: ")
