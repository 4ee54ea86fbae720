"""What a fitted probe earns on samples, and what it would earn if their texts told it nothing."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from wellspring.probes.candidates import repeats
from wellspring.probes.credit import credit, slot_chance, text_chance, unrelated
from wellspring.probes.kinds import form
from wellspring.probes.questions import Question
from wellspring.probes.training import Fit, logits


@dataclass(frozen=True)
class Grading:
    """Credit and chance of the probes of one name under R seeds."""

    name: str
    question: Question
    pools: list[np.ndarray]
    """For each seed the rows of texts that serve as unrelated ones, in random order."""

    def first(self) -> Grading:
        """The same under the first seed alone."""
        return Grading(self.name, self.question.first(), self.pools[:1])

    @property
    def slots(self) -> bool:
        """Whether the probe has a logit for each slot, and not a score for each text."""
        return form(self.name) == "concat"

    def credit(self, scores: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """float32 [R, n] of the scores [R, n, N] of samples [R, n]."""
        return credit(scores, *self._lists(samples), self.slots)

    def chance(self, samples: np.ndarray, fit: Fit | None = None) -> np.ndarray:
        """float32 [R, n] of samples [R, n].

        For a probe of texts it is one over the number of distinct texts. For a probe of slots it is
        the share of slots that hold the target's text; where texts repeat in the list, it is what
        the fit earns on lists of the same shape.
        """
        rows, target = self._lists(samples)
        if not self.slots:
            return text_chance(rows)
        chance = slot_chance(rows, target)
        shaped = repeats(rows).any(0)
        if fit is None or not shaped.any() or min(map(len, self.pools)) < rows.shape[-1]:
            return chance
        here = samples[:, shaped]
        keys = np.take_along_axis(self.question.keys, here, 1)
        score = _Scores(fit, here).of
        expected = unrelated(score, rows[:, shaped], target[:, shaped], self.pools, keys)
        chance[:, shaped] = np.where(repeats(rows[:, shaped]), expected, chance[:, shaped])
        return chance

    def _lists(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows [R, n, N] and targets [R, n] of samples [R, n]."""
        rows = np.take_along_axis(self.question.draw.rows, samples[..., None], 1)
        return rows, np.take_along_axis(self.question.target, samples, 1)


@dataclass(frozen=True)
class _Scores:
    """Logits of samples with other texts in their lists."""

    fit: Fit
    samples: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Rows [R, n, N] to float32 [R, n, N]."""
        probe = copy(self.fit.probe)
        task, chosen = probe.task, torch.from_numpy(self.samples)
        chosen = chosen.to(task.rows.device)
        probe.task = replace(
            task,
            query_rows=task.query_rows.gather(1, chosen),
            rows=torch.from_numpy(rows).to(task.rows.device),
            target=task.target.gather(1, chosen),
        )
        places = np.broadcast_to(np.arange(rows.shape[1]), rows.shape[:2]).copy()
        return logits(probe, self.fit.weights, places)
