"""What training minimises, as losses of sentence-transformers, with gradients cached on request."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin, RandContext
from torch import nn

from wellspring.config.vocabulary import ObjectiveName, Similarity
from wellspring.errors import WellspringError
from wellspring.training.batches import MASKED, POSITIVE
from wellspring.training.learner import Watched

FULL = 0.9
"""Share of the vocabulary: vectors with more of it are not sparse, whatever was done for it."""


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


def margin_mse(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean of ((s⁺ − s⁻) − (t⁺ − t⁻))² over queries and negatives (Hofstätter et al. 2020).

    student, teacher: [queries, 1 + negatives], scores of the positive first.
    """
    own, theirs = (scores[:, :1] - scores[:, 1:] for scores in (student, teacher))
    return nn.functional.mse_loss(own, theirs)


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over the queries of KL(teacher ‖ student), in nats, of how often each of a query's own
    passages is chosen.

    student, teacher: [queries, 1 + negatives], similarities over their temperatures.
    """
    own, theirs = (nn.functional.log_softmax(scores, dim=1) for scores in (student, teacher))
    return nn.functional.kl_div(own, theirs, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class Aim:
    """What is minimised."""

    name: ObjectiveName
    similarity: Similarity
    temperature: float
    teacher_temperature: float = 1.0

    def loss(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """scores: [queries, passages] of a batch. labels: the same, as
        `wellspring.training.batches` gives them: [queries, passages], or with a teacher [queries,
        passages, 2]."""
        kinds = labels if labels.dim() == 2 else labels[..., 0]
        contrast = infonce(scores, kinds, self.temperature) if "infonce" in self.name else None
        if self.name == "infonce":
            assert contrast is not None
            return contrast
        teacher = labels[..., 1]
        # A query's own passages, its positive first.
        own = torch.where(teacher.isnan(), -1.0, 1.0 + (kinds == POSITIVE))
        rows = own.argsort(dim=1, descending=True, stable=True)[:, : int((own[0] > 0).sum())]
        student, teacher = (
            scores.gather(1, rows),
            teacher.gather(1, rows) / self.teacher_temperature,
        )
        if self.name == "margin-mse":
            return margin_mse(student, teacher)
        apart = divergence(student / self.temperature, teacher)
        return apart if contrast is None else (contrast + apart) / 2


def flops(vectors: torch.Tensor) -> torch.Tensor:
    """Σ_v (mean_i |w_iv|)² of vectors [texts, vocabulary]: about how many multiplications a search
    among them takes (Paria et al. 2020)."""
    return vectors.abs().mean(dim=0).square().sum()


def active(vectors: torch.Tensor) -> float:
    """The share of the weights that are not 0."""
    return float((vectors != 0).float().mean())


@dataclass(frozen=True)
class Regulariser:
    """What makes vectors sparse: `flops` of both sides, each with a weight of its own."""

    query: float
    passage: float
    ramp: float
    """Share of the steps in which the weights rise from 0, with the square of the step."""

    def share(self, step: int, steps: int) -> float:
        """Of the weights, at a step that is counted from 0."""
        rising = math.ceil(self.ramp * steps)
        return min(1.0, (step / rising) ** 2) if rising else 1.0

    def loss(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """At full weight."""
        return self.query * flops(queries) + self.passage * flops(passages)

    def check(self, step: int, steps: int, active: tuple[float, float]) -> None:
        """Raise WellspringError for vectors of zeros, which learn nothing more, and for vectors
        that the regulariser has left full.

        step: counted from 1. active: share of the weights of queries and of passages that are not
        0. A head may begin with nearly all words. So a side may be full until the regulariser
        has had its full weight for as long as it took to rise.
        """
        weights = {"query": self.query, "passage": self.passage}
        full = step > 2 * self.ramp * steps
        for (side, weight), share in zip(weights.items(), active, strict=True):
            if share == 0:
                raise WellspringError(
                    f"no {side} of step {step} has a word whose weight is above 0: nothing can be "
                    f"learned any more: lower flops.{side} or learning_rate, or raise temperature"
                )
            if full and weight and share > FULL:
                raise WellspringError(
                    f"the vectors are not sparse: at step {step} {share:.0%} of the vocabulary has "
                    f"a weight in a {side} on average: raise flops.{side} or learning_rate, or "
                    "train for more steps"
                )


class Objective(CachedLossMixin, Watched):
    """A loss over the passages of a batch, hard negatives included."""

    def __init__(
        self,
        model: nn.Module,
        aim: Aim,
        gradient_cache: int | None = None,
        regulariser: Regulariser | None = None,
    ) -> None:
        """gradient_cache: how many texts run at once, with gradients cached between the loss and
        the model (Gao et al. 2021); None: the whole batch, its activations kept. The first
        passages, which are the longest, keep their activations and do not run again.
        regulariser: of sparse vectors; None: vectors are dense."""
        super().__init__()
        self.model, self.aim, self.regulariser = model, aim, regulariser
        self.pressure = 1.0
        """Share of the regulariser's weight at the present step."""
        self.mini_batch_size = gradient_cache or 0
        self.uses_gradient_cache = gradient_cache is not None
        self._kept: tuple[RandContext | None, torch.Tensor] | None = None
        """Vectors that have their graph still, and the random state that they were made with."""
        self.loss = self.spread = torch.nan
        """Of the last batch: its loss, and how far its cosines are apart (largest − smallest)."""
        self.active = (1.0, 1.0)
        """Of the last batch's queries and passages: as `active` says."""

    def begin(self, step: int, steps: int) -> None:
        """Let the regulariser press as this step asks for."""
        if self.regulariser:
            self.pressure = self.regulariser.share(step, steps)

    def check(self, step: int, steps: int) -> None:
        """Refuse sparse vectors that learn nothing more: see `Regulariser.check`."""
        if self.regulariser:
            self.regulariser.check(step, steps, self.active)

    def forward(
        self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch of queries and passages."""
        queries, passages = sentence_features
        if self.uses_gradient_cache:
            self._kept = None
            return self.forward_cached([passages, queries], labels)
        vectors = [[self.model(each)["sentence_embedding"]] for each in (queries, passages)]
        return self.calculate_loss(vectors[::-1], labels)

    def embed_minibatch(
        self,
        sentence_feature: dict[str, torch.Tensor],
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: RandContext | None = None,
    ) -> tuple[torch.Tensor, RandContext | None]:
        """The vectors of the texts `begin` to `end`.

        The library runs all texts twice, in the same order: without graphs, and then with them.
        Here what runs first keeps its graph, and the second round begins with it. So the model
        never has two graphs in memory, and these texts run once.
        """
        if with_grad and self._kept is not None and self._kept[0] is random_state:
            vectors, self._kept = self._kept[1], None
            return vectors, None
        keeps = copy_random_state and self._kept is None
        vectors, state = super().embed_minibatch(
            sentence_feature, begin, end, with_grad or keeps, copy_random_state, random_state
        )
        if keeps:
            self._kept = state, vectors
        return vectors, state

    def calculate_loss(
        self,
        reps: list[list[torch.Tensor]],
        labels: torch.Tensor | None = None,
        *,
        with_backward: bool = False,
    ) -> torch.Tensor:
        """The loss of vectors of passages and of queries, in parts as they were made;
        with_backward: and their gradients."""
        assert labels is not None
        passages, queries = (torch.cat(parts).float() for parts in reps)
        loss = self.aim.loss(similarities(queries, passages, self.aim.similarity), labels)
        if self.regulariser:
            loss = loss + self.pressure * self.regulariser.loss(queries, passages)
        with torch.no_grad():
            if self.regulariser:
                self.active = active(queries), active(passages)
            cosines = similarities(queries, passages, "cosine")
            self.loss, self.spread = float(loss), float(cosines.max() - cosines.min())
        if with_backward:
            loss.backward()
            loss = loss.detach()
        return loss
