"""The published probe: one linear layer from [q; p₁; …; p_N] to N logits.

Samples share texts, so the usual way multiplies each *distinct* vector with all slots' weights and
gathers the results; the direct way builds the features, for batches that use few of the passages.
Softmax sees differences alone: logits are those above the last slot's, which is then 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad

from wellspring.probes.tasks import Sums, Task, Weights, products


def _above_last(weights: torch.Tensor) -> torch.Tensor:
    """[R, N, …] to [R, N−1, …]: each logit's weights less the last one's."""
    return weights[:, :-1] - weights[:, -1:]


def _with_last(gradient: torch.Tensor) -> torch.Tensor:
    """[R, N−1, …] to [R, N, …]: the slopes of a softmax add up to 0 over its logits."""
    return torch.cat([gradient, -gradient.sum(1, keepdim=True)], dim=1)


class ConcatByTable:
    """[q; p₁; …; p_N] → N logits: each distinct vector times all slots' weights, then sums."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.block, self.kept = task.sizes[1], 0

    def start(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """The published linear layer, [N, (N+1) H], seen as [N, N+1, H]."""
        _, _, n, h = self.task.sizes
        return {"weight": ((n, n + 1, h), (n + 1) * h), "bias": ((n,), (n + 1) * h)}

    def features(self, samples: torch.Tensor) -> Sums:
        """Rows of the table: (passage, seed, slot), then (query, seed)."""
        task, (r, _, n, _) = self.task, self.task.sizes
        seed = torch.arange(r, device=samples.device)[:, None]
        passage = task.pick(task.rows, samples) * r + seed[..., None]
        passage = passage * n + torch.arange(n, device=samples.device)
        first = len(task.passages) * r * n
        query = first + task.pick(task.query_rows, samples) * r + seed
        entries = torch.cat([passage, query[..., None]], -1).view(-1, n + 1)
        return Sums(entries, first + len(task.queries) * r)

    def project(self, weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
        """The table [rows, N−1], and the bias [R, 1, N−1]."""
        task, (_, _, n, h) = self.task, self.task.sizes
        slots = _above_last(weights["weight"]).transpose(1, 2)
        passage = products(task.passages, slots[:, 1:].reshape(-1, h))
        query = products(task.queries, slots[:, 0].reshape(-1, h))
        table = torch.cat([passage.view(-1, n - 1), query.view(-1, n - 1)])
        return table, _above_last(weights["bias"])[:, None]

    def logits(self, projected: tuple[torch.Tensor, torch.Tensor], features: Sums) -> torch.Tensor:
        """[R, B, N], the last 0."""
        table, bias = projected
        return pad(features.gather(table).view(len(bias), -1, bias.shape[-1]) + bias, (0, 1))

    def gradient(self, projected: Any, features: Sums, slope: torch.Tensor) -> Weights:
        """The gradient of the weights, from the slope of the loss in the logits [R, B, N]."""
        task, (r, _, n, h) = self.task, self.task.sizes
        slope = slope[..., :-1]
        table = features.scatter(slope.reshape(-1, n - 1))
        passage, query = table.split([len(task.passages) * r * n, len(task.queries) * r])
        slots = torch.cat(
            [
                (query.reshape(-1, r * (n - 1)).T @ task.queries).view(r, 1, n - 1, h),
                (passage.reshape(-1, r * n * (n - 1)).T @ task.passages).view(r, n, n - 1, h),
            ],
            dim=1,
        )
        return {"weight": _with_last(slots.transpose(1, 2)), "bias": _with_last(slope.sum(1))}

    def collect(self, slopes: Weights) -> Weights:
        """The slopes are those of the weights."""
        return slopes


class ConcatDirect(ConcatByTable):
    """The same probe from gathered features: for batches that use few of the passages."""

    def __init__(self, task: Task) -> None:
        self.task = task
        r, _, n, h = task.sizes
        self.kept = 4 * r * (n + 1) * h
        self.block = task.block(self.kept)

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """float32 [R, B, (N+1) H]."""
        task = self.task
        queries = task.queries[task.pick(task.query_rows, samples)]
        passages = task.passages[task.pick(task.rows, samples)]
        return torch.cat([queries[:, :, None], passages], dim=2).flatten(2)

    def project(self, weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer [R, N−1, (N+1) H] and the bias [R, N−1, 1]."""
        layer, bias = (_above_last(weights[name]) for name in ("weight", "bias"))
        return layer.flatten(2), bias[..., None]

    def logits(
        self, projected: tuple[torch.Tensor, torch.Tensor], features: torch.Tensor
    ) -> torch.Tensor:
        """[R, B, N], the last 0."""
        layer, bias = projected
        return pad((layer @ features.transpose(1, 2) + bias).transpose(1, 2), (0, 1))

    def gradient(self, projected: Any, features: torch.Tensor, slope: torch.Tensor) -> Weights:
        """The gradient of the weights, from the slope of the loss in the logits [R, B, N]."""
        slope = slope[..., :-1]
        layer = (slope.transpose(1, 2) @ features).unflatten(2, (-1, self.task.sizes[-1]))
        return {"weight": _with_last(layer), "bias": _with_last(slope.sum(1))}
