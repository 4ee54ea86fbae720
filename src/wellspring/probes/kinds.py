"""The trained probes: logits of each kind, and the gradient of its weights.

All seeds are stacked: R seeds, S samples, N candidates, B samples of a batch, H dimensions.
Every kind is linear (or bilinear) in its vectors, so gradients are one line each and no graph is
recorded. `concat` and `interaction` have modules of their own.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from wellspring.probes.concat import ConcatByTable, ConcatDirect
from wellspring.probes.data import ProbeSettings
from wellspring.probes.interaction import Interaction, best_scale
from wellspring.probes.scorer import ScorerByTable, ScorerDirect
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
        ...

    def features(self, samples: torch.Tensor) -> Any:
        """What the samples [R, B] need beyond the weights."""

    def project(self, weights: Weights) -> Any:
        """What the weights make of the vectors, whatever the samples; computed once per update."""

    def logits(self, projected: Any, features: Any) -> torch.Tensor:
        """[R, B, N], up to one number a sample."""
        ...

    def gradient(self, projected: Any, features: Any, slope: torch.Tensor) -> Weights:
        """Slopes that add up over blocks, from the slope of the loss in the logits [R, B, N]."""
        ...

    def collect(self, slopes: Weights) -> Weights:
        """The gradient of the weights, from the sums of those slopes."""
        ...


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
        """The projected queries [R, B, 1, rank] and passages [R, B, N, rank]."""
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
        """The gradient of both tables, from the slope of the loss in the logits [R, B, N]."""
        query, passage = self._gathered(projected, features)
        slopes = ((passage * slope[..., None]).sum(2), query * slope[..., None])
        tables = (
            sums.scatter(part.reshape(-1, self.rank)).view(-1, len(slope) * self.rank)
            for sums, part in zip(features, slopes, strict=True)
        )
        return dict(zip(("query", "passage"), tables, strict=True))

    def collect(self, slopes: Weights) -> Weights:
        """The gradient of both factors, from that of the tables."""
        task = self.task
        shape = -1, self.rank, task.sizes[-1]
        return {
            "query": (slopes["query"].T @ task.queries).view(shape),
            "passage": (slopes["passage"].T @ task.passages).view(shape),
        }


def form(name: str) -> str:
    """The kind whose logits an outcome's name has: with other queries or targets they are these."""
    named = {"random-label": "concat", "shuffled-query": "interaction"}
    return named.get(name, name.removeprefix("random-label-"))


def build(name: str, task: Task, settings: ProbeSettings, batch: int) -> Probe:
    """The probe of a trained kind; `batch` samples an optimiser step."""
    kind = form(name)
    if kind == "bilinear":
        return Bilinear(task, settings.rank)
    if kind == "concat":
        # Measured: a table row costs about half of what a sample's gathered features cost.
        shared = len(task.passages) <= 2 * batch
        return ConcatByTable(task) if shared else ConcatDirect(task)
    if kind not in ("passage-scorer", "interaction"):
        raise ValueError(f"{name}: no probe is written for this kind")
    # A score reads a vector once, in the table or in a sample's differences.
    shared = len(task.passages) <= (task.sizes[2] - 1) * batch
    scorer = ScorerByTable if shared else ScorerDirect
    return scorer(task) if kind == "passage-scorer" else Interaction(task, scorer)


def initial(
    name: str, probe: Probe, settings: ProbeSettings, seeds: tuple[int, ...], samples: torch.Tensor
) -> Weights:
    """The weights before training, on the task's device.

    samples: int64 [R, n], the training samples, at whose best scale an `interaction` starts.
    """
    zero = settings.initial == "zero" or form(name) == "interaction"
    weights = {}
    for part, (shape, inputs) in probe.start().items():
        if zero and form(name) != "bilinear":
            values = np.zeros((len(seeds), *shape))
        else:
            bound = inputs**-0.5
            draws = [generator(seed, "initial", name, part) for seed in seeds]
            values = np.stack([draw.uniform(-bound, bound, shape) for draw in draws])
        weights[part] = torch.from_numpy(values.astype(np.float32)).to(probe.task.passages.device)
    if isinstance(probe, Interaction):
        task = probe.task
        chosen = (task.pick(values, samples) for values in (task.cosines, task.target))
        weights["cosine"] = best_scale(*chosen)
    return weights
