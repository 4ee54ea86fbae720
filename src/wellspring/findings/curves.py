"""What each kind of evidence says of one retriever at every layer, text by text.

Shapes: Q clusters (distinct queries or other texts), S repetitions (seeds of the probes), L layers.

Layers have the same numbers in all of it. Layer 0 is the embedding output, and layer l what block l
gives. So what is attributed to block l, or ablated there, stands beside the vectors behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.config.attributions import MATCHED
from wellspring.findings.cells import Cells, averaged, cells_of
from wellspring.findings.outcomes import Outcomes, Samples, codes_of, outcomes_of, samples_of
from wellspring.findings.table import CONTROLS
from wellspring.intervals import Estimate, Interval

Unit = Literal["query", "training query", "query text", "passage text", "texts of a side"]
"""What a value is averaged over: `query text` and `passage text` are those that were attributed."""

Against = Literal[
    "chance",
    "uniform",
    "random-label",
    "lexical",
    "random neurons",
    "nothing removed",
    "counterpart",
    "twin",
]
"""What a measure is set against."""

CONCENTRATION = "gini"
"""What says of a text how few neurons hold its scores."""

EXACT = ("chance", "uniform")
"""Controls that are known, not estimated."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "accuracy": (0, 1),
    "selectivity": (-1, 1),
    "code_length": (0, np.inf),
    "gini": (0, 1),
    "margin_loss": (-np.inf, np.inf),
    "removal_effect": (0, np.inf),
    "cka": (-1, 1),
}
"""What a measure cannot fall below or exceed; a measure of retrieval lies between 0 and 1."""


class Name(NamedTuple):
    """What a curve measures."""

    measure: str
    of: str | None = None
    """The probe, or the attribution and the sub-layer."""
    side: str | None = None


@dataclass(frozen=True)
class Curve:
    """Sums over each text's observations, whose ratio is the measure.

    Attributes:
        layers: the L layers, rising.
        ids: [Q] of the texts, each once, sorted.
        numerators, denominators: [Q, S, L]; both 0 where a text was not observed.
    """

    name: Name
    unit: Unit
    layers: tuple[int, ...]
    ids: np.ndarray
    numerators: np.ndarray
    denominators: np.ndarray

    def estimate(self) -> Estimate:
        """The measure at every layer."""
        return intervals.ratio(self.numerators, self.denominators)

    def on(self, ids: np.ndarray) -> Curve:
        """The same of these texts, in their order; what it lacks counts as not observed."""
        known = np.isin(ids, self.ids)
        rows = np.searchsorted(self.ids, ids[known])
        shape = (len(ids), *self.numerators.shape[1:])
        parts = [np.zeros(shape) for _ in range(2)]
        for part, own in zip(parts, (self.numerators, self.denominators), strict=True):
            part[known] = own[rows]
        return replace(self, ids=ids, numerators=parts[0], denominators=parts[1])

    def at(self, layers: Sequence[int]) -> Curve:
        """The same at some of its layers."""
        columns = [self.layers.index(layer) for layer in layers]
        return replace(
            self,
            layers=tuple(layers),
            numerators=self.numerators[..., columns],
            denominators=self.denominators[..., columns],
        )

    def where(self, kept: np.ndarray) -> Curve:
        """The same, with all observations but those that are kept [Q, S, L] left out."""
        if kept[self.denominators != 0].all():
            return self
        return replace(
            self,
            numerators=np.where(kept, self.numerators, 0),
            denominators=np.where(kept, self.denominators, 0),
        )

    def over_seeds(self) -> Curve:
        """The same with the seeds' observations as one."""
        return replace(
            self,
            numerators=self.numerators.sum(1, keepdims=True),
            denominators=self.denominators.sum(1, keepdims=True),
        )


@dataclass(frozen=True)
class Given:
    """A measure that is no ratio of sums over texts, with the interval that it came with.

    Attributes:
        layers: the L layers, rising.
        interval: [L].
        texts: how many stand behind it.
    """

    name: Name
    layers: tuple[int, ...]
    interval: Interval
    texts: int
    unit: Unit = "texts of a side"


Line = Curve | Given


class Control(NamedTuple):
    """What a curve is set against."""

    kind: Against
    other: str | None
    """Its name: of a probe, a scorer, a choice of neurons, a retriever."""
    curve: Curve


class Measured(NamedTuple):
    """A line and what its retriever has to set it against."""

    line: Line
    controls: Sequence[Control] = ()


def of_probes(outcomes: pl.DataFrame, probes: Sequence[str], name: str) -> Iterator[Measured]:
    """Accuracy and, where it was probed with random targets, selectivity: accuracy less that on
    random targets. Both over test queries.

    Args:
        outcomes: layer, passages, probe, seed, sample_id, query_id, correct, chance of one
            retriever at one number of passages.
        probes: whose curves are made, as far as they are there; further ones are controls.
        name: what the frame holds, for the error.

    Raises:
        StaleArtefact: a sample is missing or there twice.
    """
    for line, controls in _of_outcomes(outcomes, outcomes_of, "accuracy", "chance", probes, name):
        yield Measured(line, controls)
        for kind, _, random in controls:
            if kind == "random-label":
                apart = line.numerators - random.numerators
                renamed = Name("selectivity", line.name.of)
                yield Measured(replace(line, name=renamed, numerators=apart))


def of_codes(codes: pl.DataFrame, probes: Sequence[str], name: str) -> Iterator[Measured]:
    """The length of the online code, in bits a sample of the training queries.

    codes: as for `of_probes`, with bits for correct and chance.
    """
    for line, controls in _of_outcomes(codes, codes_of, "code_length", "uniform", probes, name):
        yield Measured(replace(line, unit="training query"), controls)


def _of_outcomes(
    frame: pl.DataFrame,
    read: Callable[[pl.DataFrame, Samples, str], Outcomes],
    measure: str,
    level: Against,
    probes: Sequence[str],
    name: str,
) -> Iterator[tuple[Curve, list[Control]]]:
    """A probe's sums over samples, what guessing gives, the probe on random targets, and the
    lexical one."""
    samples = samples_of(frame)
    parts = frame.partition_by("probe", as_dict=True)
    held = {probe: read(part, samples, name) for (probe,), part in parts.items()}
    ids = frame["query_id"].unique().sort().to_numpy()
    for probe in (probe for probe in probes if probe in held):
        own = held[probe]
        layers = tuple(layer for layer in own.layers if layer is not None)
        counts = np.broadcast_to(samples.counts[..., None], own.correct.shape)
        line = Curve(Name(measure, probe), "query", layers, ids, own.correct, counts)
        controls = [Control(level, None, replace(line, numerators=own.chance))]
        for kind, other in _others(probe):
            if other in held:
                theirs = held[other].at(own.layers, own.passages).correct
                controls.append(Control(kind, other, replace(line, numerators=theirs)))
        yield line, controls


def needed(probes: Sequence[str]) -> list[str]:
    """The probes and their controls."""
    return list(dict.fromkeys([*probes, *(name for p in probes for _, name in _others(p))]))


def _others(probe: str) -> Iterator[tuple[Against, str]]:
    """The probe on random targets, and the lexical one."""
    for first, second in CONTROLS:
        if first == probe and second.startswith("random-label"):
            yield "random-label", second
    yield "lexical", "lexical"


def of_texts(texts: pl.DataFrame, attribution: str, side: str) -> Iterator[Measured]:
    """How concentrated the scores of a layer's neurons are, by sub-layer.

    texts: text_id, layer, sublayer, value of the measure CONCENTRATION.
    """
    for (sublayer,), part in sorted(texts.partition_by("sublayer", as_dict=True).items()):
        name = Name(CONCENTRATION, f"{attribution}, {sublayer}", side)
        yield Measured(_of_cells(name, side, cells_of(part, ("layer",), str(name))))


def of_ablations(ablations: pl.DataFrame, attribution: str, side: str) -> Iterator[Measured]:
    """How much the margin between positive and negatives falls without the highest neurons of one
    layer, and without random ones of the same layer: of the largest number of neurons, by the first
    way in which they were ablated.

    ablations: text_id, layer, sublayer, neurons, by, choice, draw, margin, margin_before; rows
    without a layer (neurons of all layers) are left out.
    """
    rows = ablations.drop_nulls("layer")
    if rows.is_empty():
        return
    rows = rows.filter(neurons=rows["neurons"].max(), by=rows["by"][0])
    rows = rows.with_columns(value=pl.col("margin_before") - pl.col("margin"))
    for (sublayer,), part in sorted(rows.partition_by("sublayer", as_dict=True).items()):
        name = Name("margin_loss", f"{attribution}, {sublayer}", side)
        top, random = (
            _of_cells(name, side, averaged(cells_of(chosen, ("layer", "draw"), str(name)), "draw"))
            for chosen in (part.filter(choice=choice) for choice in ("top", MATCHED["top"]))
        )
        yield Measured(top, [Control("random neurons", MATCHED["top"], random)])


def of_removals(removals: pl.DataFrame, side: str) -> Iterator[Measured]:
    """By how much the margin changes without one neuron (or group): the mean size over those that
    were drawn in a layer, beside what rounding alone changes.

    removals: text_id, layer, sublayer, neurons, margin_change.
    """
    nothing = pl.col("neurons").list.len() == 0
    rows = removals.select(
        "text_id", "layer", "sublayer", nothing, value=pl.col("margin_change").abs()
    )
    rows = rows.group_by("text_id", "layer", "sublayer", "neurons").agg(pl.col("value").mean())
    for (sublayer,), part in sorted(rows.partition_by("sublayer", as_dict=True).items()):
        name = Name("removal_effect", sublayer, side)
        removed, whole = (
            _of_cells(name, side, cells_of(each, ("layer",), str(name)))
            for each in (part.filter(neurons=none) for none in (False, True))
        )
        yield Measured(removed, [Control("nothing removed", None, whole)])


def of_retrieval(
    metrics: pl.DataFrame, lexical: pl.DataFrame | None, scorer: str | None = None
) -> Measured:
    """A measure of retrieval over queries, beside that of a lexical scorer.

    metrics: layer, measure, query_id, cluster, value of one measure. lexical: the same without
    layers; scorer: its name. Texts are the clusters, and each query counts once.
    """
    name = Name(metrics["measure"][0])
    line = _of_queries(name, metrics)
    if lexical is None or lexical.is_empty():
        return Measured(line)
    layers = pl.DataFrame({"layer": line.layers})
    beside = _of_queries(name, lexical.join(layers, how="cross"))
    return Measured(line, [Control("lexical", scorer, beside)])


def _of_queries(name: Name, metrics: pl.DataFrame) -> Curve:
    """Sums over the queries of each cluster, and their numbers."""
    unit = ("layer", pl.col("cluster").alias("text_id"))
    sums, counts = (
        cells_of(metrics.group_by(unit).agg(value=value), ("layer",), name.measure)
        for value in (pl.sum("value"), pl.len())
    )
    line = _of_cells(name, None, sums)
    return replace(line, denominators=np.nan_to_num(counts.values)[:, None])


def of_similarity(similarity: pl.DataFrame) -> Iterator[Measured]:
    """Debiased linear CKA with the counterpart, with its own interval; a layer where it is not
    defined is left out.

    similarity: layer, side, measure, estimate, low, high, samples.
    """
    rows = similarity.filter(measure="cka").fill_nan(None).drop_nulls("estimate").sort("layer")
    for (side,), part in sorted(rows.partition_by("side", as_dict=True).items(), reverse=True):
        ends = (part[end].cast(pl.Float64).to_numpy() for end in ("estimate", "low", "high"))
        layers = tuple(part["layer"].to_list())
        name = Name("cka", None, str(side))
        yield Measured(Given(name, layers, Interval(*ends), int(part["samples"].to_numpy().max())))


def _of_cells(name: Name, side: str | None, cells: Cells) -> Curve:
    """Means over texts; without a side over test queries."""
    present = ~np.isnan(cells.values)[:, None]
    unit: Unit = "query" if side is None else "query text" if side == "query" else "passage text"
    values = np.nan_to_num(cells.values)[:, None]
    layers = tuple(cells.keys["layer"].to_list())
    return Curve(name, unit, layers, cells.texts, values, present.astype(np.float64))
