"""What a probe is asked, and products of its distinct vectors gathered for its samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch.nn.functional import embedding_bag

Weights = dict[str, torch.Tensor]
"""Name to a tensor [R, …]; names in FREE are not penalised."""
FREE = ("bias", "cosine")

_BLOCK = {"cpu": 2**23, "cuda": 2**30}
"""Bytes of gathered features at a time: memory does not grow with the samples, and on a CPU they
are still in its cache when the gradient reads them."""


@dataclass(frozen=True)
class Task:
    """What a probe is asked, as tensors of one device."""

    queries: torch.Tensor
    """float32 [Uq, H]."""
    passages: torch.Tensor
    """float32 [Up, H]."""
    query_rows: torch.Tensor
    """int64 [R, S]."""
    rows: torch.Tensor
    """int64 [R, S, N], passages in the order that the probe sees."""
    target: torch.Tensor
    """int64 [R, S], the slot to rank first."""
    cosines: torch.Tensor | None = None
    """float32 [R, S, N], scaled cosines of the raw vectors; for the kinds that read them."""
    targets: int = 1
    """How many targets the same lists have: seeds come once for each of them, and seeds r and
    r + R / targets show the same queries and passages."""

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """R, S, N, H."""
        seeds, samples, slots = self.rows.shape
        return seeds, samples, slots, self.passages.shape[1]

    def block(self, size: int) -> int:
        """How many samples of `size` bytes to gather at a time."""
        return max(1, _BLOCK.get(self.passages.device.type, _BLOCK["cuda"]) // size)

    def pick(self, values: torch.Tensor | None, samples: torch.Tensor) -> torch.Tensor:
        """Values [R, S, …] of each seed's own samples [R, B]; ValueError without values."""
        if values is None:
            raise ValueError("the task was made without cosines")
        return values[torch.arange(len(samples), device=samples.device)[:, None], samples]

    def differences(self, samples: torch.Tensor) -> torch.Tensor:
        """p_k − p_N of samples [R, B], float32 [R / targets, B, N−1, H]: once for all targets."""
        once = samples[: len(samples) // self.targets]
        passages = self.passages[self.pick(self.rows, once)]
        return passages[:, :, :-1] - passages[:, :, -1:]

    def restricted(self, samples: np.ndarray) -> Task:
        """The same for samples [R, n] alone: tables of the vectors that they use, where those are
        less than half. What other samples are asked is then undefined."""
        chosen = torch.from_numpy(samples).to(self.rows.device)
        queries, query_rows = _used(self.queries, self.query_rows, chosen)
        passages, rows = _used(self.passages, self.rows, chosen)
        return replace(self, queries=queries, query_rows=query_rows, passages=passages, rows=rows)


def _used(
    table: torch.Tensor, rows: torch.Tensor, samples: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows [R, S, …] of a table that samples [R, n] use, and where all rows are among them."""
    runs = torch.arange(len(samples), device=samples.device)[:, None]
    used = rows[runs, samples].unique()
    if 2 * len(used) >= len(table):
        return table, rows
    places = torch.zeros(len(table), dtype=torch.int64, device=table.device)
    places[used] = torch.arange(len(used), device=table.device)
    return table[used], places[rows]


@dataclass(frozen=True)
class Sums:
    """Sums of entries of a table: which entries each sum takes, and the way back.

    Gathering and its transpose are both sums over lists, with no atomic additions: the same bits
    in every run, on GPUs too.
    """

    entries: torch.Tensor
    """int64 [sums, terms], rows of the table."""
    size: int
    """Rows of the table."""

    def gather(self, table: torch.Tensor) -> torch.Tensor:
        """Table [size, D] to sums [sums, D]."""
        return embedding_bag(self.entries, table, mode="sum")

    def scatter(self, slope: torch.Tensor) -> torch.Tensor:
        """Slopes of the sums [sums, D] to slopes of the table [size, D]."""
        users, starts = self._users
        return embedding_bag(users, slope, starts, mode="sum")

    @cached_property
    def _users(self) -> tuple[torch.Tensor, torch.Tensor]:
        flat = self.entries.reshape(-1)
        ordered, order = flat.sort(stable=True)
        rows = torch.arange(self.size, device=flat.device)
        return order // self.entries.shape[1], torch.searchsorted(ordered, rows)


def dots(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Features [R / targets, n, H] times weights [R, H], one after the other: [R, n]."""
    # A matrix-vector product reads the features once at their speed; that of another target then
    # finds them in the cache.
    parts = weights.unflatten(0, (-1, len(features))).transpose(0, 1)
    scores = [torch.stack([x @ w for w in part]) for x, part in zip(features, parts, strict=True)]
    return torch.stack(scores, 1).flatten(0, 1)


def weighted(slopes: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Sums of features [R / targets, n, H], weighted by slopes [R, n]: [R, H]."""
    parts = slopes.unflatten(0, (-1, len(features))).transpose(0, 1)
    sums = [torch.stack([d @ x for d in part]) for x, part in zip(features, parts, strict=True)]
    return torch.stack(sums, 1).flatten(0, 1)


def products(vectors: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
    """Vectors [U, H] times a layer [D, H], D small: [U, D]."""
    # The thin matrix stands on the left: up to twice as fast in the BLAS libraries of CPUs.
    return (layer @ vectors.T).T.contiguous()
