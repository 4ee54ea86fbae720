"""teach and train: what a teacher says of samples, and a model by a recipe."""

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
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.models import LearningCurve, TrainedModel
from wellspring.artefacts.training import TeacherScores
from wellspring.budgets import TOKENS
from wellspring.cli.step import FILE, FOLDER, Job, batched, step
from wellspring.digests import sha256
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.artefacts.checkpoints import Described
    from wellspring.training.loop import State
    from wellspring.training.run import Material, Run

STATE = "state.safetensors"
"""Beside trained.json while training runs: what it goes on from after a kill."""
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
            identity = _identity(job, described, inputs, len(run.batches))
            facts, losses = _trained(job, run, _Saved(trained.with_name(STATE), identity))
        except WellspringError as error:
            raise type(error)(f"models.{trained.parent.name}: {error}") from None
        provenance = job.provenance(
            *("torch", "transformers", "sentence-transformers", "peft", "accelerate"),
            circumstances={"device": job.device, "threads": threads, "tokens": budget},
            facts=facts,
            weights=described.digest,
        )
        _write(job, run, losses, described, provenance, trained, curve)


@step(TeacherScores, "texts", "samples", "table")
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
def teach(job: Job, texts: Path, samples: Path, table: Path, query: Path, passage: Path) -> None:
    """Let a retriever judge the SAMPLES by its last layer, into TABLE."""
    from wellspring.training.teaching import judge

    spec = job.spec
    digests = Texts.check(texts).identity["texts"]
    queries, passages = (
        EmbeddingShard.read_side(folder, encoding, spec.shards, digests, encoding.layers)
        for folder, encoding in ((query, spec.query), (passage, spec.passage))
    )
    scores = judge(Samples.read(samples), queries, passages, spec.similarity)
    job.counts({"samples": scores.height})
    TeacherScores.write(table, scores, job.provenance("numpy", "polars"))


def _material(texts: Sequence[Path], samples: Sequence[Path], teacher: Sequence[Path]) -> Material:
    """What is learned from, of all datasets."""
    from wellspring.training.examples import joined, judged
    from wellspring.training.run import Material

    frames = joined([Texts.read(path) for path in texts], [Samples.read(path) for path in samples])
    scores = [TeacherScores.read(path) for path in teacher]
    return Material(*frames, judged(scores) if scores else None)


def _identity(job: Job, described: Described, inputs: Mapping[str, str], steps: int) -> str:
    """What a state is of: all that its steps depend on. Threads may have changed: they round
    otherwise, and that is all."""
    parts = [job.keys, job.spec.digest, fingerprint.code(job.science), described.digest]
    return json.dumps([*parts, job.device, inputs, steps])


def _trained(job: Job, run: Run, saved: _Saved) -> tuple[dict[str, Any], list[float]]:
    """Train; gives the facts of the run and each step's loss."""
    from wellspring.training.ledger import energy

    facts = run.facts
    job.counts({name: value for name, value in facts.items() if isinstance(value, int)})
    job.counts({"tokens": run.ledger.tokens})
    job.say(f"operations: {run.ledger.total:.3g}; of all weights: {run.in_full:.3g}")
    (before, full), joules = run.validated(), energy(job.device)
    steps, size = len(run.batches), run.batches.size
    state = saved.read()
    if state:
        job.say(f"goes on after step {state.step:,} of {steps:,}, where it was ended")
    said = time.monotonic()
    with job.track(steps * size, "pairs") as bar:
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
    after, sparsity = run.validated()
    job.say(f"MRR@10 of validation queries: {before} before, {after} after")
    facts["quality"] = {"before": before, "after": after}
    if full and sparsity:
        facts["sparsity"] = {"before": full.as_json(), "after": sparsity.as_json()}
        job.say(
            f"words with a weight: {sparsity.query_terms:.1f} a query, "
            f"{sparsity.passage_terms:.1f} a passage, of {sparsity.vocabulary:,}"
        )
    return facts, losses


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
    sources.store(run.merged(), described.checkpoint, trained.parent)
    contents = checkpoints.contents(trained.parent, None)
    steps = range(len(losses))
    table = pl.DataFrame(
        {
            "step": [step + 1 for step in steps],
            "examples": [(step + 1) * run.batches.size for step in steps],
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
