"""Which candidates a sample shows, and which of them is wanted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from wellspring.errors import ConfigError
from wellspring.probes import candidates


def drawn(count=4000, negatives=4, passages=3, seeds=(0, 1)):
    rows = np.arange(count * (negatives + 1)).reshape(count, -1)
    ids = [f"s{number}" for number in range(count)]
    return candidates.draw(rows, candidates.keys_of(seeds, ids), passages), rows, ids


def test_the_positive_is_there_once_and_its_slot_is_the_target():
    draw, rows, _ = drawn()
    slots = np.take_along_axis(draw.rows, draw.target[..., None], -1)[..., 0]
    assert (slots == rows[:, 0]).all()
    assert (np.sort(draw.columns, -1)[..., 1:] > np.sort(draw.columns, -1)[..., :-1]).all()


def test_slots_and_negatives_are_uniform():
    draw, _, _ = drawn()
    for seed in range(2):
        assert stats.chisquare(np.bincount(draw.target[seed])).pvalue > 1e-3
        used = np.bincount(draw.columns[seed].ravel(), minlength=5)[1:]
        assert stats.chisquare(used).pvalue > 1e-3
    pairs = np.bincount(draw.target[0] * 3 + draw.target[1])
    assert stats.chisquare(pairs).pvalue > 1e-3


def test_fewer_passages_use_a_part_of_the_same_negatives():
    few, many = (drawn(passages=count)[0].columns for count in (2, 4))
    assert all({*a} <= {*b} for a, b in zip(few[0].tolist(), many[0].tolist(), strict=True))


@given(
    candidates_=hnp.arrays(np.int64, (9, 6), elements=st.integers(0, 4)),
    seed=st.integers(0, 2**32),
)
def test_distinct_negatives_come_before_copies(candidates_, seed):
    """For every number of passages, and each is among those for one more."""
    keys = candidates.keys_of((seed, seed + 1), [f"s{number}" for number in range(9)])
    before = None
    for passages in range(2, 7):
        draw = candidates.draw(candidates_, keys, passages)
        for r, s in np.ndindex(draw.target.shape):
            columns, rows = draw.columns[r, s].tolist(), draw.rows[r, s].tolist()
            assert len({*columns}) == passages and columns[draw.target[r, s]] == 0
            assert rows == candidates_[s, columns].tolist()
            assert len({*rows}) == min(passages, len({*candidates_[s].tolist()}))
            if before is not None:
                assert {*before.columns[r, s].tolist()} < {*columns}
        before = draw


def test_an_oversampled_negative_is_drawn_no_more_often_than_others():
    listed = np.tile([9, 1, 1, 1, 2, 3], (6000, 1))
    keys = candidates.keys_of((0,), [f"s{number}" for number in range(6000)])
    for passages in (2, 3):
        rows = candidates.draw(listed, keys, passages).rows
        assert stats.chisquare(np.bincount(rows.ravel())[1:4]).pvalue > 1e-3
    # One copy more, which is either of the two.
    columns = candidates.draw(listed, keys, 5).columns
    used = np.bincount(columns.ravel(), minlength=6)
    assert (used[[0, 1, 4, 5]] == 6000).all() and stats.chisquare(used[2:4]).pvalue > 1e-3


def test_choices_depend_on_the_id_and_not_on_the_order():
    draw, rows, ids = drawn(count=300)
    order = np.random.default_rng(3).permutation(300)
    keys = candidates.keys_of((0, 1), ids)
    other = candidates.draw(rows[order], keys[:, order], 3)
    assert (other.rows == draw.rows[:, order]).all()
    assert (other.target == draw.target[:, order]).all()
    targets = candidates.random_targets(candidates.passage_lots(keys, rows, ids), draw)
    lots = candidates.passage_lots(keys[:, order], rows[order], [ids[place] for place in order])
    assert (candidates.random_targets(lots, other) == targets[:, order]).all()


@given(hnp.arrays(bool, (3, 40), elements=st.booleans()))
def test_all_seeds_get_as_many_samples_as_the_smallest_split(member):
    ids = [f"s{number}" for number in range(40)]
    keys = candidates.keys_of((0, 1, 2), ids)
    chosen = candidates.as_many(member, keys)
    assert chosen.shape == (3, member.sum(1).min())
    for mine, own, lots in zip(chosen, member, keys, strict=True):
        assert own[mine].all() and (np.diff(mine) > 0).all()
        # Leaving out a sample that another seed has not changes nobody else's place.
        order = np.random.default_rng(0).permutation(40)
        again = candidates.as_many(np.stack([own[order]] * 2), np.stack([lots[order]] * 2))
        assert {*order[again[0]].tolist()} == {*np.flatnonzero(own).tolist()}


def test_every_sample_gets_another_query_of_its_split():
    queries = np.repeat(np.arange(40), 3)
    ids = [f"q{number}" for number in queries]
    split = np.where(queries < 25, "train", "test")
    swapped = candidates.swapped_queries(queries, ids, np.tile(split, (3, 1)), (0, 1, 2))
    assert (swapped != queries).all()
    assert ((swapped < 25) == (queries < 25)).all()
    for row in swapped:
        assert (row.reshape(-1, 3) == row.reshape(-1, 3)[:, :1]).all()  # a query's samples agree
        assert sorted(row[::3]) == list(range(40))
    assert (swapped[0] != swapped[1]).any()
    order = np.random.default_rng(0).permutation(len(queries))
    moved = candidates.swapped_queries(
        queries[order],
        [ids[place] for place in order],
        np.tile(split[order], (3, 1)),
        (0, 1, 2),
    )
    assert (moved == swapped[:, order]).all()


def test_queries_are_swapped_within_each_seeds_own_split():
    queries = np.arange(200)
    rng = np.random.default_rng(0)
    split = rng.choice(["train", "validation", "test"], (3, 200))
    ids = [f"q{number}" for number in queries]
    swapped = candidates.swapped_queries(queries, ids, split, (0, 1, 2))
    assert (np.take_along_axis(split, swapped, 1) == split).all()
    assert (swapped != queries).all() and (np.sort(swapped, 1) == queries).all()


def test_one_query_cannot_be_shuffled():
    with pytest.raises(ConfigError, match="two queries in the test split, which has 1"):
        candidates.swapped_queries(
            np.array([0, 1, 2]), ["a", "b", "c"], np.array([["train", "train", "test"]]), (0,)
        )


def test_random_labels_are_one_order_of_all_passages():
    """Labels of lists that share passages never contradict each other."""
    rng = np.random.default_rng(0)
    rows = np.array([rng.choice(12, 5, replace=False) for _ in range(600)])
    ids = [f"s{number}" for number in range(600)]
    keys = candidates.keys_of((0, 1), ids)
    draw = candidates.draw(rows, keys, 4)
    targets = candidates.random_targets(candidates.passage_lots(keys, rows, ids), draw)
    winners = []
    for listed, target in zip(draw.rows, targets, strict=True):
        left, order = {*range(12)}, []
        lists = [(row[slot], {*row.tolist()}) for row, slot in zip(listed, target, strict=True)]
        while left:
            beaten = {loser for first, row in lists for loser in row - {first} if first in left}
            tops = left - beaten
            assert tops, "two lists contradict each other"
            left -= tops
            order.append(tuple(sorted(tops)))
        winners.append(order[0])
    assert winners[0] != winners[1]


def test_a_random_target_is_any_copy_of_its_text():
    """A rule such as the first copy would make low slots more frequent, which a probe could learn
    without any vector."""
    listed = np.stack([np.arange(3000) * 2, *[np.arange(3000) * 2 + 1] * 4], axis=1)
    ids = [f"s{number}" for number in range(3000)]
    keys = candidates.keys_of((0, 1), ids)
    draw = candidates.draw(listed, keys, 5)
    targets = candidates.random_targets(candidates.passage_lots(keys, listed, ids), draw)
    for seed in range(2):
        assert stats.chisquare(np.bincount(targets[seed], minlength=5)).pvalue > 1e-3
        wanted = np.take_along_axis(draw.rows[seed], targets[seed][:, None], 1)[:, 0]
        assert stats.binomtest(int((wanted % 2).sum()), 3000).pvalue > 1e-3
