"""Exact search: the inner products of queries with a whole corpus, which is read once.

The corpus comes in blocks, each with its vectors at every layer, and is never held whole. Its rows
are copied into tiles of one size, so that a product's last bits do not depend on where a vector
stands: equal vectors have equal scores. Of a tile, a query keeps only what reaches its present k-th
score. So nearly nothing of later tiles is sorted, and memory does not grow with the corpus.

faiss leaves open which of several equal documents is the k-th. Here it is the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import torch

from wellspring.config.vocabulary import Similarity
from wellspring.errors import WellspringError
from wellspring.retrieval.best import Best
from wellspring.retrieval.ranking import NOTHING, Ranking

Layer = TypeVar("Layer", int, str)
Block = tuple[np.ndarray, Mapping[Layer, np.ndarray]]
"""Positions in the corpus [rows], and vectors [rows, hidden] at each layer."""

# Scores of a tile, 16 MB, stay in a processor's cache while they are compared.
TILE = 4096
QUERIES = 1024


def search(
    queries: Mapping[Layer, np.ndarray],
    blocks: Iterable[Block[Layer]],
    k: int,
    similarity: Similarity = "dot",
) -> dict[Layer, Ranking]:
    """The best k documents of each query at each layer.

    queries: float [queries, hidden] at each layer. blocks: those of the corpus, in any order, with
    at least these layers; float16 is scored in float32. Every position comes once. similarity:
    `cosine` divides both sides by their lengths first; a vector of zeros then has the cosine 0.

    Raises WellspringError for a vector that is not finite.
    """
    layers = {
        layer: _Layer(vectors, k, similarity == "cosine") for layer, vectors in queries.items()
    }
    for positions, vectors in blocks:
        for layer, found in layers.items():
            found.add(positions, vectors[layer])
    return {layer: found.ranking() for layer, found in layers.items()}


class _Layer:
    """The search of one layer."""

    def __init__(self, queries: np.ndarray, k: int, cosine: bool) -> None:
        vectors = torch.from_numpy(np.array(queries, np.float32))
        if not torch.isfinite(vectors).all():
            raise WellspringError("the vector of a query is not finite: embed the queries anew")
        self.cosine = cosine
        parts = _unit(vectors, cosine).split(QUERIES)
        self.chunks = [(part, Best(len(part), k)) for part in parts]
        self.tile = torch.zeros(TILE, vectors.shape[1])
        # The same memory. numpy reads what may not be written, and float16 in half of torch's time.
        self.filled = self.tile.numpy()
        self.positions = np.full(TILE, NOTHING, np.int64)
        self.rows = 0

    def add(self, positions: np.ndarray, vectors: np.ndarray) -> None:
        """Fill tiles with the rows of a block."""
        start = 0
        while start < len(positions):
            stop = min(len(positions), start + TILE - self.rows)
            place = slice(self.rows, self.rows + stop - start)
            self.filled[place] = vectors[start:stop]
            self.positions[place] = positions[start:stop]
            start, self.rows = stop, place.stop
            if self.rows == TILE:
                self._score()

    def _score(self) -> None:
        tile = self.tile[: self.rows]
        if not torch.isfinite(tile).all():
            row = int((~torch.isfinite(tile).all(1)).nonzero()[0])
            raise WellspringError(
                f"the vector of the passage at position {self.positions[row]} is not finite: "
                "embed the passages anew"
            )
        documents = _unit(self.tile, self.cosine)
        for queries, best in self.chunks:
            scores = (queries @ documents.T)[:, : self.rows]
            places = (scores >= torch.from_numpy(best.least)[:, None]).nonzero()
            query, row = places[:, 0], places[:, 1]
            best.add(query.numpy(), self.positions[row.numpy()], scores[query, row].numpy())
        self.rows = 0

    def ranking(self) -> Ranking:
        """What was found in all tiles."""
        if self.rows:
            self._score()
        rankings = [best.ranking() for _, best in self.chunks]
        return Ranking(
            np.concatenate([each.documents for each in rankings]),
            np.concatenate([each.scores for each in rankings]),
        )


def _unit(vectors: torch.Tensor, cosine: bool) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=1) if cosine else vectors
