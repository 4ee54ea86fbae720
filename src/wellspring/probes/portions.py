"""Fits to growing portions of the training split: a code length, and accuracy over its size.

Online code (Voita & Titov, EMNLP 2020, section 3.2): the training samples are sent in blocks. The
targets of the first cost log2 N bits each, those of every other block −log2 of the probability that
a probe gives them that was fitted to the blocks before. A code is short where few samples suffice:
accuracy says whether a probe finds its target, the code also how hard it is to find.

Blocks hold whole queries in the order of a hash, and all belong to the first seed. What is coded
is the target's slot: a copy of an oversampled negative is a slot of its own, so the uniform code is
log2 N there too. The penalty of a fit to n samples stands for the same prior as that of the whole
split: weight_decay times the whole split's samples over n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.probes import metrics
from wellspring.probes.data import ProbeSettings
from wellspring.probes.grading import Grading
from wellspring.probes.training import Fit, fit
from wellspring.randomness import key

CODES = {
    "probe": pl.String,
    "seed": pl.Int64,
    "sample_id": pl.String,
    "query_id": pl.String,
    "bits": pl.Float32,
}
SIZES = {
    "probe": pl.String,
    "seed": pl.Int64,
    "portion": pl.Float64,
    "train_samples": pl.Int64,
    **metrics.TESTED,
}
"""Columns of the sizes: share of the training split and its samples; the test samples and what
they earn, as in metrics.METRICS."""


@dataclass(frozen=True)
class Portion:
    """The first samples of a training split, and those that come next."""

    share: float
    samples: np.ndarray
    """int64 [n]."""
    following: np.ndarray
    """int64 [m], the block that is coded by a fit to `samples`."""


def cut(
    samples: np.ndarray, query_ids: np.ndarray, seed: int, shares: tuple[float, ...]
) -> list[Portion]:
    """Portions of training samples [n] with query_ids [n] that end at `shares` of the samples.

    A portion ends with the query that reaches its share. One that would hold nothing new, or all,
    is left out.
    """
    queries, member, counts = np.unique(query_ids, return_inverse=True, return_counts=True)
    order = np.argsort([key(seed, "portion", query) for query in queries], kind="stable")
    ranked = samples[np.argsort(np.argsort(order)[member], kind="stable")]
    reached = np.cumsum(counts[order])
    places = np.searchsorted(reached, np.array(shares) * len(samples) - 1e-9)
    ends = dict(zip(reached[places].tolist(), shares, strict=True))
    ends.pop(len(samples), None)
    stops = [*ends, len(samples)]
    return [
        Portion(share, ranked[:end], ranked[end:stop])
        for (end, share), stop in zip(ends.items(), stops[1:], strict=True)
    ]


@dataclass(frozen=True)
class Measured:
    """The results of a probe's fits to portions of the training split."""

    uniform: float
    """Bits of a target where one slot is as likely as another: log2 N."""
    samples: np.ndarray
    """int64 [n], the training samples in the order in which they are coded."""
    bits: np.ndarray
    """float64 [n], what the target of each costs."""
    sizes: list[dict[str, object]]
    """A row for each portion: the columns of SIZES from `portion` on."""


def uniform(portions: list[Portion], passages: int) -> Measured:
    """log2 N bits a sample and no fit: where nothing can tell candidates apart."""
    samples = np.concatenate([portions[0].samples, *(part.following for part in portions)])
    each = float(np.log2(passages))
    return Measured(each, samples, np.full(len(samples), each), [])


def measure(
    grading: Grading,
    portions: list[Portion],
    validation: np.ndarray,
    test: np.ndarray,
    query_ids: np.ndarray,
    settings: ProbeSettings,
) -> Measured:
    """Fit a probe to each portion, code the block after it, and score the test split.

    The grading's question has one seed. validation [1, m] chooses each fit's epoch; test [n];
    query_ids [S].
    """
    code = uniform(portions, grading.question.draw.rows.shape[-1])
    whole = len(code.samples)
    for portion in portions:
        count = len(portion.samples)
        end = count + len(portion.following)
        scaled = settings.model_copy(update={"weight_decay": settings.weight_decay * whole / count})
        samples = np.sort(portion.samples)[None], validation
        (fitted,) = fit(grading.name, [grading.question], *samples, scaled)
        code.bits[count:end] = _bits(grading, fitted, portion.following)
        credit = grading.credit(fitted.scores(test[None]), test[None])[0]
        chance = grading.chance(test[None], fitted)[0]
        earned = metrics.tested(credit, chance, query_ids[test])
        code.sizes.append({"portion": portion.share, "train_samples": count, **earned})
    return code


def _bits(grading: Grading, fitted: Fit, samples: np.ndarray) -> np.ndarray:
    """−log2 of the probability of each target, float64 [n]."""
    scores = fitted.scores(samples[None])[0].astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    target = grading.question.target[0, samples]
    chosen = np.take_along_axis(scores, target[:, None], -1)[:, 0]
    return (np.log(np.exp(scores).sum(-1)) - chosen) / np.log(2)
