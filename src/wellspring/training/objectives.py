"""What training minimises, as losses of sentence-transformers, with gradients cached on request."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from torch import nn

from wellspring.config.vocabulary import Similarity
from wellspring.training.batches import MASKED, POSITIVE


def similarities(
    queries: torch.Tensor, passages: torch.Tensor, similarity: Similarity
) -> torch.Tensor:
    """[queries, passages]: the inner products, or the cosines, of vectors [n, width]."""
    if similarity == "cosine":
        queries, passages = (nn.functional.normalize(each, dim=-1) for each in (queries, passages))
    return queries @ passages.T


def infonce(scores: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over the queries of −log(exp(s⁺/τ) / Σ exp(s/τ)) over their candidates (van den Oord et
    al. 2018).

    scores, labels: [queries, passages]; labels as `wellspring.training.batches` gives them. What is
    MASKED for a query is no candidate of it.
    """
    logits = (scores / temperature).masked_fill(labels == MASKED, -torch.inf)
    return nn.functional.cross_entropy(logits, (labels == POSITIVE).int().argmax(dim=1))


class InfoNCE(CachedLossMixin, nn.Module):
    """InfoNCE over the passages of a batch, hard negatives included."""

    def __init__(
        self,
        model: nn.Module,
        temperature: float,
        similarity: Similarity,
        gradient_cache: int | None = None,
    ) -> None:
        """gradient_cache: how many texts run at once, with gradients cached between the loss and
        the model (Gao et al. 2021); None: the whole batch, its activations kept."""
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.similarity: Similarity = similarity
        self.mini_batch_size = gradient_cache or 0
        self.uses_gradient_cache = gradient_cache is not None
        self.loss = self.spread = torch.nan
        """Of the last batch: its loss, and how far its cosines are apart (largest − smallest)."""

    def forward(
        self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch of queries and passages."""
        features = list(sentence_features)
        if self.uses_gradient_cache:
            return self.forward_cached(features, labels)
        return self.calculate_loss(
            [[self.model(each)["sentence_embedding"]] for each in features], labels
        )

    def calculate_loss(
        self,
        reps: list[list[torch.Tensor]],
        labels: torch.Tensor | None = None,
        *,
        with_backward: bool = False,
    ) -> torch.Tensor:
        """The loss of vectors, in parts as they were made; with_backward: and their gradients."""
        assert labels is not None
        queries, passages = (torch.cat(parts).float() for parts in reps)
        scores = similarities(queries, passages, self.similarity)
        loss = infonce(scores, labels, self.temperature)
        with torch.no_grad():
            cosines = similarities(queries, passages, "cosine")
            self.loss, self.spread = float(loss), float(cosines.max() - cosines.min())
        if with_backward:
            loss.backward()
            loss = loss.detach()
        return loss
