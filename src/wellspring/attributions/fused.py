"""Integrated gradients of a sub-layer's weights, for a batch and all quadrature points at once.

F is a number of the text's embedding, and W and b of one linear map are scaled together from 0 to
their values: IG(W_ij) = W_ij ∫₀¹ ∂F/∂W_ij(α) dα (arXiv 2505.07166). Scaling W and b by α scales
the map's output z = x Wᵀ + b by α and leaves its input x alone, so with
G_ti = Σ_s w_s ∂F/∂z_ti at α_s z it is IG(W_ij) = W_ij Σ_t G_ti x_tj: no weight needs a gradient,
and nothing below the map runs more than once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wellspring.attributions.quadrature import Quadrature
from wellspring.attributions.suffix import Suffix, record
from wellspring.attributions.targets import Target, pooled
from wellspring.embeddings import Tokens, batches, out_of_memory
from wellspring.errors import WellspringError
from wellspring.models.architecture import SublayerName
from wellspring.models.load import Backbone
from wellspring.pooling import Pooling

ROUNDING = 8
"""Steps of the float type within which F is taken for constant."""


@dataclass(frozen=True)
class Scores:
    """One sub-layer's scores of some texts; float32, or float64 where the model is."""

    absolute: np.ndarray
    """Σ_j |IG(W_ij)| [texts, neurons]; a neuron is a row of W."""
    signed: np.ndarray
    """Σ_j IG(W_ij) [texts, neurons], without the bias's share."""
    residual: np.ndarray
    """Σ_ij IG(W_ij) + Σ_i IG(b_i) − (full − empty) [texts]: 0 for a quadrature without error."""
    full: np.ndarray
    """F of the text [texts]."""
    empty: np.ndarray
    """F with W and b at zero [texts]."""


@dataclass(frozen=True)
class Attributed:
    """The scores of some texts."""

    rows: list[int]
    """Positions of the texts in what `attribute` was given."""
    scores: dict[SublayerName, Scores]
    splits: int
    """How often the batch, or its points, were halved because memory ran out."""


@dataclass(frozen=True)
class Method:
    """What is computed for every text."""

    pooling: Pooling
    quadrature: Quadrature
    layer: int
    """Block 1 … layers."""
    sublayers: tuple[SublayerName, ...]


def attribute(
    backbone: Backbone,
    tokens: Sequence[Tokens],
    target: Target,
    method: Method,
    budget: int = 2048,
    length: int = 0,
) -> Iterator[Attributed]:
    """Neuron scores of one block's sub-layers, a batch at a time, longest texts first.

    tokens: ids as from `embeddings.tokenise`. target: of the same texts in the same order. budget:
    padded tokens × quadrature points that run at once. length: positions that every text is padded
    to at least, on the right. What does not fit into memory is halved until it does.

    Raises WellspringError for a text longer than the model's positions, and as `scores` does, with
    the text's position in `tokens`.
    """
    widths = [max(len(ids), length) for ids in tokens]
    if backbone.positions is not None and max(widths, default=0) > backbone.positions:
        raise WellspringError(
            f"a text has {max(widths)} positions, the model has {backbone.positions}: lower the "
            "attribution's query_length or passage_length"
        )
    order = sorted(range(len(tokens)), key=lambda row: (-widths[row], tokens[row], row))
    share = max(1, budget // len(method.quadrature))
    for run in batches([widths[row] for row in order], share):
        rows = [order[position] for position in run]
        fitting = budget // (len(rows) * widths[rows[0]])
        at_once = min(max(1, fitting), len(method.quadrature))
        yield from _fitted(_Job(backbone, tokens, target, method, length), rows, at_once)


def scores(
    backbone: Backbone,
    ids: torch.Tensor,
    mask: torch.Tensor,
    target: Target,
    method: Method,
    at_once: int | None = None,
    rows: Sequence[int] | None = None,
) -> dict[SublayerName, Scores]:
    """Neuron scores of one batch.

    ids, mask: [texts, tokens] on the backbone's device, 1 = token, 0 = padding. at_once: quadrature
    points in one pass; None: all. rows: what the texts are called in an error; None: 0, 1, ….

    Raises ModelError as `suffix.record` does, and WellspringError for scores that are not finite
    and for a text without signal: its F between `empty` and `full`, or its largest score in a
    sub-layer, does not exceed rounding, and would be noise once normalised.
    """
    states, suffixes = record(backbone, ids, mask, method.layer, method.sublayers)
    shares = target.shares(mask, method.pooling)
    vectors = pooled(states, shares)
    full = target.values(vectors)
    floor = (ROUNDING * _step(states, vectors) * target.magnitude(vectors)).cpu().numpy()
    names = range(len(ids)) if rows is None else rows
    found = {}
    for name, suffix in suffixes.items():
        value = _Value(suffix, target, shares)
        with torch.no_grad():
            empty = value(value.scaled(torch.zeros(1)))[0]
        found[name] = _scores(value, method.quadrature, at_once, full, empty)
        _check(found[name], floor, names, f"layer {method.layer}, {name}")
    return found


@dataclass(frozen=True)
class _Value:
    """F of a batch as a function of one linear map's output."""

    suffix: Suffix
    target: Target
    shares: torch.Tensor

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """z: [points, texts, tokens, out]. Returns F [points, texts]."""
        states = self.suffix(z.to(self.suffix.z.dtype))
        return self.target.values(pooled(states, self.shares))

    def scaled(self, points: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """z [points, texts, tokens, out] with the sub-layer's columns scaled, and shifted."""
        z = _wide(self.suffix.z)
        scales = z.new_ones(len(points), 1, 1, z.shape[-1])
        scales[..., self.suffix.rows] = points.to(z)[:, None, None, None]
        return z * scales if shift is None else torch.addcmul(shift, z, scales)


def _scores(
    value: _Value,
    quadrature: Quadrature,
    at_once: int | None,
    full: torch.Tensor,
    empty: torch.Tensor,
) -> Scores:
    linear, rows = value.suffix.linear, value.suffix.rows
    gradient = _gradient(value, quadrature, at_once)[..., rows]
    weight = _wide(linear.weight[rows])
    absolute, signed = [], []
    # A text at a time: the product is as large as the weights.
    for ours, inputs in zip(gradient, _wide(value.suffix.x), strict=True):
        product = (ours.T @ inputs).mul_(weight)
        absolute.append(torch.linalg.vector_norm(product, ord=1, dim=-1))
        signed.append(product.sum(dim=-1))
    absolute, signed = torch.stack(absolute), torch.stack(signed)
    whole = signed.sum(dim=-1)
    if linear.bias is not None:
        whole = whole + gradient.sum(dim=1) @ _wide(linear.bias[rows])
    residual = whole - (full - empty).to(whole)
    arrays = (absolute, signed, residual, full, empty)
    return Scores(*(array.cpu().numpy() for array in arrays))


def _gradient(value: _Value, quadrature: Quadrature, at_once: int | None) -> torch.Tensor:
    """G = Σ_s w_s ∂F/∂z at α_s z [texts, tokens, out]."""
    z = _wide(value.suffix.z)
    passes = -(-len(quadrature) // (at_once or len(quadrature)))
    points = torch.tensor(quadrature.points, dtype=z.dtype).chunk(passes)
    weights = torch.tensor(quadrature.weights, dtype=z.dtype).chunk(passes)
    total = torch.zeros_like(z)
    # One shift for all points: its gradient is their weighted sum.
    shift = torch.zeros_like(z, requires_grad=True)
    for some, theirs in zip(points, weights, strict=True):
        with torch.enable_grad():
            reached = value(value.scaled(some, shift))
            summed = (reached * theirs.to(reached)[:, None]).sum()
        total += torch.autograd.grad(summed, shift)[0]
    return total


def _step(states: torch.Tensor, vectors: torch.Tensor) -> float:
    """The rounding of F relative to its size; that of coarse states averages out over them."""
    coarse = torch.finfo(states.dtype).eps / states.shape[-1] ** 0.5
    return max(torch.finfo(vectors.dtype).eps, coarse)


def _check(found: Scores, floor: np.ndarray, rows: Sequence[int], where: str) -> None:
    finite = np.isfinite(found.absolute).all(axis=1) & np.isfinite(found.residual)
    silent = (np.abs(found.full - found.empty) <= floor) | (found.absolute.max(axis=1) <= floor)
    for row, is_finite, is_silent in zip(rows, finite, silent, strict=True):
        if not is_finite:
            raise WellspringError(
                f"{where}: the scores of text {row} are not finite: set the encoder's dtype to "
                "float32"
            )
        if is_silent:
            raise WellspringError(
                f"{where}: text {row} has no signal: the target does not change beyond rounding "
                "when the weights are scaled from zero: attribute another target"
            )


@dataclass(frozen=True)
class _Job:
    backbone: Backbone
    tokens: Sequence[Tokens]
    target: Target
    method: Method
    length: int


def _fitted(job: _Job, rows: list[int], at_once: int, splits: int = 0) -> Iterator[Attributed]:
    """The texts' scores, in one batch or, where memory runs out, in halves: of texts, then of
    points."""
    try:
        ids, mask = _padded(job, rows)
        target = job.target.select(rows)
        found = scores(job.backbone, ids, mask, target, job.method, at_once, rows)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    else:
        yield Attributed(rows, found, splits)
        return
    if len(rows) == at_once == 1:
        raise WellspringError(
            f"a text of {len(job.tokens[rows[0]])} tokens does not fit into memory: shorten the "
            "attribution's length or give the job more memory"
        )
    if job.backbone.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(rows) == 1:
        yield from _fitted(job, rows, (at_once + 1) // 2, splits + 1)
        return
    middle = (len(rows) + 1) // 2
    yield from _fitted(job, rows[:middle], at_once, splits + 1)
    yield from _fitted(job, rows[middle:], at_once)


def _padded(job: _Job, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    batch = [job.tokens[row] for row in rows]
    width = max(job.length, *map(len, batch))
    ids = torch.full((len(batch), width), job.backbone.padding, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for row, sequence in enumerate(batch):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids.to(job.backbone.device), mask.to(job.backbone.device)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """At least float32: sums in half precision lose digits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
