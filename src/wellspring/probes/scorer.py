"""The probe that reads passages alone."""

from __future__ import annotations

import torch

from wellspring.probes.tasks import Sums, Task, Weights, products


class PassageScorer:
    """w·p_k, one w for all slots. A bias would add the same to every candidate: there is none."""

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
        """Of the table [Up, R], from the slope of the loss in the logits [R, B, N]."""
        return {"weight": features.scatter(slope.reshape(-1, 1)).view(-1, len(slope))}

    def collect(self, slopes: Weights) -> Weights:
        """Of the weights, from the table's slope."""
        return {"weight": slopes["weight"].T @ self.task.passages}
