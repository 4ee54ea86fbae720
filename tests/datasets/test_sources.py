"""Published JSON layouts: real files against a plain reading, planted files, bad input."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.formats import check, judged, plainly, refused, source, write
from wellspring.datasets import (
    arrays,
    hotpotqa,
    parquet,
    pubmedqa,
    scienceqa,
    selqa,
    squad,
    table,
    tevatron,
)
from wellspring.errors import SourceError

Shared = Callable[[str], Path]


def ends(values: list[Any]) -> list[Any]:
    """The first, the middle and the last."""
    return [values[0], values[len(values) // 2], values[-1]]


def dumped(path: Path, value: Any) -> Path:
    return write(path, json.dumps(value))


# documents


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":\n 1,,}', ":2: malformed JSON: Expecting property name"),
        (b"[]", ": expected an object, found a list"),
        (b"", ":1: malformed JSON: Expecting value"),
        (b'{"a": "caf\xe9"}', ": not UTF-8 at byte 10"),
        (b'{"a": ' * 100_000, ": malformed JSON: nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", ": malformed JSON: Exceeds the limit"),
    ],
)
def test_documents_that_cannot_be_read(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        arrays.document(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_documents_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"a": 1}'))
    assert arrays.document(path) == {"a": 1}
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SourceError, match=r"a\.json\.gz: cannot be read: Compressed file ended"):
        arrays.document(path)


# tevatron


def named(text: str, title: str | None = None) -> dict[str, Any]:
    return {"docid": text, "text": text} | ({} if title is None else {"title": title})


def test_tevatron_reads_titles_splits_and_gzip(tmp_path: Path) -> None:
    first = {
        "query_id": 7,
        "query": "q1",
        "positive_passages": [named("p1", "Title"), named("p2"), named("p3", "")],
        "negative_passages": [named("n1", "Title"), named("p2"), named(" ")],
    }
    second = {"query": "q2", "positive_passages": [{"text": "p1", "title": None}]}
    packed = tmp_path / "dev.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(second).encode()))
    files = {"train": write(tmp_path / "train.jsonl", first), "dev": packed}
    records = tevatron.read(source(files))
    check(records)
    assert judged(records) == {
        "q1": ({"Title p1", "p2", "p3"}, {"Title n1"}),
        "q2": ({"p1"}, set()),
    }
    assert records.judgements["split"].to_list() == ["train"] * 4 + ["dev"]
    assert records.counts["negatives_that_are_positives_dropped"] == 1
    assert records.counts["empty_passages_dropped"] == 1


def test_tevatron_limits_the_negatives(tmp_path: Path) -> None:
    line = {"query": "q", "positive_passages": [named("p")]}
    line["negative_passages"] = [named(f"n{n}") for n in range(30)]
    path = write(tmp_path / "a.jsonl", line)
    kept = judged(tevatron.read(source(path, max_negatives=4)))["q"][1]
    assert len(kept) == 4
    assert kept != {f"n{n}" for n in range(4)}
    line["negative_passages"].reverse()
    assert judged(tevatron.read(source(write(path, line), max_negatives=4)))["q"][1] == kept


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"positive_passages": []}, ":2: field 'query' is missing"),
        ({"query": "q"}, ":2: field 'positive_passages' is missing"),
        (
            {"query": "q", "positive_passages": [], "negative_passages": [named("n"), "n"]},
            ":2: negative_passages[1]: expected an object, found a text",
        ),
        (
            {"query": "q", "positive_passages": [{"title": "t"}]},
            ":2: positive_passages[0]: field 'text' is missing",
        ),
    ],
)
def test_tevatron_names_line_and_field(tmp_path: Path, line: Any, message: str) -> None:
    path = write(tmp_path / "a.jsonl", {"query": "q", "positive_passages": [named("p")]}, line)
    refused(tevatron.read, source(path), f"{path}{message}")


# squad


def article(*paragraphs: tuple[str, list[Any]]) -> dict[str, Any]:
    return {"paragraphs": [{"context": text, "qas": asked} for text, asked in paragraphs]}


def asked(question: str, text: str = "x", start: int = 0, **more: Any) -> dict[str, Any]:
    return {"question": question, "answers": [{"text": text, "answer_start": start}], **more}


def test_squad_reads_xquad(shared: Shared) -> None:
    path = shared("data/xquad/xquad.en.json")
    records = squad.read(source(path))
    check(records)
    assert records.counts["passages"] == 240
    published = json.loads(path.read_text(encoding="utf-8"))["data"]
    examples = [
        (
            asked["question"],
            [paragraph["context"]],
            [other["context"] for other in entry["paragraphs"] if other is not paragraph],
        )
        for entry in published
        for paragraph in entry["paragraphs"]
        for asked in paragraph["qas"]
    ]
    assert len(examples) == 1190
    assert judged(records) == plainly(examples)
    found = judged(records)
    for query, (positive,), negatives in ends(examples):
        assert found[query.strip()] == ({positive.strip()}, {text.strip() for text in negatives})


def test_squad_cuts_covidqa_where_its_answers_are(shared: Shared) -> None:
    path = shared("data/covidqa/200423_covidQA.json")
    records = squad.read(source(path, passage_words=100))
    check(records)
    # 234 of the 1,380 answers stand a few characters before or behind the place that is given.
    assert records.counts["answers_found_elsewhere"] == 234
    assert "questions_whose_answer_is_not_there_dropped" not in records.counts
    found = judged(records)
    cut = 0
    published = json.loads(path.read_text(encoding="utf-8"))["data"]
    for paragraph in (paragraph for entry in published for paragraph in entry["paragraphs"]):
        words = paragraph["context"].split()
        parts = -(-len(words) // 100)
        sizes = {len(words) // parts, -(-len(words) // parts)}
        document = " ".join(words)
        for entry in paragraph["qas"]:
            positives, negatives = (
                [" ".join(text.split()) for text in texts]
                for texts in found[entry["question"].strip()]
            )
            here = [text for text in positives if text in document]
            assert {len(text.split()) for text in here} <= sizes
            answer = " ".join(entry["answers"][0]["text"].split())
            cut += not any(answer in text for text in here)
            assert parts - 3 <= sum(text in document for text in negatives) <= parts - 1
    assert cut == records.counts["answers_cut_by_passages"]
    whole = squad.read(source(path))
    check(whole)
    assert whole.counts["hard_negatives"] == 0
    assert whole.counts["passages"] == len(published)


def test_squad_drops_answers_that_the_older_covidqa_lost(shared: Shared) -> None:
    path = shared("data/covidqa/200421_covidQA.json")
    counts = squad.read(source(path, passage_words=100, max_negatives=8)).counts
    # Whatever stood between < and > is missing from eight answers.
    assert counts["questions_whose_answer_is_not_there_dropped"] == 8
    assert counts["hard_negatives"] <= 8 * counts["queries"]


def test_squad_counts_questions_without_an_answer(tmp_path: Path) -> None:
    entries = [
        asked("q1", is_impossible=False),
        asked("q2", is_impossible=True),
        {"question": "q3", "answers": []},
        {"question": "q4"},
    ]
    data = {"version": 2, "data": [article(("one", entries), ("two", [])), article(("three", []))]}
    records = squad.read(source(dumped(tmp_path / "a.json", data)))
    check(records)
    assert judged(records) == {"q1": ({"one"}, {"two"})}
    assert records.counts["questions_without_answer_dropped"] == 3


def test_squad_takes_the_passage_with_most_of_the_answer(tmp_path: Path) -> None:
    context = "a bb  ccc\ndddd a bb\tff gg"
    entries = [
        asked("first", "a", 0),
        asked("later", "a", 15),
        asked("nearer the later", "a", 9),
        asked("over the edge", "bb  ccc\ndddd", 2),
        asked("far off", "gg", -1),
        asked("behind the end", " gg", 400),
        asked("nowhere", "hh", 3),
        asked("blank", " ", 1),
    ]
    data = {"data": [article((context, entries), ("other words", []))]}
    records = squad.read(source(dumped(tmp_path / "a.json", data), passage_words=3))
    check(records)
    one, two, three, other = "a bb", "ccc\ndddd a", "bb\tff gg", "other words"
    assert judged(records) == {
        "first": ({one}, {two, three, other}),
        "later": ({two}, {one, three, other}),
        "nearer the later": ({two}, {one, three, other}),
        "over the edge": ({two}, {three, other}),
        "far off": ({three}, {one, two, other}),
        "behind the end": ({three}, {one, two, other}),
    }
    assert records.counts["answers_found_elsewhere"] == 3
    assert records.counts["answers_cut_by_passages"] == 1
    assert records.counts["questions_whose_answer_is_not_there_dropped"] == 2


@given(st.text("ab \n", max_size=60), st.integers(1, 12))
def test_pieces_are_even_and_lose_no_word(context: str, words: int) -> None:
    texts = [context[start:end] for start, end in squad.pieces(context, words)]
    assert [word for text in texts for word in text.split()] == context.split()
    sizes = [len(text.split()) for text in texts]
    assert len(sizes) == -(-len(context.split()) // words)
    assert all(text == text.strip() for text in texts)
    assert not sizes or (max(sizes) <= words and max(sizes) - min(sizes) <= 1)


@given(st.text("ab", max_size=20), st.text("ab", min_size=1, max_size=3), st.integers(-5, 30))
def test_the_nearest_occurrence(context: str, text: str, start: int) -> None:
    places = [n for n in range(len(context)) if context.startswith(text, n)]
    inside = min(max(start, 0), len(context))
    expected = min(places, key=lambda place: (abs(place - inside), place), default=None)
    assert squad.nearest(text, context, start) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, ": field 'data' is missing"),
        ({"data": ["a"]}, ": data[0]: expected an object, found a text"),
        ({"data": [{}]}, ": data[0]: field 'paragraphs' is missing"),
        (
            {"data": [{"paragraphs": [{"qas": []}]}]},
            ": data[0]: paragraphs[0]: field 'context' is missing",
        ),
        (
            {"data": [article(("c", []), ("c", [{"answers": []}]))]},
            ": data[0]: paragraphs[1]: qas[0]: field 'question' is missing",
        ),
        (
            {"data": [article(("c", [asked("q", is_impossible="no")]))]},
            ": qas[0]: field 'is_impossible' must be true or false, found a text",
        ),
        (
            {"data": [article(("c", [asked("q", "c", "0")]))]},
            ": qas[0]: answers[0]: field 'answer_start' must be a whole number, found a text",
        ),
        (
            {"data": [article(("c", [{"question": "q", "answers": [{"text": "c"}]}]))]},
            ": qas[0]: answers[0]: field 'answer_start' is missing",
        ),
    ],
)
def test_squad_names_the_place(tmp_path: Path, data: Any, message: str) -> None:
    path = dumped(tmp_path / "a.json", data)
    refused(squad.read, source(path, passage_words=10), str(path), message)


def translated(data: Any, words: Callable[[str], str], without: set[str]) -> Any:
    """The same set with other words, and without some questions."""
    copy = json.loads(json.dumps(data))
    for article in copy["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["context"] = words(paragraph["context"])
            paragraph["qas"] = [
                {**entry, "question": words(entry["question"])}
                for entry in paragraph["qas"]
                if entry["id"] not in without
            ]
    return copy


def test_squad_asks_in_another_language(tmp_path: Path, shared: Shared) -> None:
    path = shared("data/xquad/xquad.en.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    first = data["data"][0]["paragraphs"][0]["qas"][0]["id"]
    other = dumped(tmp_path / "other.json", translated(data, str.swapcase, {first}))
    plain = squad.read(source(path))
    records = squad.read(source({"passages": path, "questions": other}))
    check(records)
    assert records.counts["questions_that_the_other_file_lacks_dropped"] == 1
    assert records.counts["queries"] == plain.counts["queries"] - 1
    assert records.judgements["split"].null_count() == records.judgements.height
    found, expected = judged(records), judged(plain)
    assert set(found) < {question.swapcase() for question in expected}
    for question, passages in ends(list(found.items())):
        assert passages == expected[question.swapcase()]


# pubmedqa


def test_pubmedqa_reads_contexts_or_conclusions(shared: Shared) -> None:
    path = shared("data/pubmedqa/ori_pqal.json")
    published = list(json.loads(path.read_text(encoding="utf-8")).values())
    contexts = pubmedqa.read(source(path))
    conclusions = pubmedqa.read(source(path, passage="long-answer"))
    for records in (contexts, conclusions):
        check(records)
        assert records.counts == {
            "queries": 1000,
            "passages": 1000,
            "positives": 1000,
            "hard_negatives": 0,
            "judgements_read": 1000,
        }
    for entry in ends(published):
        (passage,), negatives = judged(contexts)[entry["QUESTION"]]
        assert passage == " ".join(entry["CONTEXTS"])
        assert not negatives
        assert judged(conclusions)[entry["QUESTION"]][0] == {entry["LONG_ANSWER"].strip()}


def test_pubmedqa_sets_conclusions_among_the_abstracts(shared: Shared) -> None:
    path = shared("data/pubmedqa/ori_pqal.json")
    published = list(json.loads(path.read_text(encoding="utf-8")).values())
    records = pubmedqa.read(source(path, passage="long-answer-among-contexts"))
    check(records)
    assert records.counts["passages"] == 2000
    assert records.counts["positives"] == records.counts["hard_negatives"] == 1000
    found = judged(records)
    for entry in published:
        expected = {entry["LONG_ANSWER"].strip()}, {" ".join(entry["CONTEXTS"]).strip()}
        assert found[entry["QUESTION"].strip()] == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("text", "expected an object, found a text"),
        ({"CONTEXTS": ["c"]}, "field 'QUESTION' is missing"),
        ({"QUESTION": "q"}, "field 'CONTEXTS' is missing"),
        ({"QUESTION": "q", "CONTEXTS": ["c", 1]}, "field 'CONTEXTS[1]' must be a text"),
    ],
)
def test_pubmedqa_names_the_record(tmp_path: Path, record: Any, message: str) -> None:
    good = {"QUESTION": "q", "CONTEXTS": ["c"]}
    path = dumped(tmp_path / "a.json", {"1": good, "27": record})
    refused(pubmedqa.read, source(path), f"{path}: record '27': {message}")
    path = dumped(tmp_path / "a.json", {"1": good})
    refused(
        pubmedqa.read,
        source(path, passage="long-answer"),
        f"{path}: record '1': field 'LONG_ANSWER' is missing",
    )


# scienceqa


def problem(question: str, lecture: str = "", **more: Any) -> dict[str, Any]:
    options = {"choices": ["yes", "no"], "answer": 0, "hint": "", "image": None}
    return {"question": question, "lecture": lecture, "split": "test", **options, **more}


PROBLEMS = {
    "1": problem("Which?", "A lecture.", hint=" Read this. ", choices=["a", "b", "c"], answer=2),
    "2": problem("What is seen?", "Another.", image="image.png"),
    "3": problem("Is it?", "A lecture. ", split="val"),
    "4": problem("Is it not?", "", answer=1, split="train"),
    "5": problem("Does it?", "Another lecture.", hint=None),
}


def test_scienceqa_asks_for_lectures_or_for_options(tmp_path: Path) -> None:
    path = dumped(tmp_path / "problems.json", PROBLEMS)
    lectures = scienceqa.read(source(path))
    check(lectures)
    assert judged(lectures) == {
        "Read this. Which?": ({"A lecture."}, set()),
        "Is it?": ({"A lecture."}, set()),
        "Does it?": ({"Another lecture."}, set()),
    }
    assert lectures.judgements["split"].to_list() == ["test", "validation", "test"]
    assert lectures.counts["questions_with_a_picture_dropped"] == 1
    assert lectures.counts["empty_passages_dropped"] == 1
    assert lectures.counts["passages"] == 2
    options = scienceqa.read(source(path, passage="option"))
    check(options)
    assert judged(options) == {
        "Read this. Which?": ({"c"}, {"a", "b"}),
        "Is it?": ({"yes"}, {"no"}),
        "Is it not?": ({"no"}, {"yes"}),
        "Does it?": ({"yes"}, {"no"}),
    }
    assert options.counts["passages"] == 5


@pytest.mark.parametrize("pictures", ["path and bytes", "path", "bytes", "names", None])
def test_scienceqa_as_parquet_is_the_same(tmp_path: Path, pictures: str | None) -> None:
    """As the hub has it: an image of bytes and a path; or the set of words alone."""
    rows = [
        {key: value for key, value in row.items() if key != "split"} for row in PROBLEMS.values()
    ]
    for row in rows:
        if pictures is None:
            del row["image"]
        elif pictures != "names":
            held = {"bytes": b"png", "path": row["image"]}
            row["image"] = row["image"] and {
                name: value if name in pictures else None for name, value in held.items()
            }
    path = tmp_path / "test.parquet"
    image = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    types = {} if pictures in ("names", None) else {"image": image}
    kept = [row for n, row in enumerate(rows) if pictures or n != 1]
    pl.DataFrame(kept, schema_overrides=types).write_parquet(path)
    for passage in ("lecture", "option"):
        plain = dumped(tmp_path / "problems.json", PROBLEMS)
        expected = scienceqa.read(source(plain, passage=passage))
        found = scienceqa.read(source({"test": path}, passage=passage))
        check(found)
        assert found.texts.equals(expected.texts)
        assert found.judgements.drop("split").equals(expected.judgements.drop("split"))
        assert set(found.judgements["split"]) == {"test"}


def test_what_a_column_of_parquet_holds_is_told_without_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    image = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    held = [{"bytes": b"png", "path": None}, None, {"bytes": None, "path": ""}] * 200
    hints = ["a", None, ""] * 200
    pl.DataFrame({"image": held, "hint": hints}, {"image": image, "hint": pl.String}).write_parquet(
        path
    )
    for name, known in (
        ("image.bytes", [True, False, False]),
        ("image.path", [False, False, True]),
        ("hint", [True, False, True]),
    ):
        assert list(parquet.present(path, name)) == known * 200
    with pytest.raises(SourceError, match=r"a\.parquet: there is no column 'image\.size'"):
        list(parquet.present(path, "image.size"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": 3}, "field 'question' must be a text, found a number"),
        ({"answer": 2}, "field 'answer' is 2: there are 2 choices, counted from 0"),
        ({"answer": "a"}, "field 'answer' must be a whole number, found a text"),
        ({"choices": "ab"}, "field 'choices' must be a list, found a text"),
        ({"split": "dev"}, "field 'split' must be one of train, val, test, found 'dev'"),
    ],
)
def test_scienceqa_names_the_record(tmp_path: Path, change: Any, message: str) -> None:
    path = dumped(tmp_path / "a.json", {"1": problem("q"), "7": problem("q") | change})
    refused(scienceqa.read, source(path, passage="option"), f"{path}: record '7': {message}")


# narrativeqa, which the format `table` reads


def test_narrativeqa_is_a_table_of_summaries_or_stories(tmp_path: Path) -> None:
    """The columns that the hub's Parquet has: a row a question, with its whole story."""
    stories = [("a", "Once upon a time. " * 500), ("b", "Call me Ishmael. " * 500)]
    rows = [
        {
            "document": {
                "id": name,
                "summary": {"text": f"Summary of {name}.", "tokens": ["Summary"]},
                "text": story,
            },
            "question": {"text": f"Question {number} of {name}?", "tokens": ["Question"]},
            "answers": [{"text": "An answer.", "tokens": ["An"]}] * 2,
        }
        for name, story in stories
        for number in range(3)
    ]
    path = tmp_path / "test.parquet"
    pl.DataFrame(rows).write_parquet(path)
    for column, texts in (
        ("document.summary.text", {name: f"Summary of {name}." for name, _ in stories}),
        ("document.text", {name: story.strip() for name, story in stories}),
    ):
        columns = {"query": "question.text", "positives": column}
        records = table.read(source({"test": path}, columns=columns))
        check(records)
        assert records.counts["passages"] == 2
        assert judged(records) == {
            f"Question {number} of {name}?": ({text}, set())
            for name, text in texts.items()
            for number in range(3)
        }


# hotpotqa


def test_hotpotqa_reads_real_paragraphs(shared: Shared) -> None:
    path = shared("data/hotpotqa-sample/hotpotqa_train.json")
    records = hotpotqa.read(source(path))
    check(records)
    assert records.counts == {
        "queries": 100,
        "passages": 994,
        "positives": 200,
        "hard_negatives": 794,
        "judgements_read": 994,
    }
    found = judged(records)
    for entry in ends(json.loads(path.read_text(encoding="utf-8"))):
        gold = {title for title, _ in entry["supporting_facts"]}
        texts = {title: f"{title} {''.join(parts)}".strip() for title, parts in entry["context"]}
        assert found[entry["question"]] == (
            {text for title, text in texts.items() if title in gold},
            {text for title, text in texts.items() if title not in gold},
        )


def test_hotpotqa_counts_supporting_titles_that_were_not_retrieved(tmp_path: Path) -> None:
    context = [["A", ["One.", " Two."]], ["B", []], ["A", ["Three."]], ["C", ["."]]]
    value = {"question": "q", "context": context, "supporting_facts": [["A", 1], ["Z", 0]]}
    lost = {"question": "q2", "context": [["D", ["."]]], "supporting_facts": [["Z", 0]]}
    records = hotpotqa.read(source(dumped(tmp_path / "a.json", [value, lost])))
    check(records)
    assert judged(records) == {"q": ({"A One. Two.", "A Three."}, {"B", "C ."})}
    assert records.counts["supporting_titles_without_paragraph"] == 2
    assert records.counts["queries_without_positive_dropped"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": 3}, "field 'question' must be a text, found a number"),
        ({"supporting_facts": {"A": 1}}, "field 'supporting_facts' must be a list"),
        ({"supporting_facts": [["A"]]}, "field 'supporting_facts[0]' must be a list of two values"),
        ({"context": [["A", ["."]], "B"]}, "field 'context[1]' must be a list of two values"),
        ({"context": [[["A"], ["."]]]}, "field 'context[0][0]' must be a text, found a list"),
        ({"context": [["A", "."]]}, "field 'context[0][1]' must be a list, found a text"),
        ({"context": [["A", [".", 3]]]}, "field 'context[0][1][1]' must be a text, found a number"),
    ],
)
def test_hotpotqa_names_record_and_field(tmp_path: Path, change: Any, message: str) -> None:
    good = {"question": "q", "context": [["A", ["."]]], "supporting_facts": [["A", 0]]}
    path = dumped(tmp_path / "a.json", [good, good | change])
    refused(hotpotqa.read, source(path), f"{path}:1: record 2: {message}")


# selqa


def test_selqa_reads_real_sections(shared: Shared) -> None:
    files = {split: shared(f"data/selqa/selqa-ass-{split}.json") for split in ("dev", "test")}
    records = selqa.read(source(files))
    check(records)
    assert records.counts["empty_passages_dropped"] == 42 + 84
    published = [
        entry for path in files.values() for entry in json.loads(path.read_text(encoding="utf-8"))
    ]
    assert len(published) == 785 + 1590
    examples = [
        (
            entry["question"],
            [entry["candidates"][index] for index in entry["answers"]],
            [
                text
                for index, text in enumerate(entry["candidates"])
                if index not in entry["answers"]
            ],
        )
        for entry in published
    ]
    assert judged(records) == plainly(examples)
    for query, positives, _ in ends(examples):
        assert {text.strip() for text in positives} <= judged(records)[query.strip()][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": [0, 2]}, "field 'answers[1]' is 2: there are 2 candidates, counted from 0"),
        ({"answers": [-1]}, "field 'answers[0]' is -1: there are 2 candidates"),
        ({"answers": [True]}, "field 'answers[0]' must be a whole number, found true"),
        ({"answers": 1}, "field 'answers' must be a list, found a number"),
        ({"candidates": ["a", 3]}, "field 'candidates[1]' must be a text, found a number"),
    ],
)
def test_selqa_names_record_and_field(tmp_path: Path, change: Any, message: str) -> None:
    good = {"question": "q", "candidates": ["a", "b"], "answers": [1]}
    path = dumped(tmp_path / "a.json", [good, good | change])
    refused(selqa.read, source(path), f"{path}:1: record 2: {message}")
