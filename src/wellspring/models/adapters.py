"""PEFT adapters, added to a model's weights when it loads, under the names they were trained with.

An adapter names modules: in its weights, in patterns of ranks and scales, in regular expressions.
Trained below a head it calls a backbone's `layers.0` `model.layers.0` or `bert.encoder.layer.0`. So
the backbone is put where the adapter expects it, and PEFT reads every field as it did in training.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from wellspring.errors import ModelError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MERGEABLE = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3")
"""Kinds of adapter that are a change of weights; others add tokens or layers."""
STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Values of LoRA's init_lora_weights that leave the base's weights as they are."""
HEADS = ("lm_head", "score", "classifier")
"""Modules of heads, which no hidden state depends on."""
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far merged states may be from unmerged ones, as a share of the largest: merging rounds."""
OUTER = "base_model.model."
"""What PEFT puts before every name in an adapter's file."""
DOES_NOT_FIT = "the adapter does not fit the model"


def merge(model: Any, folder: Path, unused: Sequence[str] = ()) -> tuple[Any, float]:
    """The model with the adapter's update in its weights, and no trace of the adapter.

    model: a transformers model in evaluation mode. folder: adapter_config.json and
    adapter_model.safetensors. unused: as in `fit`. The states of a short input are computed three
    times: without the adapter, with it beside the weights, and with it merged. The first two must
    differ and the last two must agree. That proves that the adapter does something, and that
    merging only rounded. It does not prove that the adapter is read rightly, since both sides read
    it once. That rests on `fit`, where every name, shape and pattern must meet a module, and on
    tests against PEFT on the model with its head.

    Also returns how far the last two are apart, as a share of the largest. Raises ModelError where
    they do not agree, and as `fit` does.
    """
    from peft import set_peft_model_state_dict

    dtype, before = next(model.parameters()).dtype, _states(model)
    adapted, weights = fit(model, folder, unused)
    with _strictly(folder, DOES_NOT_FIT):
        set_peft_model_state_dict(adapted, weights)
    beside = _states(model)
    if torch.equal(before, beside):
        raise ModelError(f"{folder}: the adapter changes nothing: its update is zero")
    with _strictly(folder, "the adapter cannot be merged"):
        adapted.merge_and_unload(safe_merge=True)
    apart = float((_states(model) - beside).abs().max() / beside.abs().max())
    if not apart <= TOLERANCE[dtype]:
        raise ModelError(
            f"{folder}: merged and unmerged outputs differ by {apart:.1e} of the largest: "
            "load this encoder with dtype: float32"
        )
    return model, apart


def fit(
    model: Any, folder: Path, unused: Sequence[str] = ()
) -> tuple[Any, dict[str, torch.Tensor]]:
    """The model with empty modules for the adapter's weights, and those weights, not yet loaded.

    model: is changed; it may be on the meta device. unused: regular expressions, searched in the
    names of the adapter's modules, for what the model lacks and no hidden state depends on. Raises
    ModelError where the adapter names modules or shapes that the model lacks, where a
    weight is missing or left over, and with whatever PEFT warns about.
    """
    from peft import get_peft_model, get_peft_model_state_dict

    config, weights = _read(folder)
    prefix = _prefix(folder, model, weights)
    # Without its head nothing shares the embedding.
    model.config.tie_word_embeddings = False
    outer = _Outer(model, prefix) if prefix else model
    embedding = model.get_input_embeddings()
    modules = {module: name for name, module in outer.named_modules() if name}
    known = set(modules.values())
    outside = {name for name in weights if _is_outside(name, prefix, known, unused)}
    with _strictly(folder, DOES_NOT_FIT):
        _leave_out(config, known, weights.keys() - outside, outside)
        adapted = get_peft_model(outer, config).eval()
        # Where the embedding is adapted, PEFT stores its own weights beside the update.
        stored = f"{modules[embedding]}.base_layer.weight" in weights
        expected = get_peft_model_state_dict(adapted, save_embedding_layers=stored)
    weights = {f"{OUTER}{name}": value for name, value in weights.items() if name not in outside}
    _check(folder, weights, {name: value.shape for name, value in expected.items()}, prefix, unused)
    return adapted, weights


def described(folder: Path) -> dict[str, Any]:
    """adapter_config.json; ModelError where the adapter cannot be merged."""
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if reason := _cannot_be_merged(content):
        raise ModelError(f"{path}: {reason}")
    return content


def _cannot_be_merged(content: Any) -> str | None:
    kind = content.get("peft_type") if isinstance(content, dict) else None
    if kind not in MERGEABLE:
        return f"peft_type is {kind!r}: only {', '.join(MERGEABLE)} can be merged"
    if (start := content.get("init_lora_weights", True)) not in STARTS:
        return (
            f"init_lora_weights is {start!r}, which changes the base's weights, too: store the "
            "adapter as a plain LoRA (with path_initial_model_for_weight_conversion of PEFT's "
            "save_pretrained)"
        )
    if kind == "ADALORA" and content.get("rank_pattern"):
        return (
            "its ranks were allocated in training (rank_pattern of AdaLoRA): merge it into its "
            "base with PEFT, and name the merged model"
        )
    if content.get("alora_invocation_tokens"):
        return "it acts behind certain tokens alone (alora_invocation_tokens): it cannot be merged"
    if content.get("layer_replication"):
        return "it repeats layers of its base (layer_replication): it cannot be merged"
    return None


class _Outer(torch.nn.Module):
    """A model without its head, at the path where a model with a head has it."""

    def __init__(self, model: Any, path: str) -> None:
        super().__init__()
        module, (*outer, inner) = self, path.split(".")
        for name in outer:
            module.add_module(name, torch.nn.Module())
            module = module.get_submodule(name)
        module.add_module(inner, model)
        self.path = path
        # PEFT asks for these three.
        self.config = model.config
        self.is_gradient_checkpointing = False

    def get_input_embeddings(self) -> Any:
        """The model's own, as transformers' models give it; PEFT asks for it."""
        return cast(Any, self.get_submodule(self.path)).get_input_embeddings()

    def get_output_embeddings(self) -> None:
        """There are none: the head has them."""


def _read(folder: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """The adapter's configuration, and its weights by their names without PEFT's prefix."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    content = described(folder)
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder}: the adapter cannot be read ({reason})") from None
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[content["peft_type"]]
    known = {field.name for field in dataclasses.fields(kind)}
    # A later PEFT writes options that this one does not know. One that is not set does no harm.
    content = {key: value for key, value in content.items() if key in known or value}
    with _strictly(folder, "the adapter cannot be read"):
        config = kind.from_peft_type(**content)
    # The wrappers of tasks ask for methods that only models with a head have.
    config.task_type = config.base_model_name_or_path = None
    config.inference_mode = True
    for start in ("init_lora_weights", "init_ia3_weights", "init_weights"):
        # Modules that get no weight from the adapter change nothing.
        if hasattr(config, start):
            setattr(config, start, True)
    return config, {name.removeprefix(OUTER): value for name, value in weights.items()}


def _prefix(folder: Path, model: Any, names: Iterable[str]) -> str:
    """Where the adapter expects the model: what stands before its own names in the adapter's."""
    prefixes: dict[str, bool] = {}
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            reached, below = model, parts[depth:]
            while below and below[0] in dict(reached.named_children()):
                reached, below = reached.get_submodule(below[0]), below[1:]
            if reached is not model and _holds_weights(reached):
                prefix = ".".join(parts[:depth])
                numbered = any(part.isdigit() for part in parts[depth:])
                prefixes[prefix] = prefixes.get(prefix, False) or numbered
                break
    # Names without a number may be a head's that resemble the backbone's.
    candidates = [prefix for prefix, numbered in prefixes.items() if numbered] or sorted(prefixes)
    if len(candidates) > 1:
        raise ModelError(
            f"{folder}: the adapter changes several models: {', '.join(sorted(candidates))}"
        )
    return candidates[0] if candidates else ""


def _holds_weights(module: torch.nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _is_outside(name: str, prefix: str, known: set[str], unused: Sequence[str]) -> bool:
    """Whether a weight is for a module beside the backbone, on which its states do not depend."""
    if prefix and not name.startswith(f"{prefix}."):
        return True
    if any("." in path for path in known.intersection(_paths([name]))):
        return False
    return not set(HEADS).isdisjoint(name.split(".")) or _is_unused(name, prefix, unused)


def _is_unused(name: str, prefix: str, unused: Sequence[str]) -> bool:
    own = name.removeprefix(f"{prefix}.")
    return any(re.search(pattern, own) for pattern in unused)


def _paths(names: Iterable[str]) -> set[str]:
    """The modules that weights' names lead through."""
    parts = [name.split(".") for name in names]
    return {".".join(name[:end]) for name in parts for end in range(1, len(name))}


def _leave_out(config: Any, known: set[str], inside: Iterable[str], outside: Iterable[str]) -> None:
    """Remove from the configuration what it says about modules that exist and are not adapted.

    It had no effect in training, or one on the head alone. PEFT warns of it, as it does of a name
    that no module has: that stays in, for the warning to come.
    """
    adapted, others = _paths(inside), known | _paths(outside)

    def idle(pattern: str) -> bool:
        whole = re.compile(rf"(.*\.)?({pattern})$")
        return not any(map(whole.match, adapted)) and any(map(whole.match, others))

    for key in ("rank_pattern", "alpha_pattern"):
        if patterns := getattr(config, key, None):
            active = {name: value for name, value in patterns.items() if not idle(name)}
            setattr(config, key, active)
    if saved := getattr(config, "modules_to_save", None):
        active = [name for name in saved if any(path.endswith(name) for path in known)]
        config.modules_to_save = active or None
    # It is no fault that nothing is excluded: the adapter's weights say which modules it has.
    if excluded := getattr(config, "exclude_modules", None):
        names = [excluded] if isinstance(excluded, str) else map(re.escape, excluded)
        whole = re.compile("|".join(rf"(?:.*\.)?{name}" for name in names))
        if not any(map(whole.fullmatch, known)):
            config.exclude_modules = None
    if hasattr(config, "ensure_weight_tying"):
        config.ensure_weight_tying = False


@contextmanager
def _strictly(folder: Path, fault: str) -> Iterator[None]:
    """Make one line of whatever PEFT or torch raises or warns about."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for kind in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        try:
            yield
        except Exception as error:  # PEFT raises whatever its many parts raise
            raise ModelError(f"{folder}: {fault} ({_line(error)})") from error
    for warning in said:
        raise ModelError(f"{folder}: {fault} ({_line(warning.message)})")


def _line(message: Exception | Warning | str) -> str:
    words = " ".join(str(message).split()) or type(message).__name__
    return words if len(words) <= 300 else words[:299] + "…"


@torch.no_grad()
def _states(model: Any) -> torch.Tensor:
    """The last hidden states of a few tokens, float32."""
    embedding = model.get_input_embeddings().weight
    ids = torch.arange(min(16, len(embedding)), device=embedding.device)[None]
    return model(input_ids=ids, output_hidden_states=True).hidden_states[-1].float().cpu()


def _check(
    folder: Path,
    weights: dict[str, torch.Tensor],
    expected: dict[str, torch.Size],
    prefix: str,
    unused: Sequence[str],
) -> None:
    problems, absent = [], expected.keys() - weights.keys()
    for kind, names in (
        # A pooler that was not there in training keeps its weights.
        ("missing", {n for n in absent if not _is_unused(n.removeprefix(OUTER), prefix, unused)}),
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
