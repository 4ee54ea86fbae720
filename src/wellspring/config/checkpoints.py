"""What a checkpoint's config.json says, for entries that leave it out. Loads no framework."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wellspring.config.models import ARCHITECTURES
from wellspring.errors import ModelError

SIZES = {
    "layers": ("num_hidden_layers", "n_layers", "num_layers", "n_layer"),
    "hidden_size": ("hidden_size", "dim", "d_model", "n_embd"),
    "intermediate_size": ("intermediate_size", "hidden_dim", "d_ff", "n_inner"),
    "positions": ("max_position_embeddings", "n_positions"),
    "vocabulary": ("vocab_size",),
}
"""What config.json may call a size."""
TYPES = {name: name for name in ARCHITECTURES} | {
    "camembert": "roberta",
    "gemma3_text": "gemma3",
    "xlm-roberta": "roberta",
}
"""transformers' `model_type` → the built-in architecture."""


def locate(source: str, holds: str = "config.json") -> Path:
    """The folder of a `package:` or `path:` source; ModelError where it does not hold that file."""
    scheme, _, reference = source.partition(":")
    folder = _package_folder(reference) if scheme == "package" else Path(reference)
    if not folder.is_dir():
        raise ModelError(f"{source}: {folder} is not a folder")
    if not (folder / holds).is_file() and gguf(folder) is None:
        raise ModelError(f"{source}: {folder} holds no {holds}")
    return folder


def gguf(folder: Path) -> Path | None:
    """The GGUF file that is all of a folder's checkpoint; None where there are other weights, or
    several such files."""
    files = sorted(folder.glob("*.gguf"))
    others = any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "*.bin"))
    return files[0] if len(files) == 1 and not others else None


def read(folder: Path) -> dict[str, Any]:
    """A folder's config.json; ModelError where it cannot be read."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file := gguf(folder):
            raise ModelError(
                f"{file}: is read when the model is made: give architecture and layers, which "
                f"`wellspring describe {folder}` prints"
            ) from None
        raise ModelError(f"{folder}: holds no config.json, so it is no checkpoint") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must be a JSON object")
    return content


def sizes(config: Mapping[str, Any]) -> dict[str, int | None]:
    """The model's sizes, None where config.json does not say one."""
    return {
        name: next((config[key] for key in keys if isinstance(config.get(key), int)), None)
        for name, keys in SIZES.items()
    }


def architecture(config: Mapping[str, Any], defined: Mapping[str, Any]) -> str | None:
    """The architecture of a config.json: one of the defined ones that knows its class, or the
    built-in one of its type; None where there is none."""
    named = config.get("architectures")
    for name, entry in defined.items():
        classes = entry.get("classes") if isinstance(entry, Mapping) else None
        if isinstance(classes, Mapping) and named and named[0] in classes:
            return name
    kind = config.get("model_type")
    return TYPES.get(kind) if isinstance(kind, str) else None


def _package_folder(package: str) -> Path:
    # Found, not imported: importing a package may load a whole framework.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"package:{package}: no such package is installed")
    root = Path(next(iter(spec.submodule_search_locations)))
    configs = sorted([*root.glob("config.json"), *root.glob("*/config.json")])
    folders = [path.parent for path in configs if any(path.parent.glob("*.safetensors"))]
    if len(folders) != 1:
        raise ModelError(f"package:{package}: carries {len(folders)} checkpoints, not one")
    return folders[0]
