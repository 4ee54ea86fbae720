"""Per-sample probe outcomes as sums over questions: the same samples and cells side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.config import LAYERLESS
from wellspring.errors import StaleArtefact
from wellspring.findings.statistics import Moments, moments
from wellspring.intervals import Estimate


@dataclass(frozen=True)
class Samples:
    """The samples of a dataset that some seed tests, ordered by question.

    A question is a distinct text: the unit that varies at random.

    Attributes:
        codes: sample_id and its position (code) in that order.
        starts: [Q] the position of each question's first sample.
        seeds: the S seeds of the probes.
        tested: [n, S] whether a seed tests a sample; seeds may split samples differently.
    """

    codes: pl.DataFrame
    starts: np.ndarray
    seeds: tuple[int, ...]
    tested: np.ndarray

    def by_query(self, values: np.ndarray) -> np.ndarray:
        """Sums over each question's samples: [n, …] to [Q, …]."""
        return np.add.reduceat(values, self.starts, axis=0)

    @property
    def counts(self) -> np.ndarray:
        """[Q, S]: samples of each question that a seed tests."""
        return self.by_query(self.tested.astype(np.float64))

    @property
    def are_independent(self) -> bool:
        """Whether a question has one sample and there is one seed."""
        return self.tested.shape[1] == 1 and len(self.starts) == len(self.tested)


@dataclass(frozen=True)
class Outcomes:
    """What one probe of one retriever got right on one dataset, in C = L × P cells.

    Cells run over passages within layers.

    Attributes:
        layers: the L layers; (None,) for a probe that has none.
        passages: the P numbers of passages.
        correct: [Q, S, C] credit, summed over the tested samples of a question.
        chance: [Q, S, C] credit that guessing would earn.
        first_seed: moments [C] of the samples' credit under the smallest seed.
    """

    layers: tuple[int | None, ...]
    passages: tuple[int, ...]
    correct: np.ndarray
    chance: np.ndarray
    first_seed: Moments

    @property
    def cells(self) -> list[tuple[int | None, int]]:
        """Layer and number of passages of each cell."""
        return list(product(self.layers, self.passages))

    def at(self, layers: tuple[int | None, ...], passages: tuple[int, ...]) -> Outcomes:
        """The cells at these layers and passage counts; without layers, the same at each."""
        column_of = {cell: number for number, cell in enumerate(self.cells)}
        known = [None] * len(layers) if self.layers == (None,) else layers
        columns = [column_of[layer, count] for layer in known for count in passages]
        return replace(
            self,
            layers=layers,
            passages=passages,
            correct=self.correct[..., columns],
            chance=self.chance[..., columns],
            first_seed=tuple(values[columns] for values in self.first_seed),
        )


def samples_of(frame: pl.DataFrame) -> Samples:
    """The distinct samples of a frame with the columns sample_id, query_id and seed."""
    rows = frame.select("query_id", "sample_id", "seed").unique()
    known = rows.select("query_id", "sample_id").unique().sort("query_id", "sample_id")
    codes = known.select("sample_id").with_row_index("code")
    seeds = tuple(rows["seed"].unique().sort().to_list())
    tested = np.zeros((known.height, len(seeds)), dtype=bool)
    coded = rows.join(codes, on="sample_id")
    tested[coded["code"], np.searchsorted(seeds, coded["seed"])] = True
    starts = np.flatnonzero(known["query_id"].is_first_distinct().to_numpy())
    return Samples(codes, starts, seeds, tested)


def outcomes_of(frame: pl.DataFrame, samples: Samples, name: str) -> Outcomes:
    """Outcomes of one retriever, dataset and probe.

    Args:
        frame: layer, passages, seed, sample_id, correct, chance; rows in any order.
        name: what the frame holds, for the error.

    Raises:
        StaleArtefact: a sample is unknown, missing or there twice in some cell.
    """
    if frame["probe"][0] in LAYERLESS:
        frame = frame.filter(pl.col("layer").eq_missing(pl.col("layer").min()))
        frame = frame.with_columns(layer=pl.lit(None, dtype=pl.Int64))
    axes = [_axis(frame, column) for column in ("layer", "passages")]
    seeds = np.searchsorted(samples.seeds, frame["seed"])
    shape = (*samples.tested.shape, *(len(values) for values, _ in axes))
    expected = int(samples.tested.sum()) * shape[2] * shape[3]
    code = frame.join(samples.codes, "sample_id", "left", maintain_order="left")["code"]
    if frame.height != expected or code.null_count() or seeds.max() >= shape[1]:
        raise _incomplete(name, frame.height, expected)
    flat = np.ravel_multi_index((code.to_numpy(), seeds, *(codes for _, codes in axes)), shape)
    filled = [np.full(shape, np.nan) for _ in range(2)]
    for values, column in zip(filled, ("correct", "chance"), strict=True):
        values.reshape(-1)[flat] = frame[column].to_numpy()
        missing = np.isnan(values) & samples.tested[..., None, None]
        if missing.any():
            raise _incomplete(name, expected - int(missing.sum()), expected)
    correct, chance = (values.reshape(*shape[:2], -1) for values in filled)
    return Outcomes(
        axes[0][0],
        axes[1][0],
        samples.by_query(np.nan_to_num(correct)),
        samples.by_query(np.nan_to_num(chance)),
        moments(correct[samples.tested[:, 0], 0]),
    )


def accuracy(outcomes: Outcomes, samples: Samples) -> Estimate:
    """The share of the credit, over samples and seeds, at every cell."""
    return intervals.ratio(outcomes.correct, samples.counts[..., None])


def excess(outcomes: Outcomes, samples: Samples) -> Estimate:
    """Accuracy − chance, at every cell."""
    return intervals.ratio(outcomes.correct - outcomes.chance, samples.counts[..., None])


def above_chance(outcomes: Outcomes, samples: Samples) -> Estimate:
    """(accuracy − chance) / (1 − chance) of sums over samples and seeds, at every cell."""
    counts = samples.counts[..., None]
    return intervals.ratio(outcomes.correct - outcomes.chance, counts - outcomes.chance)


def codes_of(frame: pl.DataFrame, samples: Samples, name: str) -> Outcomes:
    """The code of one retriever, dataset and probe: bits stand for credit, and `chance` is what a
    sample costs where all slots are alike, log2 of the passages.

    frame: as for `outcomes_of`, with `bits` instead of correct and chance.
    """
    bits = pl.col("passages").log(2).alias("chance")
    return outcomes_of(frame.rename({"bits": "correct"}).with_columns(bits), samples, name)


def code_length(outcomes: Outcomes, samples: Samples) -> Estimate:
    """Bits a sample, of `codes_of`, at every cell."""
    return accuracy(outcomes, samples)


def compression(outcomes: Outcomes, samples: Samples) -> Estimate:
    """How many times longer the code is where all slots are alike (Voita & Titov 2020)."""
    return intervals.ratio(outcomes.chance, outcomes.correct)


def aligned(a: Outcomes, b: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Both sides at the cells that they share."""
    layers = b.layers if a.layers == (None,) else a.layers
    if (None,) not in (a.layers, b.layers):
        layers = tuple(layer for layer in a.layers if layer in b.layers)
    passages = tuple(count for count in a.passages if count in b.passages)
    return a.at(layers, passages), b.at(layers, passages)


def _axis(frame: pl.DataFrame, column: str) -> tuple[tuple[Any, ...], np.ndarray]:
    """The sorted values of a column and, row by row, the position of its value among them."""
    values = frame[column].unique().sort()
    codes = frame[column].fill_null(-1).to_numpy()
    return tuple(values.to_list()), np.searchsorted(values.fill_null(-1).to_numpy(), codes)


def _incomplete(name: str, count: int, expected: int) -> StaleArtefact:
    return StaleArtefact(
        f"{name}: {count:,} outcomes where its samples, seeds, layers and passage counts "
        f"make {expected:,}; run its probes again"
    )
