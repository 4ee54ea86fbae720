"""Work in halves: whatever fits, everything is done once, in order, and halvings are counted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wellspring import memory
from wellspring.errors import WellspringError

REFUSALS = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    room=st.integers(9, 40),
    refusal=st.sampled_from(REFUSALS),
)
def test_rows_are_done_once_in_order_in_parts_that_fit(lengths, room, refusal):
    tried = []

    def run(rows: list[int]) -> int:
        tried.append(rows)
        if sum(rows) > room:
            raise refusal
        return sum(rows)

    parts = list(memory.fitting(lengths, run, int))
    assert [row for rows, _ in parts for row in rows] == lengths
    assert all(size == sum(rows) <= room for rows, size in parts)
    # A part is halved only where it does not fit: each refusal makes one part two.
    assert len(tried) - len(parts) == len(parts) - 1


@given(size=st.integers(1, 64), room=st.integers(1, 64))
def test_each_halving_is_counted_once(size, room):
    refused = []

    def run(count: int) -> int:
        if count > room:
            refused.append(count)
            raise MemoryError
        return count

    def halves(count: int) -> list[int]:
        return [(count + 1) // 2, count // 2]

    parts = list(memory.halving(size, run, halves))
    assert sum(count for count, _, _ in parts) == size
    assert sum(halved for _, _, halved in parts) == len(refused)


def test_other_errors_and_a_row_that_never_fits_are_told():
    def broken(rows):
        raise RuntimeError("shapes do not match")

    def full(rows):
        raise MemoryError

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(memory.fitting([1, 2], broken, int))
    with pytest.raises(WellspringError, match="a text of 7 tokens does not fit into memory"):
        list(memory.fitting([7, 2], full, int))
