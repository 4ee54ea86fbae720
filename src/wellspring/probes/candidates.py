"""Which candidates a sample shows, in which order, and what ranking its positive first is worth.

All choices depend on (seed, sample id) alone. One hash a sample seeds a counter-based generator
(splitmix64, Steele et al. 2014), which draws for all samples at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellspring.errors import ConfigError
from wellspring.randomness import key

# Streams of one key: their numbers never meet.
_NEGATIVES, _ORDER, _LABELS, BATCHES = range(4)


@dataclass(frozen=True)
class Draw:
    """The candidates of every sample under every seed, in the order in which a probe sees them."""

    keys: np.ndarray
    """uint64 [R, S], the hash of (seed, sample id)."""
    columns: np.ndarray
    """int64 [R, S, N], columns of the sample's candidate list."""
    rows: np.ndarray
    """int64 [R, S, N], the passages' rows."""
    target: np.ndarray
    """int64 [R, S], the slot of the positive."""


def numbers(keys: np.ndarray, stream: int, count: int) -> np.ndarray:
    """Random uint64 [..., count] that depend on the key, the stream and their place alone."""
    steps = np.arange(1, count + 1, dtype=np.uint64) + (np.uint64(stream) << np.uint64(32))
    with np.errstate(over="ignore"):
        z = keys[..., None] + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(
    candidate_rows: np.ndarray, sample_ids: list[str], seeds: tuple[int, ...], passages: int
) -> Draw:
    """The positive and `passages` − 1 of the K negatives of every sample, in random order.

    The negatives for N passages are among those for N + 1, so that counts compare.
    `candidate_rows` [S, K+1]; R = len(seeds).
    """
    keys = np.array([[key(seed, name) for name in sample_ids] for seed in seeds], dtype=np.uint64)
    negatives = candidate_rows.shape[1] - 1
    chosen = numbers(keys, _NEGATIVES, negatives).argsort(-1)[..., : passages - 1] + 1
    columns = np.concatenate([np.zeros_like(chosen[..., :1]), chosen], axis=-1)
    order = numbers(keys, _ORDER, passages).argsort(-1)
    columns = np.take_along_axis(columns, order, -1)
    rows = np.take_along_axis(candidate_rows[None], columns, -1)
    return Draw(keys, columns, rows, (columns == 0).argmax(-1))


def redrawn(keys: np.ndarray, turn: int, passages: int) -> np.ndarray:
    """int64 [R, S, N], another order of the candidates for every turn, from keys [R, S]."""
    return numbers(keys ^ np.uint64(key(turn, "order")), _ORDER, passages).argsort(-1)


def chance(rows: np.ndarray) -> np.ndarray:
    """1 / (number of distinct candidates), float32 [...], for rows [..., N].

    An oversampled negative repeats inside a list. A score of texts gives its copies one score, so a
    score that knows nothing ranks each *distinct* text first equally often; 1/N would be too low
    and would turn repeats into accuracy above chance.
    """
    return (1 / _distinct(rows, np.ones_like(rows, dtype=bool))).astype(np.float32)


def credit(scores: np.ndarray, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Share of a correct answer per list, float32 [...], from scores and rows [..., N].

    1 where the target's text alone has the highest score, 0 where another text has a higher one,
    1/t where t distinct texts, the target's among them, share the highest: the expected accuracy
    of breaking ties at random. Copies of a text count once; the best copy's score is the text's.
    """
    tied = scores == scores.max(-1, keepdims=True)
    wanted = np.take_along_axis(rows, target[..., None], -1)
    hit = (tied & (rows == wanted)).any(-1)
    return (hit / _distinct(rows, tied)).astype(np.float32)


def _distinct(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """How many different rows (≥ 0) occur along the last axis where `among` is true."""
    ordered = np.sort(np.where(among, rows, -1), axis=-1)
    changes = (ordered[..., 1:] != ordered[..., :-1]).sum(-1)
    return changes + (ordered[..., 0] >= 0)


def swapped_queries(
    query_rows: np.ndarray, query_ids: list[str], split: np.ndarray, seeds: tuple[int, ...]
) -> np.ndarray:
    """int64 [R, S]: for every sample the row of another query of its split.

    Within a split and seed the distinct queries stand on a random circle and each takes the next
    one's vector: a permutation without fixed points, the same for all samples of a query.
    """
    ids = np.asarray(query_ids)
    swapped = np.empty((len(seeds), len(query_rows)), dtype=np.int64)
    for name in np.unique(split):
        here = np.flatnonzero(split == name)
        distinct, first, member = np.unique(ids[here], return_index=True, return_inverse=True)
        if len(distinct) < 2:
            raise ConfigError(
                f"kinds: shuffled-query needs two queries in the {name} split, which has "
                f"{len(distinct)}; drop the kind or give that split a larger share"
            )
        for r, seed in enumerate(seeds):
            circle = np.argsort([key(seed, "swap", query) for query in distinct], kind="stable")
            follower = np.empty_like(circle)
            follower[circle] = np.roll(circle, -1)
            swapped[r, here] = query_rows[here[first[follower]]][member]
    return swapped


def random_targets(draw: Draw, candidate_rows: np.ndarray, sample_ids: list[str]) -> np.ndarray:
    """int64 [R, S]: the slot of the candidate that a random order of all passages puts first.

    Hewitt & Liang (EMNLP 2019): a control task gives each *type* a fixed random output, so that
    only memory of types can solve it, in training and in test alike. Types here are passages:
    each draws one number a seed, and a list's target is its candidate with the largest. A label
    drawn per sample would be at chance in test for every probe, however much it memorises.
    A passage's number comes from the first sample (by id) and column that lists it, so it depends
    neither on the order of samples nor on that of vectors.
    """
    by_id = np.argsort(np.asarray(sample_ids), kind="stable")
    listed, first = np.unique(candidate_rows[by_id], return_index=True)
    drawn = numbers(draw.keys[:, by_id], _LABELS, candidate_rows.shape[1])
    values = np.zeros((len(draw.keys), candidate_rows.max() + 1), dtype=np.uint64)
    values[:, listed] = drawn.reshape(len(draw.keys), -1)[:, first]
    return np.stack([value[rows].argmax(-1) for value, rows in zip(values, draw.rows, strict=True)])
