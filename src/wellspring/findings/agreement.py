"""Whether two sets of scores rank a sub-layer's neurons alike, text by text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.stats import rankdata

from wellspring.errors import WellspringError
from wellspring.randomness import shuffled

AGREEMENT = {"text_id": pl.String, "correlation": pl.Float64, "shifted": pl.Float64}


def agreement(
    ids_a: Sequence[str], a: np.ndarray, ids_b: Sequence[str], b: np.ndarray, seed: int
) -> pl.DataFrame:
    """Spearman's correlation over neurons of two sets of scores, for the texts that both have.

    Two sides may rank neurons alike for reasons that have nothing to do with the text, for instance
    because some neurons have larger weights. `shifted` shows it: the correlation of a's text with
    b's scores of another text. The texts are put into a random circle, and the other text is the
    next one there.

    Args:
        ids_a, ids_b: text ids, each once.
        a, b: [texts, neurons] scores of one sub-layer, on any scale a text.
        seed: with the shared texts' ids it decides the circle.

    Returns:
        AGREEMENT, in the order of ids_a; equal scores share the average of their ranks. Null where
        a side's scores are all equal, and `shifted` where there is no other text.

    Raises:
        WellspringError: where the sides differ in neurons, or share no text.
    """
    if a.shape[1] != b.shape[1]:
        raise WellspringError(
            f"agreement: one side has {a.shape[1]} neurons and the other {b.shape[1]}: compare "
            "encoders of one architecture (the retriever's compared_with)"
        )
    rows_b = {text: row for row, text in enumerate(ids_b)}
    rows_a = {text: row for row, text in enumerate(ids_a) if text in rows_b}
    if not rows_a:
        raise WellspringError(
            "agreement: the two sides share no text: give both attributions the same texts and seed"
        )
    circle = shuffled(seed, list(rows_a), "agreement")
    following = dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    position = {text: row for row, text in enumerate(rows_a)}
    ranks_a = _ranks(a[list(rows_a.values())])
    ranks_b = _ranks(b[[rows_b[text] for text in rows_a]])
    others = ranks_b[[position[following[text]] for text in rows_a]]
    shifted = _products(ranks_a, others) if len(circle) > 1 else np.array([np.nan])
    columns = (list(rows_a), _products(ranks_a, ranks_b), shifted)
    return pl.DataFrame(columns, AGREEMENT).fill_nan(None)


def _ranks(scores: np.ndarray) -> np.ndarray:
    """[texts, neurons]: average ranks, centred and of unit length; NaN where all are equal."""
    ranks = rankdata(scores, axis=1)
    ranks -= (scores.shape[1] + 1) / 2
    with np.errstate(invalid="ignore"):
        ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    return ranks


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.clip(np.einsum("tn,tn->t", a, b), -1, 1)
