"""The trained probes: logits of each kind, and the gradient of its weights.

All seeds are stacked: R seeds, S samples, N candidates, B samples of a batch, H dimensions.
Every kind is linear (or bilinear) in its vectors, so gradients are one line each and no graph is
recorded. `concat` and `random-label` have a module of their own.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import pad

from wellspring.probes.concat import ConcatByTable, ConcatDirect
from wellspring.probes.data import ProbeSettings
from wellspring.probes.tasks import Sums, Task, Weights, products
from wellspring.randomness import generator


class Probe(Protocol):
    """One kind of trained probe on one task."""

    task: Task
    block: int
    """Samples whose features are built at a time."""
    kept: int
    """Bytes a sample that keeping its features from epoch to epoch takes."""

    def start(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """Name of each weight to its shape without R, and its fan-in."""

    def features(self, samples: torch.Tensor) -> Any:
        """What the samples [R, B] need beyond the weights."""

    def project(self, weights: Weights) -> Any:
        """What the weights make of the vectors before samples come in: made once an update."""

    def logits(self, projected: Any, features: Any) -> torch.Tensor:
        """[R, B, N], up to one number a sample."""

    def gradient(self, projected: Any, features: Any, slope: torch.Tensor) -> Weights:
        """Of the weights, from the slope of the loss in the logits [R, B, N]."""


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
        """Of the weights, from the slope of the loss in the logits [R, B, N]."""
        scores = features.scatter(slope.reshape(-1, 1)).view(-1, len(slope))
        return {"weight": scores.T @ self.task.passages}


class Interaction:
    """w·(q ⊙ p_k), one w for all slots: the products differ by sample, so they are built."""

    def __init__(self, task: Task) -> None:
        self.task = task
        r, _, n, h = task.sizes
        self.kept = 4 * r * (n - 1) * h
        self.block = task.block(self.kept)

    def start(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """One weight a dimension."""
        h = self.task.sizes[-1]
        return {"weight": ((h,), h)}

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """float32 [R, B (N−1), H], q ⊙ (p_k − p_N)."""
        task = self.task
        passages = task.passages[task.pick(task.rows, samples)]
        differences = passages[:, :, :-1] - passages[:, :, -1:]
        differences *= task.queries[task.pick(task.query_rows, samples)][:, :, None]
        return differences.flatten(1, 2)

    def project(self, weights: Weights) -> Weights:
        """The weights as they are."""
        return weights

    def logits(self, projected: Weights, features: torch.Tensor) -> torch.Tensor:
        """[R, B, N], the last 0."""
        # A seed at a time: matrix-vector products read the features once and run at their speed.
        scores = [x @ w for x, w in zip(features, projected["weight"], strict=True)]
        return pad(torch.stack(scores).view(len(scores), -1, self.task.sizes[2] - 1), (0, 1))

    def gradient(self, projected: Weights, features: torch.Tensor, slope: torch.Tensor) -> Weights:
        """Of the weights, from the slope of the loss in the logits [R, B, N]."""
        slope = slope[..., :-1].flatten(1)
        rows = [d @ x for d, x in zip(slope, features, strict=True)]
        return {"weight": torch.stack(rows)}


class Bilinear:
    """(q A)·(p_k B) with A and B [H, rank]: every product of a query and a passage dimension."""

    def __init__(self, task: Task, rank: int) -> None:
        self.task, self.rank = task, rank
        self.block, self.kept = task.sizes[1], 0

    def start(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """Both factors, transposed: [rank, H]."""
        h = self.task.sizes[-1]
        return {"query": ((self.rank, h), h), "passage": ((self.rank, h), h)}

    def features(self, samples: torch.Tensor) -> tuple[Sums, Sums]:
        """Rows of the tables (query, seed) and (passage, seed) of projected vectors."""
        task, r = self.task, len(samples)
        seed = torch.arange(r, device=samples.device)[:, None]
        query = task.pick(task.query_rows, samples) * r + seed
        passage = task.pick(task.rows, samples) * r + seed[..., None]
        return (
            Sums(query.view(-1, 1), len(task.queries) * r),
            Sums(passage.view(-1, 1), len(task.passages) * r),
        )

    def project(self, weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
        """Both tables."""
        task, h = self.task, self.task.sizes[-1]
        query = products(task.queries, weights["query"].view(-1, h))
        passage = products(task.passages, weights["passage"].view(-1, h))
        return query.view(-1, self.rank), passage.view(-1, self.rank)

    def _gathered(
        self, projected: tuple[torch.Tensor, torch.Tensor], features: tuple[Sums, Sums]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of queries [R, B, 1, rank] and passages [R, B, N, rank]."""
        r, _, n, _ = self.task.sizes
        query, passage = (
            sums.gather(table) for sums, table in zip(features, projected, strict=True)
        )
        return query.view(r, -1, 1, self.rank), passage.view(r, -1, n, self.rank)

    def logits(
        self, projected: tuple[torch.Tensor, torch.Tensor], features: tuple[Sums, Sums]
    ) -> torch.Tensor:
        """[R, B, N]."""
        query, passage = self._gathered(projected, features)
        return (query * passage).sum(-1)

    def gradient(
        self,
        projected: tuple[torch.Tensor, torch.Tensor],
        features: tuple[Sums, Sums],
        slope: torch.Tensor,
    ) -> Weights:
        """Of the weights, from the slope of the loss in the logits [R, B, N]."""
        task, r, h = self.task, len(slope), self.task.sizes[-1]
        query, passage = self._gathered(projected, features)
        slopes = ((passage * slope[..., None]).sum(2), query * slope[..., None])
        tables = [
            sums.scatter(part.reshape(-1, self.rank)).view(-1, r * self.rank)
            for sums, part in zip(features, slopes, strict=True)
        ]
        return {
            "query": (tables[0].T @ task.queries).view(r, self.rank, h),
            "passage": (tables[1].T @ task.passages).view(r, self.rank, h),
        }


def build(kind: str, task: Task, settings: ProbeSettings, batch: int) -> Probe:
    """The probe of a trained kind; `batch` samples an optimiser step."""
    if kind == "passage-scorer":
        return PassageScorer(task)
    if kind in ("interaction", "shuffled-query"):
        return Interaction(task)
    if kind == "bilinear":
        return Bilinear(task, settings.rank)
    # Measured: a table row costs about half of what a sample's gathered features cost.
    shared = len(task.passages) <= 2 * batch
    return ConcatByTable(task) if shared else ConcatDirect(task)


def initial(probe: Probe, kind: str, settings: ProbeSettings) -> Weights:
    """The weights before training, on the task's device."""
    weights = {}
    for name, (shape, inputs) in probe.start().items():
        if settings.initial == "zero" and kind != "bilinear":
            values = np.zeros((len(settings.seeds), *shape))
        else:
            bound = inputs**-0.5
            draws = [generator(seed, "initial", kind, name) for seed in settings.seeds]
            values = np.stack([draw.uniform(-bound, bound, shape) for draw in draws])
        weights[name] = torch.from_numpy(values.astype(np.float32)).to(probe.task.passages.device)
    return weights
