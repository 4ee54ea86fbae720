"""Per-sample probe outcomes as dense arrays: the same samples, seeds and cells side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from wellspring.config import LAYERLESS
from wellspring.errors import StaleArtefact


@dataclass(frozen=True)
class Samples:
    """The test samples of a dataset, ordered by query, so that a query's samples are neighbours.

    Attributes:
        codes: sample_id and its place (code) in that order.
        starts: [Q] the place of each query's first sample.
        counts: [Q] samples of each query.
    """

    codes: pl.DataFrame
    starts: np.ndarray
    counts: np.ndarray

    def by_query(self, values: np.ndarray) -> np.ndarray:
        """Sums over each query's samples: [n, …] to [Q, …]."""
        return np.add.reduceat(values, self.starts, axis=0)


@dataclass(frozen=True)
class Outcomes:
    """What one probe of one retriever got right on one dataset.

    Attributes:
        layers: the L layers; (None,) for a probe that has none.
        passages: the P numbers of passages.
        correct: [n, S, L, P] credit of each sample, for each seed.
        chance: [n, L, P] credit that guessing would earn.
    """

    layers: tuple[int | None, ...]
    passages: tuple[int, ...]
    correct: np.ndarray
    chance: np.ndarray

    def at(self, layers: tuple[int | None, ...], passages: tuple[int, ...]) -> Outcomes:
        """The cells at these layers and passage counts; without layers, the same at each."""
        if self.layers == (None,):
            places = [0] * len(layers)
        else:
            places = [self.layers.index(layer) for layer in layers]
        panels = [self.passages.index(count) for count in passages]
        return replace(
            self,
            layers=layers,
            passages=passages,
            correct=self.correct[:, :, places][..., panels],
            chance=self.chance[:, places][..., panels],
        )


def samples_of(frame: pl.DataFrame) -> Samples:
    """The distinct samples of a frame with the columns sample_id and query_id."""
    known = frame.select("query_id", "sample_id").unique().sort("query_id", "sample_id")
    first = known["query_id"].is_first_distinct().to_numpy()
    starts = np.flatnonzero(first)
    counts = np.diff(np.append(starts, known.height))
    return Samples(known.select("sample_id").with_row_index("code"), starts, counts)


def outcomes_of(frame: pl.DataFrame, samples: Samples, name: str) -> Outcomes:
    """Dense outcomes of one retriever, dataset and probe, in the order of `samples`.

    Args:
        frame: layer, passages, seed, sample_id, correct, chance; rows in any order.
        name: what the frame holds, for the error.

    Raises:
        StaleArtefact: a sample is unknown, missing or there twice in some cell.
    """
    if frame["probe"][0] in LAYERLESS:
        frame = frame.filter(pl.col("layer").eq_missing(pl.col("layer").min()))
        frame = frame.with_columns(layer=pl.lit(None, dtype=pl.Int64))
    axes = [_axis(frame, column) for column in ("seed", "layer", "passages")]
    shape = (samples.codes.height, *(len(values) for values, _ in axes))
    code = frame.join(samples.codes, "sample_id", "left", maintain_order="left")["code"]
    size = int(np.prod(shape))
    if frame.height != size or code.null_count():
        raise _incomplete(name, frame.height, size)
    place = np.ravel_multi_index((code.to_numpy(), *(codes for _, codes in axes)), shape)
    filled = [np.full(size, np.nan) for _ in range(2)]
    for values, column in zip(filled, ("correct", "chance"), strict=True):
        values[place] = frame[column].to_numpy()
        if np.isnan(values).any():
            raise _incomplete(name, size - int(np.isnan(values).sum()), size)
    correct, chance = (values.reshape(shape) for values in filled)
    return Outcomes(axes[1][0], axes[2][0], correct, chance.mean(1))


def aligned(a: Outcomes, b: Outcomes, name: str) -> tuple[Outcomes, Outcomes]:
    """Both sides at the cells and seeds that they share.

    A probe without training has one seed, and stands against each seed of the other side.

    Raises:
        StaleArtefact: both were trained, with different numbers of seeds.
    """
    layers = b.layers if a.layers == (None,) else a.layers
    if (None,) not in (a.layers, b.layers):
        layers = tuple(layer for layer in a.layers if layer in b.layers)
    passages = tuple(count for count in a.passages if count in b.passages)
    a, b = a.at(layers, passages), b.at(layers, passages)
    seeds = {a.correct.shape[1], b.correct.shape[1]}
    if len(seeds - {1}) > 1:
        low, high = sorted(seeds)
        raise StaleArtefact(
            f"{name}: one side has {low} seeds and the other {high}; run the probes again"
        )
    return tuple(_with_seeds(side, max(seeds)) for side in (a, b))


def _with_seeds(side: Outcomes, seeds: int) -> Outcomes:
    """The same outcomes for every one of `seeds` seeds, where there is only one (a view)."""
    n, _, *cells = side.correct.shape
    return replace(side, correct=np.broadcast_to(side.correct, (n, seeds, *cells)))


def _axis(frame: pl.DataFrame, column: str) -> tuple[tuple[int | None, ...], np.ndarray]:
    """The sorted values of a column and, row by row, the place of its value among them."""
    values = frame[column].unique().sort()
    codes = frame[column].fill_null(-1).to_numpy()
    return tuple(values.to_list()), np.searchsorted(values.fill_null(-1).to_numpy(), codes)


def _incomplete(name: str, found: int, expected: int) -> StaleArtefact:
    return StaleArtefact(
        f"{name}: {found:,} outcomes where its samples, seeds, layers and passage counts "
        f"make {expected:,}; run its probes again"
    )
