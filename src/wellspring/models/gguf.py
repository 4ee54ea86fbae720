"""A checkpoint that is one GGUF file, stored again as config.json, tokenizer and safetensors.

transformers reads the file, with the `gguf` package. What it would read wrongly without a word is
refused here, or put right: rules by which a tokenizer splits a text, settings of the model, weights
that no class takes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from wellspring.errors import ModelError
from wellspring.models.load import LOCAL, check_keys
from wellspring.models.tokenizer import around

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES])
SPLITS: dict[str, Any] = {
    **dict.fromkeys(["gpt-2", "mpt", "olmo", "phi-2"], BYTES),
    **dict.fromkeys(["codeshell", "command-r", "refact", "smollm", "starcoder"], DIGITS),
}
"""`tokenizer.ggml.pre` → how a text is split before its bytes are merged, as llama.cpp splits it
(llama-vocab.cpp): by GPT-2's expression, and in some by digits first."""

READ = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "vocab_size",
    # Of other sizes, the weights would not fit.
    "attention.key_length",
    "attention.value_length",
}
"""Settings of a model that transformers reads, or that the shapes of its weights tell."""
MODEL = "llama"
"""`general.architecture` of the models for which that is so."""


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself, as far as it is used here."""

    split: str
    """Name of the rules by which a text is split."""
    flags: tuple[bool, bool]
    """Whether the tokenizer puts its begin token before a text, and its end token behind."""
    tensors: int
    """How many it holds."""


def outline(path: Path, target: Path) -> None:
    """Write the config.json and the tokenizer of a GGUF file into `target`.

    Raises ModelError where the file cannot be read, or says what would not be honoured.
    """
    _outline(path, target, _header(path))


def dequantise(path: Path, target: Path) -> None:
    """Write a GGUF file as a checkpoint of float32 safetensors into `target`.

    Raises ModelError as `outline` does, and where the file has not exactly the weights that the
    class takes.
    """
    header = _header(path)
    _outline(path, target, header)
    kind: Any = transformers.AutoModelForCausalLM
    with _said_of(path):
        model, report = kind.from_pretrained(
            path.parent,
            gguf_file=path.name,
            dtype=torch.float32,
            output_loading_info=True,
            # Reported with the other keys, below.
            ignore_mismatched_sizes=True,
            **LOCAL,
        )
    check_keys(report, ())
    if header.tensors != (taken := len(list(model.parameters()))):
        raise _refused(path, f"holds {header.tensors} weights, of which the class takes {taken}")
    # The weights are dense now. The note that they were not forbids to store them.
    model.hf_quantizer.remove_quantization_config(model)
    model.save_pretrained(target, safe_serialization=True)


def _outline(path: Path, target: Path, header: Header) -> None:
    with _said_of(path):
        config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=path.name, **LOCAL)
        config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]]
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, **LOCAL
        )
    tokenizer.backend_tokenizer.pre_tokenizer = SPLITS[header.split]
    # A conversation's template says nothing of a text that is embedded.
    tokenizer.chat_template = None
    if around(tokenizer) != header.flags:
        raise _refused(path, "puts a token around texts that transformers does not, or the reverse")
    target.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(target)
    tokenizer.save_pretrained(target)


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """One line for whatever the libraries raise; their bars, which no setting turns off, unseen."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):
            yield
    except (ValueError, LookupError, NotImplementedError, OSError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{path}: cannot be read as a model ({reason})") from None


def _header(path: Path) -> Header:
    """The file's header; ModelError where it asks for what would not be honoured."""
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        kind = reader.fields["general.architecture"].contents()
        fields: dict[str, Any] = {
            name: None if len(field.types) > 1 else field.contents()
            for name, field in reader.fields.items()
        }
    except (ValueError, LookupError, OverflowError, UnicodeDecodeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{path}: is no GGUF file, or is cut ({reason})") from None
    if kind != MODEL:
        raise _refused(path, f"is a model of the kind {kind!r}, and {MODEL} alone is known here")
    own = {name.removeprefix(f"{kind}.") for name in fields if name.startswith(f"{kind}.")}
    if unread := sorted(own - READ):
        raise _refused(path, f"sets {', '.join(unread)}, which transformers does not read")
    tokenizer = fields.get("tokenizer.ggml.model")
    if tokenizer != "gpt2":
        raise _refused(
            path, f"has a tokenizer of the kind {tokenizer!r}, and gpt2 alone is known here"
        )
    split = fields.get("tokenizer.ggml.pre", "default")
    if split not in SPLITS:
        known = ", ".join(sorted(SPLITS))
        raise _refused(path, f"splits texts by the rules {split!r}, and known here are {known}")
    begins, ends = (bool(fields.get(f"tokenizer.ggml.add_{end}_token")) for end in ("bos", "eos"))
    return Header(split, (begins, ends), len(reader.tensors))


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path}: {reason}: name the safetensors that the file was made of")
