"""Decoders that read in both directions: so trained, so stored, and so loaded.

The configuration says it, as `"is_causal": false` in config.json, so it is part of a checkpoint's
digest. transformers 5 makes masks by that entry and hands it on to attention. Whether a class obeys
is tried on a small text, with and without padding, wherever such a model is loaded.
"""

from __future__ import annotations

from typing import Any

import torch

from wellspring.errors import ModelError


def is_bidirectional(config: Any) -> bool:
    """Whether a decoder's configuration says that it reads in both directions."""
    return getattr(config, "is_causal", True) is False


def open_both(model: Any, device: torch.device) -> None:
    """Let every token of a decoder meet those behind it, too, from now on and in what is stored.

    device: where inputs go. Raises ModelError where a class has a mask of its own, which does not
    obey.
    """
    model.config.is_causal = False
    for padded in (False, True):
        if not _looks_ahead(model, device, padded):
            raise ModelError(
                f"{type(model).__name__} does not read in both directions, though config.json says "
                '"is_causal": false, or the stage mntp asks for it'
            )


def _looks_ahead(model: Any, device: torch.device, padded: bool) -> bool:
    """Whether the first token's state depends on the second token."""
    ids = torch.tensor([[1, 2, 0], [1, 3, 0]], device=device)
    mask = torch.tensor([[1, 1, 0 if padded else 1]] * 2, device=device)
    training = model.training
    with torch.no_grad():
        states = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    model.train(training)
    return not torch.equal(states[0, 0], states[1, 0])
