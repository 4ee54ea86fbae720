"""train: a model by a recipe."""

from __future__ import annotations

import json
import time
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
SAYS = 10.0
"""Seconds between two lines about the loss."""


@step(TrainedModel, "base", "trained", "curve")
@click.option("--texts", multiple=True, type=FILE, required=True, help="Of the recipe's datasets.")
@click.option("--samples", multiple=True, type=FILE, required=True, help="Of the same.")
@click.option("--teacher", multiple=True, type=FILE, help="Its scores of the same.")
@batched
def train(
    job: Job,
    base: Path,
    trained: Path,
    curve: Path,
    texts: Sequence[Path],
    samples: Sequence[Path],
    teacher: Sequence[Path],
    threads: int,
    tokens: int,
) -> None:
    """Train the model that BASE describes; writes a checkpoint, CURVE, and TRAINED last."""
    from wellspring.training.run import prepare

    spec = job.spec
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
            facts, losses = _trained(job, run, _Saved(trained.with_name(STATE), identity))
        except WellspringError as error:
            raise type(error)(f"models.{trained.parent.name}: {error}") from None
        facts |= _judging(teacher)
        provenance = job.provenance(
            *("torch", "transformers", "sentence-transformers", "peft", "accelerate"),
            circumstances={"device": job.device, "threads": threads, "tokens": budget},
            facts=facts,
            weights=described.digest,
        )
        _write(job, run, losses, described, provenance, trained, curve)


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


def _trained(job: Job, run: Run, saved: _Saved) -> tuple[dict[str, Any], list[float]]:
    """Train; gives the facts of the run and each step's loss."""
    from wellspring.training.ledger import energy

    facts, learner = run.facts, run.learner
    job.counts({name: value for name, value in facts.items() if isinstance(value, int)})
    job.counts({"tokens": run.ledger.tokens})
    job.say(f"operations: {run.ledger.total:.3g}; of all weights: {run.in_full:.3g}")
    before, joules = learner.measure(), energy(job.device)
    steps, size = len(learner.batches), learner.batches.size
    state = saved.read()
    if state:
        job.say(f"goes on after step {state.step:,} of {steps:,}, where it was ended")
    said = time.monotonic()
    with job.track(steps * size, learner.unit) as bar:
        bar.advance(state.step * size if state else 0)

        def follow(step: int, loss: float) -> None:
            nonlocal said
            bar.advance(size)
            if time.monotonic() - said >= SAYS or step == steps:
                said = time.monotonic()
                job.say(f"step {step:,} of {steps:,}: loss {loss:.4f}")

        losses = run.optimise(state, saved.write, follow)
    if joules is not None:
        job.cost["joules"] = round((energy(job.device) or joules) - joules)
    after = learner.measure()
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
    run: Run,
    losses: Sequence[float],
    described: Described,
    provenance: shards.Provenance,
    trained: Path,
    curve: Path,
) -> None:
    from wellspring.models import sources

    # Until it is written again, nothing describes the weights beside it.
    trained.unlink(missing_ok=True)
    sources.store(run.learner.merged(), described.checkpoint, trained.parent)
    contents = checkpoints.contents(trained.parent, None)
    steps = range(len(losses))
    table = pl.DataFrame(
        {
            "step": [step + 1 for step in steps],
            "examples": [(step + 1) * run.learner.batches.size for step in steps],
            "loss": losses,
            "learning_rate": [run.rate(step) for step in steps],
        }
    )
    LearningCurve.write(curve, table, provenance)
    shards.write_json(trained, {**provenance.content(), **contents})
    trained.with_name(STATE).unlink(missing_ok=True)
    job.say(f"weights: {contents['digest']}")


class _Saved:
    """The state of a run on disk."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity

    def read(self) -> State | None:
        """What an ended run of the same identity left."""
        from safetensors import SafetensorError, safe_open

        from wellspring.training.loop import State

        if not self.path.is_file():
            return None
        with suppress(SafetensorError, KeyError, ValueError):
            with safe_open(self.path, "pt") as file:
                said = file.metadata() or {}
                if said.get("identity") != self.identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return State(int(said["step"]), tensors, json.loads(said["losses"]))
        return None

    def write(self, state: State) -> None:
        """Replace what is there."""
        from safetensors.torch import save_file

        said = {
            "identity": self.identity,
            "step": str(state.step),
            "losses": json.dumps(state.losses),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(self.path) as part:
            save_file({n: each.contiguous() for n, each in state.tensors.items()}, part, said)
