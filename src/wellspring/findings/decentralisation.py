"""How decentral knowledge is: what a study's attributions say of its retrievers, in a tidy table.

Shapes: n texts, C cells. A cell is one number of a text, for instance the share of neurons that are
active in one sub-layer of one layer, at one threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import polars as pl

from wellspring.config.attributions import MATCHED
from wellspring.errors import StaleArtefact
from wellspring.findings import statistics
from wellspring.findings.statistics import Interval, Resamples
from wellspring.randomness import generator

Finding = Literal[
    "level", "change", "relative_change", "agreement", "fidelity", "ablation", "contrast"
]
Region = Literal["all", "early", "late"]

SCHEMA = {
    "finding": pl.String,
    "attribution": pl.String,
    "dataset": pl.String,
    "retriever": pl.String,
    "compared_with": pl.String,
    "side": pl.String,
    "region": pl.String,
    "layer": pl.Int64,
    "sublayer": pl.String,
    "measure": pl.String,
    "normaliser": pl.String,
    "left_out": pl.Int64,
    "threshold": pl.Float64,
    "other": pl.String,
    "choice": pl.String,
    "neurons": pl.Int64,
    "by": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "texts": pl.Int64,
}
KEYS = tuple(SCHEMA)[:17]

GROUP = ("attribution", "dataset", "side")
CELL = ("sublayer", "measure", "normaliser", "left_out", "threshold", "layer")
ABLATED = {
    "change": pl.col("change"),
    "length_change": pl.col("length_change"),
    "margin_change": pl.col("margin") - pl.col("margin_before"),
    "first_change": pl.col("first") - pl.col("first_before"),
}


@dataclass(frozen=True)
class Settings:
    """How intervals are drawn.

    Attributes:
        resamples: bootstrap resamples of the texts.
        seed: of the resamples.
    """

    resamples: int = 2_000
    seed: int = 0


@dataclass(frozen=True)
class _Cells:
    """Numbers of the same texts.

    Attributes:
        texts: [n] ids, sorted.
        keys: C rows, what the cells are; sorted.
        values: [n, C]; NaN where a text has none.
    """

    texts: np.ndarray
    keys: pl.DataFrame
    values: np.ndarray


@dataclass(frozen=True)
class _Group:
    """The texts of one attribution, dataset and side: they are resampled alike everywhere."""

    attribution: str
    dataset: str
    side: str
    settings: Settings
    drawn: dict[int, Resamples] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"attribution {self.attribution}, dataset {self.dataset}, {self.side} side"

    def interval(self, values: np.ndarray, over: np.ndarray | None = None) -> Interval:
        """Mean of values [n, C] over texts, or their sum over the sum of `over` [n, C].

        A text counts in the cells where it has a value. One text has no interval.
        """
        present = ~np.isnan(values)
        if over is not None:
            over = np.where(present, over, 0)
        else:
            over = np.ones((len(values), 1)) if present.all() else present.astype(np.float64)
        known = np.where(present, values, 0)[:, None]
        found = statistics.bootstrap(known, over, self._resamples(len(values)))
        alone = present.sum(0) < 2
        low, high = (np.where(alone, np.nan, end) for end in (found.low, found.high))
        return Interval(found.estimate, low, high)

    def _resamples(self, texts: int) -> Resamples:
        if texts not in self.drawn:
            ids = ("bootstrap", self.dataset, self.attribution, self.side)
            rng = generator(self.settings.seed, *ids)
            count = self.settings.resamples
            self.drawn[texts] = statistics.draw_resamples(texts, 1, count, rng)
        return self.drawn[texts]

    def rows(
        self,
        finding: Finding,
        where: Mapping[str, str],
        cells: _Cells,
        over: np.ndarray | None = None,
    ) -> pl.DataFrame:
        """One row a cell."""
        interval = self.interval(cells.values, over)
        values = {name: getattr(self, name) for name in GROUP} | {"finding": finding, **where}
        return _tidy(
            cells.keys.with_columns(
                **{name: pl.lit(value) for name, value in values.items()},
                estimate=interval.estimate,
                low=interval.low,
                high=interval.high,
                texts=(~np.isnan(cells.values)).sum(0),
            )
        )


def build(
    texts: pl.DataFrame | pl.LazyFrame,
    ablations: pl.DataFrame | pl.LazyFrame | None,
    agreement: pl.DataFrame | pl.LazyFrame | None,
    encoders: Mapping[str, Mapping[str, str]],
    pairs: Mapping[str, str],
    depths: Mapping[str, int],
    settings: Settings,
) -> pl.DataFrame:
    """All findings about a study's attributions, one row a number.

    Rows may come in any order. One sub-layer of two encoders under one normaliser is held in
    memory at a time: a lazy frame over many files stays small.

    Args:
        texts: attribution, dataset, encoder, side, text_id, layer, sublayer, measure, normaliser,
            left_out, threshold, value; a text once for each of the others. A null or NaN value
            does not count.
        ablations: attribution, dataset, encoder, side, text_id, sublayer, neurons, by, choice,
            draw, change, length_change, margin, margin_before, first, first_before.
        agreement: attribution, dataset, retriever, side, comparison (attributions | models |
            removal), other, layer, sublayer, text_id, correlation, and where known shifted: the
            correlation with another text's scores.
        encoders: each retriever's encoder of each side.
        pairs: retriever to the counterpart that it is compared with.
        depths: each encoder's number of blocks L. Early are the layers 1 … L // 2, late the
            rest; a region's number is each text's mean over the layers that were attributed.
        settings: how intervals are drawn.

    Returns:
        The columns of SCHEMA, sorted by KEYS; null for what does not apply or is not defined. 95 %
        percentile intervals over texts; both sides of a pair share their resamples. A contrast is
        that of a choice (top or bottom) and the other, random neurons that match it.

    Raises:
        StaleArtefact: a text has two values in one cell, or a pair has no text in common.
    """
    frames = [pl.DataFrame(schema=SCHEMA)]
    lazy = texts.lazy()
    for group, part, blocks in _groups(lazy, settings, "sublayer", "normaliser"):
        for block in blocks.iter_rows(named=True):
            rows = part.filter(pl.col(name).eq_missing(value) for name, value in block.items())
            frames.extend(_levels(group, rows, encoders, pairs, depths))
    if ablations is not None:
        for group, part, held in _groups(ablations.lazy(), settings, "encoder"):
            for retriever, sides in sorted(encoders.items()):
                if sides[group.side] in held["encoder"]:
                    rows = part.filter(pl.col("encoder") == sides[group.side]).collect()
                    frames.extend(_ablations(group, rows, retriever))
    if agreement is not None:
        for group, part, held in _groups(agreement.lazy(), settings, "retriever"):
            for retriever in held["retriever"]:
                rows = part.filter(pl.col("retriever") == retriever).collect()
                depth = depths[encoders[retriever][group.side]]
                frames.extend(_agreement(group, rows, retriever, depth))
    return gathered(frames)


def gathered(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables of SCHEMA as one, sorted by KEYS."""
    order = pl.col("finding").cast(pl.Enum(get_args(Finding)))
    return pl.concat(tables).sort(order, *KEYS[1:])


def _groups(
    rows: pl.LazyFrame, settings: Settings, *blocks: str
) -> Iterator[tuple[_Group, pl.LazyFrame, pl.DataFrame]]:
    """Each attribution, dataset and side, its rows, and which `blocks` it has, all sorted."""
    held = rows.select(*GROUP, *blocks).unique().collect().sort(*GROUP, *blocks)
    for names, group in held.group_by(GROUP, maintain_order=True):
        own = [pl.col(column) == name for column, name in zip(GROUP, names, strict=True)]
        yield _Group(*names, settings), rows.filter(own), group.select(blocks)


def _levels(
    group: _Group,
    rows: pl.LazyFrame,
    encoders: Mapping[str, Mapping[str, str]],
    pairs: Mapping[str, str],
    depths: Mapping[str, int],
) -> Iterator[pl.DataFrame]:
    """Every retriever's means and, where it has a counterpart, their changes."""

    def cells_of(retriever: str) -> _Cells | None:
        encoder = encoders[retriever][group.side]
        frame = rows.filter(pl.col("encoder") == encoder).collect()
        if frame.is_empty():
            return None
        cells = _cells(frame, CELL, f"{group.name}, encoder {encoder}")
        return _with_regions(cells, depths[encoder])

    for retriever in sorted(encoders):
        if (own := cells_of(retriever)) is None:
            continue
        yield group.rows("level", {"retriever": retriever}, own)
        if (other := pairs.get(retriever)) and (theirs := cells_of(other)) is not None:
            where = {"retriever": retriever, "compared_with": other}
            name = f"{group.name}: retrievers {retriever} and {other}"
            yield from _changes(group, where, *_common(own, theirs, name))


def _changes(
    group: _Group, where: Mapping[str, str], own: _Cells, theirs: _Cells
) -> Iterator[pl.DataFrame]:
    """own − theirs on the same texts and cells, and that over their mean."""
    change = _Cells(own.texts, own.keys, own.values - theirs.values)
    yield group.rows("change", where, change)
    yield group.rows("relative_change", where, change, theirs.values)


def _ablations(group: _Group, rows: pl.DataFrame, retriever: str) -> Iterator[pl.DataFrame]:
    """Means of what ablating neurons changes, and how the highest and the lowest ones differ from
    the random ones that match them."""
    index = ["text_id", "sublayer", "neurons", "by", "choice", "draw"]
    long = rows.select(*index, **ABLATED).unpivot(index=index, variable_name="measure")
    keys = ("sublayer", "measure", "neurons", "by", "choice", "draw")
    name = f"{group.name}: ablations of retriever {retriever}"
    cells = _averaged(_cells(long, keys, name), "draw")
    where = {"retriever": retriever}
    yield group.rows("ablation", where, cells)
    for choice, other in MATCHED.items():
        own, random = _common(_chosen(cells, choice), _chosen(cells, other), name)
        contrast = _Cells(own.texts, own.keys, own.values - random.values)
        yield group.rows("contrast", {**where, "choice": choice, "other": other}, contrast)


def _agreement(
    group: _Group, rows: pl.DataFrame, retriever: str, depth: int
) -> Iterator[pl.DataFrame]:
    """Mean rank correlations, by themselves and above those with another text's scores or effects;
    those with the effects of removal are the finding `fidelity`."""
    measures = {"correlation": pl.col("correlation")}
    if "shifted" in rows.columns:
        measures["correlation_shifted"] = pl.col("shifted")
        measures["correlation_excess"] = pl.col("correlation") - pl.col("shifted")
    models = pl.when(pl.col("comparison") == "models").then(pl.col("other"))
    index = ["text_id", "other", "compared_with", "sublayer", "layer"]
    removal = pl.col("comparison") == "removal"
    for finding, part in (("agreement", rows.filter(~removal)), ("fidelity", rows.filter(removal))):
        if part.is_empty():
            continue
        named = part.with_columns(compared_with=models).select(*index, **measures)
        long = named.unpivot(index=index, variable_name="measure")
        name = f"{group.name}: {finding} of retriever {retriever}"
        cells = _cells(long, ("other", "compared_with", "sublayer", "measure", "layer"), name)
        yield group.rows(finding, {"retriever": retriever}, _with_regions(cells, depth))


def _cells(rows: pl.DataFrame, keys: tuple[str, ...], name: str) -> _Cells:
    """Rows with text_id, value and keys, as a matrix."""
    texts = rows["text_id"].cast(pl.String).unique().sort()
    places = pl.col("text_id").cast(pl.String).cast(pl.Enum(texts)).to_physical()
    value = pl.col("value").cast(pl.Float64).fill_null(np.nan)
    grouped = rows.select(*keys, value, place=places.cast(pl.Int64))
    grouped = grouped.group_by(keys).agg("place", "value").sort(keys)
    cell = np.repeat(np.arange(grouped.height), grouped["place"].list.len().to_numpy())
    flat = grouped["place"].explode().to_numpy() * grouped.height + cell
    values = np.full(len(texts) * grouped.height, np.nan)
    values[flat] = grouped["value"].explode().to_numpy()
    taken = np.zeros(values.size, dtype=bool)
    taken[flat] = True
    if taken.sum() < flat.size:
        raise StaleArtefact(
            f"{name}: a text comes twice in one cell; run the step that wrote it again"
        )
    return _Cells(texts.to_numpy(), grouped.select(keys), values.reshape(len(texts), -1))


def _averaged(cells: _Cells, dropped: str) -> _Cells:
    """Means over the cells that differ in the key `dropped` alone.

    A text that lacks one of them has no mean: what is averaged must not differ between texts.
    """
    kept = [name for name in cells.keys.columns if name != dropped]
    grouped = cells.keys.with_row_index("cell").group_by(kept).agg(pl.col("cell").sort()).sort(kept)
    means = [cells.values[:, places].mean(1) for places in grouped["cell"].to_list()]
    values = np.stack(means, 1) if means else cells.values[:, :0]
    return _Cells(cells.texts, grouped.select(kept), values)


def _with_regions(cells: _Cells, depth: int) -> _Cells:
    """The cells, and beside each layer's those of all, of early and of late layers."""
    layer = cells.keys["layer"]
    halves: dict[Region, pl.Series] = {
        "all": layer >= 1,
        "early": layer <= depth // 2,
        "late": layer > depth // 2,
    }
    keys, values = [cells.keys.with_columns(region=pl.lit(None, pl.String))], [cells.values]
    for region, within in halves.items():
        part = _Cells(cells.texts, cells.keys.filter(within), cells.values[:, within.to_numpy()])
        mean = _averaged(part, "layer")
        nowhere = pl.lit(None, pl.Int64)
        keys.append(mean.keys.with_columns(layer=nowhere, region=pl.lit(region)))
        values.append(mean.values)
    keys = [part.select(*cells.keys.columns, "region") for part in keys]
    return _Cells(cells.texts, pl.concat(keys, how="vertical_relaxed"), np.concatenate(values, 1))


def _chosen(cells: _Cells, choice: str) -> _Cells:
    """The cells of one choice of neurons, without naming it."""
    chosen = cells.keys["choice"] == choice
    keys = cells.keys.filter(chosen).drop("choice")
    return _Cells(cells.texts, keys, cells.values[:, chosen.to_numpy()])


def _common(a: _Cells, b: _Cells, name: str) -> tuple[_Cells, _Cells]:
    """Both on the texts and the cells that they share."""
    texts, rows_a, rows_b = np.intersect1d(a.texts, b.texts, return_indices=True)
    if not texts.size:
        raise StaleArtefact(f"{name} have no text in common; attribute the same texts of both")
    indexed = b.keys.with_row_index("second")
    shared = a.keys.with_row_index("first").join(indexed, on=a.keys.columns, nulls_equal=True)
    shared = shared.sort("first")
    keys = shared.select(a.keys.columns)
    first, second = shared["first"].to_numpy(), shared["second"].to_numpy()
    return (
        _Cells(texts, keys, a.values[np.ix_(rows_a, first)]),
        _Cells(texts, keys, b.values[np.ix_(rows_b, second)]),
    )


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the columns of SCHEMA; null for what is absent or not defined."""
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in SCHEMA.items()
    ]
    numbers = pl.col("estimate", "low", "high")
    return frame.select(columns).with_columns(pl.when(numbers.is_finite()).then(numbers))
