"""Tables: Parquet, JSON lines and separated texts against a plain reading, and bad input."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.formats import Example, agree, check, judged, refused, source, write
from wellspring.datasets import msmarco, parquet, table

# msmarco

WORDS = st.text("ab \u00e9", max_size=3)
RELEASE = pa.schema(
    {
        "answers": pa.list_(pa.string()),
        "passages": pa.struct(
            {
                "is_selected": pa.list_(pa.int32()),
                "passage_text": pa.list_(pa.string()),
                "url": pa.list_(pa.string()),
            }
        ),
        "query": pa.string(),
        "query_id": pa.int32(),
    }
)


def release(path: Path, rows: list[Any], group: int = 100) -> Path:
    """A file with the columns of the release; rows of (query, flags, texts)."""
    values = [
        {
            "answers": ["yes"],
            "passages": {
                "is_selected": flags,
                "passage_text": texts,
                "url": ["https://example.org"] * len(texts),
            },
            "query": query,
            "query_id": number,
        }
        for number, (query, flags, texts) in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(values, RELEASE), path, row_group_size=group)
    return path


@given(
    rows=st.lists(st.tuples(WORDS, st.lists(st.tuples(st.integers(0, 1), WORDS), max_size=4))),
    group=st.integers(1, 4),
)
def test_msmarco_agrees_with_a_plain_reading(
    tmp_path_factory: Any, rows: list[Any], group: int
) -> None:
    planted = [(query, [f for f, _ in pairs], [t for _, t in pairs]) for query, pairs in rows]
    path = release(tmp_path_factory.mktemp("msmarco") / "a.parquet", planted, group)
    examples = [
        (query, [text for flag, text in pairs if flag], [text for flag, text in pairs if not flag])
        for query, pairs in rows
    ]
    agree(msmarco.read, source(path), examples)


def test_msmarco_keeps_so_many_negatives(tmp_path: Path) -> None:
    texts = [f"t{n}" for n in range(9)]
    path = release(tmp_path / "a.parquet", [("q", [1] + [0] * 8, texts)], 1)
    found = judged(msmarco.read(source(path, max_negatives=3)))["q"]
    assert found[0] == {"t0"} and len(found[1]) == 3 and found[1] < set(texts[1:])


def test_msmarco_counts_queries_of_which_nothing_was_selected(tmp_path: Path) -> None:
    rows = [("q1", [0, 1], ["n", "p"]), ("q2", [0, 0], ["n", "m"]), ("q3", [], [])]
    files = {"train": release(tmp_path / "a.parquet", rows)}
    files["validation"] = release(tmp_path / "b.parquet", [("q4", [1], ["p"])])
    records = msmarco.read(source(files))
    check(records)
    assert judged(records) == {"q1": ({"p"}, {"n"}), "q4": ({"p"}, set())}
    assert records.judgements["split"].to_list() == ["train", "train", "validation"]
    assert records.counts["queries_without_positive_dropped"] == 1
    assert records.counts["queries_without_judgement_dropped"] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("q", [0, 1], ["p"]), "passages: is_selected has 2 values, passage_text 1"),
        (("q", [1, 2], ["p", "n"]), "passages: field 'is_selected[1]' must be 0 or 1, found 2"),
        (("q", [None], ["p"]), "passages: field 'is_selected[0]' must be 0 or 1, found None"),
        (("q", None, ["p"]), "passages: field 'is_selected' must be a list, found null"),
    ],
)
def test_msmarco_names_row_and_column(tmp_path: Path, row: Any, message: str) -> None:
    path = release(tmp_path / "a.parquet", [("q", [1], ["p"]), row])
    refused(msmarco.read, source(path), f"{path}: row 2: {message}")


def test_msmarco_names_the_column_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"query": ["q"], "passages": [{"is_selected": [1], "text": ["p"]}]}), path
    )
    refused(
        msmarco.read,
        source(path),
        f"{path}: there is no column 'passages.passage_text'; its columns are query, "
        "passages.is_selected, passages.text",
    )


def test_rows_are_held_a_batch_at_a_time(tmp_path: Path) -> None:
    rows = [(f"q{n}", [1], [f"{n}" * 2000]) for n in range(10_000, 14_000)]
    path = release(tmp_path / "a.parquet", rows, group=len(rows))
    # Stored plainly, so that what is decoded and what is in the file are of one size.
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False)
    assert pq.ParquetFile(path).num_row_groups == 1
    before = pa.total_allocated_bytes()
    held = [
        pa.total_allocated_bytes() - before
        for _ in parquet.rows(path, ["query", "passages.passage_text"])
    ]
    assert len(held) == 4000
    assert path.stat().st_size > 40_000_000
    assert 0 < max(held) < 15_000_000


# table

COLUMNS = {"query": "q", "positives": "pos", "negatives": "neg"}
NULLABLE = st.none() | WORDS
LISTS = st.none() | st.lists(NULLABLE, max_size=3)
TABLE_ROWS = st.lists(st.fixed_dictionaries({"q": NULLABLE, "pos": LISTS, "neg": LISTS}))
FLAT = pa.schema({"q": pa.string(), "pos": pa.list_(pa.string()), "neg": pa.list_(pa.string())})


def plain(rows: list[Any]) -> list[Example]:
    return [
        (row["q"] or "", *([text or "" for text in row[key] or []] for key in ("pos", "neg")))
        for row in rows
    ]


@given(rows=TABLE_ROWS, group=st.integers(1, 4))
def test_tables_of_lists(tmp_path_factory: Any, rows: list[Any], group: int) -> None:
    folder = tmp_path_factory.mktemp("lists")
    path = folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows, FLAT), path, row_group_size=group)
    agree(table.read, source(path, columns=COLUMNS), plain(rows))
    agree(table.read, source(write(folder / "a.jsonl", *rows), columns=COLUMNS), plain(rows))


@given(rows=TABLE_ROWS)
def test_tables_of_structures(tmp_path_factory: Any, rows: list[Any]) -> None:
    """Structs of lists and lists of structs, which Parquet and JSON both have."""
    folder = tmp_path_factory.mktemp("structures")
    nested = [
        {
            "in": {"q": row["q"], "other": 1},
            "pos": None if row["pos"] is None else {"texts": row["pos"], "urls": ["u"]},
            "neg": row["neg"] and [{"ctx": {"text": text}, "score": 0.5} for text in row["neg"]],
        }
        for row in rows
    ]
    item = pa.struct({"ctx": pa.struct({"text": pa.large_string()}), "score": pa.float32()})
    schema = pa.schema(
        {
            "in": pa.struct({"q": pa.string(), "other": pa.int8()}),
            "pos": pa.struct({"texts": pa.list_(pa.string()), "urls": pa.list_(pa.string())}),
            "neg": pa.large_list(item),
        }
    )
    columns = {"query": "in.q", "positives": "pos.texts", "negatives": "neg.ctx.text"}
    path = folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(nested, schema), path)
    agree(table.read, source(path, columns=columns), plain(rows))
    agree(table.read, source(write(folder / "a.json", *nested), columns=columns), plain(rows))


@given(
    rows=st.lists(st.tuples(*[st.text('ab",\t\n\r \u00e9', max_size=6)] * 3)),
    suffix=st.sampled_from(["csv", "tsv", "csv.gz"]),
)
def test_tables_of_separated_texts(tmp_path_factory: Any, rows: list[Any], suffix: str) -> None:
    path = tmp_path_factory.mktemp("separated") / f"a.{suffix}"
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t" if suffix == "tsv" else ",", quoting=csv.QUOTE_ALL)
    writer.writerows([("neg", "q", "not read", "pos")])
    writer.writerows((neg, q, "0", pos) for q, pos, neg in rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    examples = [(q, [pos], [neg]) for q, pos, neg in rows]
    agree(table.read, source(path, columns=COLUMNS), examples)
    without = COLUMNS | {"negatives": None}
    agree(table.read, source(path, columns=without), [(q, pos, []) for q, pos, _ in examples])


def test_triples_are_put_together_and_limited(tmp_path: Path) -> None:
    triples = [("q", "p", f"n{n}") for n in range(40)] + [("r", "n0", "p")]
    lines = ["\t".join(row) for row in triples]
    path = write(tmp_path / "a.tsv", "q\tpos\tneg", *lines)
    found = judged(table.read(source(path, columns=COLUMNS, max_negatives=5)))
    assert found["r"] == ({"n0"}, {"p"})
    assert found["q"][0] == {"p"}
    assert len(found["q"][1]) == 5
    write(path, "q\tpos\tneg", *reversed(lines))
    assert judged(table.read(source(path, columns=COLUMNS, max_negatives=5))) == found


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_an_array_is_read_as_its_objects_are_in_lines(
    tmp_path: Path, name: str, indent: int | None
) -> None:
    rows = [{"q": f"q{n}", "pos": [f"p{n}"], "neg": [f"n{n}", "n"]} for n in range(5)]
    text = json.dumps(rows, indent=indent)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    lines = write(tmp_path / "lines.jsonl", *rows)
    found = table.read(source(path, columns=COLUMNS))
    expected = table.read(source(lines, columns=COLUMNS))
    assert found.texts.equals(expected.texts)
    assert found.judgements.equals(expected.judgements)


def test_several_columns_are_joined(tmp_path: Path) -> None:
    columns = {
        "query": ["topic", "q"],
        "positives": ["title", "pos.text"],
        "negatives": ["neg.title", "neg.text"],
    }
    negatives = [{"title": "T", "text": "n1"}, {"title": None, "text": "n2"}]
    row = {"topic": "on", "q": "q", "title": "Head", "pos": [{"text": "a"}, {"text": "b"}]}
    path = write(tmp_path / "a.jsonl", row | {"neg": negatives})
    assert judged(table.read(source(path, columns=columns))) == {
        "on q": ({"Head a", "Head b"}, {"T n1", "n2"})
    }
    path = write(tmp_path / "a.csv", "q,title,text,other", "q,T,p,n", "r,,p,n")
    columns = {"query": "q", "positives": ["title", "text"], "negatives": "other"}
    assert judged(table.read(source(path, columns=columns))) == {
        "q": ({"T p"}, {"n"}),
        "r": ({"p"}, {"n"}),
    }
    path = write(tmp_path / "b.jsonl", {"q": "q", "a": ["1", "2"], "b": ["3"]})
    columns = {"query": "q", "positives": ["a", "b"], "negatives": None}
    refused(
        table.read, source(path, columns=columns), ":1: the lists in a and b are not equally long"
    )


def test_a_column_whose_name_has_a_dot(tmp_path: Path) -> None:
    columns = {"query": "q.text", "positives": "pos", "negatives": None}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"q.text": ["q"], "pos": ["p"]}), path)
    assert judged(table.read(source(path, columns=columns))) == {"q": ({"p"}, set())}
    path = write(tmp_path / "a.jsonl", {"q.text": "q", "q": {"text": "other"}, "pos": "p"})
    assert judged(table.read(source(path, columns=columns))) == {"q": ({"p"}, set())}
    path = write(tmp_path / "a.csv", "q.text,pos", "q,p")
    assert judged(table.read(source(path, columns=columns))) == {"q": ({"p"}, set())}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"q": "q", "pos": ["p"]}', ":1: field 'neg' is missing"),
        ("a.jsonl", '{"q": 1, "pos": [], "neg": []}', ":1: field 'q' must be a text, found a num"),
        ("a.jsonl", '{"q": ["q"]}', ":1: field 'q' must be a text, found a list"),
        ("a.jsonl", '{"q": "q", "pos": ["p", 3]}', ":1: field 'pos[1]' must be a text, found a n"),
        ("a.jsonl", '{"q": "q", "pos": {}}', ":1: field 'pos' must be a text, found an object"),
        ("a.json", '[{"q": "q"}]', ":1: record 1: field 'pos' is missing"),
        ("a.json", '[{"q": "q", "pos": "p", "neg": []}, 3]', ":1: record 2: expected an object"),
        (
            "a.tsv",
            "what\tone\ttwo\n",
            ":1: there is no column 'q'; its columns are what, one, two; if this line is data",
        ),
        ("a.csv", "", ":1: there is no column 'q'; its columns are"),
        ("a.csv", "q;pos;neg\n", ":1: there is no column 'q'; its columns are q;pos;neg"),
        ("a.csv", "q,q,pos,neg\n", ":1: more than one column is named 'q'"),
        ("a.csv", 'q,pos,neg\n"q\n",p,n\n\nq,p\n', ":5: expected 3 fields, found 2"),
        ("a.csv", 'q,pos,neg\n"q\n\n",p\nq,p,n\n', ":2: expected 3 fields, found 2"),
        ("a.tsv", 'q\tpos\tneg\nq\t"p" p\tn\n', ":2: malformed quotes: '\t' expected after"),
        ("a.csv", 'q,pos,neg\nq,p,n\n"q,p,n\nq,p,n\n', ":3: malformed quotes: unexpected end"),
        ("a.csv", "q,pos,neg\nq,p," + "n" * ((1 << 24) + 1), ":2: malformed quotes: field larger"),
        ("a.csv.gz", "q,pos,neg\n", ":1: cannot be read: Not a gzipped file"),
        ("a.parquet", "PAR1", ": cannot be read as Parquet: "),
        ("a.parquet", "", ": cannot be read as Parquet: "),
        ("a.txt", "q", ": a table's name ends in .parquet"),
        ("a.parquet.gz", "q", ": a table's name ends in .parquet"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    refused(table.read, source(path, columns=COLUMNS), f"{path}{message}")


def test_tables_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"q,pos,neg\nq,p,caf\xe9\n")
    refused(table.read, source(path, columns=COLUMNS), f"{path}:1 or after it: not UTF-8")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"query": "qq"}, "there is no column 'qq'; its columns are q, pos.text, neg.text, number"),
        ({"query": "q.text"}, "there is no column 'q.text'"),
        ({"positives": "pos.txt"}, "there is no column 'pos.txt'"),
        ({"negatives": "neg.txt"}, "there is no column 'neg.txt'"),
        ({"query": "number"}, "row 1: field 'number' must be a text, found a number"),
        ({"positives": "pos"}, "row 1: field 'pos' must be a text, found an object"),
        ({"negatives": "neg"}, "row 1: field 'neg[0]' must be a text, found an object"),
        ({"query": "blob"}, "row 1: field 'blob' must be a text, found bytes"),
        ({"query": "twice"}, "more than one column is named 'twice'"),
    ],
)
def test_parquet_columns_that_are_not_there(tmp_path: Path, columns: Any, message: str) -> None:
    path = tmp_path / "a.parquet"
    values = {
        "q": ["q"],
        "pos": [{"text": "p"}],
        "neg": [[{"text": "n"}]],
        "number": [1],
        "blob": [b"b"],
    }
    held = pa.table(values)
    for _ in range(2):
        held = held.append_column("twice", pa.array(["t"]))
    pq.write_table(held, path)
    named = {"query": "q", "positives": "pos.text", "negatives": "neg.text"} | columns
    refused(table.read, source(path, columns=named), f"{path}: {message}")


def test_a_truncated_or_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    rows = [{"q": f"q{n}", "pos": [f"p{n}" * 50], "neg": None} for n in range(2000)]
    path = tmp_path / "a.parquet"
    settings = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(pa.Table.from_pylist(rows, FLAT), path, row_group_size=500, **settings)
    whole = path.read_bytes()
    assert table.read(source(path, columns=COLUMNS)).counts["queries"] == 2000
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(table.read, source(path, columns=COLUMNS), f"{path}: cannot be read as Parquet")
    assert whole.count(b"p1234" * 50) == 1
    path.write_bytes(whole.replace(b"p1234" * 50, b"p1243" * 50))
    refused(table.read, source(path, columns=COLUMNS), "or after it: cannot be read as Parquet")
    refused(table.read, source(tmp_path / "b.parquet", columns=COLUMNS), "No such file")
