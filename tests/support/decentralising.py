"""Made activations and findings of neuron attribution, as their files have them; looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.text import Text

from wellspring.activations import COUNTS
from wellspring.figures import style
from wellspring.findings.decentralisation import SCHEMA
from wellspring.randomness import generator

# Thresholds that mean something under each normaliser.
THRESHOLDS = {
    "network-max": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    "sublayer-max": (0.02, 0.05, 0.1, 0.2, 0.5),
    "sublayer-mean": (0.5, 1, 2, 5, 10),
}

# How much ablating a choice of neurons changes.
STRENGTHS = {"top": 1.0, "random-as-top": 0.08, "bottom": 0.004, "random-as-bottom": 0.05}


def counts(
    blocks: int = 12,
    widths: tuple[int, int] = (3072, 768),
    texts: int = 2000,
    tuned: bool = False,
    normaliser: str = "network-max",
    excluded_outliers: int = 0,
    threshold: float = 0.1,
) -> pl.DataFrame:
    """Few neurons active for many texts, three dimensions of every output for nearly all; `tuned`
    has more intermediate and fewer early output neurons."""
    random = generator(11 + tuned, "counts")
    frames = []
    for layer in range(1, blocks + 1):
        depth = layer / blocks
        for sublayer, width in zip(("intermediate", "output"), widths, strict=True):
            inner = sublayer == "intermediate"
            level = -9.5 + 3 * depth + (0.9 * tuned if inner else 1.5 - 1.6 * tuned * (1 - depth))
            logit = level + 1.7 * random.standard_normal(width)
            if not inner:
                logit[[width // 6, width // 2, (9 * width) // 10]] = (5, 2 * depth, 4 * depth - 3)
            active = random.binomial(texts, 1 / (1 + np.exp(-logit)))
            columns = {"layer": layer, "sublayer": sublayer, "neuron": np.arange(width)}
            columns |= {
                "normaliser": normaliser,
                "excluded_outliers": excluded_outliers,
                "threshold": threshold,
            }
            frames.append(pl.DataFrame(columns | {"texts": texts, "active": active}))
    return pl.concat(frames).select(pl.col(name).cast(kind) for name, kind in COUNTS.items())


def findings(
    layers: int = 12,
    sides: tuple[str, ...] = ("query", "passage"),
    others: tuple[str, ...] = ("gradient-x-activation", "conductance"),
) -> pl.DataFrame:
    """A study of `tuned` against `plain`: every finding that the table knows, on dataset `toy`."""
    blank = dict.fromkeys(SCHEMA) | {"attribution": "norm", "dataset": "toy", "texts": 1000}
    rows = []
    for side in sides:
        for sublayer in ("intermediate", "output"):
            cell = blank | {"side": side, "sublayer": sublayer}
            rows += _levels(cell, layers)
            rows += _relative_changes(cell)
            rows += _agreements(cell, layers, others)
            rows += _ablations(cell)
            rows += _fidelities(cell, others)
    return pl.DataFrame(rows, SCHEMA)


def _around(estimate: float, width: float) -> dict[str, float]:
    return {"estimate": estimate, "low": estimate - width, "high": estimate + width}


def _levels(cell: dict, layers: int) -> list[dict]:
    rows = []
    inner = cell["sublayer"] == "intermediate"
    for name, lift in (("tuned", 1.35 if inner else 0.8), ("plain", 1.0)):
        for layer in range(1, layers + 1):
            wave = 1 + 0.3 * np.sin(0.9 * layer) + layer / layers
            lift_here = lift * (1 + 0.1 * np.cos(layer)) * (1.1 if cell["side"] == "query" else 1)
            row = cell | {"finding": "level", "retriever": name, "layer": layer}
            share = (0.004 if inner else 0.009) * wave * lift_here
            for threshold in (0.05, 0.1):
                setting = {
                    "normaliser": "network-max",
                    "excluded_outliers": 0,
                    "threshold": threshold,
                }
                value = _around(share * 0.1 / threshold, 0.08 * share)
                rows.append(row | {"measure": "share_active"} | setting | value)
            effective = (1400 if inner else 420) - 90 * wave * (2 if inner else 1) / lift_here
            rows.append(row | {"measure": "effective_number"} | _around(effective, 14))
            gini = (0.66 if inner else 0.56) + 0.03 * wave * lift_here
            rows.append(row | {"measure": "gini"} | _around(gini, 0.006))
    return rows


def _relative_changes(cell: dict) -> list[dict]:
    """By the network's maximum the sign is one, by the sub-layer's it is another."""
    rows = []
    pair = {"finding": "relative_change", "retriever": "tuned", "compared_with": "plain"}
    inner = cell["sublayer"] == "intermediate"
    for region, lift in (("all", 0.0), ("early", -0.12), ("late", 0.1)):
        for normaliser, level in zip(THRESHOLDS, (0.34, -0.1, 0.02), strict=True):
            for excluded_outliers in (0, 1, 8):
                for threshold in THRESHOLDS[normaliser]:
                    bend = 0.14 * np.log10(threshold / THRESHOLDS[normaliser][2])
                    estimate = (
                        level * (1 if inner else -0.7) + lift + bend - 0.02 * excluded_outliers
                    )
                    rows.append(
                        cell
                        | pair
                        | {"region": region, "measure": "share_active", "normaliser": normaliser}
                        | {"excluded_outliers": excluded_outliers, "threshold": threshold}
                        | _around(estimate, 0.03 + 0.06 * min(threshold, 1))
                    )
    return rows


def _agreements(cell: dict, layers: int, others: tuple[str, ...]) -> list[dict]:
    rows = []
    for name, paired in (("tuned", "plain"), ("plain", None)):
        comparisons = [(None, other, 0.8 - 0.25 * place) for place, other in enumerate(others)]
        if paired is not None:
            comparisons.append((paired, paired, 0.35))
        for compared_with, other, level in comparisons:
            level -= 0.1 * (cell["sublayer"] == "output") + 0.05 * (name == "plain")
            row = cell | {"finding": "agreement", "retriever": name, "other": other}
            row |= {"compared_with": compared_with}
            for measure, above in (("correlation", level), ("correlation_shifted", level - 0.2)):
                row |= {"measure": measure}
                for region in ("all", "early", "late"):
                    rows.append(row | {"region": region} | _around(above, 0.012))
                for layer in range(1, layers + 1):
                    rows.append(row | {"layer": layer} | _around(above - 0.01 * layer, 0.03))
    return rows


def _ablations(cell: dict) -> list[dict]:
    rows = []
    for name in ("tuned", "plain"):
        for neurons in (1, 4, 16, 64, 256):
            for choice, strength in STRENGTHS.items():
                strength *= 1.0 if name == "tuned" else 0.6
                strength *= 1.0 if cell["sublayer"] == "output" else 0.5
                change = strength * (1 - np.exp(-neurons / 120))
                row = cell | {"retriever": name, "finding": "ablation"}
                row |= {"choice": choice, "neurons": neurons, "by": "zero"}
                rows.append(row | {"measure": "change"} | _around(change, 0.06 * change))
                rows.append(row | {"measure": "length_change"} | _around(-0.2 * change, 0.01))
                rows.append(row | {"measure": "margin_change"} | _around(-0.3 * change, 0.01))
                rows.append(row | {"measure": "first_change"} | _around(-0.25 * change, 0.015))
    return rows


def _fidelities(cell: dict, others: tuple[str, ...]) -> list[dict]:
    rows = []
    for name in ("tuned", "plain"):
        for place, attribution in enumerate(("norm", *others)):
            for effect in ("change", "margin_change", "length_change-signed"):
                row = cell | {"finding": "fidelity", "retriever": name, "region": "all"}
                row |= {"attribution": attribution, "other": effect}
                level = 0.2 + 0.2 * place + 0.1 * (effect == "change")
                rows.append(row | {"measure": "correlation"} | _around(level, 0.05))
                rows.append(row | {"measure": "correlation_shifted"} | _around(level / 2, 0.05))
    return rows


def crowded(figure: Figure) -> list[str]:
    """Texts that lie upon one another or leave the figure."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    # Ticks beyond an axis's limits are not drawn, though they are there.
    ticks = {}
    for ax in figure.axes:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            low, high = sorted((low, high))
            for which in (axis.majorTicks, axis.minorTicks):
                for tick in which:
                    shown = low - 1e-9 <= tick.get_loc() <= high + 1e-9
                    ticks |= dict.fromkeys((tick.label1, tick.label2), shown)
    boxes = {}
    for text in texts:
        if ticks.get(text, True):
            box = text.get_window_extent()
            boxes[text] = (box.x0, box.y0, box.x1, box.y1)
    names, sides = [text.get_text() for text in boxes], np.array(list(boxes.values()))
    left, bottom, right, top = sides.T
    outside = (left < -1) | (bottom < -1)
    outside |= (right > figure.bbox.width + 1) | (top > figure.bbox.height + 1)
    # A text's box has a pixel or two of air above and below.
    across = np.minimum.outer(right, right) - np.maximum.outer(left, left) > 0.5
    along = np.minimum.outer(top, top) - np.maximum.outer(bottom, bottom) > 2.5
    pairs = np.argwhere(np.triu(across & along, 1))
    found = [f"{names[a]} upon {names[b]}" for a, b in pairs]
    return found + [f"{names[a]} outside" for a in np.flatnonzero(outside)]


def saved(figure: Figure, folder: Path) -> tuple[bytes, bytes]:
    """The bytes of both files."""
    pdf, png = folder / "figure.pdf", folder / "figure.png"
    style.save(figure, pdf, png)
    return pdf.read_bytes(), png.read_bytes()
