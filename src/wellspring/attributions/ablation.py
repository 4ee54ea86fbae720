"""Is an attribution real? The embedding without a text's highest, lowest and random neurons.

Setting a neuron to zero is setting its output of the linear map, bias included, to zero at all
positions of the text: where the path of the integrated gradients begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from wellspring.embeddings import Padding, Tokens, batches, fitting, padded, padding_of
from wellspring.errors import WellspringError
from wellspring.models.architecture import SublayerName, sublayer
from wellspring.models.load import Backbone
from wellspring.pooling import Pooling, pool
from wellspring.randomness import generator

Choice = Literal["top", "random", "bottom"]
Masks = Mapping[tuple[int, SublayerName], np.ndarray]
"""Block (1 … layers) and sub-layer → what is set to zero, bool [texts, neurons]."""


@dataclass(frozen=True)
class Chosen:
    """Neurons of each text."""

    choice: Choice
    draw: int
    """Which random choice, from 0; 0 of the others."""
    units: np.ndarray
    """Their columns in the scores, int64 [texts, neurons]."""


def chosen(
    scores: np.ndarray, ids: Sequence[str], neurons: int, seed: int, draws: int
) -> list[Chosen]:
    """Each text's highest and lowest neurons and `draws` random choices of as many.

    scores: absolute ones [texts, units], a sub-layer's neurons in all layers. ids: of the texts. A
    smaller choice is part of a larger one. Equal scores are ordered at random, by (seed, id), and
    so are the random choices, by (seed, id, draw). Raises WellspringError where the highest and the
    lowest would overlap.
    """
    units = scores.shape[1]
    if 2 * neurons > units:
        raise WellspringError(
            f"ablate: {neurons} highest and as many lowest neurons, of {units} in a sub-layer's "
            "layers: lower the study's attribute.ablate"
        )
    ordered = np.stack([_ordered(*pair, seed) for pair in zip(scores, ids, strict=True)])
    random = [
        np.stack([generator(seed, text, draw).permutation(units)[:neurons] for text in ids])
        for draw in range(draws)
    ]
    return [
        Chosen("top", 0, ordered[:, :neurons]),
        *(Chosen("random", draw, found) for draw, found in enumerate(random)),
        Chosen("bottom", 0, ordered[:, units - neurons :]),
    ]


def _ordered(scores: np.ndarray, text: str, seed: int) -> np.ndarray:
    """Units by falling score."""
    # Scores are stored coarsely: without it, of equal ones the first layers' would come first.
    order = generator(seed, text, "ties").permutation(len(scores))
    return order[np.argsort(-scores[order], kind="stable")]


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
    length: int = 0,
) -> np.ndarray:
    """Vectors of the texts, before any normalisation, without the masked neurons.

    tokens: ids as from `embeddings.tokenise`; a text may stand there more than once. masks: {}
    gives the whole vectors. budget: padded tokens in one forward pass. length: positions that every
    text is padded to at least. Returns float32 [texts, hidden], in the order of the texts. A batch
    that does not fit into memory is halved until it does; WellspringError for a text that does not
    fit alone.
    """
    padding = padding_of(backbone, pooling, length)
    places = [
        (*sublayer(backbone.model, backbone.architecture, layer - 1, name), torch.from_numpy(zero))
        for (layer, name), zero in masks.items()
    ]
    widths = [max(len(ids), length) for ids in tokens]
    order = sorted(range(len(tokens)), key=lambda row: -widths[row])
    vectors = np.empty((len(tokens), backbone.hidden), dtype=np.float32)

    def run(rows: list[int]) -> np.ndarray:
        batch = [tokens[row] for row in rows]
        return _vectors(backbone, batch, padding, pooling, places, rows)

    for part in batches([widths[row] for row in order], budget):
        rows = order[part.start : part.stop]
        for some, found in fitting(rows, run, lambda row: len(tokens[row])):
            vectors[some] = found
    return vectors


Place = tuple[nn.Linear, slice, torch.Tensor]
"""A linear map, the rows that are the sub-layer, and its mask of all texts."""


@torch.inference_mode()
def _vectors(
    backbone: Backbone,
    batch: list[Tokens],
    padding: Padding,
    pooling: Pooling,
    places: list[Place],
    rows: list[int],
) -> np.ndarray:
    ids, mask = padded(backbone, batch, padding)
    with _zeroed(places, rows):
        states = backbone.states(ids, mask)[-1]
    return pool(states, mask.to(states.device), pooling).cpu().numpy()


@contextmanager
def _zeroed(places: list[Place], rows: list[int]) -> Iterator[None]:
    with ExitStack() as hooks:
        for linear, columns, zero in places:
            handle = linear.register_forward_hook(_zeroing(columns, zero[rows]))
            hooks.callback(handle.remove)
        yield


def _zeroing(columns: slice, zero: torch.Tensor) -> Callable[..., torch.Tensor]:
    def hook(module: nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor:
        output[..., columns].masked_fill_(zero[:, None].to(output.device), 0)
        return output

    return hook


@dataclass(frozen=True)
class Effects:
    """What the ablation changed, float64 [texts]."""

    change: np.ndarray
    """1 − cosine of the ablated and the whole vector, 0 … 2."""
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
    similarity: Literal["cosine", "dot"],
    side: Literal["query", "passage"],
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
    cosine = (_unit(whole) * _unit(ablated)).sum(axis=1)
    lengths = np.linalg.norm(ablated, axis=1) / np.linalg.norm(whole, axis=1)
    after, before = (
        np.array(
            [
                _ranking(*given, similarity, side)
                for given in zip(vectors, partners, negatives, strict=True)
            ]
        ).reshape(-1, 2)
        for vectors in (ablated, whole)
    )
    return Effects(
        # Rounding takes a cosine beyond 1.
        change=np.clip(1 - cosine, 0, 2),
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
    similarity: Literal["cosine", "dot"],
    side: Literal["query", "passage"],
) -> tuple[float, float]:
    """The margin of one text, and the credit for its positive's rank."""
    if not len(negatives):
        return np.nan, np.nan
    query, positive = (vector, partner) if side == "query" else (partner, vector)
    vectors = np.vstack([query, positive, negatives]).astype(np.float64)
    if similarity == "cosine":
        vectors = _unit(vectors)
    # Row by row: equal texts must get equal scores, and a matrix product may round them apart.
    wanted, *others = (vectors[1:] * vectors[0]).sum(axis=1)
    best = wanted >= max(others)
    return wanted - np.mean(others), best / (1 + others.count(wanted))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
