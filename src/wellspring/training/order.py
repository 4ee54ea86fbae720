"""The order in which a run sees what it learns from: known before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wellspring.randomness import key


@dataclass(frozen=True)
class Order:
    """An endless stream: one permutation an epoch, each drawn from (seed, epoch, id)."""

    ids: Sequence[str]
    seed: int

    def at(self, position: int) -> tuple[int, int]:
        """The epoch of a position of the stream, and the row of `ids` that stands there."""
        epoch, place = divmod(position, len(self.ids))
        if epoch not in self._orders:
            # A batch may lie in two epochs, and no batch in more.
            for earlier in [each for each in self._orders if each < epoch - 1]:
                del self._orders[earlier]
            keys = [key(self.seed, "order", epoch, each) for each in self.ids]
            self._orders[epoch] = np.argsort(np.array(keys, np.uint64), kind="stable")
        return epoch, int(self._orders[epoch][place])

    @cached_property
    def _orders(self) -> dict[int, np.ndarray]:
        """Epoch to the order of its rows."""
        return {}
