"""What makes a retriever's vectors, and which retrievers differ in one choice of it alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from wellspring.config import Config, learning
from wellspring.config.vocabulary import OTHER
from wellspring.specs.models import encoding

Nature = dict[str, Any]
"""All that makes a retriever's vectors, by side."""


class Member(NamedTuple):
    """A retriever of a family, with the value of what the family varies."""

    retriever: str
    value: Any


class Variation(NamedTuple):
    """What retrievers may differ in alone.

    `left_out` takes it out of a nature and gives it; None where a nature has none, or different
    ones on its sides.
    """

    dimension: str
    axis: str
    left_out: Callable[[Nature], Any]


def nature(config: Config, retriever: str) -> Nature:
    """All that makes a retriever's vectors; names of entries are no part of it."""
    sides: Nature = {}
    for side in OTHER:
        encoder = config.retrievers[retriever].encoders[side]
        sides[side] = encoding(config, encoder, side).model_dump(mode="json")
        sides[side]["model"] = learning.weights(config, config.encoders[encoder].model)
        sides[side]["similarity"] = config.similarity(retriever)
        sides[side]["top_terms"] = config.encoders[encoder].top_terms
        sides[side]["term_weights"] = config.term_weights(encoder)
    return sides


def before(nature: Nature) -> Nature:
    """What a retriever was before its last training."""
    return {
        side: own | {"model": own["model"]["base"]} if "recipe" in own["model"] else own
        for side, own in nature.items()
    }


def _trained(nature: Nature) -> list[Nature]:
    """The weights of those sides that were trained here."""
    weights = [side["model"] for side in nature.values()]
    return [each for each in weights if "recipe" in each]


def _common(values: Sequence[Any]) -> Any:
    """What all sides have; None where they differ, or there are none."""
    return values[0] if values and all(each == values[0] for each in values) else None


def share(nature: Nature) -> float | None:
    """How far along its run the last training was left. Taken out of the nature, as all below."""
    return _common([weights.pop("share") for weights in _trained(nature)])


def fraction(nature: Nature) -> float | None:
    """The share of the training queries that the last training saw."""
    return _common([weights["recipe"].pop("fraction") for weights in _trained(nature)])


def passage_length(nature: Nature) -> int:
    """Tokens of a passage."""
    return nature["passage"].pop("length")


def query_length(nature: Nature) -> int:
    """Tokens of a query."""
    return nature["query"].pop("length")


def instruction(nature: Nature) -> Sequence[Any]:
    """How queries are written, in use and in training."""
    keys = ("query_template", "instructions")
    recipes = [{key: each["recipe"].pop(key) for key in keys} for each in _trained(nature)]
    return nature["query"].pop("template"), recipes


def tasks(nature: Nature) -> Sequence[Any] | None:
    """The datasets that the last training mixed, with weights and instructions."""
    keys = ("datasets", "weights", "instructions")
    return _common([[each["recipe"].pop(key) for key in keys] for each in _trained(nature)])


def canonical(nature: Nature) -> str:
    """A nature, or a value of one, as text that equal ones share."""
    return json.dumps(nature, sort_keys=True)


def families(
    config: Config, retrievers: Sequence[str], variation: Variation
) -> Iterator[list[Member]]:
    """Retrievers that differ in one choice alone, each value once, in the order of the study."""
    families: dict[str, dict[str, Member]] = {}
    for retriever in retrievers:
        own = nature(config, retriever)
        value = variation.left_out(own)
        if value is not None:
            members = families.setdefault(canonical(own), {})
            members.setdefault(canonical(value), Member(retriever, value))
    yield from (list(members.values()) for members in families.values() if len(members) > 1)
