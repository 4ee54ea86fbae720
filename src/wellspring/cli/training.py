"""train: a model by a recipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import polars as pl

from wellspring import atomic, fingerprint, shards
from wellspring.artefacts import checkpoints
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.models import LearningCurve, TrainedModel
from wellspring.artefacts.training import TeacherScores
from wellspring.budgets import TOKENS
from wellspring.cli.step import FILE, Job, batched, step
from wellspring.cli.watching import Checkpoints, Events, Watch
from wellspring.digests import sha256
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.artefacts.checkpoints import Described
    from wellspring.training.loop import State
    from wellspring.training.material import Material
    from wellspring.training.run import Run

STATE = "training.state"
"""Beside trained.json while training runs: what it goes on from after a kill. It has not the name
of weights: those of the checkpoint are all that are so called."""


@step(TrainedModel, "base", "trained", "curve")
@click.option("--texts", multiple=True, type=FILE, required=True, help="Of the recipe's datasets.")
@click.option("--samples", multiple=True, type=FILE, required=True, help="Of the same.")
@click.option("--teacher", multiple=True, type=FILE, help="Its scores of the same.")
@click.option(
    "--tensorboard",
    type=click.IntRange(0, 1),
    default=0,
    show_default=True,
    help="1: write TensorBoard's event files to a folder beside the log, with its name.",
)
@batched
def train(
    job: Job,
    base: Path,
    trained: Path,
    curve: Path,
    texts: Sequence[Path],
    samples: Sequence[Path],
    teacher: Sequence[Path],
    tensorboard: int,
    threads: int,
    tokens: int,
) -> None:
    """Train the model that BASE describes; writes a checkpoint, CURVE, and TRAINED last."""
    from wellspring.training.run import prepare

    spec, events = job.spec, Events(_log(job) if tensorboard else None)
    with job.alone(trained):
        described = checkpoints.verify(base, spec.query)
        backbone = described.load(spec.query, threads)
        job.device = str(backbone.device)
        for line in checkpoints.advice(spec.query, backbone):
            job.say(line)
        budget = tokens or TOKENS[job.device]
        try:
            material = _material(texts, samples, teacher)
            run = prepare(backbone, described.checkpoint, spec, material, budget)
            inputs = {path.as_posix(): sha256(path) for path in (*texts, *samples, *teacher)}
            identity = _identity(job, described, inputs, len(run.learner.batches))
            stored = Checkpoints(run, described.checkpoint, trained)
            saved = _Saved(trained.with_name(STATE), identity, stored)
            facts, losses = _trained(job, run, saved, events)
        except WellspringError as error:
            raise type(error)(f"models.{trained.parent.name}: {error}") from None
        facts |= _judging(teacher)
        provenance = job.provenance(
            *("torch", "transformers", "sentence-transformers", "peft", "accelerate"),
            circumstances={"device": job.device, "threads": threads, "tokens": budget},
            facts=facts,
            weights=described.digest,
        )
        _write(job, stored, losses, provenance, curve)


def _material(texts: Sequence[Path], samples: Sequence[Path], teacher: Sequence[Path]) -> Material:
    """What is learned from, of all datasets."""
    from wellspring.training.examples import joined, judged
    from wellspring.training.material import Material

    frames = joined([Texts.read(path) for path in texts], [Samples.read(path) for path in samples])
    scores = [TeacherScores.read(path) for path in teacher]
    return Material(*frames, judged(scores) if scores else None)


def _judging(teacher: Sequence[Path]) -> Mapping[str, int]:
    """The operations of a teacher that reads each pair, once for all runs that follow it."""
    operations = sum(TeacherScores.check(path).facts.get("flops", 0) for path in teacher)
    return {"teacher_flops": operations} if operations else {}


def _identity(job: Job, described: Described, inputs: Mapping[str, str], steps: int) -> str:
    """What a state is of: all that its steps depend on. Threads may have changed: they round
    otherwise, and that is all."""
    parts = [job.keys, job.spec.digest, fingerprint.code(job.science), described.digest]
    return json.dumps([*parts, job.device, inputs, steps])


def _log(job: Job) -> Path:
    """The log of a job that has one."""
    if job.stream is sys.stderr:
        raise WellspringError("--tensorboard: give --log, too: event files go beside the log")
    return Path(job.stream.name)


def _trained(
    job: Job, run: Run, saved: _Saved, events: Events
) -> tuple[dict[str, Any], list[float]]:
    """Train; gives the facts of the run and each step's loss."""
    from wellspring.training.ledger import energy

    facts, learner = run.facts, run.learner
    job.counts({name: value for name, value in facts.items() if isinstance(value, int)})
    job.counts({"tokens": run.ledger.tokens})
    job.say(f"operations: {run.ledger.total:.3g}; of all weights: {run.in_full:.3g}")
    before, joules = learner.measure(), energy(job.device)
    steps, size = len(learner.batches), learner.batches.size
    # Until it is written again, nothing describes the weights beside it and below.
    saved.stored.trained.unlink(missing_ok=True)
    state = saved.read()
    done = state.step if state else 0
    if state:
        job.say(f"goes on after step {done:,} of {steps:,}, where it was ended")
    else:
        saved.clear()
    with job.track(steps * size, learner.unit) as bar, events.after(done):
        bar.begin_behind(done * size)
        events.add(0, before)
        watch = Watch(job, bar, saved.stored, events)
        losses = run.optimise(state, saved.write, watch)
        if joules is not None:
            job.cost["joules"] = round((energy(job.device) or joules) - joules)
        after = saved.stored.look(steps)
        events.add(steps, after)
    looks = {
        name: {"measure": learner.measured[name], "before": value, "after": after[name]}
        for name, value in before.items()
    }
    for name, look in looks.items():
        job.say(
            f"{name.replace('_', ' ')} on the validation split ({look['measure']}): "
            f"{look['before']} before, {look['after']} after"
        )
    return {**facts, **looks}, losses


def _write(
    job: Job,
    stored: Checkpoints,
    losses: Sequence[float],
    provenance: shards.Provenance,
    curve: Path,
) -> None:
    from wellspring.models import sources

    learner, trained = stored.run.learner, stored.trained
    sources.store(learner.merged(), stored.base, trained.parent)
    contents = checkpoints.contents(trained.parent, None)
    steps = range(len(losses))
    table = pl.DataFrame(
        {
            "step": [step + 1 for step in steps],
            "examples": [(step + 1) * learner.batches.size for step in steps],
            "loss": losses,
            "learning_rate": [stored.run.rate(step) for step in steps],
            "quality": [stored.qualities.get(step + 1) for step in steps],
        },
        LearningCurve.schema(),
    )
    LearningCurve.write(curve, table, provenance)
    contents["checkpoints"] = stored.contents()
    shards.write_json(trained, {**provenance.content(), **contents})
    trained.with_name(STATE).unlink(missing_ok=True)
    job.say(f"weights: {contents['digest']}")


class _Saved:
    """The state of a run on disk."""

    def __init__(self, path: Path, identity: str, stored: Checkpoints) -> None:
        """stored: the checkpoints of the same run. Those that a state is behind are there."""
        self.path, self.identity, self.stored = path, identity, stored

    def clear(self) -> None:
        """Remove it, and what earlier runs left beside it."""
        self.path.unlink(missing_ok=True)
        self.stored.clear()

    def read(self) -> State | None:
        """What an ended run of the same identity left."""
        from safetensors import SafetensorError, safe_open

        from wellspring.training.loop import State

        if not self.path.is_file():
            return None
        with suppress(SafetensorError, KeyError, ValueError):
            with safe_open(self.path, "pt") as file:
                said = file.metadata() or {}
                own = said.get("identity") == self.identity
                if not own or not self.stored.whole(int(said["step"])):
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.stored.qualities.update(json.loads(said["qualities"]))
            return State(int(said["step"]), tensors, json.loads(said["losses"]))
        return None

    def write(self, state: State) -> None:
        """Replace what is there."""
        from safetensors.torch import save_file

        said = {
            "identity": self.identity,
            "step": str(state.step),
            "losses": json.dumps(state.losses),
            "qualities": json.dumps([*self.stored.qualities.items()]),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(self.path) as part:
            save_file({n: each.contiguous() for n, each in state.tensors.items()}, part, said)
