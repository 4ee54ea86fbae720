"""What a trained probe is asked under every seed, in one draw of the candidates or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from wellspring.probes import candidates
from wellspring.probes.candidates import Draw
from wellspring.probes.tasks import Task


@dataclass(frozen=True)
class Question:
    """The samples of a probe, the vectors that it reads, and which candidate it has to find.

    R seeds, S samples, K+1 candidates of which N are drawn.
    """

    queries: torch.Tensor
    """float32 [Uq, H]."""
    passages: torch.Tensor
    """float32 [Up, H]."""
    query_rows: np.ndarray
    """int64 [R, S]."""
    candidate_rows: np.ndarray
    """int64 [S, K+1]."""
    seeds: tuple[int, ...]
    """[R]."""
    keys: np.ndarray
    """uint64 [R, S], from which candidates and batches are drawn."""
    draw: Draw
    """The candidates of validation and test, and of training unless every epoch draws anew."""
    cosines: torch.Tensor | None = None
    """float32 [R or 1, S, K+1], see `Task`."""
    lots: tuple[np.ndarray | None, ...] = (None,)
    """For each target uint64 [R / targets, Up], where the passage with the largest number is the
    target; None: the positive is. Seeds come once for each target, see `Task`."""

    @cached_property
    def target(self) -> np.ndarray:
        """int64 [R, S], the slot to rank first."""
        return self._target(self.draw)

    def task(self, turn: int | None = None) -> Task:
        """The task of the fixed draw, or of the draw of a turn."""
        draw = self.draw
        if turn is not None:
            keys = candidates.turned(self.keys, turn)
            draw = candidates.draw(self.candidate_rows, keys, draw.rows.shape[-1])
        device = self.passages.device
        arrays = (self.query_rows, draw.rows, self._target(draw))
        cosines = self.cosines
        if cosines is not None:
            columns = torch.from_numpy(draw.columns).to(device)
            every = cosines.expand(len(columns), -1, -1)
            cosines = every.gather(-1, columns)
        tensors = (torch.from_numpy(array).to(device) for array in arrays)
        return Task(self.queries, self.passages, *tensors, cosines=cosines, targets=len(self.lots))

    def first(self) -> Question:
        """The same under the first seed alone; for a question with one target."""
        return replace(
            self,
            query_rows=self.query_rows[:1],
            seeds=self.seeds[:1],
            keys=self.keys[:1],
            draw=self.draw.of(slice(1)),
            cosines=None if self.cosines is None else self.cosines[:1],
            lots=tuple(None if lots is None else lots[:1] for lots in self.lots),
        )

    def _target(self, draw: Draw) -> np.ndarray:
        count = len(draw.target) // len(self.lots)
        parts = [slice(start, start + count) for start in range(0, len(draw.target), count)]
        targets = [
            draw.target[part] if lots is None else candidates.random_targets(lots, draw.of(part))
            for lots, part in zip(self.lots, parts, strict=True)
        ]
        return np.concatenate(targets)


def together(questions: Sequence[Question]) -> Question:
    """One question with all targets of questions that differ in nothing else."""
    if len(questions) == 1:
        return questions[0]
    first, count = questions[0], len(questions)
    tiled = (np.concatenate([array] * count) for array in (first.query_rows, first.keys))
    draws = first.draw.columns, first.draw.rows, first.draw.target
    query_rows, keys = tiled
    return replace(
        first,
        query_rows=query_rows,
        seeds=first.seeds * count,
        keys=keys,
        draw=Draw(*(np.concatenate([array] * count) for array in draws)),
        lots=tuple(lots for question in questions for lots in question.lots),
    )
