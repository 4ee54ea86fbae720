"""The batches of a run: all are known before it begins, so it can be resumed and priced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from wellspring.embeddings import Tokens
from wellspring.errors import WellspringError
from wellspring.training.examples import Examples
from wellspring.training.order import Order

MASKED, CANDIDATE, POSITIVE = 0, 1, 2
"""What a passage of a batch is to a query: left out, a negative, what answers it."""


@dataclass(frozen=True)
class Batches(Sequence):
    """The batches of a run, made when they are asked for.

    They follow a stream of the examples: see `wellspring.training.order`. A batch may begin in one
    epoch and end in the next, and is always full.
    """

    examples: Examples
    query_tokens: Sequence[Tokens | np.ndarray]
    passage_tokens: Sequence[Tokens | np.ndarray]
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
        queries, passages = self.examples.queries[rows], self.examples.passages[rows].ravel()
        labels = self._labels(queries, passages)
        # Passages of about the same length stand together, wherever a batch is cut into parts.
        lengths = [len(self.passage_tokens[passage]) for passage in passages]
        order = np.argsort(lengths, kind="stable")[::-1]
        return {
            **self._named("query", [self.query_tokens[each] for each in queries]),
            **self._named("passage", [self.passage_tokens[each] for each in passages[order]]),
            "label": torch.from_numpy(self._taught(labels, rows)[:, order].copy()),
        }

    def rows(self, step: int) -> np.ndarray:
        """The examples of a step."""
        first, last = step * self.size, (step + 1) * self.size
        return np.array([self._order.at(position)[1] for position in range(first, last)])

    def lengths(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a step's queries and passages, in the batch's order."""
        rows = self.rows(step)
        queries = [len(self.query_tokens[each]) for each in self.examples.queries[rows]]
        passages = self.examples.passages[rows].ravel()
        lengths = [len(self.passage_tokens[each]) for each in passages]
        return np.array(queries), np.array(sorted(lengths, reverse=True))

    def _taught(self, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The labels, with the teacher's scores beside them where there is one."""
        if self.teacher is None:
            return labels
        scores = np.full(labels.shape, np.nan, np.float32)
        group = self.teacher.shape[1]
        for row, example in enumerate(rows):
            scores[row, row * group : (row + 1) * group] = self.teacher[example]
        return np.stack([labels.astype(np.float32), scores], axis=-1)

    def _named(self, side: str, tokens: Sequence[Tokens | np.ndarray]) -> dict[str, torch.Tensor]:
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


def steps_of(examples: Examples, size: int, epochs: float) -> int:
    """The full batches of so many epochs, each as many examples as there are."""
    # 0.29 times 6,400 is a little less than 1,856 in floating point.
    return int(epochs * len(examples.ids) / size + 1e-9)


def padded(tokens: Sequence[Tokens | np.ndarray], padding: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` [texts, tokens], padded on the right."""
    longest = max(map(len, tokens))
    ids = torch.full((len(tokens), longest), padding)
    mask = torch.zeros((len(tokens), longest), dtype=torch.long)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = torch.as_tensor(each)
        mask[row, : len(each)] = 1
    return {"input_ids": ids, "attention_mask": mask}
