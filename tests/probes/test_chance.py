"""What ranking the wanted candidate first is worth, and what guessing earns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.probes import without_signal
from tests.support.probing import run, settings
from wellspring.probes import KINDS, credit, names

LISTS = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, (7, n), elements=st.integers(0, 3)),
        hnp.arrays(np.float32, (7, n), elements=st.sampled_from([-1.0, 0.0, 0.5])),
        hnp.arrays(np.int64, (7,), elements=st.integers(0, n - 1)),
    )
)


def slow_credit(scores, rows, target):
    best = {}
    for row, score in zip(rows, scores, strict=True):
        best[row] = max(score, best.get(row, -np.inf))
    top = [row for row, score in best.items() if score == max(best.values())]
    return 1 / len(top) if rows[target] in top else 0.0


def slow_slot_credit(scores, rows, target):
    top = [row for row, score in zip(rows, scores, strict=True) if score == max(scores)]
    return top.count(rows[target]) / len(top)


@given(LISTS)
def test_credit_and_chance_equal_slow_loops(lists):
    rows, scores, target = lists
    for slots, slow in ((False, slow_credit), (True, slow_slot_credit)):
        wanted = [slow(*line) for line in zip(scores, rows, target, strict=True)]
        np.testing.assert_allclose(credit.credit(scores, rows, target, slots), wanted, rtol=1e-6)
    distinct = [1 / len({*row}) for row in rows.tolist()]
    np.testing.assert_allclose(credit.text_chance(rows), distinct)
    shares = [
        row.count(row[place]) / len(row) for row, place in zip(rows.tolist(), target, strict=True)
    ]
    np.testing.assert_allclose(credit.slot_chance(rows, target), shares)


def test_a_score_that_knows_nothing_earns_chance():
    rng = np.random.default_rng(0)
    rows, target = rng.integers(0, 4, (40, 5)), rng.integers(0, 5, 40)
    values = rng.random((5000, 4))  # a random score per text, many times
    earned = np.mean([credit.credit(value[rows], rows, target) for value in values], axis=0)
    np.testing.assert_allclose(earned, credit.text_chance(rows), atol=0.03)
    slots = rng.random((5000, 1, 5))  # a random score per slot
    earned = np.mean([credit.credit(s + 0 * rows, rows, target, True) for s in slots], axis=0)
    np.testing.assert_allclose(earned, credit.slot_chance(rows, target), atol=0.03)


@given(hnp.arrays(np.int64, (2, 6, 5), elements=st.integers(0, 3)), st.integers(0, 2**32))
def test_unrelated_lists_have_the_shape_of_the_given_ones(rows, seed):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**63, (2, 6)).astype(np.uint64)
    pools = [rng.permutation(40), 100 + rng.permutation(7)]
    seen = []

    def score(drawn):
        seen.append(drawn)
        return rng.random(drawn.shape)

    credit.unrelated(score, rows, np.zeros((2, 6), int), pools, keys)
    for drawn in seen:
        for r in range(2):
            assert {*drawn[r].ravel().tolist()} <= {*pools[r].tolist()}
        same = rows[..., :, None] == rows[..., None, :]
        assert (same == (drawn[..., :, None] == drawn[..., None, :])).all()
    assert len({drawn.tobytes() for drawn in seen}) == len(seen) > 1


def test_unrelated_lists_tell_a_score_of_slots_from_one_of_texts():
    """One distinct negative four times: 1/5 for slots, 1/2 for texts that are scored alike in all
    slots, though the target's slot is all that both are judged by."""
    rng = np.random.default_rng(0)
    rows = np.tile([0, 1, 1, 1, 1], (1, 4000, 1))
    rows = rng.permuted(rows, axis=-1)
    target = (rows == 0).argmax(-1)
    keys, pools = rng.integers(0, 2**63, (1, 4000)).astype(np.uint64), [rng.permutation(500)]
    values = rng.random(500)
    slots, texts = (
        credit.unrelated(score, rows, target, pools, keys).mean()
        for score in (lambda drawn: rng.random(drawn.shape), lambda drawn: values[drawn])
    )
    assert slots == pytest.approx(1 / 5, abs=0.02) and texts == pytest.approx(1 / 2, abs=0.02)


PATTERNS = {
    "one negative four times": [(0, 0, 0, 0)],
    "one of two, three times": [(0, 1, 1, 1)],
    "both twice": [(0, 0, 1, 1)],
    "all of these": [(0, 0, 0, 0), (0, 1, 1, 1), (0, 0, 1, 1), (0, 1, 2, 2), (0, 1, 2, 3)],
}


@pytest.mark.parametrize(("name", "passages"), [*zip(PATTERNS, (5, 3, 4, 5), strict=True)])
def test_every_kind_earns_its_chance_where_nothing_is_to_learn(name, passages):
    """In samples that would show a difference of .02, each seed on its own lists."""
    given = without_signal(PATTERNS[name], 15_000)
    chosen = settings(*KINDS, seeds=(0, 1, 2), epochs=15, rank=3)
    samples = run(given, passages, chosen).samples
    excess = (
        samples.with_columns(pl.col("correct") - pl.col("chance"))
        .group_by("probe", "sample_id")
        .agg(pl.col("correct").mean())
        .group_by("probe")
        .agg(pl.col("correct").mean().alias("mean"), pl.col("correct").std(), pl.len())
    )
    assert set(excess["probe"]) == set(names(KINDS))
    for probe, mean, deviation, count in excess.iter_rows():
        error = deviation / count**0.5
        assert error < 0.005, probe
        assert abs(mean) < 4 * error, (probe, mean, error)
