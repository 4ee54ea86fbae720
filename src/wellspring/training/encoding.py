"""A model under training: from tokens to the vector of its last layer, as it will be embedded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from wellspring.config.vocabulary import Pooling, TermWeights
from wellspring.pooling import pool
from wellspring.sparse import weights


def parts(lengths: np.ndarray, tokens: int) -> Iterator[list[int]]:
    """The rows of each forward pass, longest first, so that there is little padding whatever order
    the texts came in.

    lengths: tokens of each text. tokens: of a forward pass, padding included; 0: all in one.
    """
    order = np.argsort(-lengths, kind="stable").tolist()
    start = 0
    while start < len(order):
        count = max(1, tokens // int(lengths[order[start]])) if tokens else len(order)
        yield order[start : start + count]
        start += count


class Encoding(nn.Module):
    """A module of sentence-transformers around a model of transformers."""

    def __init__(self, model: Any, pooling: Pooling | None, tokens: int = 0) -> None:
        """pooling: None where nothing is pooled. tokens: of a forward pass, padding included; 0:
        all texts in one."""
        super().__init__()
        self.model, self.tokens = model, tokens
        self.pooling: Pooling | None = pooling

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Adds `sentence_embedding` [texts, width] to `input_ids` and `attention_mask`."""
        ids, mask = features["input_ids"], features["attention_mask"]
        lengths = mask.sum(dim=1).cpu().numpy()
        passes = list(parts(lengths, self.tokens))
        vectors = []
        for rows in passes:
            longest = int(lengths[rows[0]])
            vectors.append(self._vectors(ids[rows, :longest], mask[rows, :longest]))
        back = torch.argsort(torch.tensor([row for rows in passes for row in rows]))
        return {**features, "sentence_embedding": torch.cat(vectors)[back.to(ids.device)]}

    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert self.pooling is not None
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return pool(states, mask, self.pooling)


class SparseEncoding(Encoding):
    """The same of a model with its vocabulary head: a vector has a weight for every word."""

    def __init__(
        self, model: Any, scale: float, tokens: int = 0, made_of: TermWeights = "logits"
    ) -> None:
        """scale, made_of: as `wellspring.sparse.weights` takes them."""
        super().__init__(model, None, tokens)
        self.scale = scale
        self.made_of: TermWeights = made_of

    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = self.model(input_ids=ids, attention_mask=mask).logits
        return weights(logits, mask, self.scale, self.made_of)
