"""What is attributed: one number F of a text's embedding v, taken before any L2 normalisation.

A partner's vector is a constant, so that every similarity target is v · d or v/‖v‖ · d for one
constant direction d a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import normalize

from wellspring.config.vocabulary import Pooling, Similarity
from wellspring.errors import ModelError
from wellspring.models.load import Backbone
from wellspring.pooling import pool


def pooled(states: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """v [..., texts, hidden] of last states [..., texts, tokens, hidden], in float32 at least.

    shares: [texts, tokens], of `Target.shares`.
    """
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    return (shares.to(states).unsqueeze(-2) @ states).squeeze(-2)


def one_position(shares: torch.Tensor) -> torch.Tensor | None:
    """The position of each text [texts] whose state alone is its v; None where v mixes several.

    shares: [texts, tokens], of `Target.shares`.
    """
    largest, position = shares.max(dim=1)
    return position if bool((largest == 1).all()) else None


@dataclass(frozen=True)
class Target:
    """F for each text of a batch; made by the functions below."""

    direction: torch.Tensor | None = None
    """d [texts, hidden]; None: F is the length of v."""
    normalised: bool = False
    """Whether d meets v/‖v‖ instead of v."""
    padded: bool = False
    """Whether v is the mean over all positions, padding included, whatever the pooling."""
    through_pooler: bool = False
    """Whether v is the first token's state, whatever the pooling, and goes through the model's own
    pooler."""
    pooler: nn.Module | None = None
    """The pooler that `bound` sets."""

    def bound(self, backbone: Backbone) -> Target:
        """The target with what it needs of the model.

        Raises ModelError where that is a pooler and the model has none, or a fresh one; and where
        partners have vectors of another size than the model's.
        """
        if self.direction is not None and self.direction.shape[1] != backbone.hidden:
            raise ModelError(
                f"the partner's vectors have {self.direction.shape[1]} numbers, those of the "
                f"attributed encoder {backbone.hidden}: name a partner of the same retriever"
            )
        if not self.through_pooler or backbone.architecture.pooled == "first-token":
            return self
        pooler, named = getattr(backbone.model, "pooler", None), type(backbone.model).__name__
        if pooler is None:
            raise ModelError(f"target pooler-norm: {named} has no pooler: attribute another target")
        if any(name.startswith("pooler.") for name in backbone.fresh):
            raise ModelError(
                f"target pooler-norm: the checkpoint has no weights for the pooler of {named}: "
                "attribute another target"
            )
        return replace(self, pooler=pooler)

    def select(self, texts: Sequence[int]) -> Target:
        """The target of these texts alone, in this order."""
        if self.direction is None:
            return self
        return replace(self, direction=self.direction[list(texts)])

    def shares(self, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
        """How much of each position's state is in v [texts, tokens], float64; they sum to 1.

        mask: [texts, tokens], 1 = token, 0 = padding.
        """
        if self.padded:
            mask, pooling = torch.ones_like(mask), "mean"
        if self.through_pooler:
            pooling = "cls"
        # Every pooling is linear in the states, so that unit vectors as states show its weights.
        units = torch.eye(mask.shape[1], device=mask.device)
        weights = pool(units.expand(len(mask), -1, -1), mask, pooling).double()
        # Pooling ends in float32, where a mean's shares are rounded.
        return weights / weights.sum(dim=1, keepdim=True)

    def values(self, vectors: torch.Tensor, constant_length: bool = False) -> torch.Tensor:
        """F [..., texts] of v [..., texts, hidden]. constant_length: the length that v is divided
        by, where it is, has no gradient."""
        if self.direction is None:
            return torch.linalg.vector_norm(self._led(vectors), dim=-1)
        met = normalize(vectors, dim=-1) if self.normalised else vectors
        if self.normalised and constant_length:
            lengths = torch.linalg.vector_norm(vectors.detach(), dim=-1, keepdim=True)
            met = vectors / lengths.clamp_min(1e-12)
        return (met * self.direction.to(vectors)).sum(dim=-1)

    def magnitude(self, vectors: torch.Tensor) -> torch.Tensor:
        """[..., texts]: the largest |F| of a v of this length, against which rounding is judged."""
        length = torch.linalg.vector_norm(self._led(vectors), dim=-1)
        if self.direction is None:
            return length
        reach = torch.linalg.vector_norm(self.direction.to(vectors), dim=-1)
        return reach.expand_as(length) if self.normalised else reach * length

    def _led(self, vectors: torch.Tensor) -> torch.Tensor:
        """v after the pooler, if there is one."""
        if self.pooler is None:
            return vectors
        # A pooler takes the first of a text's states.
        states = vectors.flatten(0, -2).unsqueeze(1).to(next(self.pooler.parameters()).dtype)
        return self.pooler(states).to(vectors).unflatten(0, vectors.shape[:-1])


def norm() -> Target:
    """F = ‖v‖₂, the published target."""
    return Target()


def padded_mean_norm() -> Target:
    """F = ‖v‖₂ with v the mean over all positions, padding included: the published mean pooling.

    It depends on the length that texts are padded to.
    """
    return Target(padded=True)


def pooler_norm() -> Target:
    """F = ‖pooler(state of the first token)‖₂, whatever the pooling: the published target of BERT,
    whose own pooler is a linear map and tanh, and of DPR, which has none and gives the state."""
    return Target(through_pooler=True)


def dot(partners: torch.Tensor) -> Target:
    """F = v · p. partners: p [texts, hidden], constant."""
    return Target(partners)


def cosine(partners: torch.Tensor) -> Target:
    """F = cosine of v and p. partners: p [texts, hidden], constant."""
    return Target(normalize(partners, dim=-1), normalised=True)


def margin(
    positives: torch.Tensor, negatives: Sequence[torch.Tensor], similarity: Similarity
) -> Target:
    """F = s(v, p⁺) − mean s(v, p⁻), the similarity s being the retriever's own.

    positives: p⁺ [texts, hidden]. negatives: p⁻ [at least one, hidden] of each text. All constant.
    """
    if similarity == "cosine":
        positives = normalize(positives, dim=-1)
        negatives = [normalize(others, dim=-1) for others in negatives]
    means = torch.stack([others.mean(dim=0) for others in negatives])
    return Target(positives - means, normalised=similarity == "cosine")
