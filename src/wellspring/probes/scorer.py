"""The probe that reads passages alone: w·p_k, one w for all slots.

A bias would add the same to every candidate: there is none. Where samples share passages, each
*distinct* vector is multiplied once and the results are gathered; the direct way builds the
features, for batches that use few of the passages.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from wellspring.probes.tasks import Sums, Task, Weights, dots, products, weighted


class ScorerByTable:
    """Each distinct passage times w, then gathered."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.block, self.kept = task.sizes[1], 0

    def start(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """One weight a dimension."""
        h = self.task.sizes[-1]
        return {"weight": ((h,), h)}

    def features(self, samples: torch.Tensor) -> Sums:
        """The table's rows are (passage, seed), its one column the score."""
        task, r = self.task, len(samples)
        seed = torch.arange(r, device=samples.device)[:, None, None]
        entries = task.pick(task.rows, samples) * r + seed
        return Sums(entries.view(-1, 1), len(task.passages) * r)

    def project(self, weights: Weights) -> torch.Tensor:
        """The table."""
        return products(self.task.passages, weights["weight"]).view(-1, 1)

    def logits(self, projected: torch.Tensor, features: Sums) -> torch.Tensor:
        """[R, B, N]."""
        r, _, n, _ = self.task.sizes
        return features.gather(projected).view(r, -1, n)

    def gradient(self, projected: torch.Tensor, features: Sums, slope: torch.Tensor) -> Weights:
        """The gradient of the table [Up, R], from the slope of the loss in the logits [R, B, N]."""
        return {"weight": features.scatter(slope.reshape(-1, 1)).view(-1, len(slope))}

    def collect(self, slopes: Weights) -> Weights:
        """The gradient of the weights, from that of the table."""
        return {"weight": slopes["weight"].T @ self.task.passages}


class ScorerDirect(ScorerByTable):
    """The same probe from gathered features: for batches that use few of the passages."""

    def __init__(self, task: Task) -> None:
        self.task = task
        r, _, n, h = task.sizes
        self.kept = 4 * r // task.targets * (n - 1) * h
        self.block = task.block(self.kept)

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """float32 [R / targets, B (N−1), H], p_k − p_N: a softmax sees differences alone."""
        return self.task.differences(samples).flatten(1, 2)

    def project(self, weights: Weights) -> torch.Tensor:
        """The weights as they are."""
        return weights["weight"]

    def logits(self, projected: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """[R, B, N], the last 0."""
        scores = dots(features, projected)
        return pad(scores.unflatten(1, (-1, self.task.sizes[2] - 1)), (0, 1))

    def gradient(
        self, projected: torch.Tensor, features: torch.Tensor, slope: torch.Tensor
    ) -> Weights:
        """The gradient of the weights, from the slope of the loss in the logits [R, B, N]."""
        return {"weight": weighted(slope[..., :-1].flatten(1), features)}

    def collect(self, slopes: Weights) -> Weights:
        """The slopes are those of the weights."""
        return slopes
