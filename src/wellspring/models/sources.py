"""Where a model's files are, what they hold, and fresh weights for a known architecture."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring.config.checkpoints import gguf
from wellspring.config.checkpoints import locate as locate
from wellspring.digests import sha256
from wellspring.errors import ModelError
from wellspring.models import conventions
from wellspring.randomness import key

if TYPE_CHECKING:
    from wellspring.models.architecture import Architecture

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)

"""What a tokenizer may be made of."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = ("pytorch_model*.bin", "adapter_model.bin")
"""What pickled weights are called."""
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", *PICKLED, "pytorch_model.bin.index.json")
"""What weights and their indexes are called."""


@dataclass(frozen=True)
class Files:
    """The files of a checkpoint that its vectors depend on, with their sha256."""

    weights: Mapping[str, str]
    tokenizer: Mapping[str, str]
    config: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One sha256 for all of them."""
        parts = sorted({**self.weights, **self.tokenizer, **self.config}.items())
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def beside(name: str) -> bool:
    """Whether a path in a checkpoint's folder is of a small file that belongs to the weights."""
    folder, _, file = name.rpartition("/")
    if folder:
        return file == "config.json" and conventions.FOLDER.fullmatch(folder) is not None
    return name in ("config.json", "adapter_config.json", *TOKENIZER_FILES, *conventions.FILES)


def small_files(folder: Path) -> list[str]:
    """The paths in a checkpoint's folder for which `beside` holds."""
    paths = (path.relative_to(folder).as_posix() for path in folder.glob("*/config.json"))
    names = (path.name for path in folder.iterdir() if path.is_file())
    return sorted(filter(beside, [*paths, *names]))


def read_files(folder: Path) -> list[str]:
    """The paths in a checkpoint's folder that a model is made from: weights and `small_files`."""
    weights = [path.name for pattern in WEIGHTS for path in folder.glob(pattern)]
    if file := gguf(folder):
        weights.append(file.name)
    return sorted([*weights, *small_files(folder)])


def files(folder: Path) -> Files:
    """Hash the checkpoint's files; ModelError where it has no safetensors weights, or two sets."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{folder}: holds no *.safetensors weights")
    refuse_two(folder)
    tokenizer = tokenizer_files(folder)
    if not tokenizer:
        raise ModelError(f"{folder}: holds no tokenizer")
    return Files(
        weights={path.name: sha256(path) for path in weights},
        tokenizer={name: sha256(folder / name) for name in tokenizer},
        config={"config.json": sha256(folder / "config.json")},
    )


def tokenizer_files(folder: Path) -> list[str]:
    """The names of a folder's files that a tokenizer is made of."""
    return [name for name in TOKENIZER_FILES if (folder / name).is_file()]


def refuse_two(folder: Path) -> None:
    """Raise ModelError for a whole file of weights beside parts, which would go unread."""
    for single, pattern in (
        (SINGLE, "model-*-of-*.safetensors"),
        ("pytorch_model.bin", "pytorch_model-*-of-*.bin"),
    ):
        parts = sorted(path.name for path in folder.glob(pattern))
        if (folder / single).is_file() and parts:
            raise ModelError(
                f"{folder}: holds {single} and {parts[0]} … ({len(parts)} files, with an index), "
                f"and one of the two is older: remove {single}, or the {len(parts)} files and the "
                "index"
            )


def adapter_files(folder: Path) -> dict[str, str]:
    """sha256 of a PEFT adapter's files; ModelError where it has no safetensors weights."""
    names = ("adapter_config.json", "adapter_model.safetensors")
    if not (folder / names[1]).is_file():
        raise ModelError(f"{folder}: holds no {names[1]}")
    return {name: sha256(folder / name) for name in names}


def make_random(
    base: Path,
    folder: Path,
    architecture: Architecture | str,
    seed: int,
    trained_blocks: int | None = None,
    sizes: Mapping[str, int] | None = None,
    tokenizer: Path | None = None,
) -> None:
    """Write a checkpoint with `base`'s architecture and tokenizer and fresh float32 weights.

    The weights are what transformers draws for a new model, from a generator seeded with `seed`.
    trained_blocks: so many of the lowest blocks, and what is no block, have the weights of `base`
    (Adebayo et al. 2018, cascading randomisation); None: nothing has. sizes: other ones than those
    of `base`, as `wellspring.models.sizes.resized` takes them. tokenizer: a folder with another one
    than that of `base`, whose ids are then embedded. Raises ModelError where it cannot be used.
    """
    import torch

    from wellspring.models.load import model_class, read_config, restore
    from wellspring.models.sizes import fitted, resized
    from wellspring.models.tokenizer import read

    config = read_config(base)
    if sizes:
        config = resized(config, sizes)
    if tokenizer:
        config = fitted(config, read(tokenizer)[0], read(base)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "fresh weights") % 2**63)
        model = model_class(config, architecture)(config)
    if trained_blocks is not None:
        restore(model, base, architecture, trained_blocks)
    store(model.to(torch.float32), tokenizer or base, folder)
    if tokenizer:
        # What reads it may depend on the model beside it.
        read(folder, config.vocab_size)


def store(model: Any, base: Path, folder: Path) -> None:
    """Write a checkpoint of a model, with the tokenizer of another checkpoint, `base`."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    for name in tokenizer_files(base):
        shutil.copyfile(base / name, folder / name)
