"""What the config.json of a checkpoint on this machine says against what a study asks of it.

Nothing is loaded. A checkpoint that has to be fetched first is compared once it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from wellspring.config import checkpoints
from wellspring.config.base import is_fetched
from wellspring.config.entries import Config
from wellspring.errors import ConfigError, ModelError


def check_checkpoints(config: Config, fetched: Callable[[str], Path]) -> None:
    """Compare the models that the study uses with their config.json, where that can be read.

    fetched: gives the folder of a source that has to be fetched, once it was.

    Raises ConfigError, a line each, for a package that is not installed, for another number of
    layers, for a retriever whose encoders differ in width, and for more ablated neurons than there
    are.
    """
    encoders = config.encoders_used()
    problems: list[str] = []
    known: dict[str, dict[str, int | None]] = {}
    for name in config.models_used():
        source = _source(config, name)
        scheme, _, reference = source.partition(":")
        folder = fetched(source) if is_fetched(source) else Path(reference)
        if scheme == "package":
            try:
                folder = checkpoints.locate(source)
            except ModelError as error:
                problems.append(
                    f"models.{name}.source: {error}: install it in this environment, or name "
                    "another source"
                )
                continue
        if content := _content(folder):
            known[name] = checkpoints.sizes(content) | _own_sizes(config, name)
            layers = known[name]["layers"]
            if layers not in (None, config.models[name].layers):
                problems.append(
                    f"models.{name}.layers: {config.models[name].layers}, but {folder}/config.json "
                    f"says {layers}"
                )
    for name in config.teachers_used():
        network = config.teachers[name].cross_encoder if name in config.teachers else None
        if network and network.source.startswith("package:"):
            try:
                checkpoints.locate(network.source)
            except ModelError as error:
                problems.append(f"teachers.{name}.cross_encoder.source: {error}")
    by_encoder = {name: known.get(config.encoders[name].model, {}) for name in encoders}
    problems += _widths(config, by_encoder)
    problems += _ablated(config, by_encoder)
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def _own_sizes(config: Config, name: str) -> dict[str, int | None]:
    """Those that a fresh model on the way to a model has for itself."""
    models = (config.models[each] for each in config.lineage(name))
    sizes = next((each.sizes for each in models if each.sizes), None)
    own = sizes.model_dump(exclude_none=True) if sizes else {}
    return {name: own[name] for name in own if name != "heads"}


def _widths(config: Config, known: Mapping[str, Mapping[str, int | None]]) -> Iterable[str]:
    for name, retriever in config.retrievers.items():
        query, passage = (
            known.get(encoder, {}).get("hidden_size") for encoder in retriever.encoders.values()
        )
        if query and passage and query != passage:
            yield (
                f"retrievers.{name}: its query vectors have {query} numbers, its passage vectors "
                f"{passage}: name encoders of one width"
            )


def _ablated(config: Config, known: Mapping[str, Mapping[str, int | None]]) -> Iterable[str]:
    for grid in config.attributed():
        ablate = grid.block.ablate
        entry = config.attributions[grid.attribution]
        for encoder in config.retrievers[grid.retriever].encoders.values():
            layers = config.attributed_layers(grid.attribution, encoder, grid.dataset)
            for key, counts, of in (
                ("neurons", ablate.neurons, len(layers)),
                ("each_layer", ablate.each_layer, 1),
            ):
                most = max(counts, default=0)
                for sublayer in entry.sublayers:
                    size = {"output": "hidden_size"}.get(sublayer, "intermediate_size")
                    units = (known.get(encoder, {}).get(size) or 0) * of
                    if units and 2 * most > units:
                        whose = "the attributed layers" if key == "neurons" else "a layer"
                        has = "have" if key == "neurons" else "has"
                        yield (
                            f"study.attribute.ablate.{key}: {most} highest and as many lowest "
                            f"neurons, and {whose} of encoder {encoder!r} {has} {units} "
                            f"in sub-layer {sublayer!r}: lower it"
                        )


def _source(config: Config, name: str) -> str:
    return config.models[config.lineage(name)[-1]].source


def _content(folder: Path) -> Mapping[str, Any] | None:
    try:
        return checkpoints.read(folder)
    except ModelError:
        return None
