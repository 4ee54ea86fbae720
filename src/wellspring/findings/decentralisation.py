"""How decentral knowledge is: what a study's attributions say of its retrievers, in a tidy table.

Shapes: n texts, C cells. A cell is one number of a text, for instance the share of neurons that are
active in one sub-layer of one layer, at one threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl

from wellspring import intervals
from wellspring.config.attributions import MATCHED
from wellspring.findings.cells import Cells, averaged, cells_of, common, with_regions

Finding = Literal[
    "level", "change", "relative_change", "agreement", "fidelity", "ablation", "contrast"
]

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
    "excluded_outliers": pl.Int64,
    "threshold": pl.Float64,
    "other": pl.String,
    "choice": pl.String,
    "neurons": pl.Int64,
    "by": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "detectable": pl.Float64,
    "texts": pl.Int64,
}
KEYS = tuple(SCHEMA)[:17]

GROUP = ("attribution", "dataset", "side")
CELL = ("sublayer", "measure", "normaliser", "excluded_outliers", "threshold", "layer")
ABLATED = {
    "change": pl.col("change"),
    "length_change": pl.col("length_change"),
    "margin_change": pl.col("margin") - pl.col("margin_before"),
    "first_change": pl.col("first") - pl.col("first_before"),
    "shared": pl.col("shared"),
}


BOUNDS = {
    "share_active": (0.0, 1.0),
    "effective_number": (1.0, np.inf),
    "gini": (0.0, 1.0),
    "residual": (0.0, np.inf),
    "signal": (0.0, np.inf),
    "change": (0.0, 2.0),
    "length_change": (-1.0, np.inf),
    "margin_change": (-np.inf, np.inf),
    "first_change": (-1.0, 1.0),
    "shared": (0.0, 1.0),
    "correlation": (-1.0, 1.0),
    "correlation_shifted": (-1.0, 1.0),
    "correlation_excess": (-2.0, 2.0),
}
"""What a text's number cannot fall below or exceed."""
DIFFERENCES = ("change", "contrast")
"""Findings that subtract two numbers of a text."""


@dataclass(frozen=True)
class _Group:
    """The texts of one attribution, dataset and side."""

    attribution: str
    dataset: str
    side: str

    @property
    def name(self) -> str:
        return f"attribution {self.attribution}, dataset {self.dataset}, {self.side} side"

    def rows(
        self,
        finding: Finding,
        where: Mapping[str, str],
        cells: Cells,
        over: np.ndarray | None = None,
    ) -> pl.DataFrame:
        """One row a cell: means over texts, or sums over the sums of `over` [n, C]."""
        estimate = intervals.mean(cells.values, over)
        interval = intervals.interval(estimate, *_bounds(finding, cells.keys["measure"]))
        values = {name: getattr(self, name) for name in GROUP} | {"finding": finding, **where}
        compared = finding in (*DIFFERENCES, "relative_change")
        return _tidy(
            cells.keys.with_columns(
                **{name: pl.lit(value) for name, value in values.items()},
                estimate=interval.estimate,
                low=interval.low,
                high=interval.high,
                detectable=intervals.detectable(estimate) if compared else None,
                texts=estimate.clusters,
            )
        )


def _bounds(finding: Finding, measures: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """What the finding's numbers lie between, cell by cell."""
    lows, highs = np.array([BOUNDS[measure] for measure in measures]).reshape(-1, 2).T
    if finding == "relative_change":
        return np.full(len(lows), -1.0), np.full(len(lows), np.inf)
    return (lows - highs, highs - lows) if finding in DIFFERENCES else (lows, highs)


def build(
    texts: pl.DataFrame | pl.LazyFrame,
    ablations: pl.DataFrame | pl.LazyFrame | None,
    agreement: pl.DataFrame | pl.LazyFrame | None,
    encoders: Mapping[str, Mapping[str, str]],
    pairs: Mapping[str, str],
    depths: Mapping[str, int],
) -> pl.DataFrame:
    """All findings about a study's attributions, one row a number.

    Rows may come in any order. One sub-layer of two encoders under one normaliser is held in
    memory at a time: a lazy frame over many files stays small.

    Args:
        texts: attribution, dataset, encoder, side, text_id, layer, sublayer, measure, normaliser,
            excluded_outliers, threshold, value; a text once for each of the others. A null or NaN
            value does not count.
        ablations: attribution, dataset, encoder, side, text_id, sublayer, neurons, by, choice,
            draw, change, length_change, margin, margin_before, first, first_before.
        agreement: attribution, dataset, retriever, side, comparison (attributions | models |
            removal), other, layer, sublayer, text_id, correlation, and where known shifted: the
            correlation with another text's scores.
        encoders: each retriever's encoder of each side.
        pairs: retriever to the counterpart that it is compared with.
        depths: each encoder's number of blocks L. Early are the layers 1 … L // 2, late the
            rest; a region's number is each text's mean over the layers that were attributed.

    Returns:
        The columns of SCHEMA, sorted by KEYS; null for what does not apply or is not defined. 95 %
        intervals over texts, paired where two sides are compared; `detectable` is the smallest
        true difference that such an interval excludes 0 for, at 80 % power. A contrast is that of
        a choice (top or bottom) and the other, random neurons that match it.

    Raises:
        StaleArtefact: a text has two values in one cell, or a pair has no text in common.
    """
    frames = [pl.DataFrame(schema=SCHEMA)]
    lazy = texts.lazy()
    for group, part, blocks in _groups(lazy, "sublayer", "normaliser"):
        for block in blocks.iter_rows(named=True):
            rows = part.filter(pl.col(name).eq_missing(value) for name, value in block.items())
            frames.extend(_levels(group, rows, encoders, pairs, depths))
    if ablations is not None:
        for group, part, blocks in _groups(ablations.lazy(), "encoder"):
            for retriever, sides in sorted(encoders.items()):
                if sides[group.side] in blocks["encoder"]:
                    rows = part.filter(pl.col("encoder") == sides[group.side]).collect()
                    frames.extend(_ablations(group, rows, retriever))
    if agreement is not None:
        for group, part, blocks in _groups(agreement.lazy(), "retriever"):
            for retriever in blocks["retriever"]:
                rows = part.filter(pl.col("retriever") == retriever).collect()
                depth = depths[encoders[retriever][group.side]]
                frames.extend(_agreement(group, rows, retriever, depth))
    return gathered(frames)


def gathered(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables of SCHEMA as one, sorted by KEYS."""
    order = pl.col("finding").cast(pl.Enum(get_args(Finding)))
    return pl.concat(tables).sort(order, *KEYS[1:])


def _groups(
    rows: pl.LazyFrame, *blocks: str
) -> Iterator[tuple[_Group, pl.LazyFrame, pl.DataFrame]]:
    """Each attribution, dataset and side, its rows, and which `blocks` it has, all sorted."""
    combinations = rows.select(*GROUP, *blocks).unique().collect().sort(*GROUP, *blocks)
    for names, group in combinations.group_by(GROUP, maintain_order=True):
        own = [pl.col(column) == name for column, name in zip(GROUP, names, strict=True)]
        yield _Group(*names), rows.filter(own), group.select(blocks)


def _levels(
    group: _Group,
    rows: pl.LazyFrame,
    encoders: Mapping[str, Mapping[str, str]],
    pairs: Mapping[str, str],
    depths: Mapping[str, int],
) -> Iterator[pl.DataFrame]:
    """Every retriever's means and, where it has a counterpart, their changes."""

    def of_retriever(retriever: str) -> Cells | None:
        encoder = encoders[retriever][group.side]
        frame = rows.filter(pl.col("encoder") == encoder).collect()
        if frame.is_empty():
            return None
        cells = cells_of(frame, CELL, f"{group.name}, encoder {encoder}")
        return with_regions(cells, depths[encoder])

    for retriever in sorted(encoders):
        if (own := of_retriever(retriever)) is None:
            continue
        yield group.rows("level", {"retriever": retriever}, own)
        if (other := pairs.get(retriever)) and (theirs := of_retriever(other)) is not None:
            where = {"retriever": retriever, "compared_with": other}
            name = f"{group.name}: retrievers {retriever} and {other}"
            yield from _changes(group, where, *common(own, theirs, name))


def _changes(
    group: _Group, where: Mapping[str, str], own: Cells, theirs: Cells
) -> Iterator[pl.DataFrame]:
    """own − theirs on the same texts and cells, and that over their mean."""
    change = Cells(own.texts, own.keys, own.values - theirs.values)
    yield group.rows("change", where, change)
    yield group.rows("relative_change", where, change, theirs.values)


def _ablations(group: _Group, rows: pl.DataFrame, retriever: str) -> Iterator[pl.DataFrame]:
    """Means of what ablating neurons changes, and how the highest and the lowest ones differ from
    the random ones that match them."""
    index = ["text_id", "sublayer", "neurons", "by", "choice", "draw"]
    long = rows.select(*index, **ABLATED).unpivot(index=index, variable_name="measure")
    keys = ("sublayer", "measure", "neurons", "by", "choice", "draw")
    name = f"{group.name}: ablations of retriever {retriever}"
    cells = averaged(cells_of(long, keys, name), "draw")
    where = {"retriever": retriever}
    yield group.rows("ablation", where, cells)
    changed = (cells.keys["measure"] != "shared").to_numpy()
    changes = Cells(cells.texts, cells.keys.filter(changed), cells.values[:, changed])
    for choice, other in MATCHED.items():
        own, random = common(_chosen(changes, choice), _chosen(changes, other), name)
        contrast = Cells(own.texts, own.keys, own.values - random.values)
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
    parts: dict[Finding, pl.DataFrame] = {
        "agreement": rows.filter(~removal),
        "fidelity": rows.filter(removal),
    }
    for finding, part in parts.items():
        if part.is_empty():
            continue
        named = part.with_columns(compared_with=models).select(*index, **measures)
        long = named.unpivot(index=index, variable_name="measure")
        name = f"{group.name}: {finding} of retriever {retriever}"
        cells = cells_of(long, ("other", "compared_with", "sublayer", "measure", "layer"), name)
        yield group.rows(finding, {"retriever": retriever}, with_regions(cells, depth))


def _chosen(cells: Cells, choice: str) -> Cells:
    """The cells of one choice of neurons, without naming it."""
    chosen = cells.keys["choice"] == choice
    keys = cells.keys.filter(chosen).drop("choice")
    return Cells(cells.texts, keys, cells.values[:, chosen.to_numpy()])


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the columns of SCHEMA; null for what is absent or not defined."""
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in SCHEMA.items()
    ]
    numbers = pl.col("estimate", "low", "high")
    return frame.select(columns).with_columns(pl.when(numbers.is_finite()).then(numbers))
