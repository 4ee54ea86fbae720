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
from wellspring.attributions.targets import Target
from wellspring.embeddings import Tokens, _out_of_memory, batches
from wellspring.errors import WellspringError
from wellspring.models.architecture import SublayerName
from wellspring.models.load import Backbone
from wellspring.pooling import Pooling

ROUNDING = 8
"""Steps of the float type within which F is taken for constant."""


@dataclass(frozen=True)
class Scores:
    """One sub-layer's scores of a batch; float32, or float64 where the model is."""

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
    """What is computed for each text."""

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

    Raises WellspringError for a text longer than the model's positions, for scores that are not
    finite, and, by its position in `tokens`, for a text without signal: its F, or its scores, do
    not exceed rounding.
    """
    widths = [max(len(ids), length) for ids in tokens]
    if backbone.positions is not None and max(widths, default=0) > backbone.positions:
        raise WellspringError(
            f"a text has {max(widths)} positions, the model has {backbone.positions}: lower the "
            "attribution's query_length or passage_length"
        )
    order = sorted(range(len(tokens)), key=lambda row: (-len(tokens[row]), tokens[row], row))
    share = max(1, budget // len(method.quadrature))
    for run in batches([widths[row] for row in order], share):
        rows = [order[position] for position in run]
        yield _fitted(backbone, tokens, target, method, rows, max(widths[row] for row in rows), 
