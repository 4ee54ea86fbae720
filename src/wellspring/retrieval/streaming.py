"""A corpus that is too large to store: encoded, searched and dropped, a batch at a time.

`wellspring.retrieval.search.search` takes the blocks as it takes those of shards. A part of a
corpus gives rankings that can be written, and `wellspring.retrieval.ranking.merged` puts parts
together: so a search that was cut off goes on behind the last part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wellspring.errors import StorageError

if TYPE_CHECKING:
    from wellspring.embeddings import Encoded, Tokens
    from wellspring.retrieval.search import Block


def encoded(
    windows: Iterable[tuple[Sequence[str], Sequence[Tokens]]],
    encode: Callable[[Sequence[Tokens]], Iterable[Encoded]],
    layers: Sequence[int],
    first: int = 0,
) -> Iterator[Block[int]]:
    """Blocks of a corpus that comes in windows of ids and tokens of texts; none outlives the next.

    encode: `wellspring.embeddings.encode` with its settings. Its `storage` rounds the vectors as
    shards would, and scores are then those of stored vectors. first: the position of the first
    text, where a part of the corpus went before.

    Raises StorageError where a vector is too large for its type, at any layer.
    """
    for ids, tokens in windows:
        for batch in encode(tokens):
            if not np.isfinite(batch.vectors).all():
                raise StorageError(ids[batch.rows[0]], batch.vectors.dtype)
            vectors = {layer: batch.vectors[layer] for layer in layers}
            yield first + np.array(batch.rows, np.int64), vectors
        first += len(tokens)
