"""What a probe job reads, how it is set and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import polars as pl
import torch

from wellspring.config.study import LAYERLESS, Optimiser
from wellspring.config.vocabulary import ProbeKind
from wellspring.datasets.splits import SPLITS
from wellspring.errors import ConfigError, ModelError

KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
TRAINED = ("concat", "passage-scorer", "interaction", "bilinear")
"""Kinds that are fitted, and that have a random-label task beside them."""


def names(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The probes of these kinds, by the names that outcomes have.

    `random-label` is `concat` on random targets, and brings random-label-interaction and the like
    for every other trained kind among them.
    """
    others = [kind for kind in kinds if kind in TRAINED and kind != "concat"]
    random = [f"random-label-{kind}" for kind in others] if "random-label" in kinds else []
    return (*kinds, *random)


@dataclass(frozen=True)
class ProbeData:
    """One layer's vectors of one retriever, and the samples of one dataset that point into them.

    Sizes: S samples, K hard negatives a sample, Uq and Up distinct query and passage texts,
    H dimensions.
    """

    queries: torch.Tensor
    """float32 [Uq, H], one row a distinct query text."""
    passages: torch.Tensor
    """float32 [Up, H], one row a distinct passage text: equal rows of an index mean equal texts."""
    query_rows: np.ndarray
    """int64 [S], the row of each sample's query."""
    candidate_rows: np.ndarray
    """int64 [S, K+1], column 0 the positive, then the hard negatives (oversampled ones repeat)."""
    sample_ids: list[str]
    """[S], unique: every random choice depends on them."""
    query_ids: list[str]
    """[S], the unit that intervals resample and that shuffled queries swap."""
    split: np.ndarray
    """str [R, S], train, validation or test, under each seed of the probes."""
    lexical: dict[str, np.ndarray]
    """Each lexical scorer's score of every candidate, float32 [S, K+1]."""

    def by_id(self) -> ProbeData:
        """The same samples in the order of their ids."""
        order = np.argsort(np.asarray(self.sample_ids), kind="stable")
        return ProbeData(
            queries=self.queries,
            passages=self.passages,
            query_rows=self.query_rows[order],
            candidate_rows=self.candidate_rows[order],
            sample_ids=[self.sample_ids[row] for row in order],
            query_ids=[self.query_ids[row] for row in order],
            split=self.split[:, order],
            lexical={scorer: scores[order] for scorer, scores in self.lexical.items()},
        )

    def check(self, passages: int, settings: ProbeSettings) -> None:
        """Raise ConfigError or ModelError, one line, where no probe can be trained on this."""
        negatives = self.candidate_rows.shape[1] - 1
        if not 2 <= passages <= negatives + 1:
            raise ConfigError(
                f"passages: {passages} is outside 2 to {negatives + 1}: every sample has "
                f"{negatives} negatives; ask for fewer passages or sample more negatives"
            )
        for seed, split in zip(settings.seeds, self.split, strict=True):
            for name in SPLITS:
                if not (split == name).any():
                    raise ConfigError(
                        f"splits: no sample is left for {name} under seed {seed}; "
                        "give it a larger share"
                    )
        for kind in settings.kinds:
            missing = not self.lexical if kind == "lexical" else kind not in self.lexical
            if kind in LAYERLESS and missing:
                raise ConfigError(f"kinds: {kind} needs lexical scores that this dataset lacks")
        widths = self.queries.shape[1], self.passages.shape[1]
        if widths[0] != widths[1]:
            raise ModelError(
                f"query vectors have {widths[0]} dimensions, passage vectors {widths[1]}: "
                "probes need encoders of one hidden size"
            )
        for side, vectors in (("query", self.queries), ("passage", self.passages)):
            if not torch.isfinite(vectors).all():
                raise ModelError(
                    f"a {side} vector of this layer is not finite: "
                    "embed with dtype bfloat16 or float32 and store as float32"
                )


class ProbeSettings(Optimiser):
    """How probes are trained. One setting holds for all kinds, so that they compare.

    Adam has betas 0.9 and 0.999 and epsilon 1e-8. scikit-learn's C is
    1 / (training samples · weight_decay). A `cosine` schedule falls to 0 in a half cosine. Features
    are standardised to mean 0 and variance 1 on the training split, each side apart. `bilinear`
    always starts uniform, within ±1/√fan-in: zero is a stationary point of it. Published: learning
    rate 1e-4, constant; 30 epochs; batches of 32,768; no weight decay; not standardised; the epoch
    of the best accuracy; uniform starts; redrawn orders.
    """

    kinds: tuple[ProbeKind, ...]
    """Which probes and controls, of KINDS."""
    seeds: tuple[int, ...]
    """One repetition a seed: it draws negatives, their order, swaps, labels and batches; the
    splits of ProbeData are one a seed."""
    rank: int = 16
    """Rank of `bilinear`."""
    portions: tuple[float, ...] = ()
    """Rising shares of the training split below 1, where the blocks of the online code end."""


@dataclass(frozen=True)
class ProbeResult:
    """The results of a job; the order of a frame's rows does not depend on that of the input."""

    samples: pl.DataFrame
    """Test samples of each seed: probe, seed, sample_id, query_id, correct (credit 0 to 1), chance
    (what guessing earns)."""
    metrics: pl.DataFrame
    """A row per probe and seed, see wellspring.probes.metrics.METRICS."""
    curves: pl.DataFrame
    """Trained probes: probe, seed, epoch (from 1), train_loss (mean over the epoch's steps of what
    is minimised, penalty included), validation_loss (cross-entropy), validation_accuracy."""
    codes: pl.DataFrame
    """Trained probes, first seed: probe, seed, sample_id, query_id, bits, see
    wellspring.probes.portions."""
    sizes: pl.DataFrame
    """Trained probes, first seed: a row per portion of the training split, see
    wellspring.probes.portions.SIZES."""
