"""Other wordings of queries: read from JSON lines, and seen by nothing but attributions."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.test_cli import run
from tests.support.formats import check, refused, source, write
from wellspring import shards, specs
from wellspring.config import Splits
from wellspring.datasets import jsonl, splits
from wellspring.datasets.records import text_id
from wellspring.datasets.samples import Sampling, make

ROWS = [
    {"query": f"what is {word}", "pos": [f"{word} is one"], "neg": [f"not {word}", f"no {word}"]}
    for word in ("sand", "iron", "wood", "salt", "gold", "rain", "snow", "corn")
]
WORDED = [row | {"paraphrases": [f"tell me of {row['query'][8:]}"]} for row in ROWS[:5]] + ROWS[5:]


def read(path: Path, *rows: object):
    return jsonl.read(source(write(path, *rows)))


def test_a_query_has_one_paraphrase_under_its_id(tmp_path: Path) -> None:
    found = read(tmp_path / "lines.jsonl", *WORDED)
    check(found)
    wordings = found.texts.filter(side="paraphrase")
    expected = {text_id(row["query"]): row["paraphrases"][0] for row in WORDED[:5]}
    assert dict(wordings.select("text_id", "text").iter_rows()) == expected
    assert found.counts["paraphrases"] == 5
    assert "paraphrases" not in read(tmp_path / "plain.jsonl", *ROWS).counts


@given(st.permutations(["of iron", "of  iron ", "iron", "what is iron", "", "about iron"]))
def test_which_one_is_kept_does_not_depend_on_their_order(tmp_path_factory, given) -> None:
    folder = tmp_path_factory.mktemp("order")
    half = {"paraphrases": given[:3]}, {"paraphrases": given[3:]}
    rows = [ROWS[1] | part for part in half]
    kept = {
        read(folder / f"{number}.jsonl", *lines).texts.filter(side="paraphrase")["text"].item()
        for number, lines in enumerate((rows, rows[::-1], [ROWS[1] | {"paraphrases": given}]))
    }
    # Neither the query itself nor nothing.
    assert kept == {min(("of iron", "of  iron", "iron", "about iron"), key=text_id)}


def test_a_dropped_query_takes_its_paraphrase_along(tmp_path: Path) -> None:
    lonely = {"query": "alone", "pos": [], "neg": ["x"], "paraphrases": ["by itself"]}
    found = read(tmp_path / "lines.jsonl", *WORDED, lonely)
    assert "by itself" not in found.texts["text"].to_list()
    refused(
        jsonl.read,
        source(write(tmp_path / "odd.jsonl", ROWS[0] | {"paraphrases": "text"})),
        "odd.jsonl:1: field 'paraphrases' must be a list, found a text",
    )


def test_nothing_else_sees_them(tmp_path: Path) -> None:
    plain, worded = (
        read(tmp_path / f"{name}.jsonl", *rows) for name, rows in (("a", ROWS), ("b", WORDED))
    )
    assert worded.judgements.equals(plain.judgements)
    assert worded.texts.filter(pl.col("side") != "paraphrase").equals(plain.texts)
    made = []
    for found in (plain, worded):
        given = (found.texts, found.judgements)
        assigned = splits.splits(*given, Splits(test=0.3, validation=0.2, seed=1))
        made.append((make(*given, Sampling()).frame, splits.qrels(*given, assigned)))
    for ours, theirs in zip(*made, strict=True):
        assert ours.equals(theirs) and len(ours)


@pytest.mark.parametrize("rows", [ROWS, WORDED])
def test_their_digest_stands_apart(tmp_path: Path, rows: list) -> None:
    path = write(tmp_path / "lines.jsonl", *rows)
    spec = specs.TextsSpec(
        dataset="lines", format="jsonl", files={"": str(path)}, sha256={}, options={}
    )
    out = [tmp_path / "texts.parquet", tmp_path / "judgements.parquet"]
    run("texts", *out, "--spec", spec.canonical())
    identity = shards.provenance(out[0]).identity
    assert set(identity["texts"]) == {"query", "passage"}
    # Queries and passages are known by the same digests, with wordings and without.
    write(path, *ROWS)
    run("texts", *out, "--spec", spec.canonical())
    other = shards.provenance(out[0]).identity
    assert other["texts"] == identity["texts"]
    assert (other["paraphrases"] == identity["paraphrases"]) == (rows == ROWS)
