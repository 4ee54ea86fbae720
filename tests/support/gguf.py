"""Small GGUF files, in the layout that llama.cpp's converter gives a Llama."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from wellspring.models.tokenizer import PROBES

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NAMES = {
    "lm_head": "output",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}
"""What transformers calls a part of a Llama → what GGUF calls it."""


def tokenizer(*, digits: bool = True) -> Tokenizer:
    """Byte-level BPE with merges of its own; each digit by itself, or GPT-2's rules alone."""
    split = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [*split, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([text for text in PROBES for _ in range(3)], trainer)
    return made


def llama(tokens: int, *, tied: bool = True) -> Any:
    """A Llama of two blocks with fresh weights. tied: its head has the weights of the embedding."""
    config = transformers.LlamaConfig(
        vocab_size=tokens,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_theta=5000.0,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(3)
    return transformers.LlamaForCausalLM(config).eval()


def write(
    path: Path,
    model: Any,
    words: Tokenizer,
    quantised: str = "F32",
    settings: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
) -> Path:
    """Write model and tokenizer as one file.

    quantised: the type of the matrices. settings: keys of the header in place of these, None to
    leave one out. weights: more of them by name, None to leave one out.
    """
    import gguf

    config, state = model.config, json.loads(words.to_str())
    vocabulary = sorted(words.get_vocab(), key=words.get_vocab().__getitem__)
    header = {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.rope.dimension_count": config.head_dim,
        "llama.vocab_size": config.vocab_size,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.token_type": [3 if token in SPECIAL else 1 for token in vocabulary],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in state["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        **(settings or {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, header.pop("general.architecture", "llama"))
    for key, value in header.items():
        _add(writer, key, value)
    matrices = gguf.GGMLQuantizationType[quantised]
    tensors = {
        _name(name): _laid_out(name, value, config)
        for name, value in model.state_dict().items()
        if not (config.tie_word_embeddings and name == "lm_head.weight")
    }
    for name, value in (tensors | dict(weights or {})).items():
        if value is not None:
            kind = matrices if value.ndim > 1 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif value is not None:
        writer.add_array(key, value)


def _name(name: str) -> str:
    for theirs, own in NAMES.items():
        name = name.replace(theirs, own)
    return name


def _laid_out(name: str, value: torch.Tensor, config: Any):
    """A weight as llama.cpp lays it out: the two halves of a head's rotation side by side."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, count in heads.items():
        if part in name:
            halves = value.reshape(count, 2, value.shape[0] // count // 2, value.shape[1])
            value = halves.swapaxes(1, 2).reshape(value.shape)
    return value.contiguous().numpy()
