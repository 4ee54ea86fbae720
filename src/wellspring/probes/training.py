"""Adam on all seeds at once, and each seed's best epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from wellspring.probes.candidates import BATCHES, numbers
from wellspring.probes.data import ProbeSettings
from wellspring.probes.interaction import Interaction
from wellspring.probes.kinds import Probe, build, initial
from wellspring.probes.questions import Question, together
from wellspring.probes.tasks import FREE, Task, Weights
from wellspring.randomness import key

_KEPT = 512 * 2**20
"""Bytes of features that may stay in memory from epoch to epoch; more are built again."""
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_SETTLED = 0.1
"""A probe has converged when its curve's end is below this; see `curve_end`."""


@dataclass(frozen=True)
class Fit:
    """R trained probes of one kind. Arrays over epochs are NaN after a seed's last epoch."""

    probe: Probe
    """The probe with these weights, on the fixed draw of its samples."""
    weights: Weights
    """The weights of each seed's best epoch."""
    best_epoch: np.ndarray
    """int64 [R], from 1; 0: the start, where no epoch was better than that of an `interaction` or
    none had a finite validation loss."""
    epochs: np.ndarray
    """int64 [R], how many were run."""
    train_loss: np.ndarray
    """float64 [R, epochs], mean over the epoch's steps of cross-entropy + penalty, before each
    step's update."""
    validation_loss: np.ndarray
    """float64 [R, epochs], cross-entropy."""
    validation_accuracy: np.ndarray
    """float64 [R, epochs]."""
    train_loss_change: np.ndarray
    """float64 [R], the curve's end; see `curve_end`."""
    converged: np.ndarray
    """bool [R], the loss has settled, or validation stopped the seed before the last epoch."""

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Logits of samples [R, n], float32 [R, n, N]."""
        return logits(self.probe, self.weights, samples)

    def of(self, seeds: slice, probe: Probe) -> Fit:
        """The fits of some of the seeds, to score what `probe` is asked."""
        arrays = (getattr(self, field.name)[seeds] for field in fields(self)[2:])
        return Fit(probe, {name: value[seeds] for name, value in self.weights.items()}, *arrays)

    def curve(self, r: int) -> dict[str, object]:
        """One seed's part of a row of metrics."""
        return {
            "best_epoch": int(self.best_epoch[r]),
            "epochs": int(self.epochs[r]),
            "final_train_loss": float(self.train_loss[r, self.epochs[r] - 1]),
            "train_loss_change": float(self.train_loss_change[r]),
            "converged": bool(self.converged[r]),
        }


class Adam:
    """Kingma & Ba (2015), with L2 penalty in the gradient; torch.optim imports its compiler."""

    def __init__(self, weights: Weights, weight_decay: float) -> None:
        self.weights = weights
        self.decay = {name: 0.0 if name in FREE else weight_decay for name in weights}
        self.first = {name: torch.zeros_like(value) for name, value in weights.items()}
        self.second = {name: torch.zeros_like(value) for name, value in weights.items()}
        self.steps = 0

    def penalty(self) -> torch.Tensor:
        """weight_decay/2 ‖W‖² of each seed, [R]."""
        penalties = (
            0.5 * self.decay[name] * value.flatten(1).square().sum(1)
            for name, value in self.weights.items()
            if name not in FREE
        )
        return sum(penalties, torch.zeros(()))

    def step(self, gradients: Weights, rate: float) -> None:
        """Update the weights in place."""
        self.steps += 1
        (one, two), first, second = _BETAS, self.first, self.second
        unbiased = math.sqrt(1 - two**self.steps)
        for name, value in self.weights.items():
            slope = gradients[name].add(value, alpha=self.decay[name])
            first[name].lerp_(slope, 1 - one)
            second[name].mul_(two).addcmul_(slope, slope, value=1 - two)
            scale = (second[name].sqrt() / unbiased).add_(_EPSILON)
            value.addcdiv_(first[name], scale, value=-rate / (1 - one**self.steps))


class _Best:
    """The best epoch of each seed, and which seeds still run."""

    def __init__(self, weights: Weights, seeds: int) -> None:
        self.weights = {name: value.clone() for name, value in weights.items()}
        self.score = np.full(seeds, np.inf)
        self.epoch = np.zeros(seeds, dtype=np.int64)
        self.running = np.ones(seeds, dtype=bool)

    def update(self, weights: Weights, score: np.ndarray, epoch: int, patience: int | None) -> None:
        """Take the weights of seeds whose score (less is better) is their best so far."""
        better = self.running & (score < self.score)
        if better.any():
            rows = torch.from_numpy(better)
            for name, value in weights.items():
                self.weights[name][rows] = value[rows]
        self.score = np.where(better, score, self.score)
        self.epoch = np.where(better, epoch, self.epoch)
        if patience is not None:
            self.running &= epoch - self.epoch < patience


class Batch:
    """Samples of every seed with what a probe needs of them, a block at a time."""

    def __init__(self, probe: Probe, samples: torch.Tensor, keep: bool) -> None:
        """samples: int64 [R, n]; keep: hold the blocks in memory, where they are not too large."""
        self.probe, self.samples, self.count = probe, samples, samples.shape[1]
        fits = keep and self.count * probe.kept <= _KEPT
        self._blocks = list(self._make()) if fits else None

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor, torch.Tensor]]:
        """Features, texts [R, b, N] and targets [R, b, 1] of each block."""
        return self._make() if self._blocks is None else iter(self._blocks)

    def _make(self) -> Iterator[tuple[Any, torch.Tensor, torch.Tensor]]:
        task = self.probe.task
        for chosen in self.samples.split(self.probe.block, dim=1):
            texts, target = task.pick(task.rows, chosen), task.pick(task.target, chosen)
            yield self.probe.features(chosen), texts, target[..., None]


class Batches:
    """The batches of each epoch: the whole training split, or parts in an order of their own."""

    def __init__(
        self, probe: Probe, question: Question, samples: np.ndarray, settings: ProbeSettings
    ) -> None:
        self.probe, self.question, self.samples, self.settings = probe, question, samples, settings
        full = settings.batch_size >= samples.shape[1] and settings.order == "fixed"
        self._whole = Batch(probe, _moved(samples, probe.task), keep=True) if full else None

    def of(self, epoch: int) -> Iterator[tuple[float, Batch]]:
        """Each batch and where in the epoch it starts, 0 to 1; ordered by (seed, epoch, id)."""
        if self._whole is not None:
            yield 0.0, self._whole
            return
        probe, question = self.probe, self.question
        if self.settings.order == "redrawn":
            probe = _redrawn(probe, question, 2 * epoch)
        size, count = self.settings.batch_size, self.samples.shape[1]
        turn = np.array([[key(seed, "epoch", epoch)] for seed in question.seeds], dtype=np.uint64)
        keys = np.take_along_axis(question.keys, self.samples, 1)
        order = numbers(keys ^ turn, BATCHES, 1)[..., 0].argsort(-1)
        shuffled = _moved(np.take_along_axis(self.samples, order, 1), probe.task)
        for start in range(0, count, size):
            yield start / count, Batch(probe, shuffled[:, start : start + size], keep=False)


def fit(
    name: str,
    questions: Sequence[Question],
    train_samples: np.ndarray,
    validation_samples: np.ndarray,
    settings: ProbeSettings,
) -> list[Fit]:
    """The trained probes of a name, one a question, all seeds at once: each one's best epochs.

    questions: differ in their targets alone, so that features are built and read once for all.
    train_samples [R, n], validation_samples [R, m]: int64, places among the questions' S samples.
    """
    question, count = together(questions), len(questions)
    parts = [np.tile(samples, (count, 1)) for samples in (train_samples, validation_samples)]
    task, batch = question.task(), min(settings.batch_size, train_samples.shape[1])
    if settings.order == "fixed":
        task = task.restricted(np.concatenate(parts, axis=1))
    probe = build(name, task, settings, batch)
    weights = initial(name, probe, settings, question.seeds, _moved(parts[0], task))
    joint = train(probe, weights, question, *parts, settings=settings)
    seeds = len(train_samples)
    return [
        joint.of(slice(start, start + seeds), build(name, own.task(), settings, batch))
        for start, own in zip(range(0, count * seeds, seeds), questions, strict=True)
    ]


def train(
    probe: Probe,
    weights: Weights,
    question: Question,
    train_samples: np.ndarray,
    validation_samples: np.ndarray,
    settings: ProbeSettings,
) -> Fit:
    """Fit all seeds of a probe; `weights` change in place, to those of the last epoch."""
    batches = Batches(probe, question, train_samples, settings)
    samples = _moved(validation_samples, probe.task)
    validation = Batch(probe, samples, keep=True)
    optimiser = Adam(weights, settings.weight_decay)
    best = _Best(weights, len(question.seeds))
    curves = np.full((3, len(question.seeds), settings.epochs), np.nan)
    epochs = np.zeros(len(question.seeds), dtype=np.int64)
    projected = probe.project(weights)
    if isinstance(probe, Interaction):
        loss, accuracy = evaluate(probe, projected, validation)
        best.update(weights, loss if settings.select == "loss" else -accuracy, 0, None)
    for epoch in range(settings.epochs):
        running, losses = best.running.copy(), []
        for part, batch in batches.of(epoch):
            rate = _rate(settings, epoch + part)
            losses.append(_step(probe, projected, optimiser, batch, rate))
            projected = probe.project(weights)
        if settings.order == "redrawn":
            validation = Batch(_redrawn(probe, question, 2 * epoch + 1), samples, keep=False)
        loss, accuracy = evaluate(probe, projected, validation)
        point = np.stack([np.mean(losses, axis=0), loss, accuracy])
        curves[:, running, epoch] = point[:, running]
        epochs += running
        score = loss if settings.select == "loss" else -accuracy
        best.update(weights, score, epoch + 1, settings.patience)
        if not best.running.any():
            break
    change = np.array(
        [curve_end(line[:end], settings) for line, end in zip(curves[0], epochs, strict=True)]
    )
    stopped = (epochs < settings.epochs) & np.isfinite(best.score)
    settled = (np.abs(change) <= _SETTLED) | stopped
    ends = {"train_loss_change": change, "converged": settled}
    return Fit(probe, best.weights, best.epoch, epochs, *curves, **ends)


def curve_end(losses: np.ndarray, settings: ProbeSettings) -> float:
    """Share of the whole decrease of the training loss [epochs] that fell in the last quarter.

    The quarter is one of the learning rate spent, not of the epochs: a decaying rate flattens the
    end of every curve, converged or not. Steady progress gives 0.25, a settled probe about 0; it
    is infinite where the loss has not decreased.
    """
    gain = losses[0] - losses[-1]
    if not gain > 0:
        return math.inf
    spent = np.cumsum([0.0, *(_rate(settings, epoch) for epoch in range(len(losses) - 1))])
    start = np.searchsorted(spent, 0.75 * spent[-1], side="right") - 1
    return float((losses[start] - losses[-1]) / gain)


def evaluate(probe: Probe, projected: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy and accuracy of each seed on its samples, both float64 [R]."""
    loss = hits = torch.zeros((), dtype=torch.float64)
    for features, texts, target in batch:
        logits = probe.logits(projected, features)
        first = texts.gather(-1, logits.argmax(-1, keepdim=True))
        hits = hits + (first == texts.gather(-1, target)).sum((1, 2)).double()
        loss = loss - _log_softmax(logits).gather(-1, target).sum((1, 2)).double()
    return (loss / batch.count).cpu().numpy(), (hits / batch.count).cpu().numpy()


def logits(probe: Probe, weights: Weights, samples: np.ndarray) -> np.ndarray:
    """Logits of samples [R, n], float32 [R, n, N]."""
    blocks = Batch(probe, _moved(samples, probe.task), keep=False)
    projected = probe.project(weights)
    parts = [probe.logits(projected, features) for features, *_ in blocks]
    return torch.cat(parts, dim=1).cpu().numpy()


def _step(probe: Probe, projected: Any, optimiser: Adam, batch: Batch, rate: float) -> np.ndarray:
    """One update; the loss of each seed before it, [R]."""
    loss, total = optimiser.penalty(), {}
    for features, _, target in batch:
        slope = _log_softmax(probe.logits(projected, features))
        loss = loss - slope.gather(-1, target).sum((1, 2)) / batch.count
        slope = slope.exp_().scatter_add_(-1, target, slope.new_full(target.shape, -1.0))
        for name, part in probe.gradient(projected, features, slope.div_(batch.count)).items():
            total[name] = total[name] + part if name in total else part
    optimiser.step(probe.collect(total), rate)
    return loss.double().cpu().numpy()


def _log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Over the N candidates of [R, B, N]: samples innermost, a few candidates fill no register."""
    return logits.transpose(1, 2).contiguous().log_softmax(1).transpose(1, 2)


def _redrawn(probe: Probe, question: Question, turn: int) -> Probe:
    """The same probe on the same samples, with the negatives and orders of a turn."""
    again = copy(probe)
    again.task = question.task(turn)
    return again


def _rate(settings: ProbeSettings, epoch: float) -> float:
    """The learning rate at a point of the run, in epochs."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))


def _moved(samples: np.ndarray, task: Task) -> torch.Tensor:
    """Samples [R, n] on the task's device."""
    return torch.from_numpy(samples).to(task.rows.device)
