"""Planted probe data with known answers, and settings that fit them quickly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from wellspring import probes
from wellspring.config import SCORERS
from wellspring.probes import ProbeData, ProbeResult, ProbeSettings, candidates
from wellspring.probes.questions import Question

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
    return changed(SETTINGS, kinds=kinds, **changes)


def changed(given: ProbeSettings, **changes: object) -> ProbeSettings:
    """The same settings but for these."""
    return ProbeSettings(**{**dict(given), **changes})


def run(given: ProbeData, passages: int, chosen: ProbeSettings) -> ProbeResult:
    """The job, where a split for one seed stands for all."""
    return probes.run(for_seeds(given, len(chosen.seeds)), passages, chosen)


def for_seeds(given: ProbeData, seeds: int) -> ProbeData:
    """The same split for so many seeds, where there is only one."""
    return replace(given, split=np.repeat(given.split, seeds // len(given.split), axis=0))


def data(
    queries: np.ndarray,
    passages: np.ndarray,
    candidates: np.ndarray,
    shares: tuple[float, float] = (0.6, 0.2),
    lexical: dict[str, np.ndarray] | None = None,
) -> ProbeData:
    """One sample a query, split in order: train, validation and the rest for test, which holds for
    one seed."""
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
        split=split[None],
        lexical=lexical or {},
    )


def relational(
    count: int = 1500, hidden: int = 32, negatives: int = 3, seed: int = 0, noise: float = 0.3
) -> ProbeData:
    """Only the dot product decides: a positive is its query with noise, and is drawn as often as
    a negative of other queries, so that passages alone tell nothing."""
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(count, hidden))
    passages = queries + noise * rng.normal(size=(count, hidden))
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
    order = np.random.default_rng(seed).permutation(len(given.sample_ids))
    return replace(
        given,
        query_rows=given.query_rows[order],
        candidate_rows=given.candidate_rows[order],
        sample_ids=[given.sample_ids[place] for place in order],
        query_ids=[given.query_ids[place] for place in order],
        split=given.split[:, order],
        lexical={scorer: scores[order] for scorer, scores in given.lexical.items()},
    )


def question_of(data: ProbeData, passages: int = 3, seeds: tuple[int, ...] = (0, 1)) -> Question:
    """What probes of the vectors as they are, are asked."""
    keys = candidates.keys_of(seeds, data.sample_ids)
    queries, answers = (torch.nn.functional.normalize(x) for x in (data.queries, data.passages))
    return Question(
        data.queries,
        data.passages,
        query_rows=np.tile(data.query_rows, (len(seeds), 1)),
        candidate_rows=data.candidate_rows,
        seeds=seeds,
        keys=keys,
        draw=candidates.draw(data.candidate_rows, keys, passages),
        cosines=(queries[data.query_rows][:, None] * answers[data.candidate_rows]).sum(-1)[None],
    )


def tiled(*samples: np.ndarray) -> list[np.ndarray]:
    """The same samples under two seeds."""
    return [np.tile(rows, (2, 1)) for rows in samples]
