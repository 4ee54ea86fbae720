"""What the config.json of a checkpoint on this machine says against what a study asks of it.

Nothing is loaded. A checkpoint that has to be fetched first is compared once it is there.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from wellspring.config.entries import Config
from wellspring.errors import ConfigError

SIZES = {
    "layers": ("num_hidden_layers", "n_layers", "num_layers", "n_layer"),
    "hidden_size": ("hidden_size", "dim", "d_model", "n_embd"),
    "intermediate_size": ("intermediate_size", "hidden_dim", "d_ff", "n_inner"),
    "positions": ("max_position_embeddings", "n_positions"),
    "vocabulary": ("vocab_size",),
}
"""What config.json may call a size."""


def sizes(content: Mapping[str, Any]) -> dict[str, int | None]:
    """The sizes that a config.json names; None where it does not say."""
    return {
        size: next((content[name] for name in names if isinstance(content.get(name), int)), None)
        for size, names in SIZES.items()
    }


def check_checkpoints(config: Config, fetched: Callable[[str], Path]) -> None:
    """Compare the models that the study uses with their config.json, where that can be read.

    fetched: gives the folder of a `hub:` source once it was fetched.

    Raises ConfigError, a line each, for a package that is not installed, for another number of
    layers, for a retriever whose encoders differ in width, and for more ablated neurons than there
    are.
    """
    encoders = config.encoders_used()
    problems: list[str] = []
    known: dict[str, dict[str, int | None]] = {}
    for name in dict.fromkeys(config.encoders[encoder].model for encoder in encoders):
        source = _source(config, name)
        scheme, _, place = source.partition(":")
        folder = fetched(source) if scheme == "hub" else Path(place)
        if scheme == "package":
            folder = _package(place)
        if folder is None:
            problems.append(
                f"models.{name}.source: the package {place!r} is not installed in this "
                "environment: install it, or name another source"
            )
        elif content := _content(folder):
            known[name] = sizes(content)
            layers = known[name]["layers"]
            if layers not in (None, config.models[name].layers):
                problems.append(
                    f"models.{name}.layers: {config.models[name].layers}, but {folder}/config.json "
                    f"says {layers}"
                )
    by_encoder = {name: known.get(config.encoders[name].model, {}) for name in encoders}
    problems += _widths(config, by_encoder)
    problems += _ablated(config, by_encoder)
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


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
    attribute = config.study.attribute
    for _, retriever in config.attributed() if attribute else ():
        for encoder in config.retrievers[retriever].encoders.values():
            names = {"output": "hidden_size"}
            for sublayer in config.sublayers_attributed(encoder):
                width = known.get(encoder, {}).get(names.get(sublayer, "intermediate_size"))
                units = (width or 0) * len(config.blocks(encoder))
                most = max(attribute.ablate.neurons)
                if units and 2 * most > units:
                    yield (
                        f"study.attribute.ablate.neurons: {most} highest and as many lowest "
                        f"neurons, and the attributed layers of encoder {encoder!r} have {units} "
                        f"in sub-layer {sublayer!r}: lower it"
                    )


def _source(config: Config, name: str) -> str:
    entry = config.models[name]
    return config.models[entry.place].source if entry.scheme == "random" else entry.source


def _package(name: str) -> Path | None:
    """The checkpoint's folder in an installed package, which is not imported; None where the
    package is not there."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    return next((path.parent for path in sorted(root.glob("*/config.json"))), root)


def _content(folder: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, Mapping) else None
