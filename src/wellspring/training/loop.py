"""A run: sentence-transformers' trainer over batches that are known, and what it leaves."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from torch import nn
from torch.utils.data import DataLoader

from wellspring.errors import WellspringError
from wellspring.randomness import key
from wellspring.training.learner import Watched

COLLAPSED = 1e-3
"""Cosines of a batch that are all this close: the vectors tell nothing apart any more."""
REMEDY = "lower learning_rate, or raise warmup, or the temperature where there is one"
SAVED = 60.0
"""Seconds between two states of a run, which is what a kill may cost."""


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves."""

    peak: float
    warmup: float
    """Share of the steps in which it rises."""
    shape: str
    """`linear` or `cosine` falls to 0 behind the warm-up, `constant` stays."""

    def share(self, step: int, steps: int) -> float:
        """Of the peak, at a step that is counted from 0."""
        rising = math.ceil(self.warmup * steps)
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        if self.shape == "constant":
            return 1.0
        return 1 - done if self.shape == "linear" else (1 + math.cos(math.pi * done)) / 2


@dataclass
class State:
    """What a run goes on from: everything that later steps depend on."""

    step: int
    """Steps that are done."""
    tensors: Mapping[str, torch.Tensor]
    """Trained weights, the optimiser's moments, states of random generators."""
    losses: list[float] = field(default_factory=list)
    """Of the steps that are done."""


@dataclass(frozen=True)
class Settings:
    """What a run does, beside its batches and its objective."""

    schedule: Schedule
    weight_decay: float
    max_gradient_norm: float
    bfloat16: bool
    seed: int


def optimise(
    module: nn.Module,
    objective: Callable[[SentenceTransformer], Any],
    batches: Sequence[dict[str, torch.Tensor]],
    settings: Settings,
    state: State | None = None,
    save: Callable[[State], None] = lambda state: None,
    follow: Callable[[int, float], None] = lambda step, loss: None,
    device: str = "cpu",
) -> list[float]:
    """Train the weights of `module` that require gradients, in place; gives each step's loss.

    objective: makes the loss of the module, which is `wellspring.training.learner.Watched`. state:
    where an earlier run was, to go on as if it had not ended. save: gets a state now and then.
    follow: gets every step that is done, and its loss.

    Raises WellspringError where the loss is no number any more or the vectors have collapsed.
    """
    transformers.utils.logging.set_verbosity_error()
    done = state.step if state else 0
    weights = {name: each for name, each in module.named_parameters() if each.requires_grad}
    optimiser = torch.optim.AdamW(
        [
            {
                "params": [p for p in weights.values() if (p.dim() > 1) == wide],
                "weight_decay": decay,
            }
            for wide, decay in ((True, settings.weight_decay), (False, 0.0))
        ],
        lr=settings.schedule.peak,
    )
    if state:
        _restore(state, weights, optimiser)
    if done >= len(batches):
        return list(state.losses) if state else []
    for group in optimiser.param_groups:
        group["initial_lr"] = settings.schedule.peak
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: settings.schedule.share(step, len(batches)),
        last_epoch=done - 1 if done else -1,
    )
    model = SentenceTransformer(modules=[module], device=device)
    loss = objective(model)
    watch = _Watch(loss, weights, optimiser, state or State(0, {}), len(batches), save, follow)
    with tempfile.TemporaryDirectory() as nothing:
        # States are saved by `save`, and nothing is written there.
        arguments = _arguments(nothing, settings, len(batches) - done, device)
        trainer = _Trainer(
            model=model,
            args=arguments,
            loss=loss,
            callbacks=[watch],
            optimizers=(optimiser, rates),
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.batches = _Rest(batches, done)
        model.train()
        trainer.train()
    model.eval()
    if not all(bool(each.isfinite().all()) for each in weights.values()):
        raise WellspringError(f"the weights are no numbers any more: {REMEDY}")
    return watch.state.losses


def _arguments(
    folder: str, settings: Settings, steps: int, device: str
) -> SentenceTransformerTrainingArguments:
    arguments = SentenceTransformerTrainingArguments(
        output_dir=folder,
        max_steps=steps,
        max_grad_norm=settings.max_gradient_norm,
        bf16=settings.bfloat16,
        seed=key(settings.seed, "training") % 2**32,
        use_cpu=device == "cpu",
        save_strategy="no",
        logging_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    # One card: on several the library would cut the batches, and with them the objective.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


class _Rest(torch.utils.data.Dataset):
    """The batches that are left."""

    def __init__(self, batches: Sequence[dict[str, torch.Tensor]], done: int) -> None:
        self.batches, self.done = batches, done

    def __len__(self) -> int:
        return len(self.batches) - self.done

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        return self.batches[self.done + step]


class _Trainer(SentenceTransformerTrainer):
    """Takes the batches as they are."""

    batches: _Rest

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None, shuffle=False)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: what a model is stands in its own description."""


class _Watch(transformers.TrainerCallback):
    """Restores random states, stops what has failed, and keeps what a run goes on from."""

    def __init__(
        self,
        loss: Watched,
        weights: Mapping[str, torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        state: State,
        steps: int,
        save: Callable[[State], None],
        follow: Callable[[int, float], None],
    ) -> None:
        self.loss, self.weights, self.optimiser = loss, weights, optimiser
        self.steps, self.save, self.follow = steps, save, follow
        self.state = State(state.step, {}, list(state.losses))
        self.random = {n: each for n, each in state.tensors.items() if n.startswith("random.")}
        self.saved = time.monotonic()

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if self.random:
            _restore_random(self.random)
            self.random = {}
        self.loss.begin(self.state.step, self.steps)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        step, loss = self.state.step + 1, self.loss.loss
        if not math.isfinite(loss):
            raise WellspringError(f"the loss of step {step} is {loss}: {REMEDY}")
        self.loss.check(step, self.steps)
        if self.loss.spread < COLLAPSED:
            reason = (
                "the model gives them before it is trained: choose another pooling or model"
                if step == 1
                else "lower learning_rate or temperature"
            )
            raise WellspringError(
                f"all vectors of step {step} point the same way (cosines differ by "
                f"{self.loss.spread:.1e}): {reason}"
            )
        self.state.step = step
        self.state.losses.append(loss)
        self.follow(step, loss)
        if time.monotonic() - self.saved >= SAVED:
            self.save(self.current())
            self.saved = time.monotonic()

    def current(self) -> State:
        """Everything that the next step depends on."""
        tensors = {f"weight.{name}": each.detach() for name, each in self.weights.items()}
        for name, each in self.weights.items():
            for part, value in self.optimiser.state[each].items():
                tensors[f"optimiser.{part}.{name}"] = value
        return State(self.state.step, {**tensors, **_random()}, list(self.state.losses))


def _restore(
    state: State, weights: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer
) -> None:
    with torch.no_grad():
        for name, each in weights.items():
            each.copy_(state.tensors[f"weight.{name}"])
    names = {id(each): name for name, each in weights.items()}
    for group in optimiser.param_groups:
        for each in group["params"]:
            for part in ("step", "exp_avg", "exp_avg_sq"):
                stored = state.tensors.get(f"optimiser.{part}.{names[id(each)]}")
                if stored is not None:
                    optimiser.state[each][part] = stored.clone()


def _random() -> dict[str, torch.Tensor]:
    card = {"random.cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
    return {"random.cpu": torch.get_rng_state(), **card}


def _restore_random(states: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["random.cpu"])
    if "random.cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["random.cuda"])
