"""What ranking the target first is worth, and what guessing earns.

An oversampled negative repeats inside a list. A score of *texts* gives all copies of a text one
score: where it knows nothing, it ranks each distinct text first equally often. A probe with a logit
for each *slot* scores copies apart: a text with m copies among N slots is first m times as often.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellspring.probes.candidates import UNRELATED, numbers

_LISTS = 8
"""Lists of unrelated texts that stand for one list: they add an eighth to the variance of a mean
credit less its chance."""


def credit(
    scores: np.ndarray, rows: np.ndarray, target: np.ndarray, slots: bool = False
) -> np.ndarray:
    """Share of a correct answer per list, float32 [...], from scores and rows [..., N].

    1 where the target's text alone has the highest score, 0 where another text has a higher one.
    Where several share the highest, the expected accuracy of breaking ties at random: among the
    distinct texts, where copies count once and the best copy's score is the text's; with `slots`
    among the slots.
    """
    tied = scores == scores.max(-1, keepdims=True)
    hit = tied & holds_target(rows, target)
    if slots:
        return (hit.sum(-1) / tied.sum(-1)).astype(np.float32)
    return (hit.any(-1) / _distinct(rows, tied)).astype(np.float32)


def text_chance(rows: np.ndarray) -> np.ndarray:
    """1 / (number of distinct candidates), float32 [...], for rows [..., N]."""
    return (1 / _distinct(rows, np.ones_like(rows, dtype=bool))).astype(np.float32)


def slot_chance(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Share of the slots that hold the target's text, float32 [...], for rows [..., N].

    This is what a choice of slot earns that has nothing to do with the list. Where all texts
    differ, it is what a linear probe of the slots earns without anything to learn. Where copies
    fill several slots, it is not, see `unrelated`.
    """
    return holds_target(rows, target).mean(-1).astype(np.float32)


def unrelated(
    score: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    target: np.ndarray,
    pools: list[np.ndarray],
    keys: np.ndarray,
) -> np.ndarray:
    """What a fitted probe of slots earns on lists of the same shape with unrelated texts.

    Copies in several slots add up in a linear map of all slots, so that a list's shape alone moves
    its logits: one that is fitted to independent vectors is right with .24, not 1/5, where four of
    five slots hold one text; and one that scores texts alike in all slots is right with 1/2. So
    each list keeps its query, its target and which slots hold the same text, and gets other texts.

    score: rows [R, n, N] to logits of the same shape. rows [R, n, N], target [R, n], keys [R, n].
    pools: for each seed the rows of the texts to draw from, at least as many as a list has.
    Returns float32 [R, n], the mean credit of _LISTS draws.
    """
    # A text's number in its list is the first slot that holds it.
    first_slots = np.zeros_like(rows)
    for slot in reversed(range(rows.shape[-1])):
        first_slots[rows == rows[..., slot : slot + 1]] = slot
    offsets = numbers(keys, UNRELATED, _LISTS)
    earned = np.zeros(target.shape)
    for lot in np.moveaxis(offsets, -1, 0):
        drawn = np.stack(
            [
                pool[((own % np.uint64(len(pool))).astype(np.int64)[:, None] + first) % len(pool)]
                for pool, own, first in zip(pools, lot, first_slots, strict=True)
            ]
        )
        earned += credit(score(drawn), drawn, target, slots=True)
    return (earned / _LISTS).astype(np.float32)


def holds_target(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """bool [..., N], which slots hold the target's text."""
    return rows == np.take_along_axis(rows, target[..., None], -1)


def _distinct(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """How many different rows (≥ 0) occur along the last axis where `among` is true."""
    ordered = np.sort(np.where(among, rows, -1), axis=-1)
    changes = (ordered[..., 1:] != ordered[..., :-1]).sum(-1)
    return changes + (ordered[..., 0] >= 0)
