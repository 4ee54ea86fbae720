"""What is kept and shown while a training run goes: checkpoints on the way, and event files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring import specs
from wellspring.artefacts import checkpoints
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.cli.step import Job
    from wellspring.progress import Progress
    from wellspring.training.run import Run

SAYS = 10.0
"""Seconds between two lines about the loss."""
FLUSH = 10
"""Seconds after which event files have what was added."""


class Checkpoints:
    """The model at the steps that complete a share of a run, beside trained.json, and how good it
    is there."""

    def __init__(self, run: Run, base: Path, trained: Path) -> None:
        """base: the checkpoint whose tokenizer they have. trained: the path of trained.json."""
        self.run, self.base, self.trained = run, base, trained
        self.folders = {
            trained.parent / specs.share_folder(share): step
            for share, step in run.checkpoints.items()
        }
        self.qualities: dict[int, float] = {}
        """How good the model was, by step."""

    def whole(self, step: int) -> bool:
        """Whether all are there that a run has left after so many steps."""
        return all(
            any(folder.glob("*.safetensors")) for folder, own in self.folders.items() if own <= step
        )

    def clear(self) -> None:
        """Remove what earlier runs left."""
        self.qualities.clear()
        for folder in self.trained.parent.glob(specs.share_folder("*")):
            shutil.rmtree(folder)

    def store(self, step: int) -> bool:
        """Store the model as it is, and ask how good it is, where a share ends with this step;
        gives whether one does."""
        from wellspring.models import sources

        folders = [folder for folder, own in self.folders.items() if own == step]
        if folders:
            self.look(step)
            model = self.run.learner.merged(copy=True)
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
                sources.store(model, self.base, folder)
        return bool(folders)

    def look(self, step: int) -> Mapping[str, float | None]:
        """Ask how good the model is."""
        looks = self.run.learner.measure()
        if (quality := looks["quality"]) is not None:
            self.qualities[step] = quality
        return looks

    def contents(self) -> Mapping[str, Any]:
        """The step and the files of each, by folder."""
        return {
            folder.name: {"step": step, **checkpoints.contents(folder, None)}
            for folder, step in self.folders.items()
        }


class Events:
    """TensorBoard's event files of a run, where they are asked for."""

    def __init__(self, log: Path | None) -> None:
        """log: they go to the folder of its name, without the suffix; None: nothing is written.

        Raises WellspringError where the package that writes them is not installed.
        """
        self.folder = log and log.with_suffix("")
        self.writer: Any = None
        try:
            self.package = import_module("tensorboardX") if log else None
        except ImportError:
            raise WellspringError(
                "--tensorboard: the package tensorboardX is not installed here: run "
                "pip install tensorboardX"
            ) from None

    @contextmanager
    def after(self, step: int) -> Iterator[None]:
        """Be open while the steps behind this one run. TensorBoard drops what earlier files say of
        them."""
        if self.package:
            self.writer = self.package.SummaryWriter(
                str(self.folder), purge_step=step + 1, flush_secs=FLUSH
            )
        try:
            yield
        finally:
            if self.writer:
                self.writer.close()

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """Note the values of a step, but for those that are None."""
        for name, value in values.items():
            if self.writer and value is not None:
                self.writer.add_scalar(name, value, step)


class Watch:
    """Follows a run from step to step."""

    def __init__(self, job: Job, bar: Progress, stored: Checkpoints, events: Events) -> None:
        self.job, self.bar, self.stored, self.events = job, bar, stored, events
        self.since = self.said = time.monotonic()

    def __call__(self, step: int, loss: float) -> None:
        """Note that a step is done."""
        run, now = self.stored.run, time.monotonic()
        steps, size = len(run.learner.batches), run.learner.batches.size
        self.bar.advance(size)
        speed = size / max(now - self.since, 1e-9)
        rate = run.rate(step - 1)
        self.events.add(step, {"loss": loss, "learning_rate": rate, "pairs_per_second": speed})
        if now - self.said >= SAYS or step == steps:
            self.said = now
            self.job.say(f"step {step:,} of {steps:,}: loss {loss:.4f}")
        if self.stored.store(step):
            quality = self.stored.qualities.get(step)
            self.events.add(step, {"quality": quality})
            measured = run.learner.measured["quality"]
            self.job.say(
                f"step {step:,} of {steps:,}: stored; {measured} of the validation split: {quality}"
            )
        self.since = time.monotonic()
