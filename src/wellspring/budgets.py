"""How much of a model's work runs at once: hardware's business, so no part of any identity."""

from __future__ import annotations

WINDOW = 8192
"""Texts that are sorted by length together: bounds memory, whatever the dataset's size."""

TOKENS = {"cpu": 2048, "cuda": 65536}
"""Padded tokens in one forward pass: what stays in a processor's cache, what fills a GPU."""

LOGITS = {"cpu": 256 << 20, "cuda": 4 << 30}
"""Bytes of a forward pass's logits: a word of the vocabulary each, for every token."""

ATTRIBUTED = 4096
"""At most so many texts are attributed in a window, sorted by length and written as one row
group."""

SCORES = 128 << 20
"""Bytes of a window's scores: bounds memory, however wide the model."""

ROWS = {"cpu": 2048, "cuda": 65536}
"""Padded tokens × quadrature points in one pass: what stays in a processor's cache; what takes
about 30 GB of a card for a model of SIZE, and fewer for a larger one."""

SIZE = 12 * 768 * 4
"""Blocks × width × bytes of BERT-base in float32."""


def logit_tokens(device: str, vocabulary: int, tokens: int = 0) -> int:
    """Padded tokens in one forward pass that ends in a vocabulary head.

    tokens: the most that may be; 0: what the device is given by default.
    """
    return max(1, min(tokens or TOKENS[device], LOGITS[device] // (4 * vocabulary)))


def rows(device: str, layers: int, hidden: int, dtype: str) -> int:
    """Tokens × points of one pass of attribution, where the profile sets none."""
    if device == "cpu":
        return ROWS[device]
    size = layers * hidden * (4 if dtype == "float32" else 2)
    return ROWS[device] * SIZE // max(SIZE, size)
