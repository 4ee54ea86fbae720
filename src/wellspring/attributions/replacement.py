"""What replaces an ablated neuron's output, and how large that output is.

Zero may be far from everything that a neuron ever gives. Its mean over tokens, and its output at a
random token of another text, do not.

A neuron's magnitude is |activation| × norm of its outgoing weights, the mean over a text's tokens:
how much it writes, whether or not the embedding reads it. An inner neuron's activation is what the
output map takes in (behind the nonlinearity, and times the gate where there is one), and its
outgoing weights are that map's column. An output neuron writes into the residual stream, with
weight 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import nn

from wellspring.config.vocabulary import Pooling, SublayerName
from wellspring.embeddings import Tokens, batches, padded, padding_of
from wellspring.errors import ModelError, WellspringError
from wellspring.memory import fitting
from wellspring.models.architecture import sublayer
from wellspring.models.load import Backbone
from wellspring.randomness import generator, key

Location = tuple[int, SublayerName]
"""Block (1 … layers) and sub-layer."""

Replacement = Callable[[Sequence[int], int], torch.Tensor]
"""From texts and a number of positions to outputs [texts or 1, positions or 1, neurons or 1]."""

POOLED = 256
"""Tokens that outputs are resampled from."""

POOL_BYTES = 256 << 20
"""Bytes that their outputs may take; a model that would need more gets fewer tokens."""


@dataclass(frozen=True)
class Outputs:
    """What one sub-layer gives for the tokens of some texts."""

    mean: np.ndarray
    """Mean over all tokens [neurons], float64."""
    pool: np.ndarray
    """Outputs at the pool's tokens [tokens, neurons], float32."""
    magnitude: np.ndarray
    """[texts, neurons], float32."""


@dataclass(frozen=True)
class Watched:
    """A pass of texts through the model."""

    outputs: Mapping[Location, Outputs]
    owners: np.ndarray
    """The text that each of the pool's tokens comes from [tokens]."""


def zero(texts: Sequence[int], positions: int) -> torch.Tensor:
    """The replacement by zero."""
    return torch.zeros(1, 1, 1)


def mean(outputs: Outputs) -> Replacement:
    """The replacement by the mean over tokens."""
    values = torch.from_numpy(outputs.mean)[None, None]
    return lambda texts, positions: values


def resampled(outputs: Outputs, donors: np.ndarray, left: bool = False) -> Replacement:
    """The replacement by the outputs at a pool's tokens.

    donors: which token replaces that of each position, int64 [texts, positions], as from
    `donors_of`; copies of the texts may follow them. left: whether padding stands on the left, so
    that positions are counted from a text's end.
    """
    pool = torch.from_numpy(outputs.pool)

    def values(texts: Sequence[int], positions: int) -> torch.Tensor:
        tokens = donors[np.asarray(texts) % len(donors), :positions]
        return pool[torch.from_numpy(tokens[:, ::-1].copy() if left else tokens)]

    return values


def donors_of(
    ids: Sequence[str], owners: np.ndarray, layer: int, positions: int, seed: int
) -> np.ndarray:
    """A random token of another text for each position, int64 [texts, positions].

    owners: as in `Watched`. The draw depends on (seed, id, layer), so it is the same for all
    neurons of a position in a layer. Raises WellspringError where the pool comes from one text.
    """
    donors = np.empty((len(ids), positions), np.int64)
    for row, text in enumerate(ids):
        others = np.flatnonzero(owners != row)
        if not len(others):
            raise WellspringError(
                "ablate: resample needs tokens of another text, and there is one text alone: raise "
                "the attribution's texts"
            )
        donors[row] = generator(seed, text, "donors", layer).choice(others, positions)
    return donors


def watch(
    backbone: Backbone,
    tokens: Sequence[Tokens],
    ids: Sequence[str],
    pooling: Pooling,
    layers: Sequence[int],
    names: Sequence[SublayerName],
    seed: int,
    budget: int = 2048,
    widths: Sequence[int] | None = None,
) -> Watched:
    """Run texts through the model once and keep what `Outputs` has of every sub-layer.

    tokens, budget, widths: as for `ablation.ablated`. ids: the texts'. The pool is the first POOLED
    of all tokens in the order of a hash of (seed, id, position), or fewer, so that it takes at most
    POOL_BYTES bytes. Padding does not count. Raises ModelError where the output map does not
    take what an inner sub-layer gives.
    """
    taps: dict[Location, _Tap] = {
        (layer, name): _Tap.of(backbone, layer, name) for layer in layers for name in names
    }
    taken = 4 * sum(tap.neurons for tap in taps.values())
    pool = _pool(tokens, ids, seed, max(1, min(POOLED, POOL_BYTES // taken)))
    owners = np.array([row for row, _ in pool])
    outputs: dict[Location, Outputs] = {
        location: tap.empty(len(tokens), len(pool)) for location, tap in taps.items()
    }
    padding = padding_of(backbone, pooling)
    for rows, least in runs(tokens, widths, budget):

        def run(part: list[int], least: int = least) -> dict[Location, _Seen]:
            ids_, mask = padded(
                backbone, [tokens[row] for row in part], replace(padding, least=least)
            )
            of_pool = np.flatnonzero(np.isin(owners, part))
            picks = [(part.index(owners[index]), pool[index][1]) for index in of_pool]
            return _seen(backbone, taps, ids_, mask, picks)

        for part, seen in fitting(rows, run, lambda row: len(tokens[row])):
            of_pool = np.isin(owners, part)
            for location, (total, pooled, magnitude) in seen.items():
                outputs[location].mean[:] += total / sum(map(len, tokens))
                outputs[location].pool[of_pool] = pooled
                outputs[location].magnitude[part] = magnitude
    return Watched(outputs, owners)


def runs(
    tokens: Sequence[Tokens], widths: Sequence[int] | None, budget: int
) -> Iterator[tuple[list[int], int]]:
    """Batches of at most `budget` padded tokens, longest texts first, and the positions that their
    texts get at least; texts of different widths, where these are given, are never in one batch."""
    sizes = [len(ids) for ids in tokens] if widths is None else widths
    order = sorted(range(len(tokens)), key=lambda row: -sizes[row])
    groups = [order] if widths is None else (list(g) for _, g in groupby(order, sizes.__getitem__))
    for group in groups:
        for part in batches([sizes[row] for row in group], budget):
            rows = group[part.start : part.stop]
            yield rows, 0 if widths is None else sizes[rows[0]]


@dataclass(frozen=True)
class _Tap:
    """Where a sub-layer's outputs and activations are seen."""

    linear: nn.Linear
    columns: slice
    output: nn.Linear
    """The block's map back to the hidden size."""

    @classmethod
    def of(cls, backbone: Backbone, layer: int, name: SublayerName) -> _Tap:
        def find(which: SublayerName) -> tuple[nn.Linear, slice]:
            return sublayer(backbone.model, backbone.architecture, layer - 1, which)

        (linear, columns), (output, _) = find(name), find("output")
        tap = cls(linear, columns, output)
        if linear is not output and output.in_features != tap.neurons:
            raise ModelError(
                f"layer {layer}: the output map takes {output.in_features} numbers, sub-layer "
                f"{name!r} has {tap.neurons} neurons: the sublayers must be of one "
                "feed-forward network: correct the architecture"
            )
        return tap

    @property
    def neurons(self) -> int:
        return self.columns.stop - self.columns.start

    def empty(self, texts: int, pool: int) -> Outputs:
        """Empty arrays for the outputs of texts and of the pool's tokens."""
        shape = (texts, self.neurons), (pool, self.neurons)
        magnitude, outputs = (np.zeros(each, np.float32) for each in shape)
        return Outputs(np.zeros(self.neurons), outputs, magnitude)


def _pool(
    tokens: Sequence[Tokens], ids: Sequence[str], seed: int, size: int
) -> list[tuple[int, int]]:
    """Texts and positions of the pool's tokens."""
    every = [
        (key(seed, text, "pool", position), row, position)
        for row, (text, own) in enumerate(zip(ids, tokens, strict=True))
        for position in range(len(own))
    ]
    return [(row, position) for _, row, position in sorted(every)[:size]]


_Seen = tuple[np.ndarray, np.ndarray, np.ndarray]
"""For a batch and a sub-layer: the sum of outputs over tokens [neurons], the outputs at the pool's
tokens [tokens, neurons], and magnitudes [texts, neurons]."""


@torch.inference_mode()
def _seen(
    backbone: Backbone,
    taps: Mapping[Location, _Tap],
    ids: torch.Tensor,
    mask: torch.Tensor,
    picks: Sequence[tuple[int, int]],
) -> dict[Location, _Seen]:
    """The outputs of one batch. picks: texts and positions of the pool's tokens among it."""
    present = mask.to(torch.float32).unsqueeze(-1)
    share = present / present.sum(dim=1, keepdim=True)
    rows = torch.tensor([row for row, _ in picks], dtype=torch.long)
    # A text may begin behind padding.
    columns = mask.int().argmax(dim=1).cpu()[rows] + torch.tensor([at for _, at in picks]).long()
    sums: dict[Location, tuple[torch.Tensor, torch.Tensor]] = {}
    sizes: dict[Location, torch.Tensor] = {}

    # Each output is reduced as soon as it appears: all of them together would be too large.
    def note(location: Location, outputs: torch.Tensor) -> None:
        own = outputs[..., taps[location].columns].float()
        total = (own * present.to(own)).sum(dim=(0, 1), dtype=torch.float64)
        sums[location] = (total, own[rows.to(own.device), columns.to(own.device)])

    def size(location: Location, inner: torch.Tensor, outputs: torch.Tensor) -> None:
        own = taps[location]
        if own.linear is own.output:
            activation, weight = outputs.float(), 1.0
        else:
            activation = inner.float()
            weight = torch.linalg.vector_norm(own.output.weight.float(), dim=0)
        sizes[location] = (activation.abs() * share.to(activation)).sum(dim=1) * weight

    with ExitStack() as hooks:
        for location, own in taps.items():

            def noted(module, arguments, output, location=location) -> None:
                note(location, output)

            def sized(module, arguments, output, location=location) -> None:
                size(location, arguments[0], output)

            hooks.callback(own.linear.register_forward_hook(noted).remove)
            hooks.callback(own.output.register_forward_hook(sized).remove)
        backbone.states(ids, mask)
    seen: dict[Location, _Seen] = {}
    for location in taps:
        total, pooled, magnitude = (
            part.cpu().numpy() for part in (*sums[location], sizes[location])
        )
        seen[location] = (total, pooled, magnitude)
    return seen
