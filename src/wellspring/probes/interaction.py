"""The probe that sees query and passage together, and what passages tell by themselves.

s·cos(q, p_k) + w·(q ⊙ p_k) + u·p_k, one s, w and u for all slots: the cosine of the raw vectors,
their products dimension by dimension, and the passage alone. It starts as the cosine and its
penalty shrinks it towards the cosine, so that it can only find more. With another query's vector
in all three terms it is `shuffled-query`, which keeps what passages tell by themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad

from wellspring.probes.scorer import ScorerByTable
from wellspring.probes.tasks import Task, Weights, dots, weighted

_BOUND, _STEPS, _EXACT = 1e4, 100, 1e-7

Projected = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""s [R], w [R, H], and what the scorer makes of u."""
Features = tuple[torch.Tensor, torch.Tensor, Any]
"""Cosines [R, B, N], products [R / targets, B (N−1), H], and the features of the scorer."""


class Interaction:
    """s·cos(q, p_k) + w·(q ⊙ p_k) + u·p_k: the products differ by sample, so they are built."""

    def __init__(self, task: Task, scorer: type[ScorerByTable]) -> None:
        """scorer: how u·p_k is computed."""
        self.task, self._scorer = task, scorer
        r, _, n, h = task.sizes
        products = 4 * r // task.targets * (n - 1) * h
        self.kept = products + self.scorer.kept
        self.block = task.block(products)

    @property
    def scorer(self) -> ScorerByTable:
        """What reads passages alone."""
        return self._scorer(self.task)

    def start(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """w and u, one weight a dimension, and s."""
        h = self.task.sizes[-1]
        return {"weight": ((h,), h), "passage": ((h,), h), "cosine": ((), 1)}

    def features(self, samples: torch.Tensor) -> Features:
        """Features of the products q ⊙ (p_k − p_N): a softmax sees differences alone."""
        task = self.task
        products = task.differences(samples)
        queries = task.pick(task.query_rows, samples[: len(products)])
        products *= task.queries[queries][:, :, None]
        cosines = task.pick(task.cosines, samples)
        return cosines, products.flatten(1, 2), self.scorer.features(samples)

    def project(self, weights: Weights) -> Projected:
        """s and w as they are."""
        passage = self.scorer.project({"weight": weights["passage"]})
        return weights["cosine"], weights["weight"], passage

    def logits(self, projected: Projected, features: Features) -> torch.Tensor:
        """[R, B, N]."""
        (scale, weight, passage), (cosines, products, passages) = projected, features
        scores = dots(products, weight).unflatten(1, (-1, self.task.sizes[2] - 1))
        scores = pad(scores, (0, 1)) + self.scorer.logits(passage, passages)
        return scores.addcmul_(cosines, scale[:, None, None])

    def gradient(self, projected: Projected, features: Features, slope: torch.Tensor) -> Weights:
        """The gradient of s, w and u (or its table), from the slope of the loss in the logits."""
        cosines, products, passages = features
        return {
            "weight": weighted(slope[..., :-1].flatten(1), products),
            "passage": self.scorer.gradient(projected[-1], passages, slope)["weight"],
            "cosine": (slope * cosines).sum((1, 2)),
        }

    def collect(self, slopes: Weights) -> Weights:
        """The gradient of s, w and u."""
        return slopes | {"passage": self.scorer.collect({"weight": slopes["passage"]})["weight"]}


def best_scale(cosines: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The s with the least cross-entropy of softmax(s·cosines), float32 [R].

    cosines [R, n, N], target [R, n]. One more list counts whose target is any slot, as in Laplace's
    rule: without it there is no optimum where cosines rank every target first, which in a few
    lists they may do by chance. Newton's method on a convex function, kept inside an interval that
    halves where a step would leave it.
    """
    cosines = cosines.double()
    lists = cosines.shape[1]
    observed = cosines.gather(-1, target[..., None])[..., 0].sum(-1) + cosines.mean((1, 2))
    observed /= lists + 1
    scale = cosines.new_zeros(len(cosines))
    low, high = scale - _BOUND, scale + _BOUND
    for _ in range(_STEPS):
        shares = (scale[:, None, None] * cosines).softmax(-1)
        mean = (shares * cosines).sum(-1)
        slope = mean.mean(-1) - observed
        curvature = ((shares * cosines.square()).sum(-1) - mean.square()).mean(-1)
        low, high = torch.where(slope < 0, scale, low), torch.where(slope > 0, scale, high)
        newton = scale - slope / curvature
        inside = (newton >= low) & (newton <= high)
        moved = torch.where(inside, newton, (low + high) / 2)
        moved = torch.where(slope == 0, scale, moved)
        settled = bool(((moved - scale).abs() <= _EXACT * (1 + scale.abs())).all())
        scale = moved
        if settled:
            break
    return scale.float()
