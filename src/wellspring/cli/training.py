"""teach and train: what a teacher says of samples, and a model by a recipe."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import polars as pl

from wellspring import atomic, fingerprint, shards
from wellspring.artefacts import checkpoints
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.models import LearningCurve, TrainedModel
from wellspring.artefacts.training import TeacherScores
from wellspring.budgets import TOKENS, WINDOW
from wellspring.cli.step import FILE, FOLDER, Job, batched, step
from wellspring.digests import sha256
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.artefacts.checkpoints import Described
    from wellspring.training.batches import Batches
    from wellspring.training.examples import Examples
    from wellspring.training.ledger import Ledger
    from wellspring.training.loop import State

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
    with job.alone(trained):
        described = checkpoints.verify(base, job.spec.query)
        inputs = {path.as_posix(): sha256(path) for path in (*texts, *samples, *teacher)}
        run = _Run(job, described, inputs, trained.parent, threads, tokens)
        try:
            run.train(*_read(texts, samples), _scores(teacher))
        except WellspringError as error:
            raise type(error)(f"models.{trained.parent.name}: {error}") from None
        _write(run, trained, curve)


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


class _Run:
    """A model under training: from texts to a checkpoint."""

    def __init__(
        self,
        job: Job,
        described: Described,
        inputs: Mapping[str, str],
        folder: Path,
        threads: int,
        tokens: int,
    ) -> None:
        """inputs: the digests of what is learned from."""
        self.job, self.described, self.inputs, self.folder = job, described, inputs, folder
        self.recipe = job.spec.recipe
        self.backbone = described.load(job.spec.query, threads)
        job.device = str(self.backbone.device)
        self.budget = tokens or TOKENS[job.device]
        self.circumstances = {"device": job.device, "threads": threads, "tokens": self.budget}
        for line in checkpoints.advice(job.spec.query, self.backbone):
            job.say(line)
        self.facts: dict[str, Any] = {}
        self.losses: list[float] = []

    def train(
        self, texts: pl.DataFrame, samples: pl.DataFrame, scores: pl.DataFrame | None
    ) -> None:
        """Train on the training split; leaves the model, its facts and its losses.

        scores: the teacher's, where the objective follows one.
        """
        from wellspring.training import adaptation, batches, examples
        from wellspring.training.encoding import Encoding

        recipe, backbone = self.recipe, self.backbone
        if getattr(backbone.model, "hf_device_map", None):
            raise WellspringError("the model does not fit on one device: it cannot be trained here")
        learned = examples.gather(samples, texts, "train", recipe.negatives, recipe.seed)
        parameters = sum(each.numel() for each in backbone.model.parameters())
        unused = backbone.architecture.unused
        model = adaptation.prepare(backbone.model, recipe.lora, unused, recipe.seed)
        encoding = Encoding(model.to(backbone.device), recipe.pooling, self.budget)
        run, ledger = self._priced(
            batches.Batches(
                learned,
                *self._tokens(learned, texts),
                size=recipe.batch,
                steps=recipe.steps or batches.steps_of(learned, recipe.batch, recipe.epochs or 1),
                seed=recipe.seed,
                padding=backbone.padding,
                teacher=None if scores is None else examples.taught(learned, samples, scores),
            ),
            model,
        )
        self.facts = {
            "examples": len(learned.ids),
            "steps": len(run),
            "trained_parameters": adaptation.trained(model),
            "parameters": parameters,
        }
        self.job.counts(self.facts | {"tokens": ledger.tokens})
        self.job.say(f"operations: {ledger.total:.3g}")
        account = ledger.as_json()
        # Seconds are no part of what a model is: they stand in the log.
        self.facts["ledger"] = {name: account[name] for name in account if name != "seconds"}
        quality = _Quality(self, samples, texts)
        before = quality.of(encoding)
        self.losses = self._optimise(encoding, run)
        self.facts["quality"] = {"before": before, "after": quality.of(encoding)}
        self.job.say(f"MRR@10 of validation queries: {before} before, {quality.last} after")
        self.model = adaptation.merged(model, recipe.lora)

    def _priced(self, run: Batches, model) -> tuple[Batches, Ledger]:
        """The batches, as many as the budget pays for where there is one, and what they cost."""
        from wellspring.training import prices
        from wellspring.training.shapes import shapes

        recipe = self.recipe
        price = prices.Prices(
            shapes(model), self.backbone.hidden, self.budget, recipe.gradient_cache
        )
        if recipe.budget_flops:
            run = prices.within(run, price, recipe.budget_flops)
        elif not len(run):
            raise WellspringError(
                f"{len(run.examples.ids):,} examples make no batch of {recipe.batch:,}: lower "
                "batch, or raise epochs"
            )
        return run, prices.account(run, price)

    def _tokens(self, of: Examples, texts: pl.DataFrame) -> Iterator[Sequence[np.ndarray]]:
        """The tokens of all queries, then of all passages."""
        from wellspring.embeddings import tokenise

        for side, ids in (("query", of.query_ids), ("passage", of.passage_ids)):
            encoding = getattr(self.job.spec, side)
            own = texts.filter(pl.col("side") == side).select("text_id", "text")
            written = pl.DataFrame({"text_id": ids}).join(
                own, on="text_id", how="left", maintain_order="left"
            )["text"]
            tokens: list[np.ndarray] = []
            for start in range(0, len(written), WINDOW):
                window = written[start : start + WINDOW].to_list()
                cut = (encoding.template, encoding.length, encoding.pooling)
                rows = tokenise(self.backbone.tokenizer, window, *cut)
                # Tuples of Python's numbers would take ten times the memory.
                tokens += [np.array(row, np.int32) for row in rows]
            yield tokens

    def _optimise(self, encoding, run) -> list[float]:
        from functools import partial

        from wellspring.training import loop
        from wellspring.training.objectives import Aim, Objective

        recipe, job = self.recipe, self.job
        settings = loop.Settings(
            loop.Schedule(recipe.learning_rate, recipe.warmup, recipe.decline),
            recipe.weight_decay,
            recipe.max_gradient_norm,
            recipe.dtype == "bfloat16",
            recipe.seed,
        )
        aim = Aim(
            recipe.objective, recipe.similarity, recipe.temperature, recipe.teacher_temperature
        )
        objective = partial(Objective, aim=aim, gradient_cache=recipe.gradient_cache)
        saved = _Saved(self.folder / STATE, self._identity(len(run)))
        state = saved.read()
        if state:
            job.say(f"goes on after step {state.step:,} of {len(run):,}, where it was ended")
        said = time.monotonic()
        with job.track(len(run) * run.size, "pairs") as bar:
            bar.advance(state.step * run.size if state else 0)

            def follow(step: int, loss: float) -> None:
                nonlocal said
                bar.advance(run.size)
                if time.monotonic() - said >= SAYS or step == len(run):
                    said = time.monotonic()
                    job.say(f"step {step:,} of {len(run):,}: loss {loss:.4f}")

            return loop.optimise(
                encoding, objective, run, settings, state, saved.write, follow, job.device
            )

    def _identity(self, steps: int) -> str:
        """What a state is of: all that its steps depend on. Threads may have changed: they round
        otherwise, and that is all."""
        job = self.job
        parts = [job.keys, job.spec.digest, fingerprint.code(job.science), self.described.digest]
        return json.dumps([*parts, job.device, self.inputs, steps])


class _Quality:
    """MRR@10 of validation queries, among the passages that answer one of them."""

    def __init__(self, run: _Run, samples: pl.DataFrame, texts: pl.DataFrame) -> None:
        from wellspring.training import examples, quality

        self.run = run
        self.last: float | None = None
        own = quality.held_out(samples, run.recipe.seed)
        self.held = None
        if own is not None:
            self.held = examples.gather(own, texts, "validation", 0)
            self.tokens = list(run._tokens(self.held, texts))

    def of(self, encoding) -> float | None:
        """Of the model as it is; None without validation queries."""
        from wellspring.training import quality

        if self.held is None:
            return None
        padding = self.run.backbone.padding
        queries, passages = (quality.vectors(encoding, each, padding) for each in self.tokens)
        ranks = quality.reciprocal_ranks(
            queries, passages, self.held.relevant, self.run.recipe.similarity
        )
        self.last = round(float(ranks.mean()), 4)
        return self.last


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


def _scores(teacher: Sequence[Path]) -> pl.DataFrame | None:
    """The teacher's scores of the samples of all datasets, under the ids that `_read` gives."""
    frames = [
        TeacherScores.read(path).with_columns(sample_id=pl.format(f"{number}/{{}}", "sample_id"))
        for number, path in enumerate(teacher)
    ]
    return pl.concat(frames) if frames else None


def _read(texts: Sequence[Path], samples: Sequence[Path]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The texts and the samples of all datasets."""
    from wellspring.training.examples import joined

    return joined([Texts.read(path) for path in texts], [Samples.read(path) for path in samples])


def _write(run: _Run, trained: Path, curve: Path) -> None:
    from wellspring.models import sources
    from wellspring.training import loop

    job, recipe = run.job, run.recipe
    # Until it is written again, nothing describes the weights beside it.
    trained.unlink(missing_ok=True)
    sources.store(run.model, run.described.checkpoint, trained.parent)
    contents = checkpoints.contents(trained.parent, None)
    provenance = job.provenance(
        *("torch", "transformers", "sentence-transformers", "peft", "accelerate"),
        circumstances=run.circumstances,
        facts=run.facts,
        weights=run.described.digest,
    )
    schedule = loop.Schedule(recipe.learning_rate, recipe.warmup, recipe.decline)
    steps = range(len(run.losses))
    table = pl.DataFrame(
        {
            "step": [step + 1 for step in steps],
            "examples": [(step + 1) * recipe.batch for step in steps],
            "loss": run.losses,
            "learning_rate": [schedule.peak * schedule.share(s, len(steps)) for s in steps],
        }
    )
    LearningCurve.write(curve, table, provenance)
    shards.write_json(trained, {**provenance.content(), **contents})
    (trained.parent / STATE).unlink(missing_ok=True)
    job.say(f"weights: {contents['digest']}")
