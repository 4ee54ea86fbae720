"""Probe training against a plain DataLoader, and a whole probe job.

`python -m benchmarks.probes [--samples N] [--repeats R]`: planted vectors of MiniLM's size, one
thread, both recipes in turn in one process, a validation pass after every full-batch step in both.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks import measure
from wellspring.config import SCORERS
from wellspring.probes import KINDS, ProbeData, ProbeSettings, run
from wellspring.randomness import generator

HIDDEN, NEGATIVES, PASSAGES, SEEDS = 384, 4, 5, (0, 1, 2)
TRAIN = 0.7
PORTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
BOTH = (2, 5)
"""Passages of a job that the default study has equally many of."""
EPOCHS = 60
"""Epochs, of one full-batch step each, of a job: what the default study runs."""
PLAIN_EPOCHS = 10
"""Epochs of the plain recipe that are timed: all are alike, so a few tell the rate."""


def planted(samples: int) -> ProbeData:
    """Every passage is a positive once; negatives are other samples' positives."""
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(samples, HIDDEN)).astype(np.float32)
    passages = queries + rng.normal(size=(samples, HIDDEN)).astype(np.float32)
    others = rng.integers(1, samples, (samples, NEGATIVES))
    candidates = (np.arange(samples)[:, None] + np.pad(others, ((0, 0), (1, 0)))) % samples
    places = np.arange(samples) / samples
    split = np.where(places < TRAIN, "train", np.where(places < 0.85, "validation", "test"))
    return ProbeData(
        queries=torch.from_numpy(queries),
        passages=torch.from_numpy(passages),
        query_rows=np.arange(samples),
        candidate_rows=candidates,
        sample_ids=[f"s{number}" for number in range(samples)],
        query_ids=[f"q{number}" for number in range(samples)],
        split=np.tile(split, (len(SEEDS), 1)),
        lexical={
            scorer: rng.random((samples, NEGATIVES + 1)).astype(np.float32) for scorer in SCORERS
        },
    )


def without_signal(patterns: list[tuple[int, ...]], count: int, hidden: int = 8) -> ProbeData:
    """Independent vectors: no text is in two samples, and nothing tells a positive.

    A pattern names the text of each negative. One split, a fifth of it for training, for one seed.
    """
    rng = generator(0, "without signal")
    shapes = np.array(patterns)[rng.integers(len(patterns), size=count)]
    texts = shapes.shape[1] + 1
    first = np.arange(count)[:, None] * texts
    rows = np.concatenate([first, first + 1 + shapes], axis=1)
    vectors = rng.normal(size=(count, hidden)), rng.normal(size=(texts * count, hidden))
    places = np.arange(count) / count
    split = np.where(places < 0.2, "train", np.where(places < 0.3, "validation", "test"))
    return ProbeData(
        *(torch.tensor(side, dtype=torch.float32) for side in vectors),
        query_rows=np.arange(count),
        candidate_rows=rows,
        sample_ids=[f"s{number:05d}" for number in range(count)],
        query_ids=[f"q{number:05d}" for number in range(count)],
        split=split[None],
        lexical={scorer: rng.random(texts * count)[rows] for scorer in SCORERS},
    )


def settings(*kinds: str, portions: tuple[float, ...] = ()) -> ProbeSettings:
    """What the default study runs; without portions it is one fit a kind and seed, as the plain
    recipe is."""
    return ProbeSettings(
        kinds=kinds,
        seeds=SEEDS,
        learning_rate=0.005,
        epochs=EPOCHS,
        batch_size=32_768,
        weight_decay=1.0,
        portions=portions,
    )


class Samples(Dataset):
    """The plain recipe: one sample at a time, negatives and order drawn in Python."""

    def __init__(self, data: ProbeData, split: str) -> None:
        self.data = data
        self.samples = np.flatnonzero(data.split[0] == split)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        sample = self.samples[place]
        positive, *negatives = self.data.candidate_rows[sample].tolist()
        rows = [positive, *random.sample(negatives, PASSAGES - 1)]
        random.shuffle(rows)
        vectors = [self.data.queries[self.data.query_rows[sample]]]
        vectors += [self.data.passages[row] for row in rows]
        return torch.cat(vectors), rows.index(positive)


def plain(data: ProbeData) -> None:
    """Epochs of one full-batch step and a look at the validation split, one seed."""
    layer = torch.nn.Linear((PASSAGES + 1) * HIDDEN, PASSAGES)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.005)
    train, validation = (
        DataLoader(Samples(data, split), batch_size=32_768, shuffle=split == "train")
        for split in ("train", "validation")
    )
    for _ in range(PLAIN_EPOCHS):
        for features, target in train:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(layer(features), target).backward()
            optimiser.step()
        with torch.no_grad():
            for features, target in validation:
                torch.nn.functional.cross_entropy(layer(features), target)


def main(samples: int = 4000, repeats: int = 5) -> list[dict[str, object]]:
    """Rows of the table of results."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = planted(samples)
    every = [kind for kind in KINDS if kind != "bilinear"]
    taken = measure.in_turn(
        {
            "plain": lambda: plain(data),
            "concat": lambda: run(data, PASSAGES, settings("concat")),
            "every": lambda: run(data, PASSAGES, settings(*every)),
            "coded": lambda: [run(data, n, settings(*every, portions=PORTIONS)) for n in BOTH],
        },
        repeats,
    )
    peak = measure.matmul_peak()
    torch.set_num_threads(threads)
    plain_rate, rate = PLAIN_EPOCHS / taken["plain"], EPOCHS * len(SEEDS) / taken["concat"]
    needed = 4 * int(TRAIN * samples) * (PASSAGES + 1) * HIDDEN * PASSAGES / 1e9
    name = "probes"
    return [
        measure.row(name, "plain DataLoader, validated each epoch", plain_rate, "steps/s"),
        measure.row(name, "concat, the whole job, seeds stacked", rate, "steps/s"),
        measure.row(name, "concat / plain", rate / plain_rate, "×", "≥ 20"),
        measure.row(name, "concat, multiply-adds × 2 as published", rate * needed, "GF/s"),
        measure.row(name, f"every kind, N = {PASSAGES}, one fit a seed", taken["every"], "s"),
        measure.row(name, "with code lengths, N = 2 and 5, a job", taken["coded"] / 2, "s", "≤ 6"),
        measure.row(name, "float32 matmul peak, 1 thread", peak, "GF/s"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    measure.show(main(**vars(parser.parse_args())))
