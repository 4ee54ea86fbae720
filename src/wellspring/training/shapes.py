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
WITHIN = re.compile(r"(^|\.)[qk]_(layer)?norm\b")
"""Norms of queries and keys."""
BEHIND = re.compile(r"^(output\.LayerNorm|output_layer_norm|post_feedforward_layernorm)\b")
"""Norms that a block ends with."""
ONCE_A_TEXT = re.compile(r"(^|\.)(pooler|encode_proj)(\.|$)")
"""Maps that run on one vector of a text."""


def shapes(model: nn.Module) -> Network:
    """The matrix products of a transformers model and what of it is trained.

    model: an encoder or a decoder of `wellspring.models`, with or without its vocabulary head,
    bare or wrapped by peft with LoRA (adapters that are active and trained). What is trained is read
    from `requires_grad`, the maps from the module tree, heads and the kind of attention from the
    configuration. Raises ModelError for a module in which blocks or attention are not found.
    """
    from torch import nn

    config = _config(model)
    path, listed = next(
        (
            (path, module)
            for path, module in model.named_modules()
            if isinstance(module, nn.ModuleList) and any(map(_is_map, module.modules()))
        ),
        (None, None),
    )
    if path is None or listed is None:
        raise ModelError(f"{type(model).__name__} has no list of transformer blocks: no FLOPs")
    below: list[Stage] = []
    above: list[Stage] = []
    seen = False
    for name, module in _owners(model):
        if name == path or name.startswith(f"{path}."):
            seen = True
        elif not ONCE_A_TEXT.search(name):
            (above if seen else below).append(_stage([module]))
    hooked = any(getattr(module, "_require_grads_hooks", None) for module in model.modules())
    blocks = tuple(_block(block, config) for block in listed)
    return Network(blocks, tuple(below), tuple(above), carried=hooked)


def _config(model: nn.Module) -> Any:
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "num_attention_heads"):
            return config
    raise ModelError(f"{type(model).__name__} has no transformers configuration: no FLOPs")


def _block(block: nn.Module, config: Any) -> Block:
    """A block's stages in the order in which they run, which is not always that of their names."""
    owners = list(_owners(block))
    maps = [(path, module) for path, module in owners if _is_map(module)]
    norms = [(path, module) for path, module in owners if not _is_map(module)]
    heads = [(path, module) for path, module in maps if ATTENTION.search(path)]
    joining = [module for path, module in heads if JOINING.search(path)]
    reading = [module for path, module in heads if not JOINING.search(path)]
    *wide, narrow = [module for path, module in maps if not ATTENTION.search(path)] or [None]
    if len(joining) != 1 or len(reading) not in (1, 3) or narrow is None or not wide:
        raise ModelError(
            f"{type(block).__name__} is no block of one attention and one feed-forward network that "
            "is known here: no FLOPs"
        )
    first = [module for path, module in norms if BEFORE.search(path)]
    within = [module for path, module in norms if WITHIN.search(path)]
    last = [module for path, module in norms if BEHIND.search(path)]
    between = [
        module for _, module in norms if not any(module is one for one in (*first, *within, *last))
    ]
    attention = Attention(
        heads=config.num_attention_heads,
        head_size=_sizes(joining[0])[0] // config.num_attention_heads,
        fused=getattr(config, "_attn_implementation", None) != "eager",
    )
    beside = ()
    stages = [_stage(first), _stage([*reading, *within], attention), _stage([*joining, *between])]
    if first and len(first) == len(norms) - len(within):
        # One norm alone: attention and the feed-forward network both read it.
        beside = (_stage(first), _stage(wide), _stage([narrow]))
    else:
        stages += [_stage(wide), _stage([narrow])]
    if last:
        stages.append(_stage(last))
    return Block(tuple(stages), beside, closed=bool(last) or _drops(block))


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


def _linear(module: nn.Module) -> Linear:
    rank = sum(
        module.r[name] for name in getattr(module, "active_adapters", ()) if name in module.lora_A
    )
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
    return getattr(base, "in_features", None) or base.nx, (
        getattr(base, "out_features", None) or base.nf
    )
