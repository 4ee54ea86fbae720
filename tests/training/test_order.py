"""The order of examples, as of one set and as of a mixture."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from wellspring.training.order import BLOCK, Order

SIZES = (7, 40, 300)
IDS = [f"{dataset}/s{sample}" for dataset, size in enumerate(SIZES) for sample in range(size)]
WEIGHTS = (1.0, 2.0, 1.0)
LENGTH = 3 * BLOCK + 100


def first(count: int, weights=WEIGHTS, seed: int = 0, ids=IDS) -> list[tuple[int, int]]:
    known = Order(ids, seed, weights)
    return [known.at(position) for position in range(count)]


def dataset(example: int) -> int:
    return int(IDS[example].partition("/")[0])


def test_a_mixture_has_the_shares_of_its_weights():
    shares = Counter(dataset(example) for _, example in first(LENGTH))
    for number, weight in enumerate(WEIGHTS):
        expected = weight / sum(WEIGHTS)
        error = (expected * (1 - expected) / LENGTH) ** 0.5
        assert abs(shares[number] / LENGTH - expected) < 4 * error


def test_weights_count_in_proportion():
    assert first(500, (1, 2, 1)) == first(500, (10, 20, 10)) != first(500, (2, 1, 1))


def test_each_dataset_runs_through_permutations_of_its_own():
    seen = first(LENGTH)
    for number, size in enumerate(SIZES):
        own = [(epoch, example) for epoch, example in seen if dataset(example) == number]
        epochs = [own[start : start + size] for start in range(0, len(own) - size + 1, size)]
        for count, part in enumerate(epochs):
            assert len({example for _, example in part}) == size
            assert {epoch for epoch, _ in part} == {count}
        assert [example for _, example in epochs[0]] != [example for _, example in epochs[1]]


def test_a_position_has_one_example_however_it_is_reached():
    seen = first(LENGTH)
    fresh = Order(IDS, 0, WEIGHTS)
    rng = np.random.default_rng(0)
    for position in [LENGTH - 1, 0, *rng.integers(0, LENGTH, 200).tolist()]:
        assert fresh.at(position) == seen[position]
        assert Order(IDS, 0, WEIGHTS).at(0) == seen[0]


def test_the_stream_depends_on_ids_and_not_on_their_order():
    turned = IDS[::-1]
    assert [IDS[example] for _, example in first(500)] == [
        turned[example] for _, example in first(500, ids=turned)
    ]
    assert first(500) != first(500, seed=1)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_stream_that_is_read_backwards_is_the_same(weights):
    seen = first(LENGTH, weights)
    back = Order(IDS, 0, weights)
    assert [back.at(position) for position in reversed(range(LENGTH))] == seen[::-1]


def test_without_weights_all_are_one_set():
    count = len(IDS)
    seen = first(2 * count, None)
    for epoch in range(2):
        part = seen[epoch * count : (epoch + 1) * count]
        assert sorted(example for _, example in part) == list(range(count))
        assert {each for each, _ in part} == {epoch}
