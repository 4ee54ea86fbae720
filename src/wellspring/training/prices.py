"""What the steps of a run cost, told before they run: their batches are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from wellspring.budgets import TOKENS
from wellspring.training.batches import Batches
from wellspring.training.encoding import parts
from wellspring.training.ledger import Flops, Ledger, Network, count, similarity, trained_in_full


@dataclass(frozen=True)
class _Encoded:
    """What the texts of a step take below a head.

    Attributes:
        positions: tokens and padding.
        repeated: how many of these run twice, because gradients are cached.
    """

    flops: Flops
    positions: int
    repeated: int

    def __add__(self, other: _Encoded) -> _Encoded:
        return _Encoded(
            self.flops + other.flops,
            self.positions + other.positions,
            self.repeated + other.repeated,
        )


@dataclass(frozen=True)
class Prices:
    """How a batch is computed, as far as its cost depends on it."""

    network: Network
    width: int
    """Numbers of a vector."""
    tokens: int
    """Of a forward pass, padding included; 0: all texts in one."""
    gradient_cache: int | None
    on_cpu: int = TOKENS["cpu"]
    """Tokens of a forward pass on a processor: what budgets are priced by."""

    @cached_property
    def _trunk(self) -> Network:
        return replace(self.network, above=())

    @cached_property
    def _head(self) -> Network:
        # Something below is always trained, so the head's input needs a gradient.
        return Network((), above=self.network.above, carried=True)

    @cached_property
    def _of_text(self) -> dict[tuple[int, bool], Flops]:
        return {}

    def _text(self, length: int, twice: bool) -> Flops:
        """Of one text of a padded batch, below a head: all rows cost the same. twice: whether it
        runs again for its gradient."""
        if (length, twice) not in self._of_text:
            self._of_text[length, twice] = count(self._trunk, 1, length, cached=twice)
        return self._of_text[length, twice]

    def step(self, batches: Batches, step: int, ledger: Ledger) -> Ledger:
        """The account after a step."""
        queries, passages = batches.lengths(step)
        encoded = self._encoded(queries) + self._encoded(passages, self.gradient_cache or 0)
        similar = similarity(len(queries), len(passages), self.width)
        return ledger.after(
            {
                "encoder": encoded.flops,
                "similarity": similar,
                **self._headed(encoded.positions, encoded.repeated),
            },
            pairs=len(queries),
            tokens=int(queries.sum() + passages.sum()),
            padded_tokens=encoded.positions,
        )

    def _headed(self, positions: int, repeated: int = 0) -> dict[str, Flops]:
        """The operations of a vocabulary head where so many positions run through it, and so many
        of them twice; nothing of a model without one."""
        head = count(self._head, 1, positions - repeated)
        head += count(self._head, 1, repeated, cached=True)
        return {"head": head} if head.total else {}

    def _encoded(self, lengths: np.ndarray, once: int = 0) -> _Encoded:
        """The operations of texts of these lengths below a head.

        once: with gradients cached, so many of the first do not run twice.
        """
        encoded = _Encoded(Flops(), 0, 0)
        for rows in self._passes(lengths):
            twice = self.gradient_cache is not None and rows[0] >= once
            longest, texts = int(lengths[rows].max()), len(rows)
            one = self._text(longest, twice)
            flops = Flops(texts * one.forward, texts * one.backward, texts * one.recomputation)
            encoded += _Encoded(flops, texts * longest, texts * longest * twice)
        return encoded

    def _passes(self, lengths: np.ndarray) -> Iterator[Sequence[int]]:
        """The rows of each forward pass."""
        size = self.gradient_cache or len(lengths)
        for start in range(0, len(lengths), size):
            for rows in parts(lengths[start : start + size], self.tokens):
                yield [start + row for row in rows]


def within(batches: Batches, prices: Prices, budget_flops: float) -> Batches:
    """The batches that a budget pays for, up to half a step.

    They are priced as a processor pads them, whatever the hardware: a run must not be longer on
    another one. Raises WellspringError where it does not pay for one.
    """
    ledger, prices = Ledger(), replace(prices, tokens=prices.on_cpu)
    endless = replace(batches, steps=2**62)
    while True:
        after = prices.step(endless, ledger.steps, ledger)
        if not ledger.steps_within(budget_flops, after.total - ledger.total):
            return replace(batches, steps=ledger.steps)
        ledger = after


def in_full(prices: Prices) -> Prices:
    """Those of training all weights: the difference is what LoRA saves."""
    return replace(prices, network=trained_in_full(prices.network))


def account(batches: Batches, prices: Prices) -> Ledger:
    """What a whole run costs."""
    ledger = Ledger()
    for step in range(len(batches)):
        ledger = prices.step(batches, step, ledger)
    return ledger
