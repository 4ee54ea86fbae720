"""Where a model's weights are: on one device or, when they do not fit there, on several."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Mapping
from typing import Any

import torch

from wellspring.models.architecture import Architecture, blocks

ROOM = 0.8
"""The share of a card's free memory that weights may take: the rest is for hidden states."""


def reproducible() -> None:
    """Make the cards of this process give the same bytes each time, and float32 be float32.

    Otherwise the way back through attention adds its parts in the order in which they come, and
    some containers turn on TF32, which rounds the factors of a product to 10 bits.
    """
    # torch asks for it; it is read when a card multiplies its first matrices.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore
    torch.set_float32_matmul_precision("highest")


def place(
    model: Any,
    architecture: Architecture,
    device: str,
    device_map: str | Mapping[str, int | str] | None = None,
) -> tuple[Any, torch.device]:
    """Move a model from the processor's memory to where it runs.

    device_map: module → card, "cpu" or "disk", or "auto"; without it the model goes to `device`,
    or is spread as by "auto" where that is a card too small for it. Returns the model and the
    device where its inputs go and its outputs come back.
    """
    size = sum(tensor.nbytes for tensor in model.parameters())
    if device_map is None:
        if device != "cuda" or size <= ROOM * torch.cuda.mem_get_info()[0]:
            return model.to(device), torch.device(device)
        device_map = "auto"
    from accelerate import dispatch_model

    if isinstance(device_map, str):
        device_map = _automatic(model, architecture, size)
    folder = tempfile.TemporaryDirectory(prefix="wellspring-")
    model = dispatch_model(model, dict(device_map), offload_dir=folder.name)
    # The folder lives as long as the model that reads its weights from there.
    weakref.finalize(model, folder.cleanup)
    cards = set(device_map.values()) - {"cpu", "disk"}
    return model, torch.device("cuda" if cards else "cpu")


def _automatic(model: Any, architecture: Architecture, size: int) -> dict[str, int | str]:
    """Cards first, then the processor's memory; no block is cut."""
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_max_memory

    room = {
        # The weights are still in the processor's memory: the room that they take counts as free.
        name: free + size if name == "cpu" else int(ROOM * free)
        for name, free in get_max_memory().items()
    }
    whole = {type(block).__name__ for block in blocks(model, architecture)}
    whole |= set(getattr(model, "_no_split_modules", None) or ())
    return dict(infer_auto_device_map(model, room, no_split_module_classes=sorted(whole)))
