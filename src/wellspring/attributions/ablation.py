"""Is an attribution real? The embedding without a text's highest and lowest neurons, compared with
random ones that are matched to them.

Ablating a neuron replaces its output of the linear map, bias included, at all positions of the
text: by zero, where the path of the integrated gradients begins, or as `replacement` says.

The rank of a score may only show where the neuron is: the lowest neurons of the
whole network may all be in one block. So a random choice matches the one that it is compared with
in everything but the scores: it has as many neurons in every stratum, of the same layer and, on
request, of the same magnitude. The compared neurons themselves are left out of it, except where
a stratum has too few others; `shared` says how many they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from wellspring.attributions.replacement import Location, Replacement, runs, zero
from wellspring.config.attributions import MATCHED
from wellspring.config.vocabulary import Choice, Pooling, Side, Similarity, SublayerName
from wellspring.embeddings import Padding, Tokens, padded, padding_of
from wellspring.errors import WellspringError
from wellspring.memory import fitting
from wellspring.models.architecture import sublayer
from wellspring.models.load import Backbone
from wellspring.pooling import pool
from wellspring.randomness import generator

Masks = Mapping[Location, np.ndarray]
"""Block and sub-layer → what is ablated, bool [texts, neurons]."""


@dataclass(frozen=True)
class Chosen:
    """Neurons of each text."""

    choice: Choice
    draw: int
    """Which random choice, from 0; 0 of the others."""
    units: np.ndarray
    """Their columns in the scores, int64 [texts, neurons]."""
    shared: np.ndarray
    """The share of a random choice that the matched one holds, too, float64 [texts]; else NaN."""


def chosen(
    scores: np.ndarray,
    strata: np.ndarray,
    ids: Sequence[str],
    neurons: int,
    seed: int,
    draws: int,
) -> list[Chosen]:
    """Each text's highest and lowest neurons and, of either, `draws` matched random choices.

    scores: absolute scores [texts, units], a sub-layer's neurons in all layers. strata: which units
    may stand for one another, int64 [texts, units] from 0. ids: of the texts. A larger choice of
    the highest or lowest neurons contains the smaller ones. Equal scores are ordered at random, by
    (seed, id), and the random choices are drawn by (seed, id, choice, draw). Raises WellspringError
    where the highest and the lowest would overlap.
    """
    units = scores.shape[1]
    if 2 * neurons > units:
        raise WellspringError(
            f"ablate: {neurons} highest and as many lowest neurons, of {units} in a sub-layer's "
            "layers: lower the study's attribute.ablate.neurons or each_layer"
        )
    ordered = np.stack([_ordered(*pair, seed) for pair in zip(scores, ids, strict=True)])
    ends: dict[Choice, np.ndarray] = {
        "top": ordered[:, :neurons],
        "bottom": ordered[:, units - neurons :],
    }
    return [
        selection
        for choice, end in ends.items()
        for selection in _with_random(choice, end, strata, ids, seed, draws)
    ]


def _ordered(scores: np.ndarray, text: str, seed: int) -> np.ndarray:
    """Units by falling score."""
    # Scores are stored coarsely: without it, the first layers would win among equal ones.
    order = generator(seed, text, "ties").permutation(len(scores))
    return order[np.argsort(-scores[order], kind="stable")]


def _with_random(
    choice: Choice,
    units: np.ndarray,
    strata: np.ndarray,
    ids: Sequence[str],
    seed: int,
    draws: int,
) -> Iterator[Chosen]:
    """A choice of units [texts, neurons], and the random ones that are matched to it."""
    yield Chosen(choice, 0, units, np.full(len(ids), np.nan))
    for draw in range(draws):
        drawn = [
            _matched(own, levels, generator(seed, text, MATCHED[choice], draw))
            for own, levels, text in zip(units, strata, ids, strict=True)
        ]
        shared = [np.isin(*pair).mean() for pair in zip(drawn, units, strict=True)]
        yield Chosen(MATCHED[choice], draw, np.stack(drawn), np.array(shared))


def _matched(units: np.ndarray, strata: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As many units of each stratum as `units` has there: others first, then those of `units`."""
    own = np.isin(np.arange(len(strata)), units)
    order = np.lexsort((random.permutation(len(strata)), own, strata))
    sizes = np.bincount(strata)
    rank = np.arange(len(strata)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    counts = np.bincount(strata[units], minlength=len(sizes))
    return order[rank < np.repeat(counts, sizes)]


def layers_of(texts: int, layers: int, neurons: int) -> np.ndarray:
    """Strata [texts, layers × neurons]: the layers of a sub-layer's units."""
    return np.tile(np.repeat(np.arange(layers), neurons), (texts, 1))


BINS = 10
"""Strata of one layer by magnitude: as many neurons in each."""


def magnitudes_of(magnitudes: Sequence[np.ndarray]) -> np.ndarray:
    """Strata [texts, units]: within each layer, tenths of its neurons by magnitude.

    magnitudes: [texts, neurons] of each layer, as from `replacement.watch`.
    """
    return np.concatenate(
        [layer * BINS + _tenths(values) for layer, values in enumerate(magnitudes)], axis=1
    )


def _tenths(values: np.ndarray) -> np.ndarray:
    ranks = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable")
    return ranks * BINS // values.shape[1]


def masks(
    units: np.ndarray, name: SublayerName, layers: Sequence[int], neurons: int
) -> dict[tuple[int, SublayerName], np.ndarray]:
    """Masks of a sub-layer's units [texts, any], as columns of scores that hold its `neurons`
    neurons of the first of `layers`, then those of the second, and so on."""
    zero = np.zeros((len(units), len(layers) * neurons), dtype=bool)
    np.put_along_axis(zero, units, True, axis=1)
    parts = np.split(zero, len(layers), axis=1)
    return {(layer, name): part for layer, part in zip(layers, parts, strict=True)}


def ablated(
    backbone: Backbone,
    tokens: Sequence[Tokens],
    pooling: Pooling,
    masks: Masks,
    budget: int = 2048,
    widths: Sequence[int] | None = None,
    replacements: Mapping[Location, Replacement] | None = None,
) -> np.ndarray:
    """Vectors of the texts, before any normalisation, without the masked neurons.

    tokens: ids as from `embeddings.tokenise`; a text may stand there more than once. masks: {}
    gives the whole vectors. budget: padded tokens in one forward pass. widths: the positions that
    each text is padded to; None: as many as its batch needs. replacements: what replaces
    an ablated output; None: zero. Returns float32 [texts, hidden], in the order of the texts. A
    batch that does not fit into memory is halved until it does; WellspringError for a text that
    does not fit alone.
    """
    padding = padding_of(backbone, pooling)
    changes = [
        _Change(
            *sublayer(backbone.model, backbone.architecture, location[0] - 1, location[1]),
            torch.from_numpy(mask),
            replacements[location] if replacements else zero,
        )
        for location, mask in masks.items()
    ]
    vectors = np.empty((len(tokens), backbone.hidden), dtype=np.float32)
    for rows, least in runs(tokens, widths, budget):
        own = replace(padding, least=least)

        def run(part: list[int], own: Padding = own) -> np.ndarray:
            batch = [tokens[row] for row in part]
            return _vectors(backbone, batch, own, pooling, changes, part)

        for part, values in fitting(rows, run, lambda row: len(tokens[row])):
            vectors[part] = values
    return vectors


@dataclass(frozen=True)
class _Change:
    """A change of one linear map's output."""

    linear: nn.Linear
    columns: slice
    """The rows of the map that are the sub-layer."""
    mask: torch.Tensor
    """Which neurons of which texts [texts, neurons]."""
    replacement: Replacement

    def hook(self, rows: list[int]):
        """A forward hook for a batch of these texts."""

        def hook(module: nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor:
            part = output[..., self.columns]
            values = self.replacement(rows, output.shape[1]).to(part)
            mask = self.mask[rows][:, None].to(part.device)
            part.copy_(torch.where(mask, values, part))
            return output

        return hook


@torch.inference_mode()
def _vectors(
    backbone: Backbone,
    batch: list[Tokens],
    padding: Padding,
    pooling: Pooling,
    changes: list[_Change],
    rows: list[int],
) -> np.ndarray:
    ids, mask = padded(backbone, batch, padding)
    with ExitStack() as hooks:
        for change in changes:
            handle = change.linear.register_forward_hook(change.hook(rows))
            hooks.callback(handle.remove)
        states = backbone.states(ids, mask)[-1]
    return pool(states, mask.to(states.device), pooling).cpu().numpy()


@dataclass(frozen=True)
class Effects:
    """What the ablation changed, float64 [texts]."""

    change: np.ndarray
    """1 − cosine of the ablated and the whole vector, 0 … 2: half the squared distance of their
    unit vectors, so that a change far below a float's last digit of 1 is seen."""
    length_change: np.ndarray
    """‖ablated‖ / ‖whole‖ − 1."""
    margin: np.ndarray
    """s(q, p⁺) − mean s(q, p⁻) with the ablated vector; NaN where a text has no negatives, as in
    the columns below."""
    margin_before: np.ndarray
    """The same with the whole vector."""
    first: np.ndarray
    """Whether p⁺ ranks first with the ablated vector, 0 … 1; equal scores share it."""
    first_before: np.ndarray
    """The same with the whole vector."""


def effects(
    whole: np.ndarray,
    ablated: np.ndarray,
    partners: np.ndarray,
    negatives: Sequence[np.ndarray],
    similarity: Similarity,
    side: Side,
) -> Effects:
    """Change of the vectors, and of the ranking that each of them takes part in.

    whole, ablated: [texts, hidden], on the query side q, on the passage side p⁺. partners: the
    other of the two [texts, hidden]; not read where a text has no negatives. negatives: p⁻
    [any, hidden] of each text, distinct. similarity: s. All vectors but `ablated` are whole ones.

    Raises WellspringError where the two sides have vectors of different sizes.
    """
    if whole.shape[1] != partners.shape[1]:
        raise WellspringError(
            f"ablate: the candidates' vectors have {partners.shape[1]} numbers, those of the "
            f"attributed encoder {whole.shape[1]}: name a partner of the same retriever"
        )
    whole, ablated = whole.astype(np.float64), ablated.astype(np.float64)
    apart = np.square(_unit(whole) - _unit(ablated)).sum(axis=1)
    lengths = np.linalg.norm(ablated, axis=1) / np.linalg.norm(whole, axis=1)
    after, before = (
        np.array(
            [
                _ranking(*arrays, similarity, side)
                for arrays in zip(vectors, partners, negatives, strict=True)
            ]
        ).reshape(-1, 2)
        for vectors in (ablated, whole)
    )
    return Effects(
        # A vector of zeros has no direction: nothing of the whole vector's direction is left.
        change=np.where(ablated.any(axis=1), apart / 2, 1),
        length_change=lengths - 1,
        margin=after[:, 0],
        margin_before=before[:, 0],
        first=after[:, 1],
        first_before=before[:, 1],
    )


def _ranking(
    vector: np.ndarray,
    partner: np.ndarray,
    negatives: np.ndarray,
    similarity: Similarity,
    side: Side,
) -> tuple[float, float]:
    """The margin of one text, and the credit for its positive's rank."""
    if not len(negatives):
        return np.nan, np.nan
    query, positive = (vector, partner) if side == "query" else (partner, vector)
    vectors = np.vstack([query, positive, negatives]).astype(np.float64)
    if similarity == "cosine":
        vectors = _unit(vectors)
    # Row by row: equal texts must get equal scores, and a matrix product may round them apart.
    score, *others = (vectors[1:] * vectors[0]).sum(axis=1)
    best = score >= max(others)
    return score - np.mean(others), best / (1 + others.count(score))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
