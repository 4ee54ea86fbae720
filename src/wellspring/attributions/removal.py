"""What removing single neurons, or small groups of them, does to an embedding, measured.

A neuron is removed by setting its output of the linear map, bias included, to zero at all positions
of the text: the same as setting its row of the weights and its bias to zero. The block is recorded
once; many copies of the text, each without another neuron, then run through what is above the
sub-layer alone.

Rounding moves a vector, too. So one copy runs beside the others from which nothing is removed: the
change that is found for it is the floor below which an effect is noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wellspring.attributions.suffix import Suffix
from wellspring.attributions.targets import norm, pooled
from wellspring.attributions.value import recorded
from wellspring.config.vocabulary import Pooling, SublayerName
from wellspring.embeddings import Tokens, padded, padding_of
from wellspring.errors import WellspringError
from wellspring.memory import fitting
from wellspring.models.load import Backbone
from wellspring.randomness import generator


def sampled(
    neurons: int, count: int, group: int, seed: int, layer: int, name: SublayerName
) -> np.ndarray:
    """`count` groups of so many neurons of a sub-layer each, int64 [count, group], none twice.

    neurons: the width of the sub-layer. Drawn by (seed, layer, name), alike for all texts; fewer
    groups are the first of more. Raises WellspringError where the sub-layer has too few.
    """
    if count * group > neurons:
        raise WellspringError(
            f"remove: {count} groups of {group} neurons, of {neurons} in sub-layer {name!r}: lower "
            "the study's attribute.removal.neurons or group"
        )
    order = generator(seed, "removal", layer, name).permutation(neurons)
    return order[: count * group].reshape(count, group)


def removed(
    backbone: Backbone,
    tokens: Tokens,
    pooling: Pooling,
    layer: int,
    groups: dict[SublayerName, np.ndarray],
    budget: int = 2048,
    width: int = 0,
) -> tuple[np.ndarray, dict[SublayerName, np.ndarray]]:
    """The vector of a text, and its vectors without each group of neurons of one block.

    tokens: ids as from `embeddings.tokenise`. groups: [groups, neurons] of each sub-layer. budget:
    padded tokens that run at once. width: positions that the text is padded to at least. Returns
    float32 [hidden] and, of each sub-layer, [1 + groups, hidden], of which the first has lost
    nothing; before any normalisation. What does not fit into memory is halved until it does.
    """
    padding = padding_of(backbone, pooling, width)
    ids, mask = padded(backbone, [tokens], padding)
    shares = norm().shares(mask, pooling)
    states, suffixes, shares = recorded(backbone, ids, mask, shares, layer, list(groups))
    whole = pooled(states, shares)[0].cpu().numpy()
    at_once = max(2, budget // ids.shape[1])
    return whole, {
        name: _without(suffix, shares, groups[name], at_once, len(tokens))
        for name, suffix in suffixes.items()
    }


@torch.no_grad()
def _without(
    suffix: Suffix, shares: torch.Tensor, groups: np.ndarray, at_once: int, length: int
) -> np.ndarray:
    """[1 + groups, hidden]"""
    # The first copy loses nothing.
    losses: list[Sequence[int]] = [[], *(suffix.rows.start + groups).tolist()]

    def run(batch: list[int]) -> np.ndarray:
        z = suffix.z.repeat(len(batch), 1, 1, 1)
        for copy, lost in zip(z, batch, strict=True):
            copy[..., losses[lost]] = 0
        return pooled(suffix(z), shares)[:, 0].cpu().numpy()

    parts = []
    for start in range(0, len(losses), at_once):
        batch = list(range(start, min(start + at_once, len(losses))))
        parts += [vectors for _, vectors in fitting(batch, run, lambda _: length)]
    return np.concatenate(parts)
