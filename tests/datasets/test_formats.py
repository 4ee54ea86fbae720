"""The formats: real files read to the last record, planted repairs counted, bad input refused."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.formats import check, doc, folder, judged, query, refused, renamed, source, write
from wellspring import randomness
from wellspring.datasets import arrays, beir, dpr, jsonl
from wellspring.datasets.records import text_id
from wellspring.errors import SourceError

Shared = Callable[[str], Path]


def example(query: str, pos: list[str], neg: list[str]) -> dict[str, Any]:
    return {"query": query, "pos": pos, "neg": neg}


# jsonl


def test_jsonl_reads_real_lines(shared: Shared) -> None:
    path = shared("data/flagembedding/nq.jsonl")
    records = jsonl.read(source(path))
    check(records)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert records.counts["queries"] == len(lines)
    text = dict(records.texts.select("text_id", "text").iter_rows())
    first = records.judgements.row(0)
    assert text[first[0]] == lines[0]["query"]
    assert text[first[1]] == lines[0]["pos"][0].strip()
    last = records.judgements.row(-1)
    assert text[last[0]] == lines[-1]["query"]
    assert text[last[1]] == lines[-1]["neg"][-1].strip()
    distinct = {text.strip() for line in lines for text in line["pos"] + line["neg"]}
    assert records.counts["passages"] == len(distinct)


def test_jsonl_counts_every_repair(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        example("q1", ["p1", " p1 ", "p2"], ["n1", "n1", "p2", "", "n2"]),
        "",
        {"query": "q2", "pos": ["p1"], "other": 3},
        example("  ", ["lost"], ["lost too"]),
        example("q3", [], ["only negatives"]),
        example("q4", [], []),
        example("q1", ["n2", "p1"], []),
    )
    records = jsonl.read(source(path))
    check(records)
    assert records.counts == {
        "queries": 2,
        "passages": 4,
        "positives": 4,
        "hard_negatives": 1,
        "judgements_read": 14,
        "duplicate_judgements_dropped": 3,
        "duplicate_texts_merged": 4,
        "empty_passages_dropped": 1,
        "empty_queries_dropped": 1,
        "negatives_that_are_positives_dropped": 2,
        "queries_without_judgement_dropped": 1,
        "queries_without_positive_dropped": 1,
    }
    graded = {(q, t): grade for q, t, grade, _ in records.judgements.iter_rows()}
    assert graded == {
        (text_id("q1"), text_id("p1")): 1,
        (text_id("q1"), text_id("p2")): 1,
        (text_id("q1"), text_id("n1")): 0,
        (text_id("q1"), text_id("n2")): 1,
        (text_id("q2"), text_id("p1")): 1,
    }


def test_null_is_an_empty_text_in_every_format(tmp_path: Path) -> None:
    rows = [example("q", ["p", None], [None, "n"]), {"query": None, "pos": ["p"], "neg": []}]
    records = jsonl.read(source(write(tmp_path / "a.jsonl", *rows)))
    check(records)
    assert judged(records) == {"q": ({"p"}, {"n"})}
    assert records.counts["empty_passages_dropped"] == 2
    assert records.counts["empty_queries_dropped"] == 1
    path = folder(
        tmp_path / "beir",
        [doc("d1", "one"), {"_id": "d2", "text": None}, {"_id": "d3", "title": "T", "text": None}],
        [query("q1"), {"_id": "q2", "text": None}],
        test=[("q1", "d1", 1), ("q1", "d2", 1), ("q1", "d3", 1), ("q2", "d1", 1)],
    )
    records = beir.read(source(path))
    check(records)
    assert judged(records) == {"what": ({"one", "T"}, set())}
    assert records.counts["empty_passages_dropped"] == 1
    assert records.counts["empty_queries_dropped"] == 1


def test_an_array_where_lines_are_expected_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for indent in (None, 2):
        path.write_text(json.dumps([example("q", ["p"], [])], indent=indent))
        refused(jsonl.read, source(path), f"{path}:1: the file is one JSON array, and an object a")
    path.write_text(json.dumps(example("q", ["p"], []), indent=2))
    refused(jsonl.read, source(path), f"{path}:1: malformed JSON", "each line must be a whole obj")


def test_jsonl_keeps_so_many_negatives(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", example("q", ["p"], [f"n{n}" for n in range(30)]))
    assert jsonl.read(source(path, max_negatives=4)).counts["hard_negatives"] == 4
    assert jsonl.read(source(path)).counts["hard_negatives"] == 30


def test_the_grade_of_a_positive_can_be_raised(tmp_path: Path) -> None:
    corpus = [doc(f"d{n}", f"text {n}") for n in range(4)]
    rows = [("q1", f"d{n}", n) for n in range(4)]
    path = folder(tmp_path, corpus, [query("q1")], test=rows)
    for lowest, positives in ((1, 3), (2, 2), (3, 1)):
        records = beir.read(source(path, positive_from=lowest))
        check(records)
        assert records.counts["positives"] == positives
        assert records.counts["hard_negatives"] == 4 - positives
        assert records.counts.get("grades_below_positive_from_set_to_0", 0) == lowest - 1
    refused(beir.read, source(path, positive_from=4), "no query has a positive passage")


def test_jsonl_keeps_published_splits(tmp_path: Path) -> None:
    line = example("q", ["p"], ["n"])
    files = {split: write(tmp_path / f"{split}.jsonl", line) for split in ("train", "test")}
    records = jsonl.read(source(files))
    check(records)
    assert records.judgements["split"].to_list() == ["train", "train", "test", "test"]
    assert jsonl.read(source(files["test"])).judgements["split"].null_count() == 2


@given(st.permutations([example(f"q{n}", [f"p{n}"], [f"n{n % 2}"]) for n in range(4)]))
def test_texts_do_not_depend_on_the_order_of_lines(tmp_path_factory: Any, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("order")
    ordered = sorted(rows, key=lambda row: row["query"])
    one = jsonl.read(source(write(folder / "a.jsonl", *rows)))
    other = jsonl.read(source(write(folder / "b.jsonl", *ordered)))
    assert one.texts.equals(other.texts)
    assert one.counts == other.counts


def test_a_text_of_a_megabyte_and_every_plane_of_unicode_pass(tmp_path: Path) -> None:
    texts = ["x" * (1 << 20), "\U0001f600 \u2028 naïve \x00 NUL"]
    records = jsonl.read(source(write(tmp_path / "a.jsonl", example("q", texts, []))))
    assert set(records.texts.filter(side="passage")["text"]) == set(texts)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(example("q", ["p"], [])).encode() + b"\r\n")
    assert jsonl.read(source(path)).counts["positives"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query": "q", ', "malformed JSON"),
        ("[1]", "expected an object, found a list"),
        ('{"pos": ["p"]}', "field 'query' is missing"),
        ('{"query": "q"}', "field 'pos' is missing"),
        ('{"query": 3, "pos": ["p"]}', "field 'query' must be a text, found a number"),
        ('{"query": "q", "pos": "p"}', "field 'pos' must be a list, found a text"),
        ('{"query": "q", "pos": ["p", {}]}', "field 'pos[1]' must be a text, found an object"),
        ('{"query": "q", "pos": ["p"], "neg": null}', "field 'neg' must be a list, found null"),
        ('{"query": "\\ud800", "pos": ["p"]}', "field 'query' holds half of a surrogate pair"),
        ("[" * 100_000, "malformed JSON"),
        ('{"query": ' + "1" * 5000 + "}", "malformed JSON: Exceeds the limit"),
    ],
)
def test_jsonl_names_line_and_field(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", example("q", ["p"], []), line)
    refused(jsonl.read, source(path), f"{path}:2: ", message)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    refused(jsonl.read, source(missing), f"{missing}: cannot be read: No such file")
    refused(jsonl.read, source(tmp_path), f"{tmp_path}: cannot be read: Is a directory")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"query": "q", "pos": ["p"]}\n{"query": "caf\xe9", "pos": ["p"]}\n')
    refused(jsonl.read, source(latin), f"{latin}:2: not UTF-8")
    empty = write(tmp_path / "empty.jsonl")
    refused(jsonl.read, source(empty), "dataset planted: no query has a positive passage")


# beir


def test_beir_reads_cranfield(shared: Shared) -> None:
    records = beir.read(source(shared("data/cranfield")))
    check(records)
    # 1,837 judgements, one of them of a passage that is empty; 1,400 passages, two of them empty.
    assert records.counts == {
        "queries": 225,
        "passages": 1398,
        "positives": 1611,
        "hard_negatives": 225,
        "judgements_read": 1837,
        "empty_passages_dropped": 2,
        "judgements_of_empty_passages_dropped": 1,
    }
    assert set(records.judgements["split"]) == {"test"}
    assert records.judgements.row(0) == ("1", "184", 3, "test")
    judged = beir.read(source(shared("data/cranfield"), judged_only=True))
    check(judged)
    assert judged.judgements.equals(records.judgements)
    passages = judged.texts.filter(side="passage")["text_id"]
    assert set(passages) == set(records.judgements["text_id"])


def test_beir_keeps_the_ids_of_hotpotqa(shared: Shared) -> None:
    records = beir.read(source(shared("data/hotpotqa-sample")))
    check(records)
    text = records.texts.filter(side="passage", text_id="Lilu (mythology)")["text"].item()
    assert text.startswith("Lilu (mythology). A lilu")
    assert records.counts["positives"] == 200


def test_beir_repairs_what_published_data_holds(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        [
            doc("d1", "one", "Title"),
            doc("d2", "two"),
            doc("d1", "one", "Title"),
            doc("d3", " "),
            {"_id": "d4", "title": None, "text": "four"},
            {"_id": "d5", "text": "five"},
        ],
        [query("q1"), query("q2"), query("q3"), query("empty", ""), query("q4")],
        train=[("q1", "d1", 1), ("q1", "d1", 2), ("q1", "d2", -1), ("q1", "d3", 1)],
        dev=[("q2", "d4", 1), ("q2", "gone", 1), ("gone", "d1", 1), ("empty", "d1", 1)],
        test=[("q4", "d2", 0)],
    )
    records = beir.read(source(path, lost_judgements=0.3))
    check(records)
    assert records.judgements.rows() == [
        ("q2", "d4", 1, "dev"),
        ("q1", "d1", 2, "train"),
        ("q1", "d2", 0, "train"),
    ]
    assert records.counts == {
        "queries": 2,
        "passages": 4,
        "positives": 2,
        "hard_negatives": 1,
        "judgements_read": 9,
        "duplicate_judgements_dropped": 1,
        "duplicate_texts_dropped": 1,
        "empty_passages_dropped": 1,
        "empty_queries_dropped": 1,
        "judgements_of_empty_passages_dropped": 1,
        "judgements_of_empty_queries_dropped": 1,
        "judgements_of_unknown_passages_dropped": 1,
        "judgements_of_unknown_queries_dropped": 1,
        "negative_grades_raised_to_0": 1,
        "queries_without_judgement_dropped": 1,
        "queries_without_positive_dropped": 1,
    }
    passages = records.texts.filter(side="passage")
    assert passages["text"].to_list() == ["Title one", "two", "four", "five"]
    judged = beir.read(source(path, judged_only=True, lost_judgements=0.3))
    check(judged)
    assert judged.texts.filter(side="passage")["text_id"].to_list() == ["d1", "d2", "d4"]


def test_beir_refuses_an_id_with_two_texts(tmp_path: Path) -> None:
    path = folder(tmp_path, [doc("d1", "one"), doc("d2", "x"), doc("d1", "two")], [query("q1")])
    refused(beir.read, source(path), "corpus.jsonl:3: repeats the id 'd1' of line 1 with")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("q1\td1", ":3: expected 3 fields separated by tabs, found 2"),
        ("q1 0 d1 1", ":3: expected 3 fields separated by tabs, found 1"),
        ("q1\td1\t0.5", ":3: field 'score' must be a small whole number, found '0.5'"),
        ("q1\td1\t99999999999", ":3: field 'score' must be a small whole number"),
    ],
)
def test_beir_names_the_line_of_a_judgement(tmp_path: Path, row: str, message: str) -> None:
    path = folder(tmp_path, [doc("d1", "one")], [query("q1")])
    qrels = path / "qrels" / "test.tsv"
    write(qrels, "query-id\tcorpus-id\tscore", "q1\td1\t1", row)
    refused(beir.read, source(path), f"{qrels}{message}")


@pytest.mark.parametrize("judged_only", [False, True])
def test_lost_judgements_are_told_and_beyond_a_share_refused(
    tmp_path: Path, judged_only: bool
) -> None:
    few = beir.read(source(renamed(tmp_path / "few", 2), judged_only=judged_only))
    check(few)
    assert few.counts["judgements_read"] == 200
    assert few.counts["judgements_of_unknown_passages_dropped"] == 2
    (warning,) = few.warnings
    assert warning == (
        f"{tmp_path / 'few' / 'qrels'}: 2 of 200 judgements (1.0 %) are lost: their passage ids, "
        "such as 'CACM-0001' and 'CACM-0002', are not in corpus.jsonl, which holds 'CACM-1' and "
        "'CACM-2'"
    )
    path = renamed(tmp_path / "many", 14)
    parts = (
        "14 of 200 judgements (7.0 %) are lost",
        "'CACM-0001' and 'CACM-0010', are not in corpus.jsonl, which holds 'CACM-1' and 'CACM-10'",
        "set datasets.planted.lost_judgements (now 0.01) to 0.07 to go on without these judgements",
    )
    refused(beir.read, source(path, judged_only=judged_only), *parts)
    told = beir.read(source(path, judged_only=judged_only, lost_judgements=0.07))
    assert told.counts["positives"] == 186
    assert len(told.warnings) == 1


def test_judgements_of_unknown_queries_are_lost_too(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        [doc("d1", "one"), doc("d2", "two")],
        [query("q1"), query("Q-2", "why")],
        test=[("q1", "d1", 1), ("q1", "D3", 1), ("q2", "d2", 1), ("q2", "D3", 1)],
    )
    parts = (
        "2 of 4 judgements (50.0 %) are lost: their query ids, such as 'q2', are not in "
        "queries.jsonl, which holds 'Q-2'; ",
        "2 of 4 judgements (50.0 %) are lost: their passage ids, such as 'D3', are not in "
        "corpus.jsonl; repair the ids",
        "to 0.75 to go on",
    )
    refused(beir.read, source(path), *parts)
    assert len(beir.read(source(path, lost_judgements=0.75)).warnings) == 2


def test_a_folder_that_loses_nothing_has_no_warning(shared: Shared) -> None:
    assert beir.read(source(shared("data/cranfield"))).warnings == ()


def test_beir_refuses_folders_that_do_not_fit(tmp_path: Path) -> None:
    path = folder(tmp_path, [doc("d1", "one")], [query("q1")], test=[("d1", "q1", 1)])
    refused(beir.read, source(path), "columns of qrels query-id, corpus-id, score, in this")
    write(path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore")
    refused(beir.read, source(path), "qrels: holds no judgement")
    write(path / "qrels" / "test.tsv", "q1\td1\t1")
    refused(beir.read, source(path), "test.tsv:1: expected the header query-id corpus-id score")
    write(path / "qrels" / "test.tsv", "q1 0 d1 1")
    refused(beir.read, source(path), "lines of four fields are read by format trec")
    write(path / "corpus.jsonl", {"title": "no id"})
    write(path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q1\td1\t1")
    refused(beir.read, source(path), "corpus.jsonl:1: field '_id' is missing")
    (path / "corpus.jsonl").unlink()
    refused(beir.read, source(path), "corpus.jsonl: cannot be read")
    (path / "qrels" / "test.tsv").unlink()
    refused(beir.read, source(path), "qrels: no qrels")


# dpr


def ctx(text: str, title: str = "") -> dict[str, str]:
    return {"title": title, "text": text}


def question(text: str, positives: list[Any], negatives: list[Any]) -> dict[str, Any]:
    return {
        "question": text,
        "positive_ctxs": positives,
        "hard_negative_ctxs": negatives,
        "negative_ctxs": [ctx("random")],
    }


def test_dpr_reads_the_real_sample(shared: Shared) -> None:
    path = shared("data/dpr-sample/sample.json")
    records = dpr.read(source(path))
    check(records)
    published = json.loads(path.read_text(encoding="utf-8"))
    text = dict(records.texts.select("text_id", "text").iter_rows())
    by_query = {
        text[name]: group
        for (name,), group in records.judgements.group_by("query_id", maintain_order=True)
    }
    assert list(by_query) == [record["question"] for record in published]
    for record in published:
        for grade, field in ((1, "positive_ctxs"), (0, "hard_negative_ctxs")):
            expected = {f"{ctx['title']} {ctx['text']}" for ctx in record[field]}
            ids = by_query[record["question"]].filter(grade=grade)["text_id"]
            assert {text[identity] for identity in ids} == expected


def test_dpr_keeps_negatives_chosen_by_hash(shared: Shared) -> None:
    path = shared("data/dpr-sample/sample.json")
    few = dpr.read(source(path, max_negatives=7))
    check(few)
    everything = dpr.read(source(path)).judgements.filter(grade=0)
    kept = few.judgements.filter(grade=0)
    assert kept.equals(everything.join(kept, on=kept.columns, how="semi", nulls_equal=True))
    first = everything.group_by("query_id", maintain_order=True).head(7)
    assert not kept.equals(first)
    for (name,), group in everything.group_by("query_id"):
        expected = randomness.shuffled(42, group["text_id"].to_list(), name)[:7]
        assert set(kept.filter(query_id=name)["text_id"]) == set(expected)
    assert few.counts["passages"] < 5 * 7 + 20


NEGATIVES = [f"n{n}" for n in range(9)]


@given(
    order=st.permutations(NEGATIVES),
    twice=st.lists(st.sampled_from([*NEGATIVES, "p", " ", " n3"]), max_size=12),
    limit=st.integers(1, 10),
)
def test_nothing_but_a_negative_takes_the_place_of_one(
    tmp_path_factory: Any, order: list[str], twice: list[str], limit: int
) -> None:
    path = tmp_path_factory.mktemp("limit") / "a.json"
    names = [ctx(text) for text in order + twice]
    path.write_text(json.dumps([question("q", [ctx("p")], names)]), encoding="utf-8")
    kept = dpr.read(source(path, max_negatives=limit)).judgements.filter(grade=0)["text_id"]
    ids = [text_id(text) for text in NEGATIVES]
    assert set(kept) == set(randomness.shuffled(42, ids, text_id("q"))[:limit])


@given(st.permutations([(n, part) for n in range(9) for part in range(1 + n % 2)]))
def test_a_query_in_several_records_keeps_the_same_negatives(
    tmp_path_factory: Any, planted: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("several")
    parts = [[ctx(f"n{n}") for n, part in planted if part == wanted] for wanted in (0, 1)]
    values = [question("q", [ctx("p")], parts[0]), question("q", [], parts[1])]
    path = folder / "a.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    files = {"train": path, "dev": path}
    kept = dpr.read(source(files, max_negatives=3)).judgements.filter(grade=0)
    ids = [text_id(text) for text in NEGATIVES]
    for split in files:
        found = kept.filter(split=split)["text_id"]
        assert set(found) == set(randomness.shuffled(42, ids, text_id("q"))[:3])
    assert kept.height == 6


@given(st.permutations(range(3)), st.integers(1, 4))
def test_a_negative_that_is_a_positive_elsewhere_takes_no_place(
    tmp_path_factory: Any, order: list[int], limit: int
) -> None:
    query, hard = "q", [f"n{n}" for n in range(20)]
    chosen = sorted(hard, key=lambda text: randomness.key(42, text_id(query), text_id(text)))
    # The very ones that come first are positives of other records of the query.
    planted = [question(query, [ctx("p")], [ctx(text) for text in hard])]
    planted += [question(query, [ctx(text)], []) for text in chosen[:2]]
    path = tmp_path_factory.mktemp("elsewhere") / "a.json"
    path.write_text(json.dumps([planted[n] for n in order]), encoding="utf-8")
    records = dpr.read(source(path, max_negatives=limit))
    check(records)
    kept = records.judgements.filter(grade=0)["text_id"]
    expected = chosen[2 : min(2 + limit, 3 * limit)]
    assert set(kept) == {text_id(text) for text in expected}
    assert set(records.texts.filter(side="passage")["text"]) == {"p", *chosen[:2], *expected}


def test_a_few_negatives_beyond_the_limit_are_held(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    hard = [ctx(f"n{n}") for n in range(50)]
    values = [question(f"q{n}", [ctx(f"p{n}")], hard) for n in range(2)]
    path.write_text(json.dumps(values), encoding="utf-8")
    counts = dpr.read(source(path, max_negatives=2)).counts
    assert counts["hard_negatives"] == 4
    ids = [text_id(text) for text in (f"n{n}" for n in range(50))]
    held = {
        name for n in range(2) for name in randomness.shuffled(42, ids, text_id(f"q{n}"))[: 3 * 2]
    }
    assert counts.get("duplicate_texts_merged", 0) == 2 * 3 * 2 - len(held)
    assert counts["passages"] <= 2 + 4


def test_dpr_unpacks_gzip(tmp_path: Path, shared: Shared) -> None:
    path = shared("data/dpr-sample/sample.json")
    packed = tmp_path / "sample.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plain, unpacked = dpr.read(source(path)), dpr.read(source(packed))
    assert unpacked.texts.equals(plain.texts)
    assert unpacked.judgements.equals(plain.judgements)


JSON_OBJECTS = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=3,
)


@given(
    values=st.lists(JSON_OBJECTS, max_size=5),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_arrays_stream_in_any_chunks(
    tmp_path_factory: Any, values: list[Any], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("stream") / "a.json"
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    path.write_text(f" {text}\n", encoding="utf-8", newline="\n")
    assert [value for _, value in arrays.objects(path, chunk)] == values


def test_arrays_name_record_and_line(tmp_path: Path) -> None:
    values = [question(f"q{n}", [ctx("p")], []) for n in range(3)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines, start=1) if line == " {"]
    for chunk in (1, 50, 1 << 20):
        places = [place for place, _ in arrays.objects(path, chunk)]
        assert places == [f"{path}:{line}: record {n}" for n, line in enumerate(starts, start=1)]


def test_arrays_hold_one_record_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    record = json.dumps(question("q", [ctx("p" * 20_000)], []))
    path.write_text(f"[{', '.join([record] * 500)}]", encoding="utf-8")
    broken = tmp_path / "b.json"
    broken.write_text(f'[{record}, {{"question": oh}}, {record * 500}', encoding="utf-8")
    tracemalloc.start()
    assert sum(1 for _ in arrays.objects(path, 1 << 16)) == 500
    with pytest.raises(SourceError, match=r"b\.json:1: record 2: malformed JSON"):
        list(arrays.objects(broken, 1 << 16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 10_000_000
    assert peak < 1_000_000


GOOD = json.dumps(question("q", [ctx("p", "t")], [ctx("n")]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: expected an array of objects, found the end of the file"),
        ('{"question": 1}', ":1: expected an array of objects, found '{'"),
        (f"[{GOOD},\n 3]", ":2: record 2: expected an object, found '3'"),
        (f"[{GOOD},\n]", ":2: record 2: expected an object, found ']'"),
        (f"[{GOOD},\n{GOOD[:-9]}", ":2: record 2: malformed JSON"),
        (f"[{GOOD}\n", ":2: record 1: expected ',' or ']' after an object, found the end"),
        (f"[{GOOD}\n{GOOD}]", ":2: record 1: expected ',' or ']' after an object, found '{'"),
        (f"[{GOOD}]\n[]", ":2: record 1: text after the end of the array"),
        (f'[{GOOD},\n{{"question":\n\n1 2}}]', ":4: record 2: malformed JSON: Expecting ','"),
        ('[{"positive_ctxs": []}]', ":1: record 1: field 'question' is missing"),
        ('[{"question": "q"}]', ":1: record 1: field 'positive_ctxs' is missing"),
        (
            '[{"question": "q", "positive_ctxs": ["p"]}]',
            ":1: record 1: positive_ctxs[0]: expected an object, found a text",
        ),
        (
            '[{"question": "q", "positive_ctxs": [{"title": "t"}]}]',
            ":1: record 1: positive_ctxs[0]: field 'text' is missing",
        ),
        ('[{"question": ' + "[" * 100_000, ":1: record 1: malformed JSON"),
        (f'[{GOOD},\n{{"n": {"1" * 5000}}}]', ":2: record 2: malformed JSON: Exceeds the limit"),
    ],
)
def test_dpr_refuses(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    refused(dpr.read, source(path), f"{path}{message}")


def test_dpr_refuses_broken_bytes(tmp_path: Path) -> None:
    latin = tmp_path / "a.json"
    latin.write_bytes(b'[{"question": "caf\xe9"}]')
    refused(dpr.read, source(latin), f"{latin}:1", "not UTF-8")
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(GOOD.encode() * 50)[:-20])
    refused(dpr.read, source(cut), f"{cut}:1", "cannot be read")
    foreign = tmp_path / "foreign.json.gz"
    foreign.write_bytes(GOOD.encode())
    refused(dpr.read, source(foreign), f"{foreign}:1", "cannot be read: Not a gzipped file")
