"""Which candidates a sample shows, and what a ranking is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from wellspring.errors import ConfigError
from wellspring.probes import candidates

LISTS = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, (7, n), elements=st.integers(0, 3)),
        hnp.arrays(np.float32, (7, n), elements=st.sampled_from([-1.0, 0.0, 0.5])),
        hnp.arrays(np.int64, (7,), elements=st.integers(0, n - 1)),
    )
)


def drawn(count=4000, negatives=4, passages=3, seeds=(0, 1)):
    rows = np.arange(count * (negatives + 1)).reshape(count, -1)
    ids = [f"s{number}" for number in range(count)]
    return candidates.draw(rows, ids, seeds, passages), rows, ids


def slow_credit(scores, rows, target):
    best = {}
    for row, score in zip(rows, scores, strict=True):
        best[row] = max(score, best.get(row, -np.inf))
    top = [row for row, score in best.items() if score == max(best.values())]
    return 1 / len(top) if rows[target] in top else 0.0


@given(LISTS)
def test_credit_and_chance_equal_slow_loops(lists):
    rows, scores, target = lists
    wanted = [slow_credit(*line) for line in zip(scores, rows, target, strict=True)]
    np.testing.assert_allclose(candidates.credit(scores, rows, target), wanted, rtol=1e-6)
    np.testing.assert_allclose(candidates.chance(rows), [1 / len({*row}) for row in rows.tolist()])


def test_a_score_of_texts_that_knows_nothing_earns_chance():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, (40, 5))
    target = rng.integers(0, 5, 40)
    values = rng.random((5000, 4))  # a random score per text, many times
    earned = np.mean([candidates.credit(value[rows], rows, target) for value in values], axis=0)
    np.testing.assert_allclose(earned, candidates.chance(rows), atol=0.03)


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


def test_choices_depend_on_the_id_and_not_on_the_order():
    draw, rows, ids = drawn(count=300)
    order = np.random.default_rng(3).permutation(300)
    other = candidates.draw(rows[order], [ids[place] for place in order], (0, 1), 3)
    assert (other.rows == draw.rows[:, order]).all()
    assert (other.target == draw.target[:, order]).all()
    targets = candidates.random_targets(draw, rows, ids)
    again = candidates.random_targets(other, rows[order], [ids[place] for place in order])
    assert (again == targets[:, order]).all()


def test_every_sample_gets_another_query_of_its_split():
    queries = np.repeat(np.arange(40), 3)
    ids = [f"q{number}" for number in queries]
    split = np.where(queries < 25, "train", "test")
    swapped = candidates.swapped_queries(queries, ids, split, (0, 1, 2))
    assert (swapped != queries).all()
    assert ((swapped < 25) == (queries < 25)).all()
    for row in swapped:
        assert (row.reshape(-1, 3) == row.reshape(-1, 3)[:, :1]).all()  # a query's samples agree
        assert sorted(row[::3]) == list(range(40))
    assert (swapped[0] != swapped[1]).any()
    order = np.random.default_rng(0).permutation(len(queries))
    moved = candidates.swapped_queries(
        queries[order], [ids[place] for place in order], split[order], (0, 1, 2)
    )
    assert (moved == swapped[:, order]).all()


def test_one_query_cannot_be_shuffled():
    with pytest.raises(ConfigError, match="two queries in the test split, which has 1"):
        candidates.swapped_queries(
            np.array([0, 1, 2]), ["a", "b", "c"], np.array(["train", "train", "test"]), (0,)
        )


def test_random_labels_are_one_order_of_all_passages():
    """Labels of lists that share passages never contradict each other."""
    rng = np.random.default_rng(0)
    rows = np.array([rng.choice(12, 5, replace=False) for _ in range(600)])
    ids = [f"s{number}" for number in range(600)]
    draw = candidates.draw(rows, ids, (0, 1), 4)
    targets = candidates.random_targets(draw, rows, ids)
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
