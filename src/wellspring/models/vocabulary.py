"""A vocabulary for texts, in a tokenizer that is otherwise another one's.

Normaliser, pre-tokenizer, kind of model, special tokens and what is put around a text are those of
the other one.

transformers has `train_new_from_iterator` for this. It is not used: a WordPiece vocabulary comes
out otherwise in every process, a post-processor in several parts keeps the old ids, characters
that a Llama writes as bytes are lost, and its merges run across words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import tokenizers
from tokenizers import pre_tokenizers, trainers

from wellspring.datasets.named import named
from wellspring.errors import ModelError
from wellspring.models.tokenizer import embedded, read

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
TRAINERS: Mapping[str, Any] = {
    "BPE": trainers.BpeTrainer,
    "WordLevel": trainers.WordLevelTrainer,
    "WordPiece": trainers.WordPieceTrainer,
}
"""Kind of model → what trains its vocabulary, the same one for the same texts."""
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
"""What a model with `byte_fallback` writes characters as that it does not know."""
WORD = pre_tokenizers.Split("▁", "merged_with_next")
"""SentencePiece's words: no merge runs across them, though none of them is split off later."""


def learned(texts: Sequence[pl.DataFrame], samples: Sequence[pl.DataFrame]) -> list[str]:
    """The texts that training samples name, each once, sorted.

    texts, samples: of each dataset, as `wellspring.datasets.named.named` takes them. Raises
    ModelError where there is no training sample.
    """
    training = [own.filter(pl.col("split") == "train") for own in samples]
    if not any(own.height for own in training):
        raise ModelError("tokenizer.datasets: there are no training samples to learn from")
    parts = [named(*each)["text"] for each in zip(texts, training, strict=True)]
    return pl.concat(parts).unique().sort().to_list()


def train(base: Path, folder: Path, texts: Sequence[str], size: int) -> int:
    """Write the tokenizer of a checkpoint, `base`, with a vocabulary of these texts into a folder.

    size: tokens at most, special ones included. Gives how many there are. Raises ModelError where
    `base`'s tokenizer cannot be trained anew, or the size is too small for what cannot be left out.
    """
    known, _ = read(base)
    if not known.is_fast:
        raise ModelError(f"tokenizer: {type(known).__name__}, that of the model, has no {FILE}")
    known.save_pretrained(folder)
    content = _trained(json.loads(known.backend_tokenizer.to_str()), texts, size)
    written = json.dumps(content, ensure_ascii=False, indent=2)
    (folder / FILE).write_text(written, encoding="utf-8")
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    # They have other ids now.
    settings.pop("added_tokens_decoder", None)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return embedded(read(folder)[0])


def _trained(content: Mapping[str, Any], texts: Sequence[str], size: int) -> dict[str, Any]:
    """The content of a tokenizer.json with a vocabulary of these texts."""
    model = content["model"]
    kind = model["type"]
    if kind not in TRAINERS or model.get("end_of_word_suffix"):
        raise ModelError(
            f"tokenizer: a vocabulary of the kind {kind} would come out otherwise each time: "
            "name the source of a trained one"
        )
    emptied = {**model, "vocab": {}} | ({"merges": []} if kind == "BPE" else {})
    pipeline = tokenizers.Tokenizer.from_str(
        json.dumps({**content, "model": emptied, "added_tokens": [], "post_processor": None})
    )
    special = [token for token in content["added_tokens"] if token["special"]]
    reserved = _reserved(model, special, pipeline, texts)
    options: dict[str, Any] = {"vocab_size": size, "special_tokens": reserved}
    if prefix := model.get("continuing_subword_prefix"):
        options["continuing_subword_prefix"] = prefix
    if kind == "BPE":
        own = pipeline.pre_tokenizer
        pipeline.pre_tokenizer = pre_tokenizers.Sequence([own, WORD]) if own else WORD
        if '"ByteLevel"' in json.dumps(content["pre_tokenizer"]):
            options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
    trainer = TRAINERS[kind](show_progress=False, **options)
    pipeline.train_from_iterator(texts, trainer)
    learned = json.loads(pipeline.to_str())["model"]
    vocabulary = learned["vocab"]
    if len(vocabulary) > size or len(vocabulary) <= len(reserved):
        raise ModelError(
            f"tokenizer.vocabulary: {size:,} is too small: {len(reserved):,} tokens are reserved, "
            "and every character of the texts needs one: ask for "
            f"{max(len(vocabulary), len(reserved) + 1)} or more"
        )
    return {
        **content,
        "model": {
            **model,
            **{name: learned[name] for name in ("vocab", "merges") if name in model},
        },
        "added_tokens": [{**token, "id": vocabulary[token["content"]]} for token in special],
        "post_processor": _renumbered(content["post_processor"], vocabulary),
    }


def _reserved(
    model: Mapping[str, Any],
    special: Sequence[Mapping[str, Any]],
    pipeline: tokenizers.Tokenizer,
    texts: Iterable[str],
) -> list[str]:
    """The tokens that come first, whatever is frequent.

    Special ones; bytes, where characters may be written as them; and those of one character that
    continue a word. The trainer would number these in the order of a hash table, which is another
    one in each process, and pairs that are equally frequent are merged by their numbers.
    """
    tokens = [token["content"] for token in special]
    tokens += [model["unk_token"]] if model.get("unk_token") else []
    tokens += BYTES if model.get("byte_fallback") else []
    if prefix := model.get("continuing_subword_prefix"):
        tokens += [f"{prefix}{each}" for each in sorted(_continuing(pipeline, texts))]
    return list(dict.fromkeys(tokens))


def _continuing(pipeline: tokenizers.Tokenizer, texts: Iterable[str]) -> set[str]:
    """The characters that stand in a word behind its first one."""
    characters: set[str] = set()
    for text in texts:
        normal = pipeline.normalizer.normalize_str(text) if pipeline.normalizer else text
        words = pipeline.pre_tokenizer.pre_tokenize_str(normal) if pipeline.pre_tokenizer else []
        for word in {word for word, _ in words} or {normal}:
            characters.update(word[1:])
    return characters


def _renumbered(piece: Any, ids: Mapping[str, int]) -> Any:
    """A post-processor, or a part of one, whose tokens have other ids."""
    if isinstance(piece, list):
        if len(piece) == 2 and isinstance(piece[0], str) and isinstance(piece[1], int):
            return [piece[0], ids[piece[0]]]
        return [_renumbered(each, ids) for each in piece]
    if isinstance(piece, dict):
        whole = {name: _renumbered(each, ids) for name, each in piece.items()}
        if "ids" in whole and "tokens" in whole:
            whole["ids"] = [ids[token] for token in whole["tokens"]]
        return whole
    return piece
