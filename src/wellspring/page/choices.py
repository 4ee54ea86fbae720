"""Which retrievers, samples and attributions the page shows first: its choices, without a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wellspring.page.words import listed
from wellspring.plurals import counted
from wellspring.specs import PageSpec, ProbedGrid, StudiedSide

PLACES = 12
"""Retrievers and datasets, and sides, whose texts the page shows."""


@dataclass(frozen=True)
class Cell:
    """Where samples are looked at: a retriever's grid at a layer and a passage count.

    Attributes:
        other: the grid of the counterpart, where it is probed there, too.
    """

    own: ProbedGrid
    other: ProbedGrid | None
    layer: int
    passages: int

    def __str__(self) -> str:
        grids = [each for each in (self.own, self.other) if each]
        shared = any(self.layer != max(each.layers) for each in grids)
        which = " (the last that both have)" if shared else ""
        return f"layer {self.layer}{which}, {counted(self.passages, 'passage')}"


def compared(spec: PageSpec) -> list[str]:
    """The retrievers that the study asks about: those that are compared, or all of them."""
    further = {name for names in spec.twins.values() for name in names[1:]}
    return [name for name in spec.pairs if name not in further] or list(spec.retrievers)


def cells(spec: PageSpec) -> list[Cell]:
    """One for each compared retriever and dataset, at the last layer and the fewest passages; those
    that the counterpart has, too, where there are some."""
    grids = {(grid.retriever, grid.dataset): grid for grid in spec.probed}
    main = compared(spec)
    return [
        _cell(grid, grids.get((spec.pairs.get(grid.retriever, ""), grid.dataset)))
        for grid in grids.values()
        if grid.retriever in main
    ]


def _cell(own: ProbedGrid, other: ProbedGrid | None) -> Cell:
    alone = Cell(own, None, max(own.layers), min(own.passages))
    if other is None:
        return alone
    layers = {*own.layers} & {*other.layers}
    passages = {*own.passages} & {*other.passages}
    if not layers or not passages:
        return alone
    return replace(alone, other=other, layer=max(layers), passages=min(passages))


def sides(spec: PageSpec) -> list[StudiedSide]:
    """The attributed sides of the compared retrievers."""
    main = compared(spec)
    return [side for side in spec.attributed if side.retriever in main]


def without_texts(cells: Sequence[Cell], sides: Sequence[StudiedSide]) -> str:
    """Those beyond the first few, in a sentence; empty where there are none."""
    samples = [f"{each.own.retriever} on {each.own.dataset}" for each in cells[PLACES:]]
    neurons = [
        f"{each.retriever}, {each.side} side of {each.dataset}, {each.attribution}"
        for each in sides[PLACES:]
    ]
    sentences = []
    if samples:
        sentences.append(f"The page shows no samples of {listed(samples, len(samples))}.")
    if neurons:
        sentences.append(f"It shows no neurons of: {'; '.join(neurons)}.")
    return " ".join(sentences)
