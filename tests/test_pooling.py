"""Pooling against a slow loop, with padding on either side."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wellspring.pooling import pool

LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def padded(lengths, side):
    """Random states, and a mask with padding on one side."""
    width = max(lengths) + 1
    states = torch.randn(len(lengths), width, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    return states, mask if side == "right" else mask.flip(1)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "eos"])
@given(lengths=LENGTHS)
def test_equals_a_slow_loop(pooling, side, lengths):
    states, mask = padded(lengths, side)
    pooled = pool(states, mask, pooling)
    for row in range(len(lengths)):
        tokens = [states[row, t] for t in range(mask.shape[1]) if mask[row, t]]
        expected = {"cls": tokens[0], "eos": tokens[-1], "mean": sum(tokens) / len(tokens)}
        torch.testing.assert_close(pooled[row], expected[pooling])


@pytest.mark.parametrize("pooling", ["cls", "mean", "eos"])
def test_padding_never_counts(pooling):
    states, mask = padded([2, 5], "right")
    poisoned = states.masked_fill(mask.unsqueeze(-1) == 0, 1e6)
    torch.testing.assert_close(pool(states, mask, pooling), pool(poisoned, mask, pooling))


def test_half_precision_is_summed_in_float32():
    states = torch.ones(1, 4096, 2, dtype=torch.bfloat16)
    pooled = pool(states, torch.ones(1, 4096, dtype=torch.long), "mean")
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, torch.ones(1, 2))
