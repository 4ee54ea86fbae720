"""The order in which a run sees what it learns from: known before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wellspring.config import Recipe
from wellspring.errors import WellspringError
from wellspring.randomness import generator, key
from wellspring.training.examples import datasets_of

BLOCK = 4096
"""Positions whose datasets are drawn together."""


@dataclass(frozen=True)
class Order:
    """An endless stream: one permutation an epoch, each drawn from (seed, epoch, id).

    With weights it is a mixture: each position's dataset is drawn from (seed, position), and every
    dataset runs through permutations of its own, so none is cut short when another one ends.
    """

    ids: Sequence[str]
    """With weights they begin with the number of their dataset."""
    seed: int
    weights: Sequence[float] | None = None
    """Of each dataset, in proportion to which its examples are drawn. None: all examples are one
    set, and are drawn in proportion to their number."""

    def at(self, position: int) -> tuple[int, int]:
        """The epoch of a position of the stream, and the row of `ids` that stands there. With
        weights it is the epoch of the row's dataset. Both depend on (seed, ids, weights, position)
        alone."""
        dataset, place = (0, position) if self.weights is None else self._placed(position)
        epoch, rank = divmod(place, len(self._members[dataset]))
        return epoch, int(self._rows(dataset, epoch)[rank])

    def _rows(self, dataset: int, epoch: int) -> np.ndarray:
        """The rows of an epoch of a dataset, in order."""
        if (dataset, epoch) not in self._orders:
            # A batch seldom lies in more than two epochs, and others can be made again.
            for other in [each for own, each in self._orders if own == dataset]:
                if abs(other - epoch) > 1:
                    del self._orders[dataset, other]
            members = self._members[dataset]
            keys = [key(self.seed, "order", epoch, self.ids[int(row)]) for row in members]
            order = np.argsort(np.array(keys, np.uint64), kind="stable")
            self._orders[dataset, epoch] = members[order]
        return self._orders[dataset, epoch]

    def _placed(self, position: int) -> tuple[int, int]:
        """The dataset at a position of a mixture, and at how many positions before it stands."""
        block, rank = divmod(position, BLOCK)
        if block not in self._blocks:
            while len(self._before) <= block:
                counts = np.bincount(self._drawn(len(self._before) - 1), minlength=len(self._cuts))
                self._before.append(self._before[-1] + counts)
            datasets = self._drawn(block)
            places = np.empty(BLOCK, np.int64)
            for dataset, before in enumerate(self._before[block]):
                own = datasets == dataset
                places[own] = before + np.arange(own.sum())
            for other in [each for each in self._blocks if abs(each - block) > 1]:
                del self._blocks[other]
            self._blocks[block] = datasets, places
        datasets, places = self._blocks[block]
        return int(datasets[rank]), int(places[rank])

    def _drawn(self, block: int) -> np.ndarray:
        """The datasets of a block's positions."""
        draws = generator(self.seed, "mixture", block).random(BLOCK)
        # The last cut may be a little below 1 in floating point.
        return np.minimum(np.searchsorted(self._cuts, draws, "right"), len(self._cuts) - 1)

    @cached_property
    def _cuts(self) -> np.ndarray:
        """Cumulative shares of the datasets."""
        weights = np.array(self.weights, float)
        return np.cumsum(weights / weights.sum())

    @cached_property
    def _members(self) -> list[np.ndarray]:
        """The rows of each dataset; without weights all of them are one."""
        if self.weights is None:
            return [np.arange(len(self.ids))]
        datasets = datasets_of(self.ids)
        return [np.flatnonzero(datasets == number) for number in range(len(self.weights))]

    @cached_property
    def _orders(self) -> dict[tuple[int, int], np.ndarray]:
        """(dataset, epoch) to the order of its rows."""
        return {}

    @cached_property
    def _before(self) -> list[np.ndarray]:
        """For each block that was reached, each dataset's positions before it."""
        return [np.zeros(len(self._cuts), np.int64)]

    @cached_property
    def _blocks(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Block to the datasets of its positions, and their places there."""
        return {}


def weights(recipe: Recipe, ids: Sequence[str]) -> list[float] | None:
    """The weight of each dataset, if they have one; ids: of all examples.

    Raises WellspringError where a batch has more of a dataset than there is.
    """
    if recipe.weights is None:
        return None
    weights = [recipe.weights[name] for name in recipe.datasets]
    counts = np.bincount(datasets_of(ids), minlength=len(weights))
    for name, weight, count in zip(recipe.datasets, weights, counts, strict=True):
        if (share := recipe.batch * weight / sum(weights)) > count:
            raise WellspringError(
                f"weights: {share:.3g} of the {recipe.batch:,} examples of a batch come from "
                f"{name!r}, which has {count:,} examples: lower its weight, or batch"
            )
    return weights
