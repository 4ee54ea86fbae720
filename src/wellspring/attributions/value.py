"""What a method attributes: F of a batch as a function of one linear map's output, and whether the
scores that it gives say anything.

A text is quiet in a sub-layer where its F changes by no more than rounding on the way from `empty`
to `full`, or where its largest score is no larger than that: its scores would be noise once they
are normalised. The length of a vector behind a layer norm is an example: it is nearly constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from wellspring.attributions.quadrature import Quadrature
from wellspring.attributions.suffix import Suffix, record
from wellspring.attributions.targets import Target, one_position, pooled
from wellspring.config.vocabulary import Pooling, SublayerName
from wellspring.errors import WellspringError
from wellspring.models.load import Backbone

ROUNDING = 8
"""Steps of the float type within which F counts as constant."""

BETWEEN = (0.25, 0.5, 0.75)
"""Scales at which F is also computed where its ends are nearly equal."""


@dataclass(frozen=True)
class Scores:
    """One sub-layer's scores of a batch of texts; float32, or float64 where the model is."""

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
    points: np.ndarray
    """Quadrature points that the text took [texts]."""
    judged: np.ndarray | None = None
    """Whether the text is quiet here, bool [texts]; None until `solved` has judged it."""

    @property
    def quiet(self) -> np.ndarray:
        """What `judged` is, of scores that `solved` gave."""
        if self.judged is None:
            raise ValueError("these scores are not judged yet")
        return self.judged


@dataclass(frozen=True)
class Method:
    """What is computed for every text."""

    pooling: Pooling
    quadrature: Quadrature
    layer: int
    """Block 1 … layers."""
    sublayers: tuple[SublayerName, ...]
    tolerance: float | None = None
    """A text takes `quadrature`, then that rule extended, then extended again, until no score of
    the sub-layer changes by more than this share of its largest one; None: `quadrature` alone."""

    @property
    def usual_points(self) -> int:
        """About how many points a text takes; they decide how large batches are."""
        rule = self.quadrature
        return len(rule if self.tolerance is None else rule.extended().extended())


@dataclass(frozen=True)
class Value:
    """F of a batch as a function of one linear map's output."""

    suffix: Suffix
    target: Target
    shares: torch.Tensor

    def __call__(self, z: torch.Tensor, constant_length: bool = False) -> torch.Tensor:
        """z: [points, texts, tokens, out]. constant_length: as for `Target.values`. Returns F
        [points, texts]."""
        states = self.suffix(z.to(self.suffix.z.dtype))
        return self.target.values(pooled(states, self.shares), constant_length)

    def scaled(self, points: torch.Tensor) -> torch.Tensor:
        """z [points, texts, tokens, out] with the sub-layer's columns scaled."""
        z = wide(self.suffix.z)
        scales = z.new_ones(len(points), 1, 1, z.shape[-1])
        scales[..., self.suffix.rows] = points.to(z)[:, None, None, None]
        return z * scales

    def select(self, texts: Sequence[int]) -> Value:
        """The values of these texts alone."""
        index = torch.tensor(texts, device=self.shares.device)
        return Value(self.suffix.select(texts), self.target.select(texts), self.shares[index])


Solve = Callable[[Value, torch.Tensor], Scores]
"""A method: from F of a sub-layer and `full` [texts] to the sub-layer's scores."""


def solved(
    backbone: Backbone,
    ids: torch.Tensor,
    mask: torch.Tensor,
    target: Target,
    method: Method,
    solve: Solve,
    names: Sequence[str | int] | None = None,
    every_position: bool = False,
) -> dict[SublayerName, Scores]:
    """The scores of every sub-layer, after one pass of the whole model; quiet texts are marked.

    ids, mask: [texts, tokens] on the backbone's device, 1 = token, 0 = padding. names: what the
    texts are called in an error; None: 0, 1, …. every_position: also score the positions on which F
    does not depend.

    Raises ModelError as `suffix.record` and `Target.bound` do, and WellspringError for scores that
    are not finite.
    """
    target, shares = target.bound(backbone), target.shares(mask, method.pooling)
    location = (method.layer, method.sublayers)
    states, suffixes, shares = recorded(backbone, ids, mask, shares, *location, every_position)
    vectors = pooled(states, shares)
    full = target.values(vectors)
    floor = (ROUNDING * _step(states, vectors) * target.magnitude(vectors)).cpu().numpy()
    names = range(len(ids)) if names is None else names
    by_sublayer = {}
    for name, suffix in suffixes.items():
        value = Value(suffix, target, shares)
        scores = solve(value, full)
        _check_finite(scores, names, f"layer {method.layer}, {name}")
        largest = np.minimum(_reach(value, scores, floor), scores.absolute.max(axis=1))
        by_sublayer[name] = replace(scores, judged=largest <= floor)
    return by_sublayer


def recorded(
    backbone: Backbone,
    ids: torch.Tensor,
    mask: torch.Tensor,
    shares: torch.Tensor,
    layer: int,
    names: Iterable[SublayerName],
    every_position: bool = False,
) -> tuple[torch.Tensor, dict[SublayerName, Suffix], torch.Tensor]:
    """One pass of the whole model: last states, each sub-layer's suffix, and the states' shares.

    ids, mask: as above. shares: [texts, tokens], of `Target.shares`. Where they read one position
    of each text, there and in the suffixes its state alone is left, unless `every_position` is
    asked for.
    """
    read = None if every_position else one_position(shares)
    states, suffixes = record(backbone, ids, mask, layer, names, read)
    if read is not None:
        shares = torch.ones_like(shares[:, :1])
    return states, suffixes, shares


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """At least float32: sums in half precision lose digits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _step(states: torch.Tensor, vectors: torch.Tensor) -> float:
    """The rounding of F relative to its size; that of coarse states averages out over them."""
    coarse = torch.finfo(states.dtype).eps / states.shape[-1] ** 0.5
    return max(torch.finfo(vectors.dtype).eps, coarse)


def _reach(value: Value, scores: Scores, floor: np.ndarray) -> np.ndarray:
    """How far F gets from `full` on the way [texts]. Its ends may be equal by chance."""
    reach = np.abs(scores.full - scores.empty)
    if (reach <= floor).any():
        with torch.no_grad():
            for scale in BETWEEN:
                there = value(value.scaled(torch.tensor([scale])))[0].cpu().numpy()
                reach = np.maximum(reach, np.abs(there - scores.full))
    return reach


def _check_finite(scores: Scores, names: Sequence[str | int], where: str) -> None:
    finite = np.isfinite(scores.absolute).all(axis=1) & np.isfinite(scores.residual)
    for name, is_finite in zip(names, finite, strict=True):
        if not is_finite:
            raise WellspringError(
                f"{where}: the scores of text {name} are not finite: set the encoder's dtype to "
                "float32"
            )
