"""A corpus that is too large to store: encoded, searched and dropped, a batch at a time.

`wellspring.retrieval.search.search` takes the blocks as it takes those of shards. A part of a
corpus gives rankings that can be written, and `wellspring.retrieval.ranking.merged` puts parts
together: so a search that was cut off goes on behind the last part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.embeddings import Encoded, Tokens
    from wellspring.retrieval.search import Block


def encoded(
    windows: Iterable[Sequence[Tokens]],
    encode: Callable[[Sequence[Tokens]], Iterable[Encoded]],
    layers: Sequence[int],
    first: int = 0,
) -> Iterator[Block[int]]:
    """Blocks of a corpus that comes in windows of tokenised texts; none outlives the next.

    encode: `wellspring.embeddings.encode` with its settings. Its `storage` rounds the vectors as
    shards would, and scores are then those of stored vectors. first: the position of the first
    text, where a part of the corpus went before.

    Raises WellspringError where a vector is too large for its type, at any layer.
    """
    for tokens in windows:
        for batch in encode(tokens):
            positions = first + np.array(batch.rows, np.int64)
            if not np.isfinite(batch.vectors).all():
                raise WellspringError(
                    f"the passage at position {positions[0]} or a neighbour: a vector does not fit "
                    f"{batch.vectors.dtype}: set the encoder's storage: float32"
                )
            yield positions, {layer: batch.vectors[layer] for layer in layers}
        first += len(tokens)
