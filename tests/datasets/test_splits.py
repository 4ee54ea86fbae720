"""Splits that leak nothing, can be drawn anew, and keep passages apart where that is asked for."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sampling import (
    BY_CHARACTERS,
    BY_SAMPLE,
    MINED,
    PLAIN,
    QUARTERS,
    RANDOM,
    Judgement,
    apart,
    check_apart,
    check_names,
    drawing,
    many,
    sizes,
    tables,
)
from wellspring.config import Splits
from wellspring.datasets.samples import Sampling, make
from wellspring.datasets.splits import PUBLISHED, SPLITS, qrels, redrawn, splits
from wellspring.errors import WellspringError


def test_shares_are_exact_and_no_query_is_in_two_splits() -> None:
    texts, judgements = tables(many(200))
    found = splits(texts, judgements, Splits())
    queries = found.group_by("query_id").agg(pl.col("split").unique())
    assert queries["split"].list.len().eq(1).all()
    # Of 200 queries 40; of the 160 that are left 19.2.
    assert sizes(queries.explode("split")) == {"train": 141, "validation": 19, "test": 40}
    assert sizes(found) == {"train": 282, "validation": 38, "test": 80}


def test_splits_by_sample_leak_queries_and_say_so() -> None:
    texts, judgements = tables(many(200))
    made = make(texts, judgements, Sampling(splits=Splits(by="sample")))
    assert sizes(made.frame) == {"train": 282, "validation": 38, "test": 80}
    apart = made.frame.group_by("query_id").agg(pl.col("split").n_unique())
    assert made.counts["queries_on_both_sides"] == (apart["split"] > 1).sum() > 50


def test_equal_query_texts_are_one_query() -> None:
    rows = many(60)
    twins = {f"q{n}": f"twin {n // 2}" for n in range(60)}
    found = splits(*tables(rows, twins), Splits(test=0.3, validation=0.3))
    text = pl.col("query_id").replace_strict(twins)
    assert found.group_by(text).agg(pl.col("split").n_unique())["split"].eq(1).all()


def test_a_split_depends_on_its_seed_but_on_no_negative() -> None:
    texts, judgements = tables(many(100))
    chosen = Splits(test=0.2, validation=0.1)
    first = splits(texts, judgements, chosen)
    assert not first.equals(splits(texts, judgements, chosen.model_copy(update={"seed": 43})))
    bare = judgements.filter(pl.col("grade") > 0)
    assert first.equals(splits(texts, bare, chosen))
    one = make(texts, judgements, drawing(PLAIN, seed=1)).frame
    other = make(texts, judgements, drawing(MINED, count=2)).frame
    assert one.drop("negative_ids").equals(other.drop("negative_ids"))


def test_more_queries_move_few_of_the_others() -> None:
    texts, judgements = tables(many(100))
    more = tables(many(101))
    chosen = Splits(test=0.2, validation=0.1)
    one, other = splits(texts, judgements, chosen), splits(*more, chosen)
    moved = one.join(other, on="sample_id").filter(pl.col("split") != pl.col("split_right"))
    assert moved["query_id"].n_unique() <= 3


@pytest.mark.parametrize(
    ("published", "kept"),
    [
        (("train", "test"), {"test": "test", "train": "train validation"}),
        (("train", "dev"), {"dev": "test", "train": "train validation"}),
        (("train", "validation"), {"validation": "test", "train": "train validation"}),
        (("train", "dev", "test"), {"train": "train", "dev": "validation", "test": "test"}),
        (("train",), {"train": "train validation test"}),
        (("test",), {"test": "train validation test"}),
        (("dev",), {"dev": "train validation test"}),
        (("all",), {"all": "train validation test"}),
        (("dev", "test"), {"dev": "train validation test", "test": "train validation test"}),
    ],
)
def test_published_splits_are_kept(published: tuple[str, ...], kept: dict[str, str]) -> None:
    rows = [row for name in published for row in many(30, name, f"{name}-")]
    made = make(*tables(rows), PLAIN)
    origin = made.frame.with_columns(source=pl.col("query_id").str.split("-").list.first())
    found = origin.group_by("source").agg(pl.col("split").unique())
    assert {name: set(parts) for name, parts in found.iter_rows()} == {
        name: set(parts.split()) for name, parts in kept.items()
    }
    assert bool(made.warnings) == ("train" not in published)


def test_splits_without_train_are_those_of_a_source_that_publishes_none() -> None:
    texts, without = tables(many(30))
    _, tested = tables(many(30, "test"))
    plain, anew = make(texts, without, PLAIN), make(texts, tested, PLAIN)
    assert anew.frame.equals(plain.frame)
    assert plain.warnings == ()
    assert anew.warnings == (
        "the source publishes the split test and no train split: all its samples are split anew "
        "(splits.test: 0.25, splits.validation: 0.25); give a train split, too, to keep what is "
        "published",
    )


def test_published_splits_that_share_a_query() -> None:
    rows = [*many(30, "train", "a"), *many(30, "test", "b")]
    rows += [("a0", "extra", 1, "test"), ("a1", "a1-p0", 1, "test")]
    by_query = make(*tables(rows), PLAIN)
    assert by_query.counts["leaks_dropped"] == 3
    assert by_query.counts["duplicates"] == 1
    assert by_query.counts["queries_on_both_sides"] == 0
    test = by_query.frame.filter(split="test").filter(pl.col("query_id").str.starts_with("a"))
    assert test["positive_id"].to_list() == ["extra", "a1-p0"]
    by_sample = make(*tables(rows), BY_SAMPLE)
    assert by_sample.counts["leaks_dropped"] == 0
    assert by_sample.counts["samples"] == by_query.counts["samples"] + 3
    both = {"a0", "a1"}
    found = by_sample.frame.filter(split="test")["query_id"]
    assert both <= set(found)


def test_splits_that_cannot_be_made() -> None:
    with pytest.raises(WellspringError, match=r"validation split of 2 .* raise splits\.val"):
        make(*tables(many(1)), Sampling(splits=Splits(by="sample", test=0.5, validation=0.25)))
    with pytest.raises(WellspringError, match=r"test split of 4 samples is empty: raise splits\.t"):
        make(*tables(many(2)), Sampling(splits=Splits(by="query", test=0.1, validation=0.5)))
    with pytest.raises(WellspringError, match=r"train split .* lower splits\.test \(0\.6\)"):
        make(*tables(many(2)), Sampling(splits=Splits(by="query", test=0.6, validation=0.9)))
    with pytest.raises(WellspringError, match="published split 'eval' is none of train, dev, val"):
        make(*tables([*many(9, "eval"), *many(9, "train", "t")]), PLAIN)
    positives = [row for row in many(9) if row[2]]
    with pytest.raises(WellspringError, match=r"set the dataset's negatives\.mined to bm25"):
        make(*tables(positives), PLAIN)


# drawn anew

UNITS = st.lists(st.integers(0, 9), min_size=1, max_size=40)
PARTS = st.sampled_from([None, "train", "validation", "test"])


@given(st.data(), st.integers(0, 3), st.sampled_from(["query", "sample"]))
def test_the_seed_of_the_samples_draws_their_own_splits(
    data: st.DataObject, seed: int, by: str
) -> None:
    """Whatever is published, and in any order of the samples."""
    published = data.draw(st.lists(st.sampled_from([None, *PUBLISHED]), min_size=4, max_size=12))
    rows = [
        (f"q{n}", f"q{n}-p{m}", 1, split)
        for n, split in enumerate(published)
        for m in range(n % 3 + 1)
    ]
    chosen = Splits(by=by, test=0.3, validation=0.2, seed=seed)
    found = splits(*tables(rows), chosen)
    found = found.sample(fraction=1, shuffle=True, seed=data.draw(st.integers(0, 9)))
    units = found["query_id" if by == "query" else "sample_id"].to_list()
    again = redrawn(found["published"].to_list(), units, 0.3, 0.2, seed)
    assert again.tolist() == found["split"].to_list()


@given(units=UNITS, data=st.data(), seed=st.integers(0, 5))
def test_what_is_published_stays_and_no_unit_is_torn_apart(
    units: list[int], data: st.DataObject, seed: int
) -> None:
    of_unit = {unit: data.draw(PARTS) for unit in sorted(set(units))}
    published = [of_unit[unit] for unit in units]
    names = [f"u{unit}" for unit in units]
    found = redrawn(published, names, 0.4, 0.3, seed)
    assert len({*zip(names, found.tolist(), strict=True)}) == len(set(names))
    for part in ("validation", "test"):
        if part in published:
            assert [name == part for name in published] == (found == part).tolist()
    free = {name for name, part in zip(names, published, strict=True) if part in (None, "train")}
    taken = {name for name in free if found[names.index(name)] == "test"}
    assert len(taken) == (0 if "test" in published else int(0.4 * len(free) + 0.5))


def test_another_seed_draws_another_split_of_the_same_size() -> None:
    units = [f"q{n}" for n in range(200)]
    first, other = (redrawn([None] * 200, units, 0.2, 0.12, seed) for seed in (1, 2))
    assert (first != other).sum() > 40
    assert sorted(first) == sorted(other)


# names


def test_one_text_has_one_name_and_one_published_split() -> None:
    rows = [*many(20, "train"), *many(20, "test", "t"), ("q0-twin", "q0-extra", 1, "train")]
    rows += [("t0", "a-copy", 1, "test"), ("t1", "t1-n0-copy", 0, "test")]
    text = {"q0-twin": "text of q0", "a-copy": "text of t0-p0", "t1-n0-copy": "text of t1-n0"}
    text |= {"z": "unused"}
    texts, judgements = tables(rows, text)
    made = make(texts, judgements, PLAIN)
    check_names(texts, made.frame)
    frame = made.frame
    assert set(frame.filter(positive_id="q0-extra")["query_id"]) == {"q0"}
    assert set(frame.filter(query_id="t0")["positive_id"]) == {"a-copy", "t0-p1"}
    assert made.counts["duplicates"] == 1
    origin = pl.col("query_id").str.starts_with("t").replace_strict({True: "test", False: "train"})
    assert frame["published"].equals(frame.select(published=origin)["published"])
    # A published split has the name that it has here: dev is the test split where there is none.
    renamed = splits(*tables([*many(20, "train"), *many(20, "dev", "t")]), QUARTERS)
    assert set(renamed["published"]) == {"train", "test"}
    assert splits(*tables(many(20)), QUARTERS)["published"].null_count() == 40


def test_sample_ids_do_not_depend_on_copies() -> None:
    plain = make(*tables(many(20)), PLAIN).frame
    rows = [*many(20), ("q3-z", "q3-p0", 1, None), ("q4", "q4-p1-z", 1, None)]
    copied = make(*tables(rows, {"q3-z": "text of q3", "q4-p1-z": "text of q4-p1"}), PLAIN).frame
    assert copied.equals(plain)


# passages apart


def linked(groups: int = 40, size: int = 3) -> list[Judgement]:
    """Groups of queries that positives link in a chain, each with given negatives of its own, of
    its neighbours, and one that all queries share."""
    rows: list[Judgement] = []
    for group in range(groups):
        for n in range(size):
            name = f"g{group:02}-{n}"
            rows += [(name, f"{name}-p", 1, None), (name, "hub", 0, None)]
            rows += [(name, f"g{group:02}-{n + 1}-p", 1, None)] * (n + 1 < size)
            rows += [(name, f"{name}-n{m}", 0, None) for m in range(4)]
            rows += [(name, f"g{(group + 1) % groups:02}-{n}-n0", 0, None)]
    return rows


@pytest.mark.parametrize("sampling", [PLAIN, MINED, BY_CHARACTERS, RANDOM])
def test_no_candidate_stands_in_two_splits(sampling: Sampling) -> None:
    texts, judgements = tables(linked())
    shared = make(texts, judgements, sampling)
    assert shared.counts["test_passages_seen_in_train"] > 0
    made = make(texts, judgements, apart(sampling))
    check_apart(made.frame)
    assert made.counts["test_passages_seen_in_train"] == 0
    parts = made.frame.select("split", group=pl.col("query_id").str.head(3)).unique()
    assert parts["group"].is_unique().all()
    assert sizes(parts) == {"train": 22, "validation": 8, "test": 10}
    assert made.counts["samples"] == judgements.filter(pl.col("grade") > 0).height
    assert (
        sum(made.counts[f"{split}_passages"] for split in SPLITS)
        == texts.filter(side="passage").height
    )
    if sampling.negatives.mined is None:
        # Of three in 16 groups the neighbour's negative, or the hub, lies in another split.
        left_out = made.counts["given_negatives_of_other_splits"]
        listed = judgements.filter(grade=0).height
        assert 0 < left_out < listed / 3
    else:
        assert made.frame["negative_ids"].list.n_unique().eq(4).all()


@given(
    edges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=20, max_size=60),
    seed=st.integers(0, 3),
)
def test_queries_that_share_a_positive_fall_into_one_split(
    edges: list[tuple[int, int]], seed: int
) -> None:
    """Groups by a slow search instead of a library."""
    rows = [(f"q{q:02}", f"p{p:02}", 1, None) for q, p in set(edges)]
    found = splits(*tables(rows), Splits(test=0.3, validation=0.3, seed=seed, passages="disjoint"))
    group = {q: q for q, _ in edges}
    for _ in edges:
        for one, p in edges:
            for other, shared in edges:
                if p == shared:
                    group[one] = group[other] = min(group[one], group[other])
    names = [f"q{group[int(name[1:])]:02}" for name in found["query_id"]]
    assert found["split"].to_list() == redrawn([None] * len(names), names, 0.3, 0.3, seed).tolist()


def test_without_shared_positives_the_queries_split_as_ever() -> None:
    texts, judgements = tables(many(50))
    disjoint = Splits(test=0.25, validation=0.25, passages="disjoint")
    assert splits(texts, judgements, disjoint).equals(splits(texts, judgements, QUARTERS))


def test_a_published_positive_stays_where_the_later_split_needs_it() -> None:
    rows = [*many(20, "train", "a"), *many(20, "dev", "b"), *many(20, "test", "c")]
    rows += [("c0", "a0-p0", 1, "test"), ("b1", "a1-p1", 1, "dev"), ("c2", "b2-n0", 0, "test")]
    rows += [("c3", "a3-p0", 0, "test")]
    made = make(*tables(rows), apart(PLAIN))
    check_apart(made.frame)
    assert made.counts["positives_in_two_published_splits"] == 2
    assert made.counts["dropped_for_a_positive_of_a_later_split"] == 2
    where = dict(made.frame.select("positive_id", "split").iter_rows())
    assert (where["a0-p0"], where["a1-p1"], where["a3-p0"]) == ("test", "validation", "train")
    # A positive of train is no negative of test; a negative of two splits stays with the later.
    assert made.counts["given_negatives_of_other_splits"] == 2
    kept = {
        query: set(chosen)
        for query, chosen in made.frame.select("query_id", "negative_ids").iter_rows()
    }
    assert "b2-n0" not in kept["b2"]


# qrels


def test_qrels_hold_every_judgement_of_a_splits_queries() -> None:
    texts, judgements = tables([*many(40), ("q0", "graded", 3, None), ("lost", "q0-p0", 0, None)])
    parts = splits(texts, judgements, QUARTERS)
    found = qrels(texts, judgements, parts)
    assert found.columns == ["split", "query_id", "cluster", "text_id", "grade"]
    assert found["cluster"].equals(found["query_id"])
    found = found.drop("cluster")
    expected = judgements.filter(pl.col("query_id") != "lost").drop("split")
    assert set(found.drop("split").iter_rows()) == set(expected.iter_rows())
    assert found.height == expected.height
    where = dict(parts.select("query_id", "split").unique().iter_rows())
    assert all(where[query] == split for split, query, *_ in found.iter_rows())
    shuffled = judgements.sample(fraction=1, shuffle=True, seed=1)
    assert qrels(texts, shuffled, parts).drop("cluster").equals(found)


def test_queries_with_one_text_are_one_cluster() -> None:
    texts, judgements = tables(many(40))
    twice = texts.filter(side="query", text_id="q7").with_columns(text_id=pl.lit("zz"))
    texts = pl.concat([texts, twice])
    again = judgements.filter(query_id="q7").with_columns(query_id=pl.lit("zz"))
    judgements = pl.concat([judgements, again])
    parts = splits(texts, judgements, QUARTERS)
    found = qrels(texts, judgements, parts).filter(pl.col("query_id").is_in(["q7", "zz"]))
    assert set(found["query_id", "cluster"].iter_rows()) == {("q7", "q7"), ("zz", "q7")}
    assert found["split"].n_unique() == 1


def test_qrels_of_a_query_in_two_splits_are_in_both() -> None:
    texts, judgements = tables(many(40))
    parts = splits(texts, judgements, Splits(by="sample", test=0.4, validation=0.1))
    found = qrels(texts, judgements, parts)
    for (query,), group in parts.group_by("query_id"):
        own = found.filter(query_id=query)
        assert set(own["split"]) == set(group["split"])
        assert own.height == 8 * group["split"].n_unique()
