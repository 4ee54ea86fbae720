"""Tokenizers of fresh models: trained on texts in the way of another tokenizer, or given."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest
import tokenizers
import torch
import transformers
from tokenizers import processors
from tokenizers.pre_tokenizers import ByteLevel

from tests.support import checkpoints
from wellspring.errors import ModelError
from wellspring.models import sources, vocabulary
from wellspring.models.load import load
from wellspring.models.tokenizer import around, embedded, read

TEXTS = [
    f"{first} {second} the {third}ing of {second}s, naïvely"
    for first in ("Where", "What", "which")
    for second in ("retriever", "knowledge", "token", "vector")
    for third in ("read", "learn", "compar", "embedd", "find")
]
UNSEEN = "Ωμέγα 知识 🤖 retrievers"


def byte_level(*special):
    letters = sorted(ByteLevel.alphabet())
    return {token: id_ for id_, token in enumerate([*special, *letters])}


PIECES = {
    token: id_
    for id_, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *vocabulary.BYTES, "▁"])
}
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
FAMILIES = {
    "bert": ("BertTokenizer", {"vocab": {t: i for i, t in enumerate(BERT)}}),
    "mpnet": (
        "MPNetTokenizer",
        {"vocab": {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "[UNK]", "<mask>", "a"])}},
    ),
    "roberta": ("RobertaTokenizer", {"vocab": byte_level(*ROBERTA), "merges": []}),
    "phi": ("CodeGenTokenizer", {"vocab": byte_level("<|endoftext|>"), "merges": []}),
    "qwen": ("Qwen2Tokenizer", {"vocab": byte_level("<|endoftext|>"), "merges": []}),
    "llama": ("LlamaTokenizer", {"vocab": PIECES, "merges": [], "add_bos_token": True}),
    "gemma": (
        "GemmaTokenizer",
        {
            "vocab": {{"<s>": "<bos>", "</s>": "<eos>"}.get(t, t): i for t, i in PIECES.items()},
            "merges": [],
        },
    ),
}
"""Each kind of tokenizer that the built-in architectures are published with, its class and what it
is built of, less those of kind Unigram (T5, XLM-R)."""


def family(name, folder):
    kind, options = FAMILIES[name]
    getattr(transformers, kind)(**options).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_everything_but_the_vocabulary_is_that_of_the_other_tokenizer(name, tmp_path):
    base = family(name, tmp_path / "base")
    size = 420 if name in ("llama", "gemma") else 330
    count = vocabulary.train(base, tmp_path / "own", TEXTS, size)
    before, own = read(base)[0], read(tmp_path / "own")[0]
    assert type(own) is type(before) and count == embedded(own) == len(own) <= size
    assert own.special_tokens_map == before.special_tokens_map
    assert sorted(own.get_vocab().values()) == list(range(count))
    assert around(own) == around(before) and own.padding_side == before.padding_side
    ids = {"pad": own.pad_token_id, "eos": own.eos_token_id, "bos": own.bos_token_id}
    assert all(id_ is None or 0 <= id_ < count for id_ in ids.values())
    # The same tokens around a text and between two.
    for texts in (("a",), ("a", "a")):
        tokens = [each.convert_ids_to_tokens(each(*texts)["input_ids"]) for each in (before, own)]
        special = [[t for t in some if t in before.all_special_tokens] for some in tokens]
        assert special[0] == special[1]
    for piece in ("normalizer", "pre_tokenizer", "decoder"):
        first, second = (json.loads((p / "tokenizer.json").read_text())[piece] for p in (base, tmp_path / "own"))
        assert first == second
    # Words of the texts are whole tokens, and nothing is lost that was not lost before.
    pieces = own.tokenize(TEXTS[0])
    assert len(pieces) < len(before.tokenize(TEXTS[0])) or name in ("bert", "mpnet")
    assert any("retriever" in piece for piece in pieces)
    if name not in ("bert", "mpnet"):
        assert own.decode(own(UNSEEN, add_special_tokens=False)["input_ids"]).strip() == UNSEEN
        assert not any(piece.strip("▁Ġ").count("▁") for piece in own.get_vocab())
