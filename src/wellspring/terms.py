"""Texts to terms: the weights of words that a sparse model gives them (`wellspring.sparse`).

Texts go through the model in pieces of like length, so that memory grows neither with a side nor
with the words of its texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scipy.sparse import csr_array

from wellspring import sparse
from wellspring.config.vocabulary import TermWeights, TopTerms
from wellspring.embeddings import Tokens
from wellspring.errors import ModelError
from wellspring.memory import fitting
from wellspring.models.load import Backbone
from wellspring.sparse import SparseModel

PIECE = 512
"""Texts that are weighed together."""


def of_checkpoint(backbone: Backbone, folder: Path, made_of: TermWeights) -> SparseModel:
    """A backbone with the vocabulary head of its checkpoint.

    made_of: what weights are made of.
    Raises ModelError where the checkpoint has none, and as `wellspring.sparse.on` does.
    """
    whole = sparse.on(backbone, folder, seed=0, made_of=made_of)
    if whole.fresh:
        raise ModelError(
            f"its checkpoint has no vocabulary head (it lacks {whole.fresh[0]}), so it gives no "
            "terms: take top_terms out of its encoders"
        )
    return whole


def weigh(
    model: SparseModel, tokens: Sequence[Tokens], top_terms: TopTerms, budget: int = 0
) -> Iterator[tuple[list[int], csr_array]]:
    """Places among the texts, and their weights, float32 [places, vocabulary], longest texts first.

    tokens: as of `SparseModel.tokenise`. budget: as of `SparseModel.encode`. A piece that does not
    fit into memory is halved. Raises WellspringError for weights that are no numbers.
    """
    kept = None if top_terms == "all" else top_terms

    def run(rows: list[int]) -> csr_array:
        return model.encode([tokens[row] for row in rows], kept, budget)

    order = sorted(range(len(tokens)), key=lambda row: (-len(tokens[row]), tokens[row]))
    for start in range(0, len(order), PIECE):
        yield from fitting(order[start : start + PIECE], run, lambda row: len(tokens[row]))


def vocabulary(model: SparseModel) -> dict[str, Any]:
    """What the numbers of terms stand for: `words`, how many there are, and a `digest` of them.

    Tokens that were added to a tokenizer do not count: two checkpoints of one family may differ in
    these.
    """
    tokenizer = model.backbone.tokenizer
    words = tokenizer.get_vocab()
    for added in tokenizer.get_added_vocab():
        words.pop(added, None)
    digest = hashlib.sha256()
    for word, number in sorted(words.items(), key=lambda item: item[1]):
        digest.update(f"{number}\t{word}\n".encode())
    return {"words": model.vocabulary, "digest": digest.hexdigest()[:16]}
