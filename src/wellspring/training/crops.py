"""Contrastive pre-training: a query and a passage are two random crops of one text.

The crops are drawn independently, as Contriever does it (Izacard et al. 2022, arXiv 2112.09118,
section 3.1; its code draws 5 to 50 % of a chunk of 256 tokens). Its deletion of tokens and its
queue of earlier passages are not here: the negatives are the crops of the batch's other texts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.config.vocabulary import Pooling, Side
from wellspring.embeddings import tokenise
from wellspring.errors import WellspringError
from wellspring.randomness import generator
from wellspring.training.examples import Examples, forms, passages


@dataclass(frozen=True)
class Crops:
    """How texts are cropped."""

    seed: int
    shares: tuple[float, float]
    """Of a text's tokens: the shortest and the longest crop."""
    before: int
    """Special tokens before a text."""
    after: int
    """And behind it."""

    def crop(self, tokens: np.ndarray, side: Side, epoch: int, text_id: str) -> np.ndarray:
        """A crop with the special tokens around it.

        tokens: of the whole text, special ones included. Its length, uniform between the shares and
        one token at least, and its place, uniform too, are drawn from (seed, side, epoch, text id).
        """
        first, last = self.before, len(tokens) - self.after
        if (count := last - first) < 1:
            return tokens
        rng = generator(self.seed, "crop", side, epoch, text_id)
        length = max(1, int(count * rng.uniform(*self.shares)))
        start = first + int(rng.integers(0, count - length, endpoint=True))
        return np.concatenate([tokens[:first], tokens[start : start + length], tokens[last:]])


def around(tokenizer, pooling: Pooling) -> tuple[int, int]:
    """How many special tokens stand before a text and behind it.

    Raises WellspringError where they cannot be told from it.
    """
    # Any word will do, and any length that it does not fill.
    text, length = "a", 64
    whole = list(tokenise(tokenizer, [text], "{text}", length, pooling)[0])
    alone = tokenizer(text, add_special_tokens=False)["input_ids"]
    for before in range(len(whole) - len(alone) + 1):
        if alone and whole[before : before + len(alone)] == alone:
            return before, len(whole) - before - len(alone)
    raise WellspringError(
        "stage: texts cannot be cropped: with special tokens the tokenizer writes them in other "
        "tokens than without"
    )


def gather(samples: pl.DataFrame, texts: pl.DataFrame) -> Examples:
    """An example for each of the passages, which is to find itself.

    samples, texts: as `wellspring.training.examples.joined` gives them. What has the same text up
    to case and white space is no negative. Raises WellspringError where there is no passage.
    """
    ids = passages(samples)
    if not ids:
        raise WellspringError("there are no passages of training samples to learn from")
    form = forms(texts, "passage")
    alike: dict[int, list[int]] = defaultdict(list)
    for row, each in enumerate(ids):
        alike[form[each]].append(row)
    rows = np.arange(len(ids))
    relevant = [frozenset(alike[form[each]]) for each in ids]
    return Examples(ids, ids, ids, rows, rows[:, None], relevant)
