"""From token states to one vector: the only pooling function there is."""

from __future__ import annotations

import torch

from wellspring.config.vocabulary import Pooling


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool token states; padding, on either side, does not count.

    states: [batch, tokens, hidden], any float type. mask: [batch, tokens], 1 = token, 0 = padding;
    each row holds a token. Returns [batch, hidden] in float32: `cls` the first token's state,
    `eos` the last token's, `mean` the mean over the tokens; `last-position` the last position's,
    token or padding: the published way of decoders (arXiv 2505.07166), which counts padding.
    """
    if pooling == "mean":
        # Summed in float32: a half-precision sum over many tokens loses digits.
        summed = torch.bmm(mask.float().unsqueeze(1), states.float()).squeeze(1)
        return summed / mask.sum(dim=1, keepdim=True)
    tokens = mask.shape[1]
    if pooling == "last-position":
        return states[:, -1].float()
    if pooling == "cls":
        position = mask.int().argmax(dim=1)
    else:
        position = tokens - 1 - mask.int().flip(1).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), position].float()
