"""The probe that sees query and passage together, and what passages tell by themselves.

s·cos(q, p_k) + w·(q ⊙ p_k) + u·p_k, one s, w and u for all slots: the cosine of the raw vectors,
their products dimension by dimension, and the passage alone. It starts as the cosine and its
penalty shrinks it towards the cosine, so that it can only find more. With another query's vector
in all three terms it is `shuffled-query`, which keeps what passages tell by themselves.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from wellspring.probes.scorer import PassageScorer
from wellspring.probes.tasks import Sums, Task, Weights

_BOUND, _STEPS, _EXACT = 100.0, 50, 1e-7

Projected = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""s [R], w [R, H], and the table of u·p."""
Features = tuple[torch.Tensor, torch.Tensor, Sums]
"""Cosines [R, B, N], products [R / targets, B (N−1), H], and where the table's entries go."""


class Interaction:
    """s·cos(q, p_k) + w·(q ⊙ p_k) + u·p_k: the products differ by sample, so they are built."""

    def __init__(self, task: Task) -> None:
        self.task = task
        r, _, n, h = task.sizes
        self.kept = 4 * r // task.targets * (n - 1) * h
        self.block = task.block(self.kept)

    @property
    def scorer(self) -> PassageScorer:
        """What reads passages alone."""
        return PassageScorer(self.task)

    def start(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """w and u, one weight a dimension, and s."""
        h = self.task.sizes[-1]
        return {"weight": ((h,), h), "passage": ((h,), h), "cosine": ((), 1)}

    def features(self, samples: torch.Tensor) -> Features:
        """Of the products q ⊙ (p_k − p_N): a softmax sees differences alone."""
        task = self.task
        once = samples[: len(samples) // task.targets]
        passages = task.passages[task.pick(task.rows, once)]
        differences = passages[:, :, :-1] - passages[:, :, -1:]
        differences *= task.queries[task.pick(task.query_rows, once)][:, :, None]
        cosines = task.pick(task.cosines, samples)
        return cosines, differences.flatten(1, 2), self.scorer.features(samples)

    def project(self, weights: Weights) -> Projected:
        """s and w as they are."""
        table = self.scorer.project({"weight": weights["passage"]})
        return weights["cosine"], weights["weight"], table

    def logits(self, projected: Projected, features: Features) -> torch.Tensor:
        """[R, B, N]."""
        (scale, weight, table), (cosines, products, passages) = projected, features
        # A seed at a time: matrix-vector products read the features once and run at their speed.
        parts = weight.unflatten(0, (-1, len(products))).transpose(0, 1)
        scores = [
            torch.stack([x @ w for w in part]) for x, part in zip(products, parts, strict=True)
        ]
        scores = torch.stack(scores, 1).view(*cosines.shape[:2], -1)
        scores = pad(scores, (0, 1))
        scores += self.scorer.logits(table, passages)
        return scores.addcmul_(cosines, scale[:, None, None])

    def gradient(self, projected: Projected, features: Features, slope: torch.Tensor) -> Weights:
        """Of s, w and the table, from the slope of the loss in the logits [R, B, N]."""
        cosines, products, passages = features
        differences = slope[..., :-1].flatten(1).unflatten(0, (-1, len(products)))
        rows = [
            torch.stack([d @ x for d in part])
            for part, x in zip(differences.transpose(0, 1), products, strict=True)
        ]
        return {
            "weight": torch.stack(rows, 1).flatten(0, 1),
            "passage": self.scorer.gradient(projected[-1], passages, slope)["weight"],
            "cosine": (slope * cosines).sum((1, 2)),
        }

    def collect(self, slopes: Weights) -> Weights:
        """Of s, w and u."""
        return slopes | {"passage": self.scorer.collect({"weight": slopes["passage"]})["weight"]}


def best_scale(cosines: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The s with the least cross-entropy of softmax(s·cosines), float32 [R].

    cosines [R, n, N], target [R, n]. Newton's method on a convex function, kept inside an interval
    that halves where a step would leave it. Within ±_BOUND, which only cosines reach that rank
    every target first, or every one last.
    """
    cosines = cosines.double()
    wanted = cosines.gather(-1, target[..., None])[..., 0].mean(-1)
    scale = cosines.new_zeros(len(cosines))
    low, high = scale - _BOUND, scale + _BOUND
    for _ in range(_STEPS):
        shares = (scale[:, None, None] * cosines).softmax(-1)
        mean = (shares * cosines).sum(-1)
        slope = mean.mean(-1) - wanted
        curvature = ((shares * cosines.square()).sum(-1) - mean.square()).mean(-1)
        low, high = torch.where(slope < 0, scale, low), torch.where(slope > 0, scale, high)
        newton = scale - slope / curvature
        inside = (newton >= low) & (newton <= high)
        moved = torch.where(inside, newton, (low + high) / 2)
        moved = torch.where(slope == 0, scale, moved)
        done = bool(((moved - scale).abs() <= _EXACT * (1 + scale.abs())).all())
        scale = moved
        if done:
            break
    return scale.float()
