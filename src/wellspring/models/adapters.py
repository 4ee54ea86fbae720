"""PEFT adapters, added to a model's weights when it loads, and proof that they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from wellspring.errors import ModelError

WEIGHTS = "adapter_model.safetensors"
MERGEABLE = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3")
"""Kinds of adapter that are a change of weights; others add tokens or layers."""
HEADS = ("lm_head", "score", "classifier")
"""Modules of heads, which no hidden state depends on."""
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far merged states may be from unmerged ones, as a share of the largest: merging rounds."""


def merge(model: Any, folder: Path) -> tuple[Any, float]:
    """The model with the adapter's update in its weights, and no trace of the adapter.

    model: a transformers model in evaluation mode. folder: adapter_config.json and
    adapter_model.safetensors. The states of a short input are computed three times: without the
    adapter, with it beside the weights, and with it merged; the first two must differ, the last two
    agree. Also returns how far those are apart, as a share of the largest. Raises ModelError where
    they do not agree, and as `fit` does.
    """
    from peft import set_peft_model_state_dict

    dtype, before = next(model.parameters()).dtype, _states(model)
    adapted, weights = fit(model, folder)
    set_peft_model_state_dict(adapted, weights)
    beside = _states(adapted)
    if torch.equal(before, beside):
        raise ModelError(f"{folder}: the adapter changes nothing: its update is zero")
    merged = adapted.merge_and_unload(safe_merge=True)
    apart = float((_states(merged) - beside).abs().max() / beside.abs().max())
    if not apart <= TOLERANCE[dtype]:
        raise ModelError(
            f"{folder}: merged and unmerged outputs differ by {apart:.1e} of the largest: "
            "load this encoder with dtype: float32"
        )
    return merged, apart


def fit(model: Any, folder: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """The model with places for the adapter's weights, and those weights, not yet in their places.

    model: changed; one on the meta device will do. Raises ModelError where the adapter names
    modules or shapes that the model has not, and where a weight is missing or left over.
    """
    from peft import PeftConfig, get_peft_model

    described(folder)
    try:
        config = PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder}: the adapter cannot be read ({reason})") from None
    _fit_backbone(config)
    weights = {name: value for name, value in weights.items() if not _of_head(name)}
    try:
        adapted = get_peft_model(model, config).eval()
    except ValueError as error:
        raise ModelError(f"{folder}: the adapter does not fit the model: {error}") from None
    expected = _expected(adapted)
    weights = _renamed(weights, expected)
    _check(folder, weights, expected)
    return adapted, weights


def described(folder: Path) -> dict[str, Any]:
    """adapter_config.json; ModelError where it is none of an adapter that can be merged."""
    path = folder / "adapter_config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    kind = content.get("peft_type") if isinstance(content, dict) else None
    if kind not in MERGEABLE:
        raise ModelError(
            f"{path}: peft_type is {kind!r}: only {', '.join(MERGEABLE)} can be merged"
        )
    return content


def _fit_backbone(config: Any) -> None:
    """Make an adapter that was trained below a head one of the model without it."""
    # The wrappers of tasks ask for methods that only models with a head have.
    config.task_type = None
    if not isinstance(config.target_modules, str | None):
        names = (name.removeprefix("model.") for name in config.target_modules)
        config.target_modules = {name for name in names if not _of_head(name)}
    if getattr(config, "modules_to_save", None):
        config.modules_to_save = [n for n in config.modules_to_save if not _of_head(n)] or None


def _of_head(name: str) -> bool:
    return not set(HEADS).isdisjoint(name.split("."))


@torch.no_grad()
def _states(model: Any) -> torch.Tensor:
    """The last hidden states of a few tokens, float32."""
    embedding = model.get_input_embeddings().weight
    ids = torch.arange(min(16, len(embedding)), device=embedding.device)[None]
    return model(input_ids=ids, output_hidden_states=True).hidden_states[-1].float().cpu()


def _expected(adapted: Any) -> dict[str, torch.Size]:
    """The names and shapes of the weights that the adapter has to fill."""
    from peft import get_peft_model_state_dict

    return {name: value.shape for name, value in get_peft_model_state_dict(adapted).items()}


def _renamed(
    weights: dict[str, torch.Tensor], expected: dict[str, torch.Size]
) -> dict[str, torch.Tensor]:
    """The weights under the names of the model without its head.

    An adapter that was trained below a language modelling head has one `model.` more.
    """
    prefix = "base_model.model."
    deeper = f"{prefix}model."
    if weights.keys() & expected.keys() or not all(name.startswith(deeper) for name in weights):
        return weights
    return {prefix + name.removeprefix(deeper): value for name, value in weights.items()}


def _check(folder: Path, weights: dict[str, torch.Tensor], expected: dict[str, torch.Size]) -> None:
    problems = []
    for kind, names in (
        ("missing", expected.keys() - weights.keys()),
        ("left over", weights.keys() - expected.keys()),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{kind}: {', '.join(sorted(names)[:3])}{more}")
    for name in sorted(weights.keys() & expected.keys()):
        if weights[name].shape != expected[name]:
            shapes = f"{list(weights[name].shape)} in the adapter, {list(expected[name])} expected"
            problems.append(f"{name} has another shape ({shapes})")
            break
    if problems:
        raise ModelError(f"{folder}: the adapter is for another model; {'; '.join(problems)}")
