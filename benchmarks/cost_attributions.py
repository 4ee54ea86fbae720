"""What a study's attributions cost: FLOPs, bytes and memory from shapes, jobs from the workflow.

Counted is what `wellspring.attributions.fused` runs, against the published way: a pass of the whole
model for every text, sub-layer and step (arXiv 2505.07166).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.cost_facts import (
    GIVEN,
    Checkpoint,
    characters,
    fact,
    hours,
    lengths,
    model,
    shares,
)
from wellspring import embeddings, specs
from wellspring.artefacts import Plan
from wellspring.artefacts.attributions import ActivationTexts
from wellspring.artefacts.findings import attributed_sides
from wellspring.attributions import selection
from wellspring.attributions.quadrature import PAPER_POINTS
from wellspring.budgets import ATTRIBUTED as WINDOW
from wellspring.budgets import SCORES as HELD
from wellspring.budgets import rows as default_rows
from wellspring.config import Attributing, Config
from wellspring.errors import ConfigError
from wellspring.models.architecture import blocks, builtin
from wellspring.randomness import generator

SCORES = """attribution, encoder, dataset, side, texts, tokens a text, padding %, pass PFLOP, \
product PFLOP, attribution h min, attribution h max, published PFLOP, published h min, \
published h max, score GB, table GB"""
MEMORY = """attribution, encoder, dtype, GB of weights, KB a row and block, default rows, \
GB at the default rows, rows that fit"""
JOBS = "rule, jobs"
SUPPORTED = ("norm", "pooler-norm", "padded-mean-norm")
Place = tuple[str, str, str, specs.Side]


@dataclass(frozen=True)
class Shape:
    """A stack of equal blocks; FLOPs are twice the multiply-adds, of linear maps and attention."""

    layers: int
    hidden: int
    inner: int
    attention: int
    """Weights of attention's linear maps."""
    gated: bool

    @property
    def map(self) -> int:
        """Weights of one map of the feed-forward network."""
        return self.hidden * self.inner

    def block(self, width: Any, read: Any, back: bool = False) -> Any:
        """FLOPs of a text in one block, forward or back to its activations.

        width: positions that meet. read: positions that the feed-forward network takes.
        """
        linear = width * self.attention + read * (3 if self.gated else 2) * self.map
        # Each of attention's two products has two factors to go back to.
        return 2 * linear + (8 if back else 4) * width**2 * self.hidden

    def scored(
        self, sublayers: list[str], points: int, layer: int, width: Any, alone: bool
    ) -> tuple[Any, Any]:
        """FLOPs of a text in one layer: passes, and the products Gᵀ x.

        alone: whether one position is read at the end, so that the last block's network, and with
        it that block's sub-layers, takes one.
        """
        above, end = self.layers - layer, 1 if alone else width
        here = width if above else end
        ahead, back = (
            (above > 1) * (above - 1) * self.block(width, width, way)
            + (above > 0) * self.block(width, end, way)
            for way in (False, True)
        )
        passes = self.layers * self.block(width, width)
        for name in sublayers:
            rest = 0 if name == "output" else 2 * here * self.map
            # F at zero is one pass more. What is gated runs again in both calls, for all points.
            again = 2 * rest if self.gated and name == "intermediate" else 0
            passes = passes + (points + 1) * (ahead + rest) + points * (back + rest) + again
        return passes, len(sublayers) * 2 * here * self.map

    def published(self, sublayers: int, layers: int, width: Any) -> Any:
        """FLOPs of a text: forward and back to the activations for each sub-layer and step."""
        whole = self.block(width, width) + self.block(width, width, back=True)
        return sublayers * layers * PAPER_POINTS * self.layers * whole

    def kept(self, size: int) -> int:
        """Bytes that a block keeps of a token and point for the way back, its state included.

        size: bytes of a number. The inputs of both norms (an RMS norm's in float32), attention's
        query, key, value and output, and the network's activation, with the gate all three.
        """
        norms = 2 * self.hidden * (4 if self.gated else size)
        inner = (3 if self.gated else 1) * self.inner
        # An RMS norm's input is the state itself, where that is in float32.
        states = 4 if self.gated and size == 4 else 5
        return norms + size * (states * self.hidden + inner)


def shape(known: Checkpoint, architecture: str, layers: int) -> Shape:
    """The shape of a checkpoint's blocks."""
    family, (_, hidden, _, inner) = builtin(architecture), known.sizes
    block = blocks(model(known.loaded, known.sizes, layers), family)[0]
    linear = sum(part.weight.numel() for part in block.modules() if _is_linear(part))
    gated = "up" in family.sublayers
    return Shape(layers, hidden, inner, linear - (3 if gated else 2) * hidden * inner, gated)


def _is_linear(part: Any) -> bool:
    return isinstance(part, torch.nn.Linear)


def places(config: Config) -> list[Place]:
    """Each attribution, encoder, dataset and side that the workflow makes."""
    return [tuple(vars(side).values()) for side in attributed_sides(config, ActivationTexts)]


def scores(config: Config, place: Place) -> tuple[Any, ...]:
    """A row of the table: one side of a dataset under an attribution."""
    name, encoder, dataset, side = place
    spec, entry = specs.attribution(config, *place), config.attributions[name]
    if entry.target not in SUPPORTED or entry.method != "weights" or entry.tolerance:
        raise ConfigError(
            f"attributions.{name}: benchmarks/cost_attributions.py counts method weights with a "
            f"fixed number of points and the targets {', '.join(SUPPORTED)} alone"
        )
    known, encoding = fact(config.models[config.encoders[encoder].model].source), spec.encoding
    form = shape(known, encoding.architecture, encoding.layers)
    points, layers = spec.points or PAPER_POINTS, config.attributed_layers(*place[:3])
    texts = fact(dataset).tested()[side]
    texts = min(texts, spec.texts or texts)
    wide = sum(form.hidden if part == "output" else form.inner for part in entry.sublayers)
    # Sorted together, as the step cuts them: absolute and signed scores in float16 are held.
    window = min(WINDOW, HELD // (2 * 2 * wide), -(-texts // spec.shards))
    real = lengths(getattr(fact(dataset), side), characters(known), encoding, window)
    mixed = entry.target == "padded-mean-norm"
    padded = real
    if spec.padding and spec.padding.batch:
        # The texts of a batch come in any order.
        order = generator(0, "padding").permutation(window)
        padded = np.sort(selection.widths(real[order].tolist(), spec.padding.batch))[::-1]
    elif spec.padding:
        padded = np.maximum(real, spec.padding.length)
    alone = not mixed and (encoding.pooling != "mean" or entry.target == "pooler-norm")
    rows = default_rows("cuda", form.layers, form.hidden, encoding.dtype)
    runs = list(embeddings.batches(padded.tolist(), rows // points))
    width = padded[[run[0] for run in runs]].astype(float)
    count = np.array([len(run) for run in runs])
    each = [form.scored(entry.sublayers, points, layer, width, alone) for layer in layers]
    passes, product = (sum(part) @ count * texts / window for part in zip(*each, strict=True))
    slots = width @ count / real.sum()
    old = form.published(len(entry.sublayers), len(layers), real.astype(float)).mean() * texts
    # The product is in float32, whatever the model is.
    ours = hours(passes, encoding.dtype) + hours(product, "float32")
    theirs = hours(old, encoding.dtype)
    low, high = shares("attribute", encoding.dtype)
    work = passes / 1e15, product / 1e15, ours / high, ours / low
    published = old / 1e15, theirs / high, theirs / low
    disk = texts * len(layers) * stored(wide, len(entry.sublayers)) / 1e9
    sizes = (
        tabled(config.attributing(*place[:3]), texts, len(layers), len(entry.sublayers), wide) / 1e9
    )
    size = texts, real.mean(), 100 * (slots - 1)
    return *place, *size, *work, *published, disk, sizes


def stored(neurons: int, sublayers: int) -> int:
    """Bytes of a text in a layer's shard: absolute and signed scores in float16, for each sub-layer
    its scale, residual and change, the target, and an id of 16 digits behind its length."""
    return 2 * 2 * neurons + 3 * 4 * sublayers + 4 + 20


def tabled(block: Attributing, texts: int, layers: int, sublayers: int, neurons: int) -> float:
    """Bytes of a side's counts and measures; neurons: of a layer's sub-layers together."""
    settings = len(block.excluded_outliers) * sum(map(len, block.thresholds.values()))
    # Beside the shares: effective number, Gini coefficient, residual, signal.
    rows = layers * neurons * settings, texts * layers * sublayers * (settings + 4)
    return float(np.dot(rows, GIVEN.rows))


def memory(config: Config, place: Place) -> tuple[Any, ...]:
    """A row of the table: what the first block's job holds when its forward pass has ended."""
    name, encoder, *_ = place
    spec = specs.attribution(config, *place).encoding
    known = fact(config.models[config.encoders[encoder].model].source)
    form = shape(known, spec.architecture, spec.layers)
    size = 4 if spec.dtype == "float32" else 2
    weights = model(known.loaded, known.sizes, spec.layers).num_parameters() * size
    # Every block, and z in float32 and in the model's type.
    row = form.layers * form.kept(size) + form.inner * (4 + size)
    rows = default_rows("cuda", form.layers, form.hidden, spec.dtype)
    held = weights / 1e9, form.kept(size) / 1e3, rows, (weights + rows * row) / 1e9
    return name, encoder, spec.dtype, *held, int((GIVEN.card * 1e9 - weights) / row)


RULES = ("attribute", "activations", "ablate", "agreement", "remove", "decentralisation")
RULES += ("heatmap", "drawing", "fidelity")
"""The rules of attributions, in the order of the table."""


def jobs(config: Config) -> list[tuple[str, int]]:
    """How many jobs each rule has."""
    plan = Plan(config)
    # A job may make several files.
    distinct = {(e.rule, *vars(e).values()) for e in plan.closure(plan.ends())}
    counts = Counter(rule for rule, *_ in distinct)
    return [(rule, counts[rule]) for rule in RULES if counts[rule]]


def tables(config: Config) -> dict[str, list[tuple[Any, ...]]]:
    """Columns to rows; nothing where the study attributes nothing."""
    made = places(config)
    if not made:
        return {}
    # Neither the dataset nor the side matters there.
    models = {place[:2]: place for place in made}
    return {
        SCORES: [scores(config, place) for place in made],
        MEMORY: [memory(config, place) for place in models.values()],
        JOBS: jobs(config),
    }
