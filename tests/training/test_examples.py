"""What a retriever learns from."""

from __future__ import annotations

import polars as pl
import pytest

from tests.support.training import samples, texts
from wellspring.errors import WellspringError
from wellspring.training.examples import gather, joined, part, taught


def named(examples):
    """(query, passages) of every example, by name."""
    return {
        examples.ids[row]: (
            examples.query_ids[examples.queries[row]],
            [examples.passage_ids[each] for each in examples.passages[row]],
        )
        for row in range(len(examples.ids))
    }


def test_an_example_is_a_query_its_positive_and_distinct_negatives():
    frame = samples()
    examples = gather(frame, texts(), "train", 2)
    for row in frame.filter(pl.col("split") == "train").iter_rows(named=True):
        query, passages = named(examples)[row["sample_id"]]
        assert query == row["query_id"]
        assert passages[0] == row["positive_id"]
        assert len(set(passages[1:])) == 2
        assert set(passages[1:]) <= set(row["negative_ids"])
    assert set(named(examples)) == set(frame.filter(pl.col("split") == "train")["sample_id"])


def test_all_positives_of_a_query_are_relevant_also_those_of_other_splits():
    frame = samples().with_columns(
        split=pl.when(pl.col("sample_id") == "s0-1").then(pl.lit("test")).otherwise("split")
    )
    # The other positive of q0 is a test sample's, and here a hard negative of q1.
    frame = frame.with_columns(
        negative_ids=pl.when(pl.col("query_id") == "q1")
        .then(pl.lit(["p0-1"]))
        .otherwise("negative_ids")
    )
    examples = gather(frame, texts(), "train", 1)
    position = examples.query_ids.index("q0")
    assert {examples.passage_ids[each] for each in examples.relevant[position]} == {"p0-0", "p0-1"}


def test_negatives_do_not_depend_on_the_order_of_rows():
    frame = samples()
    mixed = frame.sample(fraction=1, shuffle=True, seed=3)
    assert named(gather(frame, texts(), "train", 2, seed=5)) == named(
        gather(mixed, texts(), "train", 2, seed=5)
    )
    assert named(gather(frame, texts(), "train", 2, seed=5)) != named(
        gather(frame, texts(), "train", 2, seed=6)
    )


def test_what_cannot_be_learned_from_is_one_line():
    frame = samples()
    with pytest.raises(WellspringError, match="no test samples"):
        gather(frame, texts(), "test", 1)
    repeated = frame.with_columns(negative_ids=pl.lit(["n0-0", "n0-0", "n0-0"]))
    with pytest.raises(WellspringError, match="fewer than 2 distinct"):
        gather(repeated, texts(), "train", 2)


def test_a_teacher_s_scores_follow_the_passages_that_were_drawn():
    frame = samples()
    score = {}
    rows = []
    for row in frame.iter_rows(named=True):
        own = [row["positive_id"], *row["negative_ids"]]
        score |= {(row["sample_id"], each): float(len(score) + at) for at, each in enumerate(own)}
        rows.append([score[row["sample_id"], each] for each in own])
    scores = pl.DataFrame({"sample_id": frame["sample_id"], "scores": rows})
    examples = gather(frame, texts(), "train", 2)
    judged = taught(examples, frame, scores.reverse())
    for row, sample in enumerate(examples.ids):
        own = [examples.passage_ids[each] for each in examples.passages[row]]
        assert judged[row].tolist() == [score[sample, each] for each in own]


def test_a_teacher_of_other_samples_is_refused():
    frame = samples()
    scores = pl.DataFrame({"sample_id": ["other"], "scores": [[1.0, 0.5, 0.2, 0.1]]})
    with pytest.raises(WellspringError, match=r"teacher: it has no scores for \d+ of \d+ samples"):
        taught(gather(frame, texts(), "train", 2), frame, scores)


def test_what_has_a_query_s_own_words_is_no_negative_of_it():
    frame, known = samples(), texts()
    own = known.filter(pl.col("text_id") == "q2")["text"].item()
    answer = known.filter(pl.col("text_id") == "p2-0")["text"].item()
    known = known.with_columns(
        text=pl.when(pl.col("text_id") == "p5-0")
        .then(pl.lit(f" {own.upper()}"))
        .when(pl.col("text_id") == "p6-0")
        .then(pl.lit(answer.replace(" ", "  ")))
        .otherwise("text")
    )
    examples = gather(frame, known, "train", 1)
    found = examples.relevant[examples.query_ids.index("q2")]
    assert {examples.passage_ids[each] for each in found} == {"p2-0", "p5-0", "p6-0"}


def test_a_text_of_two_datasets_has_one_id():
    first, own = samples(8, held=0), texts()
    second = first.with_columns(negative_ids=pl.lit(["n1-0", "n2-0", "n3-0"]))
    known, both = joined([own, own], [first, second])
    assert both.height == 2 * first.height and both["sample_id"].n_unique() == both.height
    assert both["query_id"].n_unique() == first["query_id"].n_unique()
    assert set(both["negative_ids"].explode()) <= set(known["text_id"])
    assert known.select(pl.struct("side", "text").n_unique()).item() == known.height
    by_id = dict(known.select("text_id", "text").iter_rows())
    plain = dict(own.select("text_id", "text").iter_rows())
    for row, origin in zip(
        both.iter_rows(named=True), [*first.iter_rows(named=True)] * 2, strict=True
    ):
        assert by_id[row["query_id"]] == plain[origin["query_id"]]
        assert by_id[row["positive_id"]] == plain[origin["positive_id"]]


def test_a_fraction_takes_whole_queries_and_is_among_a_larger_one():
    frame = samples(40, held=8)
    training = pl.col("split") == "train"
    everything = set(frame.filter(training)["query_id"])
    earlier: set[str] = set()
    for fraction in (0.1, 0.25, 0.5, 1.0):
        own = part(frame, fraction, seed=3)
        queries = set(own.filter(training)["query_id"])
        assert len(queries) == round(fraction * len(everything))
        assert earlier <= queries
        whole = frame.filter(training, pl.col("query_id").is_in(list(queries)))
        assert own.filter(training).equals(whole)
        assert own.filter(~training).equals(frame.filter(~training))
        earlier = queries


def test_a_fraction_depends_on_seed_and_ids_alone():
    frame = samples(40, held=8)
    chosen = [
        set(part(each, 0.25, seed)["sample_id"])
        for each, seed in ((frame, 1), (frame.reverse(), 1), (frame, 2))
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_fraction_keeps_what_the_examples_are():
    frame, known = samples(), texts()
    whole, half = (gather(part(frame, share, 0), known, "train", 2) for share in (1, 0.5))
    all_named = named(whole)
    assert all(all_named[sample] == own for sample, own in named(half).items())
    for query, answers in zip(half.query_ids, half.relevant, strict=True):
        expected = whole.relevant[whole.query_ids.index(query)]
        assert {half.passage_ids[each] for each in answers} == {
            whole.passage_ids[each]
            for each in expected
            if whole.passage_ids[each] in half.passage_ids
        }
