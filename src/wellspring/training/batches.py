"""The batches of a run: all are known before it begins, so it can be resumed and priced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from wellspring.config.vocabulary import Side
from wellspring.embeddings import Tokens
from wellspring.errors import WellspringError
from wellspring.training.crops import Crops
from wellspring.training.examples import Examples
from wellspring.training.order import Order

Row = Tokens | np.ndarray
"""The tokens of a text."""
MASKED, CANDIDATE, POSITIVE = 0, 1, 2
"""What a passage of a batch is to a query: left out, a negative, what answers it."""


@dataclass(frozen=True)
class Batches(Sequence):
    """The batches of a run, made when they are asked for.

    They follow a stream of the examples: see `wellspring.training.order`. A batch may begin in one
    epoch and end in the next, and is always full.
    """

    examples: Examples
    query_tokens: Sequence[Row]
    passage_tokens: Sequence[Row]
    size: int
    """Queries of a batch."""
    steps: int
    seed: int
    padding: int
    """The id to pad with."""
    teacher: np.ndarray | None = None
    """[examples, 1 + negatives]: a teacher's scores of each example's own passages."""
    weights: Sequence[float] | None = None
    """Of each dataset in a mixture: see `wellspring.training.order`."""
    crops: Crops | None = None
    """Where texts are cropped: queries and passages are crops of the same texts then, drawn anew in
    every epoch."""

    def __post_init__(self) -> None:
        if self.size > (available := len(self.examples.ids)):
            raise WellspringError(
                f"batch: {self.size:,} queries a batch, but there are {available:,} examples: "
                "lower batch"
            )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        """The tokens of a batch, and what each passage is to each query.

        `query_input_ids`, `query_attention_mask` [size, tokens]; `passage_…` [size × (1 +
        negatives), tokens], longest first; `label` [size, passages] of MASKED, CANDIDATE, POSITIVE.
        With a teacher `label` is [size, passages, 2], and its second part the teacher's scores: NaN
        but for a query's own passages.
        """
        if not 0 <= step < self.steps:
            raise IndexError(step)
        rows = self.rows(step)
        labels = self._labels(self.examples.queries[rows], self.examples.passages[rows].ravel())
        queries, passages = self._tokens(step)
        # Passages of about the same length stand together, wherever a batch is cut into parts.
        order = np.argsort([len(each) for each in passages], kind="stable")[::-1]
        return {
            **self._named("query", queries),
            **self._named("passage", [passages[each] for each in order]),
            "label": torch.from_numpy(self._taught(labels, rows)[:, order].copy()),
        }

    def rows(self, step: int) -> np.ndarray:
        """The examples of a step."""
        return np.array([row for _, row in self._seen(step)])

    def lengths(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a step's queries and passages, in the batch's order."""
        queries, passages = ([len(each) for each in side] for side in self._tokens(step))
        return np.array(queries), np.array(sorted(passages, reverse=True))

    def _seen(self, step: int) -> list[tuple[int, int]]:
        """The epoch of each example of a step, and the example."""
        return [self._order.at(step * self.size + place) for place in range(self.size)]

    def _tokens(self, step: int) -> tuple[Sequence[Row], Sequence[Row]]:
        """A step's queries, and the passages of each example after those of another."""
        seen = self._seen(step)
        rows = [row for _, row in seen]
        queries = [self.query_tokens[each] for each in self.examples.queries[rows]]
        passages = [self.passage_tokens[each] for each in self.examples.passages[rows].ravel()]
        if self.crops is None:
            return queries, passages
        drawn = [(epoch, self.examples.ids[row]) for epoch, row in seen]
        sides: tuple[tuple[Side, list[Row]], ...] = (("query", queries), ("passage", passages))
        cropped = [
            [
                self.crops.crop(np.asarray(tokens), side, *draw)
                for tokens, draw in zip(texts, drawn, strict=True)
            ]
            for side, texts in sides
        ]
        return cropped[0], cropped[1]

    def _taught(self, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The labels, with the teacher's scores beside them where there is one."""
        if self.teacher is None:
            return labels
        scores = np.full(labels.shape, np.nan, np.float32)
        group = self.teacher.shape[1]
        for row, example in enumerate(rows):
            scores[row, row * group : (row + 1) * group] = self.teacher[example]
        return np.stack([labels.astype(np.float32), scores], axis=-1)

    def _named(self, side: str, tokens: Sequence[Row]) -> dict[str, torch.Tensor]:
        return {f"{side}_{name}": each for name, each in padded(tokens, self.padding).items()}

    @cached_property
    def _order(self) -> Order:
        return Order(self.examples.ids, self.seed, self.weights)

    def _labels(self, queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
        """[queries, passages]. A passage that stands there twice counts once, and one that answers
        the query too is no negative."""
        group = len(passages) // len(queries)
        _, first = np.unique(passages, return_index=True)
        once = np.zeros(len(passages), bool)
        once[first] = True
        labels = np.where(once, CANDIDATE, MASKED)[None].repeat(len(queries), axis=0)
        for row, query in enumerate(queries):
            labels[row, np.isin(passages, list(self.examples.relevant[query]))] = MASKED
            labels[row, row * group] = POSITIVE
        return labels.astype(np.int8)


def steps_of(examples: int, size: int, epochs: float) -> int:
    """The full batches of so many epochs of so many examples."""
    # 0.29 times 6,400 is a little less than 1,856 in floating point.
    return int(epochs * examples / size + 1e-9)


def padded(tokens: Sequence[Row], padding: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` [texts, tokens], padded on the right."""
    longest = max(map(len, tokens))
    ids = torch.full((len(tokens), longest), padding)
    mask = torch.zeros((len(tokens), longest), dtype=torch.long)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = torch.as_tensor(each)
        mask[row, : len(each)] = 1
    return {"input_ids": ids, "attention_mask": mask}
