"""PEFT adapters, added to a model's weights when it loads, and proof that they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from wellspring.errors import ModelError

WEIGHTS = "adapter_model.safetensors"
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far merged states may be from unmerged ones, as a share of the largest: merging rounds."""


def merge(model: Any, folder: Path) -> Any:
    """The model with the adapter's update in its weights, and no trace of the adapter.

    model: a transformers model in evaluation mode. folder: adapter_config.json and
    adapter_model.safetensors. The states of a short input are computed three times: without the
    adapter, with it beside the weights, and with it merged; the first two must differ, the last two
    agree. Raises ModelError where they do not, where the adapter names modules or shapes that the
    model has not, and where a weight is missing or left over.
    """
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict

    try:
        config = PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder}: the adapter cannot be read ({reason})") from None
    dtype, before = next(model.parameters()).dtype, _states(model)
    try:
        adapted = get_peft_model(model, config).eval()
    except ValueError as error:
        raise ModelError(f"{folder}: the adapter does not fit the model: {error}") from None
    expected = _expected(adapted)
    weights = _renamed(weights, expected)
    _check(folder, weights, expected)
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
    return merged


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
