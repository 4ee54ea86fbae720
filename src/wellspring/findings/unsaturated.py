"""Measures of retrieval that do not saturate.

nDCG, recall and reciprocal ranks end at 1. Near it a better model can hardly gain, so two ladders
that grow alike seem to differ, and an interaction on such a scale may be removed by another one
(Loftus 1978). Two measures have no ceiling: the log-odds of a mean (`scaling.levels`), and the
contrastive entropy below, which Fang et al. (2024, arXiv 2403.18684) call contrastive perplexity
and found to follow a power law of model size.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

TEMPERATURES = (1e-4, 1e4)


def contrastive_entropy(
    scores: np.ndarray, relevant: np.ndarray, temperature: float = 1.0
) -> np.ndarray:
    """[Q]: −log2 of the probability of a query's relevant candidates, in bits.

    Args:
        scores: [Q, C] of each query's candidates; NaN where a query has fewer.
        relevant: [Q, C] which of them are relevant; of several one is expected to be found, and
            their probabilities add up.
        temperature: what scores are divided by. A model's scores have a unit of their own: compare
            models at the temperature of each (`temperature`).

    Raises ValueError for a query without a relevant candidate.
    """
    present = ~np.isnan(scores)
    if not (relevant & present).any(1).all():
        raise ValueError("a query has no relevant candidate: its entropy is not defined")
    scaled = np.where(present, scores, -np.inf) / temperature
    of_relevant = special.logsumexp(np.where(relevant, scaled, -np.inf), axis=1)
    return (special.logsumexp(scaled, axis=1) - of_relevant) / np.log(2)


def temperature(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The temperature at which a model's mean contrastive entropy is lowest (Guo et al. 2017).

    To be found on validation queries: shapes as for `contrastive_entropy`.
    """
    spread = float(np.nanstd(scores)) or 1.0

    def lost(logarithm: float) -> float:
        return float(contrastive_entropy(scores, relevant, spread * np.exp(logarithm)).mean())

    bounds = tuple(np.log(TEMPERATURES))
    search = optimize.minimize_scalar(lost, bounds=bounds, method="bounded")
    return spread * float(np.exp(search.x))
