"""Blocks of a study that ask for the same file in two ways, or drop what the study stores."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations, product
from typing import TypeVar

from wellspring.config.attributions import Attributing
from wellspring.config.base import Strict
from wellspring.config.entries import Config
from wellspring.config.study import Probing, Searching

Block = TypeVar("Block", Probing, Searching, Attributing)
File = TypeVar("File", bound=Hashable)
SELECTING = {"attributions", "retrievers", "datasets"}
"""Keys of a block that say what it is of, not how."""


def conflicts(config: Config) -> Iterator[str]:
    """A line for every two blocks that disagree, naming both."""
    yield from _probing(config)
    yield from _searching(config)
    yield from _dropping(config)
    yield from _attributing(config)


def _probing(config: Config) -> Iterator[str]:
    def probes(block: Probing) -> Iterable[tuple[str, str]]:
        return product(block.retrievers, block.datasets)

    for where, shared, (one, other) in _overlapping("probe", config.study.probe, probes):
        retriever, dataset = shared
        of = f"probe {retriever!r} on {dataset!r}"
        apart = _apart(one, other, SELECTING | {"layers", "passages"})
        if apart:
            yield f"{where} {of} with different {' and '.join(apart)}: give both the same"
        elif one.layers != other.layers and {*one.passages} != {*other.passages}:
            yield (
                f"{where} {of} in different layers and with different passages, which makes no "
                "whole grid: give both the same layers, or the same passages"
            )


def _searching(config: Config) -> Iterator[str]:
    # Words rank a dataset once, for all retrievers.
    def searches(block: Searching) -> Iterable[str]:
        return block.datasets

    for where, dataset, (one, other) in _overlapping("search", config.study.search, searches):
        if apart := _apart(one, other, SELECTING | {"layers", "keep"}):
            yield (
                f"{where} search {dataset!r} with different {' and '.join(apart)}: give both the "
                "same"
            )


def _dropping(config: Config) -> Iterator[str]:
    """A line for every block that drops vectors which the study stores all the same."""
    stored: dict[tuple[str, str], str] = {}
    for key, retriever, dataset in _storing(config):
        if encoder := _passages(config, retriever):
            stored.setdefault((encoder, dataset), key)
    for number, block in enumerate(config.study.search):
        key = f"study.search.{number}"
        if block.keep:
            continue
        if block.indexes:
            yield (
                f"{key}.keep: false, and {key}.indexes are built of stored vectors: take one of "
                "the two out"
            )
        for name, dataset in product(block.retrievers, block.datasets):
            if where := stored.get((_passages(config, name) or "", dataset)):
                yield (
                    f"{key}.keep: false saves nothing, since {where} needs the stored vectors of "
                    f"{name!r} on {dataset!r}: take one of the two out"
                )
                break


def _storing(config: Config) -> Iterator[tuple[str, str, str]]:
    """What reads stored vectors: its key, and a retriever and a dataset whose vectors these are."""
    for section in ("probe", "search"):
        for number, block in enumerate(getattr(config.study, section)):
            if isinstance(block, Probing) or block.keep:
                for pair in product(block.retrievers, block.datasets):
                    yield f"study.{section}.{number}", *pair
    # Names that nobody knows are reported elsewhere.
    with suppress(KeyError):
        for name in config.recipes_used():
            if teacher := config.recipes[name].teacher:
                for dataset in config.recipes[name].datasets:
                    yield f"recipes.{name}.teacher", teacher, dataset


def _passages(config: Config, retriever: str) -> str | None:
    """The encoder of a retriever's passages, if the retriever is known."""
    known = config.retrievers.get(retriever)
    return known.encoders["passage"] if known else None


def _attributing(config: Config) -> Iterator[str]:
    blocks = config.study.attribute

    def encoders(block: Attributing) -> set[str]:
        known = (config.retrievers.get(name) for name in block.retrievers)
        return {encoder for entry in known if entry for encoder in entry.encoders.values()}

    def scores(block: Attributing) -> Iterable[tuple[str, str, str]]:
        return product(block.attributions, sorted(encoders(block)), block.datasets)

    def removals(block: Attributing) -> Iterable[tuple[str, str]]:
        return product(sorted(encoders(block)), block.datasets) if block.removal else ()

    def checks(block: Attributing) -> Iterable[tuple[str, str]]:
        return product(block.retrievers, block.datasets)

    for where, shared, (one, other) in _overlapping("attribute", blocks, scores):
        attribution, encoder, dataset = shared
        if apart := _apart(one, other, SELECTING | {"removal"}):
            yield (
                f"{where} make {attribution!r} of encoder {encoder!r} on {dataset!r} with "
                f"different {' and '.join(apart)}: give both the same, or one of them an "
                "attribution with a name of its own"
            )
    every = set(Attributing.model_fields)
    for where, shared, (one, other) in _overlapping("attribute", blocks, removals):
        if apart := _apart(one, other, every - {"layers", "removal"}):
            yield (
                f"{where} remove neurons of encoder {shared[0]!r} on {shared[1]!r} with different "
                f"{' and '.join(apart)}: one block with removal is enough for a retriever"
            )
    for where, shared, (one, other) in _overlapping("attribute", blocks, checks):
        if apart := _apart(one, other, every - {"checked_texts", "seed"}):
            yield (
                f"{where} attribute {shared[0]!r} on {shared[1]!r} with different "
                f"{' and '.join(apart)}, and their scores are compared: give both the same"
            )


def _overlapping(
    section: str, blocks: Sequence[Block], files: Callable[[Block], Iterable[File]]
) -> Iterator[tuple[str, File, tuple[Block, Block]]]:
    """Every two blocks that share a file: where they stand, the first such file, and both."""
    for (first, one), (second, other) in combinations(enumerate(blocks, 1), 2):
        theirs = set(files(other))
        shared = next((file for file in files(one) if file in theirs), None)
        if shared is not None:
            yield f"study.{section}: blocks {first} and {second}", shared, (one, other)


def _apart(one: Strict, other: Strict, leaving_out: set[str]) -> list[str]:
    """The keys in which two blocks differ."""
    names = type(one).model_fields
    return [
        name
        for name in names
        if name not in leaving_out and _plain(getattr(one, name)) != _plain(getattr(other, name))
    ]


def _plain(value: object) -> object:
    """A value without the order of a list, which changes nothing."""
    return sorted(value, key=repr) if isinstance(value, list) else value
