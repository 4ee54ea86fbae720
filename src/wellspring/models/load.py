"""A checkpoint as a model that gives every layer, loaded so that no weight is silently wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from wellspring.errors import ModelError
from wellspring.models import directions
from wellspring.models.architecture import Architecture, blocks, builtin, check
from wellspring.models.tokenizer import read as read_tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

NO_CLASS = (
    'write the one that the weights were saved from into it, as "architectures": ["…"]; the '
    "model's architecture knows"
)
LOCAL = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class Backbone:
    """A loaded model in inference mode, and its tokenizer."""

    model: Any
    tokenizer: Any
    architecture: Architecture
    layers: int
    """Transformer blocks; hidden states are one more."""
    hidden: int
    padding: int
    """The id to pad with. Some models count positions by it; most would take any id."""
    positions: int | None
    """The longest text in tokens, where the model has a table of positions; else None."""
    device: torch.device
    """Where inputs go, and where hidden states come back."""
    merged: float | None = None
    """How far merging the adapter moved the outputs, as a share of the largest; None without an
    adapter."""
    fresh: tuple[str, ...] = ()
    """Names of weights that are not the checkpoint's: of poolers, on which no state depends."""
    embedded: int | None = None
    """How many ids the model embeds. A tokenizer may know more; None: not known."""
    notes: tuple[str, ...] = ()
    """What was decided about the tokenizer, in lines for the log."""

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All hidden states [batch, tokens, hidden], embedding output first.

        ids, mask: [batch, tokens]. The last one comes after the model's final norm, if it has
        one, the others do not. Raises ModelError when the class does not give layers + 1 of them.
        """
        # The mask goes in without padding, too: DPR would guess one from the ids.
        output = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        states = output.hidden_states or ()
        if len(states) != self.layers + 1:
            raise ModelError(
                f"{type(self.model).__name__} gives {len(states)} hidden states, "
                f"not {self.layers + 1}: its class cannot be used"
            )
        return states


def model_class(config: Any, architecture: Architecture | str) -> type:
    """The transformers class that the checkpoint's config.json names, less its head.

    Raises ModelError for a class that the architecture does not know or refuses.
    """
    known = _resolved(architecture)
    if not config.architectures:
        raise ModelError(f"config.json names no class: {NO_CLASS} {', '.join(known.classes)}")
    named = config.architectures[0]
    if named in known.refused:
        raise ModelError(f"config.json names the class {named}: {known.refused[named]}")
    if named not in known.classes:
        raise ModelError(
            f"config.json names the class {named}, which the model's architecture does not know "
            f"(it knows {', '.join(known.classes)})"
        )
    kind = getattr(transformers, known.classes[named], None)
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise ModelError(
            f"classes.{named}: transformers {transformers.__version__} has no model class "
            f"{known.classes[named]}"
        )
    return kind


def describe(folder: Path, architecture: Architecture | str) -> tuple[int, int]:
    """The number of blocks and the hidden size, from config.json alone.

    Raises ModelError for a config.json that cannot be used or names an unknown class.
    """
    config = read_config(folder)
    model_class(config, architecture)
    return _sizes(folder, config)


def skeleton(folder: Path, architecture: Architecture | str) -> Any:
    """The model of a checkpoint on the meta device: its modules and shapes, without weights."""
    config = read_config(folder)
    with torch.device("meta"):
        return model_class(config, architecture)(config)


def parameters(folder: Path, architecture: Architecture | str) -> dict[str, int]:
    """How many numbers a checkpoint's model has: `all`, and `embedding`: of tables that are looked
    up, of words, positions and types, which make no matrix product."""
    model = skeleton(folder, architecture)
    tables = [each for each in model.modules() if isinstance(each, torch.nn.Embedding)]
    return {
        "all": sum(each.numel() for each in model.parameters()),
        "embedding": sum(each.weight.numel() for each in tables),
    }


def read_config(folder: Path) -> Any:
    """The checkpoint's configuration; ModelError where transformers cannot read it."""
    try:
        return transformers.AutoConfig.from_pretrained(folder, **LOCAL)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise ModelError(f"{folder}: config.json cannot be used ({_reason(error)})") from None


def load(
    folder: Path,
    architecture: Architecture | str,
    layers: int,
    dtype: str = "float32",
    device: str = "cpu",
    adapter: Path | None = None,
    device_map: str | Mapping[str, int | str] | None = None,
) -> Backbone:
    """Load a checkpoint folder.

    architecture: a string names a built-in one. adapter: a PEFT folder, merged into the weights.
    device_map: module → device, or "auto": on several cards and, behind them, in the processor's
    memory; this is also done without it when the weights do not fit on one card.

    Raises ModelError when weights are missing, left over or of another shape, when the model does
    not have `layers` blocks with the architecture's sub-layers, and as `tokenizer.read` does.
    """
    from wellspring.models import placement

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    known = _resolved(architecture)
    config = read_config(folder)
    kind = model_class(config, known)
    count, hidden = _sizes(folder, config)
    if count != layers:
        raise ModelError(f"the checkpoint has {count} layers, the configuration says {layers}")
    (model, fresh), apart = read_model(folder, kind, dtype, known.unused), None
    check(model, known, layers)
    embedded = model.get_input_embeddings().num_embeddings
    tokenizer, notes = read_tokenizer(folder, embedded)
    if adapter is not None:
        from wellspring.models import adapters

        model, apart = adapters.merge(model, adapter, known.unused)
    model, input_device = placement.place(model.requires_grad_(False), known, device, device_map)
    if directions.is_bidirectional(config):
        directions.open_both(model, input_device)
    padding = getattr(config, "pad_token_id", None)
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        architecture=known,
        layers=layers,
        hidden=hidden,
        padding=padding if isinstance(padding, int) and 0 <= padding < embedded else 0,
        positions=positions(model),
        merged=apart,
        device=input_device,
        fresh=fresh,
        embedded=embedded,
        notes=notes,
    )


def restore(
    model: Any, folder: Path, architecture: Architecture | str, trained_blocks: int
) -> None:
    """Give a fresh model the checkpoint's weights, except for blocks above the lowest ones.

    trained_blocks: how many of the lowest blocks get them.

    Raises ModelError as `load` does for weights.
    """
    known = _resolved(architecture)
    trained, _ = read_model(folder, type(model), "float32", known.unused)
    weights, above = trained.state_dict(), blocks(model, known)[trained_blocks:]
    fresh = {id(tensor) for tensor in above.state_dict(keep_vars=True).values()}
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if id(tensor) not in fresh:
                tensor.copy_(weights[name])


def _resolved(architecture: Architecture | str) -> Architecture:
    return builtin(architecture) if isinstance(architecture, str) else architecture


def _reason(error: Exception) -> str:
    """The line of a library's message that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _sizes(folder: Path, config: Any) -> tuple[int, int]:
    if getattr(config, "quantization_config", None):
        raise ModelError(f"{folder}: the weights are quantised: name the checkpoint they are of")
    sizes: dict[str, Any] = {
        name: getattr(config, name, None) for name in ("num_hidden_layers", "hidden_size")
    }
    for name, size in sizes.items():
        if not isinstance(size, int):
            raise ModelError(f"{folder}: config.json has no {name}")
    return sizes["num_hidden_layers"], sizes["hidden_size"]


def read_model(
    folder: Path, kind: type, dtype: str, unused: Sequence[str]
) -> tuple[Any, tuple[str, ...]]:
    """The model of a class in inference mode, and its weights that are not the checkpoint's.

    unused: expressions of those that may be missing or left over. Raises ModelError where others
    are, or are of another shape.
    """
    try:
        model, report = kind.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            attn_implementation="sdpa" if kind._supports_sdpa else "eager",
            use_safetensors=True,
            output_loading_info=True,
            # Reported with the other keys, below.
            ignore_mismatched_sizes=True,
            **LOCAL,
        )
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{folder}: the weights cannot be read ({_reason(error)})") from None
    except ValueError as error:
        raise ModelError(f"{folder}: the model cannot be built ({_reason(error)})") from None
    check_keys(report, unused)
    # Not an argument of every class's call, but read by those that would keep a cache.
    model.config.use_cache = False
    fresh = (*report.get("missing_keys", ()), *report.get("mismatched_keys", ()))
    return model.eval(), tuple(sorted(map(_named, fresh)))


def positions(model: Any) -> int | None:
    """The longest text in tokens, where the model has a table of positions; else None."""
    for name, table in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(table, torch.nn.Embedding):
            # RoBERTa and MPNet count from behind the padding token's id.
            return table.num_embeddings - (
                0 if table.padding_idx is None else table.padding_idx + 1
            )
    return None


def _named(key: str | tuple[str, torch.Size, torch.Size]) -> str:
    """A weight's name; of a mismatched one its shapes, too."""
    if isinstance(key, str):
        return key
    name, stored, expected = key
    return f"{name} ({list(stored)} in the checkpoint, {list(expected)} in the class)"


def check_keys(report: dict[str, Any], unused: Sequence[str]) -> None:
    """Raise ModelError for weights that are missing, left over or of another shape.

    report: what transformers tells of loading. unused: expressions of those that may be.
    """
    problems = []
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(_named, report.get(kind, ())))
        keys = [key for key in keys if not any(re.search(pattern, key) for pattern in unused)]
        if keys:
            shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            problems.append(f"{kind.replace('_', ' ')}: {shown}")
    if problems:
        raise ModelError("the weights do not fit the class; " + "; ".join(problems))
