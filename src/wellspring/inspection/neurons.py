"""Which neurons have the largest scores, and for which texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Neuron:
    """A neuron of a sub-layer and the texts that light it."""

    neuron: int
    mean: float
    """Its score over the text's largest one in the sub-layer, averaged over texts: 0 … 1."""
    texts: Sequence[tuple[str, float]]
    """Ids of the texts with the largest such shares, and these."""


class Tally:
    """Gathers a sub-layer's scores, some texts at a time, in memory that no number of texts
    raises."""

    def __init__(self, width: int, texts: int = 3) -> None:
        """width: neurons; texts: how many are kept for each neuron."""
        self.count = 0
        self._sum = np.zeros(width)
        self._shares = np.full((texts, width), -np.inf, np.float32)
        self._ids = np.full((texts, width), None, object)

    def add(self, ids: Sequence[str], shares: np.ndarray) -> None:
        """shares: [len(ids), width], each score over the largest one of its text."""
        shares = shares.astype(np.float32)
        self.count += len(shares)
        self._sum += shares.sum(0, dtype=np.float64)
        kept = len(self._shares)
        named = np.repeat(np.array(list(ids), object)[:, None], shares.shape[1], 1)
        all_shares = np.concatenate([self._shares, shares])
        # Stable, so that of equals the first text stays.
        order = np.argsort(-all_shares, axis=0, kind="stable")[:kept]
        self._shares = np.take_along_axis(all_shares, order, 0)
        self._ids = np.take_along_axis(np.concatenate([self._ids, named]), order, 0)

    def top(self, neurons: int) -> list[Neuron]:
        """Those with the largest mean share, the first of equals first."""
        if not self.count:
            return []
        means = self._sum / self.count
        order = np.argsort(-means, kind="stable")[:neurons]
        return [
            Neuron(
                int(neuron),
                float(means[neuron]),
                [
                    (text_id, float(share))
                    for text_id, share in zip(
                        self._ids[:, neuron], self._shares[:, neuron], strict=True
                    )
                    if text_id is not None
                ],
            )
            for neuron in order
        ]
