"""Which weights of a model are trained: all, or low-rank updates beside them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch

from wellspring.config import Lora
from wellspring.errors import WellspringError
from wellspring.randomness import key


def prepare(
    model: Any,
    lora: Lora | None,
    unused: Sequence[str],
    seed: int,
    fresh: Sequence[str] | None = None,
) -> Any:
    """The model with gradients where it is trained, in training mode.

    lora: None trains all weights. unused: regular expressions, searched in the names of weights, of
    those on which no vector depends. seed: of the updates' fresh weights. fresh: of a model with a
    vocabulary head the head's weights that no checkpoint had; None: it has no head. LoRA updates no
    head: what is fresh of it is trained in full, the rest stays as it was.

    Raises WellspringError where LoRA names a layer that the model lacks, or one that is tied to the
    embedding.
    """
    trunk = "" if fresh is None else f"{model.base_model_prefix}."

    def used(name: str) -> bool:
        inside = name.removeprefix(trunk)
        return not any(re.search(pattern, inside) for pattern in unused)

    if lora is None:
        for name, weight in model.named_parameters():
            weight.requires_grad_(not name.startswith(trunk) or used(name))
        return model.train()
    from peft import LoraConfig, get_peft_model

    linears = [
        name
        for name, each in model.named_modules()
        if isinstance(each, torch.nn.Linear)
        and name.startswith(trunk)
        # An update of what no vector depends on would be counted and never learn.
        and used(f"{name}.weight")
    ]
    chosen: list[str] = []
    for target in lora.targets:
        named = [name for name in linears if name == target or name.endswith(f".{target}")]
        chosen += [name for name in named if name not in chosen]
        if not named:
            known = sorted({name.rpartition(".")[2] for name in linears})
            raise WellspringError(
                f"lora.targets: {target!r} is no linear layer of the model, which has "
                f"{', '.join(known)}"
            )
    embedding = model.get_input_embeddings().weight
    if tied := [name for name in chosen if model.get_submodule(name).weight is embedding]:
        raise WellspringError(
            f"lora.targets: {tied[0]} has the weights of the embedding, which merging an update of "
            "it would change, too: leave it out"
        )
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=chosen,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # PEFT asks for a property that transformers is about to rename.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        torch.manual_seed(key(seed, "fresh updates") % 2**63)
        adapted = get_peft_model(model, settings).train()
    for name in fresh or ():
        model.get_parameter(name).requires_grad_(True)
    return adapted


def unwrapped(model: Any) -> Any:
    """The model of transformers that LoRA may stand around; its layers have their updates still."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def merged(model: Any, lora: Lora | None, copy: bool = False) -> Any:
    """The model as it was built, with what was learned in its weights, in inference mode.

    copy: of a copy, and the model stays as it is. Low-rank updates that are merged and taken out
    again do not give the same weights.
    """
    model = deepcopy(model) if copy else model
    whole = model if lora is None else model.merge_and_unload(safe_merge=True)
    return whole.eval().requires_grad_(False)


def trained(model: Any) -> int:
    """How many numbers are trained."""
    return sum(each.numel() for each in model.parameters() if each.requires_grad)
