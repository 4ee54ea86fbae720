"""The files of a study's grids: every one checked, then read with its place as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TypeVar

import polars as pl

from wellspring import specs
from wellspring.artefacts.attributions import Ablations, ActivationTexts
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.probes import ProbeOutcomes


def probes(
    results: Path,
    dataset: str,
    layers: Mapping[str, Sequence[int]],
    passages: Sequence[int],
    digests: Mapping[str, Mapping[str, str]],
    kind: type[ProbeOutcomes] = ProbeOutcomes,
) -> Iterator[pl.LazyFrame]:
    """Each probe job's table of a kind, with where in the grid it stands.

    layers: of each retriever. digests: of the probes' slice, by retriever and dataset.
    """
    for retriever, of_retriever in layers.items():
        for layer, count in product(of_retriever, passages):
            artefact = kind(retriever, dataset, layer, count)
            where = {"layer": layer, "passages": count}
            kind.check(artefact.at(results), digests[retriever][dataset], **where)
            yield located(artefact, results)


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
    return (
        pl.scan_parquet(artefact.at(results)).select(*columns, pl.all()).cast({pl.Int32: pl.Int64})
    )
