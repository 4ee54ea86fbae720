"""A checkpoint as a model that gives every layer, loaded so that no weight is silently wrong."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from wellspring.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Backbone:
    """A loaded model in inference mode, and its tokenizer."""

    model: Any
    tokenizer: Any
    layers: int
    """Transformer blocks; hidden states are one more."""
    hidden: int
    device: torch.device

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All hidden states [batch, tokens, hidden], embedding output first.

        ids, mask: [batch, tokens]. The last one stands behind the model's final norm, if it has
        one, the others do not.
        """
        # Without padding no mask is needed, and attention without one is faster.
        padded = not bool(mask.all())
        output = self.model(
            input_ids=ids,
            attention_mask=mask if padded else None,
            output_hidden_states=True,
            use_cache=False,
        )
        return output.hidden_states


def model_class(config: Any, architecture: str) -> type:
    """The transformers class that the checkpoint's config.json names, less its head."""
    known = importlib.import_module(f"wellspring.models.{architecture}").CLASSES
    named = (config.architectures or ["nothing"])[0]
    if named not in known:
        raise ModelError(
            f"config.json names the class {named}, which architecture {architecture!r} does not "
            f"know (it knows {', '.join(known)})"
        )
    return getattr(transformers, known[named])


def load(
    folder: Path, architecture: str, layers: int, dtype: str = "float32", device: str = "cpu"
) -> Backbone:
    """Load a checkpoint folder.

    Raises ModelError when weights are missing, left over or of another shape, when the model does
    not have `layers` blocks, or when the tokenizer knows more tokens than the model embeds.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(folder, **local)
    if config.num_hidden_layers != layers:
        raise ModelError(
            f"the checkpoint has {config.num_hidden_layers} layers, the configuration says {layers}"
        )
    try:
        model, report = model_class(config, architecture).from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            attn_implementation="sdpa",
            use_safetensors=True,
            output_loading_info=True,
            # Reported with the other keys, below.
            ignore_mismatched_sizes=True,
            **local,
        )
    except SafetensorError as error:
        raise ModelError(f"{folder}: the weights cannot be read ({error})") from None
    _check_keys(report, importlib.import_module(f"wellspring.models.{architecture}").UNUSED)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
    embedded = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embedded:
        raise ModelError(
            f"the tokenizer knows {len(tokenizer)} tokens, the model embeds {embedded}"
        )
    return Backbone(
        model=model.eval().requires_grad_(False).to(device),
        tokenizer=tokenizer,
        layers=layers,
        hidden=config.hidden_size,
        device=torch.device(device),
    )


def _named(key: str | tuple[str, torch.Size, torch.Size]) -> str:
    """A weight's name; of a mismatched one its shapes, too."""
    if isinstance(key, str):
        return key
    name, found, expected = key
    return f"{name} ({list(found)} in the checkpoint, {list(expected)} in the class)"


def _check_keys(report: dict[str, Any], unused: tuple[str, ...]) -> None:
    problems = []
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(_named, report.get(kind, ())))
        keys = [key for key in keys if not any(re.search(pattern, key) for pattern in unused)]
        if keys:
            shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            problems.append(f"{kind.replace('_', ' ')}: {shown}")
    if problems:
        raise ModelError("the weights do not fit the class; " + "; ".join(problems))
