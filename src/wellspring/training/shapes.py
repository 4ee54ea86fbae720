"""The shapes of a torch module's matrix products, read from its modules and its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wellspring.errors import ModelError
from wellspring.training.ledger import Attention, Block, Linear, Network, Stage

if TYPE_CHECKING:
    from torch import nn

ATTENTION = re.compile(r"att(entio)?n", re.IGNORECASE)
"""Paths, inside a block, of attention's linear maps."""
JOINING = re.compile(r"(^|\.)(o|o_proj|out_lin|out_proj|Wo|dense|c_proj)$")
"""Among them the one that joins the heads; the others give queries, keys and values."""
BEFORE = re.compile(r"^(input_layernorm|attn_norm|layer\.0\.layer_norm|ln_1)\b")
"""Norms that a block begins with."""
HEADS = re.compile(r"(^|\.)[qk]_(layer)?norm\b")
"""Norms of queries and keys."""
BEHIND = re.compile(r"^(output\.LayerNorm|output_layer_norm|post_feedforward_layernorm)\b")
"""Norms that a block ends with."""
ONCE_A_TEXT = re.compile(r"(^|\.)(pooler|encode_proj)(\.|$)")
"""Maps that run on one vector of a text."""


def shapes(model: nn.Module) -> Network:
    """The matrix products of a transformers model, and what of it is trained.

    model: an encoder or a decoder of `wellspring.models`, with or without its vocabulary head, bare
    or wrapped by peft with LoRA (plain; its active adapters are those that are trained). What is
    trained is read from `requires_grad`, the maps from the module tree, heads and the kind of
    attention from the configuration. Whether the model is in training mode tells whether it drops
    out. Raises ModelError for a module in which blocks or attention are not found.
    """
    from torch import nn

    config = _config(model)
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and any(map(_is_map, module.modules()))
    ]
    if not lists:
        raise ModelError(f"{type(model).__name__} has no list of transformer blocks to count")
    path, listed = lists[0]
    below: list[Stage] = []
    above: list[Stage] = []
    side = below
    for name, module in _owners(model):
        if name.startswith(f"{path}."):
            side = above
        elif not ONCE_A_TEXT.search(name):
            side.append(_stage([module]))
    hooked = any(getattr(module, "_require_grads_hooks", None) for module in model.modules())
    blocks = tuple(_block(block, config) for block in listed)
    return Network(blocks, tuple(below), tuple(above), carried=hooked)


def _config(model: nn.Module) -> Any:
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "num_attention_heads"):
            return config
    raise ModelError(f"{type(model).__name__} has no transformers configuration to count with")


def _block(block: nn.Module, config: Any) -> Block:
    """A block's stages in the order in which they run, which is not always that of their names."""
    owners = list(_owners(block))
    maps = [(path, module) for path, module in owners if _is_map(module)]
    norms = [(path, module) for path, module in owners if not _is_map(module)]
    attending = [(path, module) for path, module in maps if ATTENTION.search(path)]
    joining = [module for path, module in attending if JOINING.search(path)]
    reading = [module for path, module in attending if not JOINING.search(path)]
    feeding = [module for path, module in maps if not ATTENTION.search(path)]
    if len(joining) != 1 or len(reading) not in (1, 3) or len(feeding) < 2:
        raise ModelError(
            f"{type(block).__name__} is no block of one attention and one feed-forward network: "
            "its operations cannot be counted"
        )
    first = [module for path, module in norms if BEFORE.search(path)]
    heads = [module for path, module in norms if HEADS.search(path)]
    last = [module for path, module in norms if BEHIND.search(path)]
    between = [
        module
        for path, module in norms
        if not any(kind.search(path) for kind in (BEFORE, HEADS, BEHIND))
    ]
    attention = Attention(
        heads=config.num_attention_heads,
        head_size=_sizes(joining[0])[0] // config.num_attention_heads,
        fused=config._attn_implementation != "eager",
    )
    stages = (
        _stage(first),
        _stage([*reading, *heads], attention),
        _stage([*joining, *between]),
    )
    fed = (_stage(feeding[:-1]), _stage(feeding[-1:]))
    closed = bool(last) or _drops(block)
    if first and not between and not last:
        # One norm alone: attention and the feed-forward network both read it.
        return Block(stages, (_stage(first), *fed), closed)
    return Block((*stages, *fed, *([_stage(last)] if last else [])), closed=closed)


def _drops(block: nn.Module) -> bool:
    """Whether the block drops out something of its own; adapters' dropouts lie inside the maps."""
    from torch import nn

    inside = {
        id(part) for module in block.modules() if _is_map(module) for part in module.modules()
    }
    return block.training and any(
        isinstance(module, nn.Dropout) and module.p > 0 and id(module) not in inside
        for module in block.modules()
    )


def _stage(modules: Sequence[nn.Module], attention: Attention | None = None) -> Stage:
    maps = [module for module in modules if _is_map(module)]
    weights = {id(_base(module).weight) for module in maps}
    others = [
        parameter
        for module in modules
        for name, parameter in module.named_parameters(recurse=_is_map(module))
        if id(parameter) not in weights and "lora_" not in name
    ]
    return Stage(
        parts=tuple(_linear(module) for module in maps),
        attention=attention,
        other=any(parameter.requires_grad for parameter in others),
    )


def _linear(module: Any) -> Linear:
    active = getattr(module, "active_adapters", ())
    rank = sum(module.r[name] for name in active if name in module.lora_A)
    return Linear(*_sizes(module), trained=_base(module).weight.requires_grad, rank=rank)


def _owners(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What has parameters of its own, in order of registration; linear maps with their adapters."""
    if _is_map(module):
        yield path, module
        return
    if next(module.parameters(recurse=False), None) is not None:
        yield path, module
    for name, child in module.named_children():
        # peft keeps a frozen original beside a module that is trained in its place.
        if not (name == "original_module" and hasattr(module, "modules_to_save")):
            yield from _owners(child, f"{path}.{name}" if path else name)


def _is_map(module: nn.Module) -> bool:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(_base(module), nn.Linear | Conv1D)


def _base(module: nn.Module) -> Any:
    """The module that an adapter of peft stands around."""
    return getattr(module, "base_layer", module)


def _sizes(module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs."""
    base = _base(module)
    if hasattr(base, "in_features"):
        return base.in_features, base.out_features
    return base.nx, base.nf
