"""Relevance patching (RelP, arXiv 2508.21258): a gradient of a network that is made linear around
what it computes.

Gradients of a deep network are noisy where attention saturates and layer norms cancel. Layer-wise
relevance propagation takes each part by a rule instead:

| part | what stays constant |
| --- | --- |
| layer norm, and division of the embedding by its length | the denominator |
| attention | the weights, so that only values are passed on |
| nonlinearity y = f(x) | the ratio y / x |
| product of a gate and what it gates | either factor in turn, each for half of the product |

Linear maps and sums stay as they are. Backwards, each output z then has a coefficient, and z ×
coefficient is its relevance. The published method multiplies by the difference from a second input;
the counterfactual here is zero, as for all other methods, so that no second pass is needed.

The rules are hooks on a model's modules. A model is refused where a module has no rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from transformers.activations import ACT2CLS

from wellspring.attributions.value import Value, wide
from wellspring.errors import ModelError
from wellspring.models.architecture import attention, blocks, sublayer
from wellspring.models.load import Backbone

QUERIES, KEYS = ("query", "q_lin", "q_proj", "q"), ("key", "k_lin", "k_proj", "k")
"""Names of the maps that attention weights come from."""
FUSED = ("qkv_proj", "Wqkv")
"""Names of a map that gives queries, keys and values, in this order."""

NONLINEAR = (
    *{kind[0] if isinstance(kind, tuple) else kind for kind in ACT2CLS.values()},
    *(nn.GELU, nn.SiLU, nn.ReLU, nn.Tanh),
)
PASSIVE = (nn.Dropout, nn.Identity, nn.Embedding)
NORM = re.compile(r"(LayerNorm|RMSNorm)$")

AGREES = 1e-4
"""How far a norm may be from its rule's own value, as a share of the largest output; more in half
precision."""


def relevance(value: Value) -> torch.Tensor:
    """z × coefficient for each output of a sub-layer's linear map [texts, tokens, out].

    Raises ModelError for a model that has a part without a rule.
    """
    z = wide(value.suffix.z).clone().requires_grad_()
    with rules(value.suffix.recording.backbone), torch.enable_grad():
        total = value(z[None], constant_length=True).sum()
    return (z * torch.autograd.grad(total, z)[0]).detach()


@contextmanager
def rules(backbone: Backbone) -> Iterator[None]:
    """Inside it, the model's values are the same and its gradients are relevance coefficients."""
    with ExitStack() as hooks:
        for module, hook in _hooks(backbone):
            hooks.callback(module.register_forward_hook(hook).remove)
        yield


Hook = Callable[..., torch.Tensor | None]


def _hooks(backbone: Backbone) -> Iterator[tuple[nn.Module, Hook]]:
    """Modules and the hooks that change their outputs, in this order."""
    model, architecture = backbone.model, backbone.architecture
    for module in model.modules():
        if NORM.search(type(module).__name__):
            yield module, _norm
        elif isinstance(module, NONLINEAR):
            yield module, _nonlinearity
    gated = "up" in architecture.sublayers
    for number, block in enumerate(blocks(model, architecture)):
        meeting = attention(model, architecture, number)
        inside = set() if meeting is None else set(meeting.modules())
        yield from _attention(block, meeting)
        maps = {
            name: sublayer(model, architecture, number, name) for name in architecture.sublayers
        }
        known = inside | {linear for linear, _ in maps.values()}
        for name, module in block.named_modules():
            _check(module, name, known, type(block).__name__)
            if gated and isinstance(module, NONLINEAR) and module not in inside:
                yield module, partial(_halved, slice(None))
        if gated:
            linear, rows = maps["up"]
            yield linear, partial(_halved, rows)


def _check(module: nn.Module, name: str, known: Collection[nn.Module], block: str) -> None:
    """Raise ModelError for a module that computes something itself and has no rule."""
    if list(module.children()) or (module in known and isinstance(module, nn.Linear)):
        return
    ruled = isinstance(module, (*NONLINEAR, *PASSIVE)) or NORM.search(type(module).__name__)
    if not ruled:
        raise ModelError(
            f"relp: {type(module).__name__} ({name} of {block}) has no rule: name another method"
        )


def _attention(block: nn.Module, meeting: nn.Module | None) -> Iterator[tuple[nn.Module, Hook]]:
    """Queries and keys without a gradient: the weights that they give are constant."""
    named = {} if meeting is None else dict(meeting.named_modules())
    linears = {
        name.rpartition(".")[2]: (name, module)
        for name, module in named.items()
        if isinstance(module, nn.Linear)
    }
    queries, keys, fused = (
        [linears[n][1] for n in names if n in linears] for names in (QUERIES, KEYS, FUSED)
    )
    if len(queries) == len(keys) == 1 and not fused:
        yield queries[0], _constant
        yield keys[0], _constant
    elif len(fused) == 1 and not queries and not keys:
        path = next(linears[n][0] for n in FUSED if n in linears).rpartition(".")[0]
        parent = cast(Any, named[path])
        values = fused[0].out_features // 3
        if hasattr(parent, "num_key_value_heads"):
            values = parent.num_key_value_heads * parent.head_dim
        yield fused[0], partial(_values_alone, values)
    else:
        raise ModelError(
            f"relp: the attention of {type(block).__name__} has no query and key maps that it "
            "knows: name another method"
        )


def _valued(output: torch.Tensor, linear: torch.Tensor) -> torch.Tensor:
    """The output, with the gradient of `linear`, which is equal to it but for rounding."""
    return output.detach() + (linear - linear.detach()).to(output.dtype)


def _norm(module: nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor | None:
    if not output.requires_grad:
        return None
    x = wide(arguments[0])
    centred = x - x.mean(dim=-1, keepdim=True) if isinstance(module, nn.LayerNorm) else x
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    epsilon = torch.finfo(x.dtype).eps if epsilon is None else epsilon
    scaled = centred * centred.detach().square().mean(dim=-1, keepdim=True).add(epsilon).rsqrt()
    weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
    weight = 1.0 if weight is None else wide(weight)
    near = max(AGREES, torch.finfo(output.dtype).eps ** 0.5) * output.detach().abs().max()
    # Gemma's norms store how far their weights are from 1.
    for gain in (weight, 1 + weight):
        linear = scaled * gain + (0.0 if bias is None else wide(bias))
        if (linear.detach() - output.detach()).abs().max() <= near:
            return _valued(output, linear)
    raise ModelError(
        f"relp: {type(module).__name__} is no layer norm that it knows: name another method"
    )


def _nonlinearity(module: nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor | None:
    if not output.requires_grad:
        return None
    x = arguments[0]
    # An input of exactly zero has no relevance.
    ratio = torch.where(x == 0, 0, output / x).detach()
    return _valued(output, x * ratio)


def _halved(
    columns: slice, module: nn.Module, arguments: tuple, output: torch.Tensor
) -> torch.Tensor:
    halved = output.clone()
    part = output[..., columns]
    halved[..., columns] = _valued(part, part / 2)
    return halved


def _constant(module: nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor:
    return output.detach()


def _values_alone(
    values: int, module: nn.Module, arguments: tuple, output: torch.Tensor
) -> torch.Tensor:
    detached = output.clone()
    detached[..., :-values] = output[..., :-values].detach()
    return detached
