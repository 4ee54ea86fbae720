"""Which candidates a sample shows and in which order, and which of them is the target.

All choices depend on (seed, sample id) alone. One hash a sample seeds a counter-based generator
(splitmix64, Steele et al. 2014), which draws for all samples at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellspring.errors import ConfigError
from wellspring.randomness import key

# Streams of one key: their numbers never coincide.
_NEGATIVES, _ORDER, _LABELS, BATCHES, _SURPLUS, UNRELATED = range(6)


@dataclass(frozen=True)
class Draw:
    """The candidates of every sample under every seed, in the order in which a probe sees them."""

    columns: np.ndarray
    """int64 [R, S, N], columns of the sample's candidate list."""
    rows: np.ndarray
    """int64 [R, S, N], the passages' rows."""
    target: np.ndarray
    """int64 [R, S], the slot of the positive."""

    def of(self, seeds: slice) -> Draw:
        """The same under some of the seeds."""
        return Draw(self.columns[seeds], self.rows[seeds], self.target[seeds])


def keys_of(seeds: tuple[int, ...], sample_ids: list[str]) -> np.ndarray:
    """uint64 [R, S], the hash of each (seed, sample id)."""
    return np.array([[key(seed, name) for name in sample_ids] for seed in seeds], dtype=np.uint64)


def turned(keys: np.ndarray, turn: int) -> np.ndarray:
    """Other keys of the same shape for every turn, from which samples draw anew."""
    return keys ^ np.uint64(key(turn, "draw"))


def numbers(keys: np.ndarray, stream: int, count: int) -> np.ndarray:
    """Random uint64 [..., count] that depend on the key, the stream and their position alone."""
    steps = np.arange(1, count + 1, dtype=np.uint64) + (np.uint64(stream) << np.uint64(32))
    with np.errstate(over="ignore"):
        z = keys[..., None] + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(candidate_rows: np.ndarray, keys: np.ndarray, passages: int) -> Draw:
    """The positive and `passages` − 1 of the K negatives of every sample, in random order.

    Distinct negatives come before copies of an oversampled one. The negatives for N passages are
    among those for N + 1, so that counts compare. `candidate_rows` [S, K+1], `keys` [R, S].
    """
    lots = numbers(keys, _NEGATIVES, candidate_rows.shape[1] - 1)
    ranked = lots.argsort(-1)
    copy = _copies(candidate_rows)[:, 1:]
    if copy.any():
        last = np.take_along_axis(copy[None], ranked, -1).argsort(-1, kind="stable")
        ranked = np.take_along_axis(ranked, last, -1)
    chosen = ranked[..., : passages - 1] + 1
    columns = np.concatenate([np.zeros_like(chosen[..., :1]), chosen], axis=-1)
    order = numbers(keys, _ORDER, passages).argsort(-1)
    columns = np.take_along_axis(columns, order, -1)
    rows = np.take_along_axis(candidate_rows[None], columns, -1)
    return Draw(columns, rows, (columns == 0).argmax(-1))


def _copies(rows: np.ndarray) -> np.ndarray:
    """bool of the shape of rows [..., N], whether an earlier slot of the list holds the text."""
    ends = range(rows.shape[-1])
    return np.stack([(rows[..., :end] == rows[..., [end]]).any(-1) for end in ends], axis=-1)


def repeats(rows: np.ndarray) -> np.ndarray:
    """bool [...], whether a text occurs twice in a list, for rows [..., N]."""
    return np.asarray(_copies(rows).any(-1))


def as_many(member: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """int64 [R, n]: as many member samples of every seed as the seed with the fewest has.

    `member` [R, S]. Which ones a seed leaves out depends on (seed, sample id); the rest keep their
    order.
    """
    fewest = member.sum(1).min()
    lots = numbers(keys, _SURPLUS, 1)[..., 0] >> np.uint64(1)
    lots[~member] = np.iinfo(np.uint64).max
    return np.sort(lots.argsort(-1, kind="stable")[:, :fewest], axis=-1)


def swapped_queries(
    query_rows: np.ndarray, query_ids: list[str], split: np.ndarray, seeds: tuple[int, ...]
) -> np.ndarray:
    """int64 [R, S]: for every sample the row of another query of its split.

    `split` [R, S]. Within a split and seed the distinct queries stand on a random circle and each
    takes the next one's vector: a permutation without fixed points, the same for all samples of a
    query.
    """
    ids = np.asarray(query_ids)
    swapped = np.empty((len(seeds), len(query_rows)), dtype=np.int64)
    for r, seed in enumerate(seeds):
        for name in np.unique(split[r]):
            here = np.flatnonzero(split[r] == name)
            distinct, first, member = np.unique(ids[here], return_index=True, return_inverse=True)
            if len(distinct) < 2:
                raise ConfigError(
                    f"kinds: shuffled-query needs two queries in the {name} split, which has "
                    f"{len(distinct)}; drop the kind or give that split a larger share"
                )
            circle = np.argsort([key(seed, "swap", query) for query in distinct], kind="stable")
            follower = np.empty_like(circle)
            follower[circle] = np.roll(circle, -1)
            swapped[r, here] = query_rows[here[first[follower]]][member]
    return swapped


def passage_lots(keys: np.ndarray, candidate_rows: np.ndarray, sample_ids: list[str]) -> np.ndarray:
    """uint64 [R, Up]: one random number a seed for every passage.

    A passage's number comes from the first sample (by id) and column that lists it, so it depends
    neither on the order of samples nor on that of vectors.
    """
    by_id = np.argsort(np.asarray(sample_ids), kind="stable")
    listed, first = np.unique(candidate_rows[by_id], return_index=True)
    drawn = numbers(keys[:, by_id], _LABELS, candidate_rows.shape[1])
    lots = np.zeros((len(keys), candidate_rows.max() + 1), dtype=np.uint64)
    lots[:, listed] = drawn.reshape(len(keys), -1)[:, first]
    return lots


def random_targets(lots: np.ndarray, draw: Draw) -> np.ndarray:
    """int64 [R, S]: the slot of each list's passage with the largest lot.

    Hewitt & Liang (EMNLP 2019): a control task gives each *type* a fixed random output, so that
    only memory of types can solve it, in training and in test alike. Types here are passages:
    each draws one lot a seed, and a list's target is its candidate with the largest. A label
    drawn per sample would be at chance in test for every probe, however much it memorises. Of the
    copies of a text the one in the lowest column is the target: its slot is any of theirs, equally
    often.
    """
    drawn = np.stack([lot[rows] for lot, rows in zip(lots, draw.rows, strict=True)])
    largest = drawn == drawn.max(-1, keepdims=True)
    return np.where(largest, draw.columns, np.iinfo(np.int64).max).argmin(-1)
