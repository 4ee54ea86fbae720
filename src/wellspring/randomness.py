"""Random choices that depend on (seed, ids) alone, never on order, process or global state."""

from __future__ import annotations

import hashlib

import numpy as np


def key(seed: int, *ids: str | int) -> int:
    """A 64-bit number that looks uniform and depends on the seed and the ids alone.

    The ids are joined with their lengths, so ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.blake2b(digest_size=8, key=str(seed).encode())
    for part in ids:
        data = str(part).encode()
        digest.update(len(data).to_bytes(4, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


def generator(seed: int, *ids: str | int) -> np.random.Generator:
    """A numpy generator of its own for (seed, ids): for draws of more than one number."""
    return np.random.Generator(np.random.PCG64(key(seed, *ids)))


def shuffled(seed: int, items: list[str], *ids: str | int) -> list[str]:
    """The items in a random order that depends on (seed, ids, items), not on their given order."""
    return sorted(items, key=lambda item: (key(seed, *ids, item), item))
