"""Other ways to attribute an embedding to a sub-layer's neurons, on the suffix.

Each gives every output z_ti of the sub-layer's linear map, at position t, a number a_ti; a neuron's
signed score is Σ_t a_ti, its absolute score that sum's size. F is what is attributed.

| kind | a_ti | source |
| --- | --- | --- |
| integrated-gradients | z_ti ∫₀¹ ∂F/∂z_ti(αz) dα | Sundararajan et al. 2017, equation 1 |
| conductance | (z_ti − b_i) ∫₀¹ ∂F/∂z_ti(b + α(z − b)) dα | Dhamdhere et al. 2018, equation 3 |
| relp | z_ti × relevance coefficient of z_ti (`relevance`) | Rezaei Jafari et al. 2025 |
| gradient-x-activation | z_ti ∂F/∂z_ti | Shrikumar et al. 2016 |
| activation | z_ti | |

Conductance takes the map's input x from zero to its value, x → αx. On this path z = αWx + b is a
straight line from the bias b, so that the integral is one over z and needs no finite differences;
for a map without bias the first two kinds are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from wellspring.attributions.relevance import relevance
from wellspring.attributions.targets import Target
from wellspring.attributions.value import Method, Scores, Value, solved, wide
from wellspring.config.vocabulary import OutputMethod, SublayerName
from wellspring.models.load import Backbone

COMPLETE: tuple[OutputMethod, ...] = ("integrated-gradients", "conductance")
"""Kinds whose scores sum to the change of the target."""


def scorer(kind: OutputMethod) -> Callable[..., dict[SublayerName, Scores]]:
    """A function with the arguments, results and errors of `fused.scores`.

    The integral has as many Gauss-Legendre points as `method.quadrature`. `empty` is F where the
    path begins: for conductance at z = b, else with W and b at zero. `residual` is
    Σ_i signed_i − (full − empty), NaN for kinds without an integral.
    """
    return partial(_scores, kind)


def _scores(
    kind: OutputMethod,
    backbone: Backbone,
    ids: torch.Tensor,
    mask: torch.Tensor,
    target: Target,
    method: Method,
    at_once: int | None = None,
    names: Sequence[str | int] | None = None,
) -> dict[SublayerName, Scores]:
    def solve(value: Value, full: torch.Tensor) -> Scores:
        start = value.scaled(torch.zeros(1))[0]
        linear, rows = value.suffix.linear, value.suffix.rows
        if kind == "conductance" and linear.bias is not None:
            start[..., rows] = wide(linear.bias)[rows]
        with torch.no_grad():
            empty = value(start[None])[0]
        of_outputs = _attributions(kind, value, start, mask, len(method.quadrature), at_once)
        signed = of_outputs[..., rows].sum(dim=1).detach()
        residual = signed.sum(dim=-1) - (full - empty).to(signed)
        arrays = (signed.abs(), signed, residual, full, empty)
        points = np.full(len(ids), len(method.quadrature) if kind in COMPLETE else 1)
        return Scores(*(array.cpu().numpy() for array in arrays), points=points)

    # An activation is there whether or not F depends on it.
    every = kind == "activation"
    by_sublayer = solved(backbone, ids, mask, target, method, solve, names, every)
    if kind in COMPLETE:
        return by_sublayer
    absent = np.full(len(ids), np.nan)
    return {name: replace(scores, residual=absent) for name, scores in by_sublayer.items()}


def _attributions(
    kind: OutputMethod,
    value: Value,
    start: torch.Tensor,
    mask: torch.Tensor,
    points: int,
    at_once: int | None,
) -> torch.Tensor:
    """a [texts, tokens, out]."""
    z = wide(value.suffix.z)
    if kind == "activation":
        # Padding has outputs, too, on which no gradient depends.
        return z * mask.to(z).unsqueeze(-1)
    if kind == "relp":
        return relevance(value)
    # It takes a second to load, and the methods above need none of it.
    from captum.attr import InputXGradient, IntegratedGradients

    def forward(stacked: torch.Tensor) -> torch.Tensor:
        # Captum puts points before texts on one axis.
        return value(stacked.unflatten(0, (-1, len(z)))).flatten()

    if kind == "gradient-x-activation":
        return InputXGradient(forward).attribute(z.clone().requires_grad_())
    if kind not in COMPLETE:
        raise ValueError(f"{kind}: no attributions are written for this method")
    return IntegratedGradients(forward).attribute(
        z,
        baselines=start,
        n_steps=points,
        method="gausslegendre",
        internal_batch_size=None if at_once is None else at_once * len(z),
    )
