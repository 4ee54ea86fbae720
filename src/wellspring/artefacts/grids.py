"""The files of a study's grids: every one checked, then read with its place as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TypeVar

import polars as pl

from wellspring import shards, specs
from wellspring.artefacts.attributions import Ablations, ActivationTexts
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.probes import ProbeOutcomes


def probes(
    results: Path, grid: specs.ProbedGrid, kind: type[ProbeOutcomes] = ProbeOutcomes
) -> Iterator[pl.LazyFrame]:
    """The tables of a kind of a retriever's probe jobs on a dataset, with where each stands."""
    for layer, count in product(grid.layers, grid.passages):
        artefact = kind(grid.retriever, grid.dataset, layer, count)
        kind.check(artefact.at(results), grid.probe, layer=layer, passages=count)
        yield located(artefact, results)


def together(
    probed: Sequence[specs.ProbedGrid],
) -> dict[tuple[str, tuple[int, ...]], list[specs.ProbedGrid]]:
    """The grids of each dataset whose probes have the same seeds, and so the same samples."""
    groups: dict[tuple[str, tuple[int, ...]], list[specs.ProbedGrid]] = {}
    for grid in probed:
        groups.setdefault((grid.dataset, tuple(grid.seeds)), []).append(grid)
    return groups


def side(
    results: Path, cell: specs.CountedSide, kind: type[ActivationTexts] | type[Ablations], spec: str
) -> pl.LazyFrame:
    """A table of a side under an attribution, with where it stands.

    spec: the digest of its slice.
    """
    artefact = kind(cell.attribution, cell.encoder, cell.dataset, cell.side)
    kind.check(artefact.at(results), spec)
    return located(artefact, results)


Cell = TypeVar("Cell", bound=specs.CountedSide)


def groups(grid: Sequence[Cell]) -> dict[tuple[str, str, str], list[Cell]]:
    """The cells of each attribution, dataset and side."""
    cells: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in grid:
        cells.setdefault((cell.attribution, cell.dataset, cell.side), []).append(cell)
    return cells


def located(artefact: Artefact, results: Path, *leave: str) -> pl.LazyFrame:
    """A file with its wildcards as columns before its own.

    leave: wildcards that are no columns.
    """
    columns = [pl.lit(v).alias(name) for name, v in vars(artefact).items() if name not in leave]
    file = pl.scan_parquet(shards.sound(artefact.at(results)))
    return file.select(*columns, pl.all()).cast({pl.Int32: pl.Int64})
