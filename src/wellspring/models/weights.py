"""Pickled weights (*.bin) read as nothing but tensors, and stored again as safetensors."""

from __future__ import annotations

import json
import pickle  # for the name of an error that torch raises: nothing is unpickled
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from wellspring.errors import ModelError
from wellspring.models.sources import PICKLED, small_files

POINTER = b"version https://git-lfs"


def convert(folder: Path, target: Path) -> None:
    """Store the *.bin weights in `folder` as safetensors in `target`, a file at a time.

    The small files and the index go with them. torch reads the files with
    `weights_only`, which runs no code of theirs. Raises ModelError where a file holds anything but
    tensors or cannot be read.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in (path for pattern in PICKLED for path in sorted(folder.glob(pattern))):
        written = target / _renamed(path.name)
        part = written.with_name(f".{written.name}.part")
        # Tied weights share memory, which safetensors refuses: each gets its own.
        tensors = {name: value.contiguous().clone() for name, value in _tensors(path).items()}
        save_file(tensors, part, metadata={"format": "pt"})
        part.replace(written)
    index = folder / "pytorch_model.bin.index.json"
    if index.is_file():
        try:
            content = json.loads(index.read_text(encoding="utf-8"))
            places = {name: _renamed(file) for name, file in content["weight_map"].items()}
            text = json.dumps({**content, "weight_map": places}, indent=2, sort_keys=True)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{index}: is no index of weights") from None
        (target / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    for name in small_files(folder):
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / name, target / name)


def _renamed(name: str) -> str:
    return name.replace("pytorch_model", "model").replace(".bin", ".safetensors")


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise ModelError(f"{path}: is a git-lfs pointer, not the file: run git lfs pull")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch's own words would advise to run the file's code.
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError):
        raise ModelError(
            f"{path}: cannot be read: it is cut, no file of weights, or holds more than tensors"
        ) from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not named tensors")
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"{path}: {name} is a {type(value).__name__}, not a tensor")
    return content
