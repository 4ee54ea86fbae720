"""Texts to vectors at every layer, from one forward pass.

Texts are sorted by length and batched under a token budget, so that little is padding and a batch
stays in the processor's cache; equal texts are encoded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wellspring.errors import WellspringError
from wellspring.models.load import Backbone
from wellspring.pooling import Pooling, pool

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Encoded:
    """The vectors of some texts."""

    rows: list[int]
    """Positions of the texts in what `encode` was given."""
    vectors: np.ndarray
    """float32 [layers + 1, len(rows), hidden]."""
    splits: int
    """How often the batch was halved because memory ran out."""


def tokenise(
    tokenizer, texts: Sequence[str], template: str, length: int, pooling: Pooling
) -> list[Tokens]:
    """Token ids of each text, special tokens included, at most `length` of them.

    The template's end token, and under `eos` pooling an end token in any case, survives
    truncation: it is appended after the text was cut.
    """
    before, _, after = template.partition("{text}")
    end = tokenizer.eos_token
    ends = pooling == "eos" or bool(end and after.rstrip().endswith(end))
    if ends and tokenizer.eos_token_id is None:
        raise WellspringError("eos pooling: the tokenizer has no end token")
    if ends and end:
        after = after.rstrip().removesuffix(end)
    written = [before + text + after for text in texts]
    ids = tokenizer(written, truncation=True, max_length=length - ends)["input_ids"]
    if not ends:
        return [tuple(row) for row in ids]
    last = tokenizer.eos_token_id
    # A tokenizer that ends every text by itself needs no second end token.
    return [tuple(row) if row and row[-1] == last else (*row, last) for row in ids]


def batches(lengths: Sequence[int], budget: int) -> Iterator[range]:
    """Cut texts that are sorted by falling length into runs of at most `budget` padded tokens."""
    start = 0
    while start < len(lengths):
        size = max(1, budget // max(1, lengths[start]))
        yield range(start, min(start + size, len(lengths)))
        start += size


def encode(
    backbone: Backbone,
    tokens: Sequence[Tokens],
    pooling: Pooling,
    normalise: bool = False,
    budget: int = 2048,
) -> Iterator[Encoded]:
    """Vectors of all layers, a batch at a time, longest texts first.

    tokens: as from `tokenise`. budget: padded tokens in one forward pass. A batch that does not
    fit into memory is halved until it does. Raises WellspringError for a vector that is not
    finite.
    """
    rows_of: dict[Tokens, list[int]] = {}
    for row, ids in enumerate(tokens):
        rows_of.setdefault(ids, []).append(row)
    distinct = sorted(rows_of, key=lambda ids: (-len(ids), ids))
    for run in batches([len(ids) for ids in distinct], budget):
        batch = [distinct[position] for position in run]
        vectors, splits = _forward(backbone, batch, pooling, normalise)
        copies = [position for position, ids in enumerate(batch) for _ in rows_of[ids]]
        if len(copies) > len(batch):
            vectors = vectors[:, copies]
        yield Encoded([row for ids in batch for row in rows_of[ids]], vectors, splits)


def _forward(
    backbone: Backbone, batch: list[Tokens], pooling: Pooling, normalise: bool
) -> tuple[np.ndarray, int]:
    try:
        return _vectors(backbone, batch, pooling, normalise), 0
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
    if len(batch) == 1:
        raise WellspringError(
            f"a text of {len(batch[0])} tokens does not fit into memory: shorten the encoder's "
            "length or give the job more memory"
        )
    if backbone.device.type == "cuda":
        torch.cuda.empty_cache()
    middle = (len(batch) + 1) // 2
    left, left_splits = _forward(backbone, batch[:middle], pooling, normalise)
    right, right_splits = _forward(backbone, batch[middle:], pooling, normalise)
    return np.concatenate([left, right], axis=1), 1 + left_splits + right_splits


@torch.inference_mode()
def _vectors(
    backbone: Backbone, batch: list[Tokens], pooling: Pooling, normalise: bool
) -> np.ndarray:
    longest = max(len(ids) for ids in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, sequence in enumerate(batch):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    ids, mask = ids.to(backbone.device), mask.to(backbone.device)
    pooled = torch.stack([pool(state, mask, pooling) for state in backbone.states(ids, mask)])
    if normalise:
        pooled = torch.nn.functional.normalize(pooled, dim=-1)
    if not torch.isfinite(pooled).all():
        raise WellspringError("a vector is not finite: set the encoder's dtype: float32")
    return pooled.cpu().numpy()


def _out_of_memory(error: BaseException) -> bool:
    # The CPU allocator's refusal is a plain RuntimeError.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(
        error
    )
