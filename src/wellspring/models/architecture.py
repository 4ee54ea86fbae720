"""The description of an architecture: plain data, for built-in ones and for a user's."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wellspring.config.models import Sublayer
from wellspring.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """A family of transformers classes whose blocks and sub-layers have the same paths."""

    classes: Mapping[str, str]
    """The class that config.json names → the transformers class without its head."""
    blocks: str
    """Dotted path from the model to its list of blocks. A part may name alternatives, as
    `question_encoder|ctx_encoder`: the one that the model has is taken."""
    sublayers: Mapping[str, Sublayer]
    """`intermediate` (the activated map into the wider space: of a gated network the gate),
    `output` (back to the hidden size) and, of a gated network, `up` (the map that is gated). A part
    of a path may name alternatives, as `wi|wi_0`."""
    unused: Sequence[str] = ()
    """Regular expressions, searched in the names of weights. What they match may be missing or left
    over: heads, poolers and stored constants on which no hidden state depends."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Classes of the family that cannot encode a text → why."""
    attention: str | None = None
    """Dotted path from a block to the module, called once a pass, in which positions meet: whatever
    else the block does, it does to each position alone. None: not known."""
    pooled: Literal["pooler", "first-token"] = "pooler"
    """What the class itself gives as pooled output: that of its `pooler`, if it has one, or the
    first token's state as it is."""


DENSE_SUBLAYERS = {
    "intermediate": Sublayer(path="intermediate.dense"),
    "output": Sublayer(path="output.dense"),
}
"""The feed-forward network of BERT and of its descendants that kept its names."""

GATED_SUBLAYERS = {
    "intermediate": Sublayer(path="mlp.gate_proj"),
    "output": Sublayer(path="mlp.down_proj"),
    "up": Sublayer(path="mlp.up_proj"),
}
"""The gated feed-forward network of Llama and of the decoders that follow it."""

# Read from the sources, not imported and not listed: a list here would enter the fingerprint of
# every architecture, so that a new one would rerun the others.
BUILTIN: tuple[str, ...] = tuple(
    sorted(
        path.stem
        for path in Path(__file__).parent.glob("*.py")
        if "\nARCHITECTURE = " in path.read_text(encoding="utf-8")
    )
)
"""Names of the built-in architectures, a module each."""


def builtin(name: str) -> Architecture:
    """The built-in architecture of that name; ModelError where there is none."""
    if name not in BUILTIN:
        raise ModelError(f"no architecture is called {name!r} (there are {', '.join(BUILTIN)})")
    return importlib.import_module(f"wellspring.models.{name}").ARCHITECTURE


def knowing(named: str) -> str | None:
    """The built-in architecture that accepts or refuses a class by name; None where none does."""
    for name in BUILTIN:
        known = builtin(name)
        if named in known.classes or named in known.refused:
            return name
    return None


def blocks(model: nn.Module, architecture: Architecture) -> nn.ModuleList:
    """The model's transformer blocks, first to last; ModelError where the path leads elsewhere."""
    from torch import nn

    listed = _follow(model, architecture.blocks)
    if not isinstance(listed, nn.ModuleList):
        raise ModelError(
            f"blocks: {architecture.blocks!r} does not lead from {type(model).__name__} to a list "
            "of blocks"
        )
    return listed


def sublayer(
    model: nn.Module, architecture: Architecture, block: int, name: str
) -> tuple[nn.Linear, slice]:
    """A block's linear map, and the rows of its output that are the sub-layer.

    block: 0 is the first block. Raises ModelError when the architecture has no such sub-layer, when
    the registered path does not lead to an `nn.Linear`, or when the halves of an odd number of rows
    are asked for.
    """
    from torch import nn

    if name not in architecture.sublayers:
        known = ", ".join(architecture.sublayers)
        raise ModelError(f"sublayers: {type(model).__name__} has no {name!r}, but {known}")
    entry = architecture.sublayers[name]
    parent = blocks(model, architecture)[block]
    linear = _follow(parent, entry.path)
    if not isinstance(linear, nn.Linear):
        raise ModelError(
            f"sublayers.{name}: {entry.path!r} does not lead from block {block} "
            f"({type(parent).__name__}) to a linear layer"
        )
    rows = linear.out_features
    if entry.rows == "all":
        return linear, slice(0, rows)
    if rows % 2:
        raise ModelError(f"sublayers.{name}: {entry.path!r} has {rows} rows, which has no halves")
    return linear, slice(0, rows // 2) if entry.rows == "first-half" else slice(rows // 2, rows)


def attention(model: nn.Module, architecture: Architecture, block: int) -> nn.Module | None:
    """A block's module in which positions meet, where the architecture names it.

    block: 0 is the first. Raises ModelError when the registered path leads nowhere.
    """
    if architecture.attention is None:
        return None
    parent = blocks(model, architecture)[block]
    module = _follow(parent, architecture.attention)
    if module is None:
        raise ModelError(
            f"attention: {architecture.attention!r} does not lead from block {block} "
            f"({type(parent).__name__}) to a module"
        )
    return module


def check(model: nn.Module, architecture: Architecture, layers: int) -> None:
    """Raise ModelError unless the model has `layers` blocks with every registered sub-layer."""
    count = len(blocks(model, architecture))
    if count != layers:
        raise ModelError(f"blocks: {architecture.blocks!r} holds {count} blocks, not {layers}")
    for block in range(layers):
        for name in architecture.sublayers:
            sublayer(model, architecture, block, name)
        attention(model, architecture, block)


def _follow(module: nn.Module, path: str) -> nn.Module | None:
    reached: nn.Module | None = module
    for part in path.split("."):
        options = (getattr(reached, option, None) for option in part.split("|"))
        reached = next((option for option in options if option is not None), None)
    return reached
