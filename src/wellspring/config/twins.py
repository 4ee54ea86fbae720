"""Random twins: a `random:` model with several draws becomes as many models, and so on upwards.

An encoder on such a model becomes an encoder for each draw, a retriever on such an encoder a
retriever for each draw. The first keeps its name, the others get a number: `minilm-random`,
`minilm-random.2`, `minilm-random.3`. Wherever a study names the first, it means all of them; the
others are compared with the first, which shows how far two networks with nothing in common differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from wellspring.config.attributions import Attributing
from wellspring.config.entries import Config
from wellspring.config.models import Encoder, Model, Retriever
from wellspring.config.study import Probing, Searching, Study
from wellspring.errors import ConfigError

Block = TypeVar("Block", Probing, Searching, Attributing)
Draws = Mapping[str, Sequence[str]]
"""Name of a first draw to the names of all."""


def expanded(config: Config) -> Config:
    """The configuration with an entry for each draw.

    Raises ConfigError where the name of a draw is taken.
    """
    models = _drawn(config.models, {name: m.draws for name, m in config.models.items()})
    if not models:
        return config
    encoders = _drawn(
        config.encoders,
        {name: _count(models, entry.model) for name, entry in config.encoders.items()},
    )
    retrievers = _drawn(
        config.retrievers,
        {
            name: max(_count(encoders, side) for side in entry.encoders.values())
            for name, entry in config.retrievers.items()
        },
    )
    expanded_config = config.model_copy(
        update={
            "models": {**config.models, **_models(config.models, models)},
            "encoders": {**config.encoders, **_encoders(config.encoders, encoders, models)},
            "retrievers": {
                **config.retrievers,
                **_retrievers(config.retrievers, retrievers, encoders),
            },
            "attributions": {
                name: entry.model_copy(update={"partners": _partners(entry.partners, encoders)})
                for name, entry in config.attributions.items()
            },
            "study": _study(config.study, retrievers),
        }
    )
    expanded_config._twins = {name: list(names) for name, names in retrievers.items()}
    return expanded_config


def _drawn(entries: Mapping[str, object], draws: Mapping[str, int]) -> dict[str, list[str]]:
    """The names of all draws of those entries that have several."""
    drawn = {
        name: [name, *(f"{name}.{draw}" for draw in range(2, count + 1))]
        for name, count in draws.items()
        if count > 1
    }
    for names in drawn.values():
        if taken := set(names[1:]) & entries.keys():
            raise ConfigError(
                f"{min(taken)}: is the name of a draw of {names[0]!r}: give that entry another name"
            )
    return drawn


def _count(draws: Draws, name: str) -> int:
    return len(draws.get(name, [name]))


def _of(draws: Draws, name: str, index: int) -> str:
    """The name of the draw that goes with the index-th one of another entry."""
    names = draws.get(name, [name])
    return names[index % len(names)]


def _models(models: Mapping[str, Model], drawn: Draws) -> dict[str, Model]:
    return {
        name: models[first].model_copy(update={"seed": models[first].seed + index})
        for first, names in drawn.items()
        for index, name in enumerate(names)
    }


def _encoders(encoders: Mapping[str, Encoder], drawn: Draws, models: Draws) -> dict[str, Encoder]:
    return {
        name: encoders[first].model_copy(
            update={"model": _of(models, encoders[first].model, index)}
        )
        for first, names in drawn.items()
        for index, name in enumerate(names)
    }


def _retrievers(
    retrievers: Mapping[str, Retriever], drawn: Draws, encoders: Draws
) -> dict[str, Retriever]:
    entries = {}
    for first, names in drawn.items():
        entry = retrievers[first]
        for index, name in enumerate(names):
            sides = {side: _of(encoders, entry.encoders[side], index) for side in entry.encoders}
            other = first if index else entry.compared_with
            entries[name] = entry.model_copy(update={**sides, "compared_with": other})
    return entries


def _partners(partners: Mapping[str, str], encoders: Draws) -> dict[str, str]:
    return {
        name: _of(encoders, other, index)
        for first, other in partners.items()
        for index, name in enumerate(encoders.get(first, [first]))
    }


def _study(study: Study, drawn: Draws) -> Study:
    """The study with every draw where it names the first."""

    def all_of(names: Sequence[str]) -> list[str]:
        return [each for name in names for each in drawn.get(name, [name])]

    def multiplied(blocks: Sequence[Block]) -> list[Block]:
        return [b.model_copy(update={"retrievers": all_of(b.retrievers)}) for b in blocks]

    return study.model_copy(
        update={
            "probe": multiplied(study.probe),
            "search": multiplied(study.search),
            "attribute": multiplied(study.attribute),
            "groups": {name: all_of(names) for name, names in study.groups.items()},
        }
    )
