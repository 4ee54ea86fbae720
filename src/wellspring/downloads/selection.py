"""Which files of a folder, by their names, are those of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from wellspring.errors import DownloadError

CONFIGS = frozenset({"config.json", "adapter_config.json"})
SAFETENSORS = re.compile(r"(?P<stem>(?:adapter_)?model)(?:-\d+-of-(?P<shards>\d+))?\.safetensors")
PICKLES = re.compile(r"(?P<stem>pytorch_model|adapter_model)(?:-\d+-of-(?P<shards>\d+))?\.bin")
INDEX = re.compile(r"model\.safetensors\.index\.json|pytorch_model\.bin\.index\.json")
GGUF = re.compile(r"\w[\w .+-]*\.gguf")
TOKENIZERS = frozenset({"tokenizer.json", "tokenizer_config.json"})
"""Of which a tokenizer of transformers has one at least."""

Small = Callable[[str], bool]
"""Whether a path in a folder is of a small file that belongs to the weights."""


def chosen(names: Iterable[str], small: Small) -> list[str]:
    """The files of a checkpoint; of subfolders, the small ones alone.

    Safetensors go before pickles for the model and for the adapter, each by itself.
    """
    names = [name for name in names if belongs(name, small)]
    safe = {match["stem"] for name in names if (match := SAFETENSORS.fullmatch(name))}

    def needed(name: str) -> bool:
        if pickle := PICKLES.fullmatch(name):
            return _holder(pickle) not in safe
        if INDEX.fullmatch(name):
            return name.startswith("model.") == ("model" in safe)
        return True

    return sorted(filter(needed, names))


def belongs(name: str, small: Small) -> bool:
    """Whether a path may be of a file of a checkpoint: weights, or what is read with them."""
    patterns = (SAFETENSORS, PICKLES, INDEX, re.compile(r"[^/]+\.model"))
    return small(name) or any(pattern.fullmatch(name) for pattern in patterns)


def remove_others(folder: Path, names: Collection[str], small: Small) -> None:
    """Remove the files of a checkpoint that an earlier source left in `folder`."""
    for path in [*folder.glob("*"), *folder.glob("*/*")]:
        name = path.relative_to(folder).as_posix()
        left = belongs(name, small) or GGUF.fullmatch(name)
        if path.is_file() and left and name not in names:
            path.unlink()


def inside(names: Iterable[str]) -> list[str]:
    """Where models lie among the paths of a package: folders with config.json and weights (`.` is
    the package's own), and GGUF files, each of which is a model."""
    names = list(names)
    folders: dict[str, set[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        folders.setdefault(folder or ".", set()).add(file)
    found = [f for f, own in folders.items() if "config.json" in own and "model" in weights(own)]
    return sorted([*found, *(name for name in names if GGUF.fullmatch(name.rpartition("/")[2]))])


def weights(names: Iterable[str]) -> dict[str, list[int]]:
    """Of the model and of the adapter, as far as there are weights: the total each shard names."""
    shards: dict[str, list[int]] = {}
    for name in names:
        if match := SAFETENSORS.fullmatch(name) or PICKLES.fullmatch(name):
            totals = shards.setdefault(_holder(match), [])
            totals += [int(match["shards"])] if match["shards"] else []
    return shards


def refuse_incomplete(source: str, names: Collection[str]) -> None:
    """Raise DownloadError for chosen files without weights or configuration, or without a shard."""
    shards = weights(names)
    if not shards:
        raise DownloadError(
            f"{source}: holds no weights (model*.safetensors, pytorch_model*.bin or "
            f"adapter_model.*): name a repository of a transformers model or a peft adapter"
        )
    if not CONFIGS.intersection(names):
        raise DownloadError(f"{source}: holds no config.json and no adapter_config.json")
    for totals in shards.values():
        if totals and set(totals) != {len(totals)}:
            raise DownloadError(
                f"{source}: {len(totals)} of {max(totals)} files of its weights are there: "
                f"fetch it again where there is a network, or name another revision"
            )


def _holder(match: re.Match[str]) -> str:
    """Whose weights a file has: `model` or `adapter_model`."""
    return match["stem"].removeprefix("pytorch_")
