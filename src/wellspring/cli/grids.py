"""The files of a study's grids: every one checked, then read with its place as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TypeVar

import polars as pl

from wellspring import shards, specs

BESIDE = ("metrics", "codes")
"""What lies beside a probe job's outcomes and is read with them."""


def probe_files(probes: Path, grid: specs.ProbedGrid) -> Iterator[tuple[Path, dict[str, object]]]:
    """Each probe job's outcome file of a retriever on a dataset, and where it stands."""
    where = {"retriever": grid.retriever, "dataset": grid.dataset}
    for layer, count in product(grid.layers, grid.passages):
        folder = probes / grid.retriever / grid.dataset / f"layer-{layer:02d}"
        path = folder / f"passages-{count}.parquet"
        for file in (path, *(path.with_suffix(f".{name}.parquet") for name in BESIDE)):
            shards.check(file, grid.probe, step="probes", layer=layer, passages=count)
        yield path, {**where, "layer": layer, "passages": count}


def together(
    probed: Sequence[specs.ProbedGrid],
) -> dict[tuple[str, tuple[int, ...]], list[specs.ProbedGrid]]:
    """The grids of each dataset whose probes have the same seeds, and so the same samples."""
    found: dict[tuple[str, tuple[int, ...]], list[specs.ProbedGrid]] = {}
    for grid in probed:
        found.setdefault((grid.dataset, tuple(grid.seeds)), []).append(grid)
    return found


def activation_texts(activations: Path, cell: specs.CountedSide) -> pl.LazyFrame:
    """The measures of every text of a side, under an attribution."""
    path = activations / f"{place(cell)}.texts.parquet"
    shards.check(path, cell.activations, step="activations")
    return located(path, **_names(cell))


def activation_facts(activations: Path, cell: specs.CountedSide) -> dict[str, object]:
    """What the step that counted a side's active neurons reports."""
    path = activations / f"{place(cell)}.texts.parquet"
    return dict(shards.check(path, cell.activations, step="activations").facts)


def ablations(folder: Path, cell: specs.AttributedSide) -> pl.LazyFrame:
    """What ablation does to every text of a side, under an attribution."""
    path = folder / f"{place(cell)}.parquet"
    shards.check(path, cell.ablations, step="ablations")
    return located(path, **_names(cell))


Cell = TypeVar("Cell", bound=specs.CountedSide)


def groups(grid: Sequence[Cell]) -> dict[tuple[str, str, str], list[Cell]]:
    """The cells of each attribution, dataset and side."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in grid:
        found.setdefault((cell.attribution, cell.dataset, cell.side), []).append(cell)
    return found


def located(path: Path, **where: object) -> pl.LazyFrame:
    """A file with where it stands as columns before its own."""
    columns = [pl.lit(value).alias(name) for name, value in where.items()]
    return pl.scan_parquet(path).select(*columns, pl.all()).cast({pl.Int32: pl.Int64})


def rounded(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers at six significant digits: a residual is small, and an effective number large."""
    return table.with_columns(pl.col(pl.Float64).round_sig_figs(6))


def place(cell: specs.CountedSide) -> str:
    """The path of a side under results/activations and the like."""
    return f"{cell.attribution}/{cell.encoder}/{cell.dataset}/{cell.side}"


def _names(cell: specs.CountedSide) -> dict[str, str]:
    return {name: getattr(cell, name) for name in ("attribution", "dataset", "encoder", "side")}
