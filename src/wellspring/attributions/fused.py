"""Integrated gradients of a sub-layer's weights, for a batch and all quadrature points at once.

F is a number of the text's embedding, and W and b of one linear map are scaled together from 0 to
their values: IG(W_ij) = W_ij ∫₀¹ ∂F/∂W_ij(α) dα (arXiv 2505.07166). Scaling W and b by α scales
the map's output z = x Wᵀ + b by α and leaves its input x alone, so with
G_ti = Σ_s w_s ∂F/∂z_ti at α_s z it is IG(W_ij) = W_ij Σ_t G_ti x_tj: no weight needs a gradient,
and nothing below the map runs more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from wellspring.attributions.quadrature import Quadrature
from wellspring.attributions.suffix import Suffix
from wellspring.attributions.targets import Target
from wellspring.attributions.value import Method, Scores, Value, solved, wide
from wellspring.config.vocabulary import SublayerName
from wellspring.embeddings import Padding, Tokens, padded, padding_of
from wellspring.errors import WellspringError
from wellspring.memory import halving
from wellspring.models.load import Backbone

MOST_POINTS = 31
"""The most quadrature points that a tolerance may ask for."""


@dataclass(frozen=True)
class AttributedTexts:
    """The scores of a batch of texts."""

    rows: list[int]
    """Positions of the texts in what `attribute` was given."""
    scores: dict[SublayerName, Scores]
    splits: int
    """How often the batch, or its points, were halved because memory ran out."""


Scorer = Callable[..., dict[SublayerName, Scores]]
"""A function with the parameters, results and errors of `scores`."""


def attribute(
    backbone: Backbone,
    tokens: Sequence[Tokens],
    target: Target,
    method: Method,
    budget: int = 2048,
    widths: Sequence[int] | None = None,
    scorer: Scorer | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[AttributedTexts]:
    """Neuron scores of one block's sub-layers, a batch at a time, longest texts first.

    tokens: ids as from `embeddings.tokenise`. target: of the same texts in the same order. budget:
    padded tokens × quadrature points that run at once. widths: the positions that each text is
    padded to, on which `last-position` pooling and the padded mean depend; None: as many as its
    batch needs. scorer: another method; None: `scores`. names: what the texts are called in an
    error; None: by their position. What does not fit into memory is halved until it does.

    Raises WellspringError for a text longer than the model's positions, and as `scores` does.
    """
    lengths = [len(ids) for ids in tokens] if widths is None else widths
    if backbone.positions is not None and max(lengths, default=0) > backbone.positions:
        raise WellspringError(
            f"a text has {max(lengths)} positions, the model has {backbone.positions}: lower the "
            "attribution's query_length or passage_length"
        )
    order = sorted(range(len(tokens)), key=lambda row: (-lengths[row], tokens[row], row))
    job = _Job(
        backbone,
        tokens,
        target.bound(backbone),
        method,
        padding_of(backbone, method.pooling),
        scorer or scores,
        range(len(tokens)) if names is None else names,
    )
    points, start = method.usual_points, 0
    while start < len(order):
        width = lengths[order[start]]
        rows = order[start : start + max(1, budget // (points * width))]
        if widths is not None:
            # Another width would change the text's scores.
            rows = [row for row in rows if widths[row] == width]
            job = replace(job, padding=replace(job.padding, least=width))
        at_once = min(max(1, budget // (len(rows) * width)), points)
        halved = 0
        for attributed in _fitted(job, rows, at_once):
            yield attributed
            halved = max(halved, attributed.splits)
        if halved:
            # What did not fit once would not fit the next time.
            budget = max(1, len(rows) * width * at_once >> halved)
        start += len(rows)


def scores(
    backbone: Backbone,
    ids: torch.Tensor,
    mask: torch.Tensor,
    target: Target,
    method: Method,
    at_once: int | None = None,
    names: Sequence[str | int] | None = None,
) -> dict[SublayerName, Scores]:
    """Neuron scores of one batch.

    ids, mask, names: as for `value.solved`. at_once: quadrature points in one pass; None: all.

    Raises ModelError and WellspringError as `value.solved` does, and ValueError for a tolerance
    with a rule that cannot be extended.
    """

    def solve(value: Value, full: torch.Tensor) -> Scores:
        return _scores(value, method, at_once, full)

    return solved(backbone, ids, mask, target, method, solve, names)


@dataclass(frozen=True)
class _Sums:
    """Sums over a text's products W_ij Σ_t G_ti x_tj."""

    absolute: torch.Tensor
    """[texts, neurons]"""
    signed: torch.Tensor
    """[texts, neurons]"""
    whole: torch.Tensor
    """Sum over all weights and biases [texts]."""

    def updated(self, texts: Sequence[int], sums: _Sums) -> _Sums:
        """The sums with those of these texts replaced."""
        index = torch.tensor(texts, device=self.whole.device)
        pairs = ((getattr(self, kind.name), getattr(sums, kind.name)) for kind in fields(self))
        return _Sums(*(old.index_copy(0, index, new) for old, new in pairs))


def _scores(
    value: Value,
    method: Method,
    at_once: int | None,
    full: torch.Tensor,
) -> Scores:
    with torch.no_grad():
        empty = value(value.scaled(torch.zeros(1)))[0]
    if method.tolerance is None:
        sums = _sums(value.suffix, _integral(value, method.quadrature, at_once))
        points = np.full(len(full), len(method.quadrature))
    else:
        sums, points = _refined(value, method.quadrature, method.tolerance, at_once)
    residual = sums.whole - (full - empty).to(sums.whole)
    arrays = (sums.absolute, sums.signed, residual, full, empty)
    return Scores(*(array.cpu().numpy() for array in arrays), points=points)


def _sums(suffix: Suffix, gradient: torch.Tensor) -> _Sums:
    """gradient: G [texts, tokens, neurons]."""
    weight, bias = wide(suffix.linear.weight[suffix.rows]), suffix.linear.bias
    absolute, signed = [], []
    # A text at a time: the product is as large as the weights.
    for ours, inputs in zip(gradient, wide(suffix.x), strict=True):
        product = (ours.T @ inputs).mul_(weight)
        absolute.append(torch.linalg.vector_norm(product, ord=1, dim=-1))
        signed.append(product.sum(dim=-1))
    absolute, signed = torch.stack(absolute), torch.stack(signed)
    whole = signed.sum(dim=-1)
    if bias is not None:
        whole = whole + gradient.sum(dim=1) @ wide(bias[suffix.rows])
    return _Sums(absolute, signed, whole)


def _integral(value: Value, quadrature: Quadrature, at_once: int | None) -> torch.Tensor:
    """G = Σ_s w_s ∂F/∂z at α_s z [texts, tokens, neurons]."""
    total, start = torch.zeros(()), 0
    for gradients in _gradients(value, quadrature.points, at_once):
        weights = quadrature.weights[start : start + len(gradients)]
        total = total + torch.tensordot(gradients.new_tensor(weights), gradients, dims=1)
        start += len(gradients)
    return total


def _gradients(
    value: Value, points: Sequence[float], at_once: int | None
) -> Iterator[torch.Tensor]:
    """∂F/∂z at each scale [points, texts, tokens, neurons], a few points at a time."""
    passes = -(-len(points) // (at_once or len(points)))
    for scales in torch.tensor(points, dtype=torch.float64).chunk(passes):
        z = value.scaled(scales).requires_grad_()
        with torch.enable_grad():
            summed = value(z).sum()
        yield torch.autograd.grad(summed, z)[0][..., value.suffix.rows]


def _refined(
    value: Value, rule: Quadrature, tolerance: float, at_once: int | None
) -> tuple[_Sums, np.ndarray]:
    """The sums of each text by the first rule that meets the tolerance, and its points [texts]."""
    texts = len(value.shares)
    left, points = list(range(texts)), np.zeros(texts, dtype=np.int64)
    known: dict[float, torch.Tensor] = {}
    result = before = None
    while True:
        new = [point for point in rule.points if point not in known]
        fitting = at_once and max(1, at_once * texts // len(left))
        gradients = [part for chunk in _gradients(value, new, fitting) for part in chunk]
        known |= zip(new, gradients, strict=True)
        total = torch.zeros_like(gradients[0])
        for point, weight in zip(rule.points, rule.weights, strict=True):
            total.add_(known[point], alpha=weight)
        sums = _sums(value.suffix, total)
        result = sums if result is None else result.updated(left, sums)
        points[left] = len(rule)
        rest = list(range(len(left)))
        if before is not None:
            change = (sums.absolute - before).abs().amax(dim=1)
            missed = change > tolerance * sums.absolute.amax(dim=1)
            rest = torch.nonzero(missed).flatten().tolist()
        if not rest or 2 * len(rule) + 1 > MOST_POINTS:
            return result, points
        left, before, rule = [left[text] for text in rest], sums.absolute[rest], rule.extended()
        value, known = value.select(rest), {point: part[rest] for point, part in known.items()}


@dataclass(frozen=True)
class _Job:
    backbone: Backbone
    tokens: Sequence[Tokens]
    target: Target
    method: Method
    padding: Padding
    scorer: Scorer
    names: Sequence[str | int]


def _fitted(job: _Job, rows: list[int], at_once: int) -> Iterator[AttributedTexts]:
    """The texts' scores, in one batch or, where memory runs out, in halves: of texts, then of
    points."""

    def run(work: tuple[list[int], int]) -> dict[SublayerName, Scores]:
        rows, at_once = work
        ids, mask = padded(job.backbone, [job.tokens[row] for row in rows], job.padding)
        target = job.target.select(rows)
        names = [job.names[row] for row in rows]
        return job.scorer(job.backbone, ids, mask, target, job.method, at_once, names)

    def halves(work: tuple[list[int], int]) -> list[tuple[list[int], int]]:
        rows, at_once = work
        if len(rows) == at_once == 1:
            raise WellspringError(
                f"text {job.names[rows[0]]}, of {len(job.tokens[rows[0]])} tokens, does not fit "
                "into memory: shorten the attribution's length or give the job more memory"
            )
        if len(rows) == 1:
            return [(rows, (at_once + 1) // 2)]
        middle = (len(rows) + 1) // 2
        return [(rows[:middle], at_once), (rows[middle:], at_once)]

    for (part, _), scores, halved in halving((rows, at_once), run, halves):
        yield AttributedTexts(part, scores, halved)
