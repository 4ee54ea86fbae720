"""How scores are stored: absolute and signed, as float16 shares of each text's largest one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wellspring.attributions.fused import Scores

NUMBERS = ("scale", "residual", "change")


def columns_of(sublayer: str, scores: Scores) -> dict[str, np.ndarray]:
    """What a shard holds of a batch in one sub-layer: absolute and signed scores as float16 shares
    of each text's largest absolute score, the scale."""
    scale = np.where(scores.quiet, 0, scores.absolute.max(axis=1))
    stored = {
        "scale": scale,
        "residual": scores.residual,
        "change": scores.full - scores.empty,
        "scores": shares(scores.absolute, scale).astype(np.float16),
        "signed": shares(scores.signed, scale).astype(np.float16),
        "points": scores.points,
    }
    kinds: dict[str, Any] = dict.fromkeys(NUMBERS, np.float32)
    named = {f"{sublayer}_{kind}": v.astype(kinds.get(kind, v.dtype)) for kind, v in stored.items()}
    return {"full": scores.full.astype(np.float32), **named}


def shares(scores: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """scores [texts, neurons] over scale [texts]; 0 where the scale is 0."""
    quotients = np.zeros_like(scores)
    return np.divide(scores, scale[:, None], out=quotients, where=scale[:, None] > 0)
