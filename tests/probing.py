"""Planted probe data with known answers, and settings that fit them quickly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from wellspring.config import SCORERS
from wellspring.probes import ProbeData, ProbeSettings

SETTINGS = ProbeSettings(
    kinds=("concat",),
    seeds=(0, 1),
    learning_rate=0.03,
    epochs=80,
    batch_size=10_000,
    weight_decay=0.01,
    schedule="cosine",
    standardise=True,
    select="loss",
    patience=None,
    rank=4,
)


def settings(*kinds: str, **changes: object) -> ProbeSettings:
    """SETTINGS for these kinds, with changes."""
    return replace(SETTINGS, kinds=kinds, **changes)


def data(
    queries: np.ndarray,
    passages: np.ndarray,
    candidates: np.ndarray,
    shares: tuple[float, float] = (0.6, 0.2),
    lexical: dict[str, np.ndarray] | None = None,
) -> ProbeData:
    """One sample a query, split in order: train, validation and the rest for test."""
    count = len(candidates)
    places = np.arange(count) / count
    split = np.where(
        places < shares[0], "train", np.where(places < sum(shares), "validation", "test")
    )
    return ProbeData(
        queries=torch.tensor(queries, dtype=torch.float32),
        passages=torch.tensor(passages, dtype=torch.float32),
        query_rows=np.arange(count) % len(queries),
        candidate_rows=candidates,
        sample_ids=[f"s{number:05d}" for number in range(count)],
        query_ids=[f"q{number % len(queries):05d}" for number in range(count)],
        split=split,
        lexical=lexical or {},
    )


def relational(count: int = 1500, hidden: int = 32, negatives: int = 3, seed: int = 0) -> ProbeData:
    """Only the dot product decides: a positive is its query with noise, and is drawn as often as
    a negative of other queries, so that passages alone tell nothing."""
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(count, hidden))
    passages = queries + 0.3 * rng.normal(size=(count, hidden))
    # Shifts within each split: every passage is a positive once and a negative `negatives` times.
    candidates = np.empty((count, negatives + 1), dtype=np.int64)
    for part in np.split(np.arange(count), [int(0.6 * count), int(0.8 * count)]):
        shifts = rng.choice(np.arange(1, len(part)), negatives, replace=False)
        candidates[part] = part[(np.arange(len(part))[:, None] + [0, *shifts]) % len(part)]
    scores = {scorer: rng.random((count, negatives + 1)) for scorer in SCORERS}
    return data(queries, passages, candidates, lexical=scores)


def marked(
    count: int = 3000, hidden: int = 8, negatives: int = 3, strength: float = 1.0, seed: int = 0
) -> ProbeData:
    """Passages alone decide: positives lie at +strength, negatives at −strength on one direction,
    with unit noise. Between two, the best scorer is right with Φ(√2 · strength)."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=hidden)
    direction *= strength / np.linalg.norm(direction)
    passages = rng.normal(size=(count, negatives + 1, hidden)) - direction
    passages[:, 0] += 2 * direction
    candidates = np.arange(count * (negatives + 1)).reshape(count, -1)
    return data(rng.normal(size=(count, hidden)), passages.reshape(-1, hidden), candidates)


def permuted(given: ProbeData, seed: int = 0) -> ProbeData:
    """The same samples in another order."""
    order = np.random.default_rng(seed).permutation(len(given.split))
    return replace(
        given,
        query_rows=given.query_rows[order],
        candidate_rows=given.candidate_rows[order],
        sample_ids=[given.sample_ids[place] for place in order],
        query_ids=[given.query_ids[place] for place in order],
        split=given.split[order],
        lexical={scorer: scores[order] for scorer, scores in given.lexical.items()},
    )
