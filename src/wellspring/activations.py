"""From scores to active neurons: counts per neuron, measures per text, and top neurons.

A neuron is active for a text where its score, divided by a normaliser of the text, exceeds a
threshold (arXiv 2505.07166: the text's largest score over the network, threshold 0.1). The
quotient is rounded to float64, so that a score of exactly a tenth is not active at 0.1. Scores are
stored as float16 shares, which hold 11 bits: one within 0.05 % of the threshold may be on either
side of it.

An outlier unit is what may decide a maximum for every text at once: a dimension of the residual
stream over all layers (in `output` sub-layers), or one neuron of one layer (in all others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
from scipy.special import entr

from wellspring.config.vocabulary import Normaliser
from wellspring.errors import WellspringError

Location = tuple[int, str]
"""Layer (1 … L) and name of a sub-layer."""

LOCATION = {"layer": pl.Int64, "sublayer": pl.String}
SETTING = {"normaliser": pl.String, "excluded_outliers": pl.Int64, "threshold": pl.Float64}
COUNTS = {**LOCATION, "neuron": pl.Int64, **SETTING, "texts": pl.Int64, "active": pl.Int64}
TEXTS = {"text_id": pl.String, **LOCATION, "measure": pl.String, **SETTING, "value": pl.Float64}
TOP_NEURONS = {
    "scope": pl.String,
    **LOCATION,
    "neuron": pl.Int64,
    "texts": pl.Int64,
    "of": pl.Int64,
}

# Sums over texts are of whole numbers of this part, so that no order of texts changes them.
PART = 2.0**-32


@dataclass(frozen=True)
class Chunk:
    """A few texts with their scores in every sub-layer of the network."""

    text_ids: Sequence[str]
    scores: Mapping[Location, np.ndarray]
    """Absolute scores [texts, neurons] float32, finite and at least 0."""


Chunks = Callable[[], Iterator[Chunk]]
"""Goes through all texts anew at each call, with the same sub-layers in every chunk."""


@dataclass(frozen=True)
class Activations:
    """What `measure` finds; no frame depends on how the texts were cut into chunks."""

    counts: pl.DataFrame
    """COUNTS; for each neuron and setting, for how many of the texts it is active."""
    texts: pl.DataFrame
    """TEXTS; for each text and sub-layer `share_active` (0 … 1) of every setting, and of the scores
    without one `effective_number` (exponential of the entropy of score / sum; 1 … neurons) and
    `gini` (0: all equal, 1 − 1 / neurons: one holds all). The last two are null for a text without
    any score in the sub-layer; no neuron is active there."""
    top_neurons: pl.DataFrame
    """TOP_NEURONS; `texts` of the `of` texts have their largest score, in the network or in that
    sub-layer, in this neuron; the first one, by layer, sub-layer and neuron, of equals."""


def measure(
    chunks: Chunks,
    thresholds: Mapping[Normaliser, Sequence[float]],
    excluded_outliers: Sequence[int],
) -> Activations:
    """Counts, measures and top neurons of all texts; two passes where outliers are excluded.

    Memory is that of the frames, of one chunk and of a few float64 copies of one of its sub-layers.

    Args:
        thresholds: at least 0, of each normaliser: the text's largest score in the network or in
            the sub-layer, or its mean or its sum in the sub-layer.
        excluded_outliers: how many outlier units the maximum, mean and sum pass over; they still
            count as neurons. The units with the largest sums over texts of (largest score of the
            unit / largest score in the network) come first, ties by sub-layer, layer and neuron.

    Raises:
        WellspringError: where there are no texts, or no neuron of a sub-layer is left.
    """
    ranks = _ranks(chunks) if any(excluded_outliers) else {}
    _check(ranks, excluded_outliers)
    settings: list[_Setting] = [
        (normaliser, left, threshold)
        for normaliser, left in product(thresholds, excluded_outliers)
        for threshold in thresholds[normaliser]
    ]
    ids: list[str] = []
    tallies: dict[Location, _Tally] = {}
    for chunk in chunks():
        scores = _scores(chunk)
        if not tallies:
            tallies = {
                sublayer: _Tally.empty(len(settings), values.shape[1])
                for sublayer, values in scores.items()
            }
        normalisers = _normalisers(scores, ranks, {0, *excluded_outliers})
        _count(tallies, scores, normalisers, settings)
        _count_top(tallies, scores)
        ids.extend(chunk.text_ids)
    if not ids:
        raise WellspringError(
            "activations: no text has a signal in every layer: raise the attribution's texts"
        )
    return Activations(*_frames(tallies, ids, settings))


_Setting = tuple[Normaliser, int, float]


@dataclass
class _Tally:
    """The running counts and measures of a sub-layer."""

    active: np.ndarray
    """[settings, neurons]."""
    top_counts: dict[str, np.ndarray]
    """Scope → for how many texts each neuron has the largest score [neurons]."""
    values: list[np.ndarray]
    """[settings + 2, texts] of each chunk: the measures."""

    @classmethod
    def empty(cls, settings: int, neurons: int) -> _Tally:
        top_counts = {scope: np.zeros(neurons, np.int64) for scope in ("network", "sublayer")}
        return cls(np.zeros((settings, neurons), np.int64), top_counts, [])


def _scores(chunk: Chunk) -> dict[Location, np.ndarray]:
    """By layer and sub-layer, each text's scores side by side: a sum then adds in one order."""
    return {
        sublayer: np.ascontiguousarray(chunk.scores[sublayer], np.float32)
        for sublayer in sorted(chunk.scores)
    }


def _ranks(chunks: Chunks) -> dict[Location, np.ndarray]:
    """[neurons] of each sub-layer: the rank of the neuron's unit among all units, 0 the first."""
    sums: dict[tuple[str, int], np.ndarray] = {}
    layers: set[Location] = set()
    for chunk in chunks():
        scores = _scores(chunk)
        network = np.max([values.max(axis=1) for values in scores.values()], axis=0)[:, None]
        units: dict[tuple[str, int], np.ndarray] = {}
        for sublayer, values in scores.items():
            unit = _unit(sublayer)
            units[unit] = np.maximum(units[unit], values) if unit in units else values
        for unit, values in units.items():
            shares = np.zeros(values.shape)
            np.divide(values, network, out=shares, where=network > 0, dtype=np.float64)
            sums[unit] = sums.get(unit, 0) + np.rint(shares / PART).astype(np.int64).sum(axis=0)
        layers.update(scores)
    if not sums:
        return {}
    order = sorted(sums)
    falling = np.argsort(-np.concatenate([sums[unit] for unit in order]), kind="stable")
    ranks = np.empty_like(falling)
    ranks[falling] = np.arange(len(falling))
    ends = np.cumsum([len(sums[unit]) for unit in order])
    of_unit = dict(zip(order, np.split(ranks, ends[:-1]), strict=True))
    return {sublayer: of_unit[_unit(sublayer)] for sublayer in sorted(layers)}


def _unit(sublayer: Location) -> tuple[str, int]:
    """The group of units that a sub-layer's neurons are: one for the outputs of all layers."""
    layer, name = sublayer
    return (name, 0) if name == "output" else (name, layer)


def quality(scores: pl.LazyFrame, layer: int, sublayer: str) -> pl.LazyFrame:
    """How far a text's scores can be trusted, in the columns of TEXTS.

    scores: text_id, full, and of the sub-layer {sublayer}_residual, _scale and _change.
    `residual`: what the quadrature misses, |residual| as a share of the sub-layer's largest score;
    null for a method without an integral. `signal`: how much of the target the sub-layer moves,
    |F(1) − F(0)| / |F|; null where F is 0.
    """
    measures = {
        # Not a share of the change, which may be near zero where scores of both signs are large.
        "residual": pl.col(f"{sublayer}_residual").abs() / pl.col(f"{sublayer}_scale"),
        "signal": pl.col(f"{sublayer}_change").abs() / pl.col("full").abs(),
    }
    frames = []
    for measure, quotient in measures.items():
        value = quotient.cast(pl.Float64)
        columns = {
            "layer": pl.lit(layer, pl.Int64),
            "sublayer": pl.lit(sublayer),
            "measure": pl.lit(measure),
            **{name: pl.lit(None, kind) for name, kind in SETTING.items()},
            "value": pl.when(value.is_finite()).then(value),
        }
        frames.append(scores.select("text_id", **columns))
    return pl.concat(frames)


def _check(ranks: Mapping[Location, np.ndarray], excluded_outliers: Sequence[int]) -> None:
    for (layer, name), own in ranks.items():
        if max(excluded_outliers) > own.max():
            raise WellspringError(
                "study.attribute.excluded_outliers: "
                f"{max(excluded_outliers)} outlier units are all "
                f"{len(own)} neurons of layer {layer}, {name}, "
                "which leaves no maximum: leave out fewer"
            )


def _normalisers(
    scores: Mapping[Location, np.ndarray], ranks: Mapping[Location, np.ndarray], lefts: set[int]
) -> dict[tuple[Location, Normaliser, int], np.ndarray]:
    """[texts] float64 for each sub-layer, normaliser and number of units left out."""
    normalisers: dict[tuple[Location, Normaliser, int], np.ndarray] = {}
    for left in sorted(lefts):
        for sublayer, values in scores.items():
            rest, neurons = values, values.shape[1]
            if left:
                included = ranks[sublayer] >= left
                rest, neurons = np.where(included, values, 0), included.sum()
            total = rest.astype(np.float64).sum(axis=1)
            normalisers[sublayer, "sublayer-max", left] = rest.max(axis=1).astype(np.float64)
            normalisers[sublayer, "sublayer-mean", left] = total / neurons
            normalisers[sublayer, "share-of-sum", left] = total
        network = np.max(
            [normalisers[sublayer, "sublayer-max", left] for sublayer in scores], axis=0
        )
        normalisers.update({(sublayer, "network-max", left): network for sublayer in scores})
    return normalisers


def _count(
    tallies: Mapping[Location, _Tally],
    scores: Mapping[Location, np.ndarray],
    normalisers: Mapping[tuple[Location, Normaliser, int], np.ndarray],
    settings: Sequence[_Setting],
) -> None:
    """Add a chunk's active neurons and its texts' measures."""
    for sublayer, own in scores.items():
        tally, (texts, neurons) = tallies[sublayer], own.shape
        values = np.empty((len(settings) + 2, texts))
        for row, (normaliser, left, threshold) in enumerate(settings):
            active = own > _bounds(normalisers[sublayer, normaliser, left], threshold)[:, None]
            tally.active[row] += active.sum(axis=0)
            values[row] = np.count_nonzero(active, axis=1) / neurons
        total = normalisers[sublayer, "share-of-sum", 0]
        values[-2] = _effective_number(own, total)
        values[-1] = _gini(own, total)
        tally.values.append(values)


def _bounds(normaliser: np.ndarray, threshold: float) -> np.ndarray:
    """[texts] float32: the largest score whose quotient does not exceed the threshold.

    Scores are float32, so that comparing with it, which is cheaper, equals comparing quotients.
    """
    near = (normaliser * threshold).astype(np.float32)
    above = near > 0
    above[above] = near[above] / normaliser[above] > threshold
    return np.where(above, np.nextafter(near, np.float32(0)), near)


def _effective_number(scores: np.ndarray, total: np.ndarray) -> np.ndarray:
    """[texts]: exp(−Σ p ln p) with p = score / sum; NaN where the sum is 0."""
    with np.errstate(invalid="ignore"):
        return np.exp(entr(scores / total[:, None]).sum(axis=1))


def _gini(scores: np.ndarray, total: np.ndarray) -> np.ndarray:
    """[texts]: Σ_i (2i − n − 1) x_i / (n Σ x) of the scores x_1 ≤ … ≤ x_n; NaN where Σ x is 0."""
    neurons = scores.shape[1]
    weights = 2.0 * np.arange(1, neurons + 1) - neurons - 1
    # Not a product of matrices: its rounding would depend on the number of texts.
    weighted = (np.sort(scores, axis=1) * weights).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return weighted / (neurons * total)


def _count_top(tallies: Mapping[Location, _Tally], scores: Mapping[Location, np.ndarray]) -> None:
    """Count the neuron with each text's largest score, in each sub-layer and in the network."""
    largest = np.stack([values.max(axis=1) for values in scores.values()])
    winner = largest.argmax(axis=0)
    for number, (sublayer, values) in enumerate(scores.items()):
        top_neurons = values.argmax(axis=1)
        scored = largest[number] > 0
        for scope, chosen in (("sublayer", scored), ("network", scored & (winner == number))):
            counts = np.bincount(top_neurons[chosen], minlength=values.shape[1])
            tallies[sublayer].top_counts[scope] += counts


def _frames(
    tallies: Mapping[Location, _Tally], ids: Sequence[str], settings: Sequence[_Setting]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """COUNTS, TEXTS and TOP_NEURONS."""
    of_counts = pl.DataFrame(settings, SETTING, orient="row")
    of_texts = pl.concat(
        [
            of_counts.with_columns(measure=pl.lit("share_active")),
            pl.DataFrame({"measure": ["effective_number", "gini"]}),
        ],
        how="diagonal",
    )
    counts, texts, top_neurons = [], [], []
    for (layer, name), tally in tallies.items():
        where = {"layer": layer, "sublayer": name, "texts": len(ids), "of": len(ids)}
        neurons = pl.Series("neuron", np.arange(tally.active.shape[1]))
        counts.append(_shaped(_grid(of_counts, neurons, tally.active, "active"), COUNTS, where))
        values = np.concatenate(tally.values, axis=1)
        grid = _grid(of_texts, pl.Series("text_id", ids), values, "value")
        texts.append(_shaped(grid.with_columns(pl.col("value").fill_nan(None)), TEXTS, where))
        for scope, tops in tally.top_counts.items():
            frame = pl.DataFrame({"neuron": neurons, "texts": tops}).filter(pl.col("texts") > 0)
            top_neurons.append(_shaped(frame, TOP_NEURONS, where | {"scope": scope}))
    in_order = pl.concat(top_neurons).sort("scope", maintain_order=True)
    return pl.concat(counts), pl.concat(texts), in_order


def _shaped(frame: pl.DataFrame, columns: Mapping, rest: Mapping[str, int | str]) -> pl.DataFrame:
    """The frame with these columns; what it lacks is one value of `rest`."""
    lacking = [pl.lit(rest[name]).alias(name) for name in columns if name not in frame.columns]
    return frame.with_columns(lacking).select(list(columns)).cast(dict(columns))


def _grid(settings: pl.DataFrame, items: pl.Series, values: np.ndarray, name: str) -> pl.DataFrame:
    """A row for each setting and item, with their value of values [settings, items]."""
    rows = settings[np.repeat(np.arange(len(settings)), len(items))]
    tiled = items[np.tile(np.arange(len(items)), len(settings))]
    return rows.with_columns(tiled, pl.Series(name, values.reshape(-1)))
