"""Objectives against hand-computed cases, and with cached gradients against themselves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin

from tests.support import training
from wellspring.training.batches import CANDIDATE, MASKED, POSITIVE
from wellspring.training.encoding import SparseEncoding
from wellspring.training.objectives import (
    Aim,
    Objective,
    Regulariser,
    divergence,
    flops,
    infonce,
    margin_mse,
    similarities,
)

P, C, M = POSITIVE, CANDIDATE, MASKED


def test_infonce_by_hand():
    scores = torch.tensor([[0.5, 0.1, 0.9], [0.2, 0.4, 0.3]])
    labels = torch.tensor([[P, C, M], [C, P, C]])
    # The third passage answers the first query, too, and is left out there.
    first = -math.log(math.exp(5) / (math.exp(5) + math.exp(1)))
    second = -math.log(math.exp(4) / (math.exp(2) + math.exp(4) + math.exp(3)))
    assert float(infonce(scores, labels, 0.1)) == pytest.approx((first + second) / 2, rel=1e-6)


def test_similarities_are_products_and_cosines():
    rng = np.random.default_rng(0)
    queries, passages = rng.normal(size=(3, 8)), rng.normal(size=(5, 8))
    pair = torch.tensor(queries), torch.tensor(passages)
    products = queries @ passages.T
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(passages, axis=1))
    np.testing.assert_allclose(similarities(*pair, "dot"), products)
    np.testing.assert_allclose(similarities(*pair, "cosine"), products / lengths)


def test_margins_and_divergence_by_hand():
    student = torch.tensor([[0.9, 0.4, 0.1], [0.2, 0.3, 0.0]])
    teacher = torch.tensor([[1.0, 0.2, 0.2], [0.5, 0.1, 0.3]])
    margins = [(0.5 - 0.8) ** 2, (0.8 - 0.8) ** 2, (-0.1 - 0.4) ** 2, (0.2 - 0.2) ** 2]
    assert float(margin_mse(student, teacher)) == pytest.approx(np.mean(margins), rel=1e-5)
    apart = []
    for own, theirs in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = (np.exp(each) / np.exp(each).sum() for each in (theirs, own))
        apart.append(float((p * np.log(p / q)).sum()))
    assert float(divergence(student, teacher)) == pytest.approx(np.mean(apart), rel=1e-5)


def test_a_teacher_judges_a_query_s_own_passages_alone():
    nan = torch.nan
    scores = torch.tensor([[0.4, 0.9, 0.1, 0.3], [0.2, 0.5, 0.7, 0.6]])
    # The first query's positive is the second passage, and its negative the third.
    kinds = torch.tensor([[C, P, C, M], [P, C, C, C]]).float()
    teacher = torch.tensor([[nan, 0.8, 0.3, nan], [0.9, nan, nan, 0.2]])
    labels = torch.stack([kinds, teacher], dim=-1)
    own, theirs = torch.tensor([[0.9, 0.1], [0.2, 0.6]]), torch.tensor([[0.8, 0.3], [0.9, 0.2]])
    contrast = infonce(scores, kinds, 0.1)
    apart = divergence(own / 0.1, theirs / 0.5)
    for name, expected in (
        ("infonce", contrast),
        ("margin-mse", margin_mse(own, theirs / 0.5)),
        ("kl", apart),
        ("infonce+kl", (contrast + apart) / 2),
    ):
        loss = Aim(name, "cosine", 0.1, 0.5).loss(scores, labels)
        assert float(loss) == pytest.approx(float(expected), rel=1e-6), name


@pytest.mark.parametrize(
    ("name", "similarity"),
    [
        ("infonce", "cosine"),
        ("infonce", "dot"),
        ("margin-mse", "dot"),
        ("kl", "cosine"),
        ("infonce+kl", "cosine"),
    ],
)
def test_cached_gradients_are_those_of_the_whole_batch(tmp_path, name, similarity):
    backbone = training.backbone(tmp_path)
    examples = training.gathered(2)
    batches = training.batches(backbone, examples, size=6)
    if name != "infonce":
        scores = np.random.default_rng(1).normal(size=examples.passages.shape)
        batches = dataclasses.replace(batches, teacher=scores.astype(np.float32))
    model = training.encoding(backbone.model.requires_grad_(True))
    aim = Aim(name, similarity, 0.05)
    losses, gradients = several(model, batches[0], (None, 1, 4), aim=aim)
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        assert loss == pytest.approx(losses[0], rel=1e-5)
        apart = (gradient - gradients[0]).norm() / gradients[0].norm()
        assert apart < 1e-5


@pytest.mark.parametrize("made_of", ["logits", "probabilities"])
@pytest.mark.parametrize("name", ["infonce", "margin-mse", "kl", "infonce+kl"])
def test_cached_gradients_of_sparse_vectors_are_those_of_the_whole_batch(tmp_path, name, made_of):
    """The regulariser needs the means over the whole batch, of each side."""
    whole = training.sparse(tmp_path)
    examples = training.gathered(2)
    batches = training.batches(whole.backbone, examples, size=6)
    if name != "infonce":
        scores = np.random.default_rng(1).normal(size=examples.passages.shape)
        batches = dataclasses.replace(batches, teacher=scores.astype(np.float32))
    model = SparseEncoding(whole.model.requires_grad_(True), whole.scale, 40, made_of)
    options = {"aim": Aim(name, "dot", 1.0), "regulariser": Regulariser(0.5, 0.3, 0.0)}
    losses, gradients = several(model, batches[0], (None, 1, 4), **options)
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        assert loss == pytest.approx(losses[0], rel=1e-5)
        assert (gradient - gradients[0]).norm() / gradients[0].norm() < 1e-5
    bare, _ = several(model, batches[0], (None,), aim=Aim(name, "dot", 1.0))
    assert losses[0] > bare[0]


def several(model, batch, caches, **options) -> tuple[list[float], list[torch.Tensor]]:
    """Losses and gradients of a batch with each cache."""
    losses, gradients = [], []
    for cache in caches:
        model.zero_grad()
        objective = Objective(model, gradient_cache=cache, **options)
        loss = objective(sides(batch), batch["label"])
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(gradient(model))
    return losses, gradients


def sides(batch) -> list[dict[str, torch.Tensor]]:
    """Queries and passages."""
    return [
        {name: batch[f"{side}_{name}"] for name in ("input_ids", "attention_mask")}
        for side in ("query", "passage")
    ]


def gradient(model) -> torch.Tensor:
    """Of all weights, in one row."""
    weights = [each.grad for each in model.parameters() if each.grad is not None]
    return torch.cat([each.flatten() for each in weights])


def test_the_first_passages_run_once_and_all_other_texts_twice(tmp_path):
    backbone = training.backbone(tmp_path)
    batch = training.batches(backbone, training.gathered(2), size=6)[0]
    model = training.encoding(backbone.model.requires_grad_(True))
    ran = []
    model.register_forward_pre_hook(lambda _, given: ran.append(len(given[0]["input_ids"])))
    several(model, batch, (4,), aim=Aim("infonce", "cosine", 0.05))
    # 18 passages, then 6 queries; then the same but for the first four passages.
    once = [4, 4, 4, 4, 2, 4, 2]
    assert ran == [*once, *once[1:]]


class Twice(Objective):
    """As the library does it."""

    embed_minibatch = CachedLossMixin.embed_minibatch


def test_words_are_dropped_out_as_by_the_library(tmp_path):
    """Also where two batches, or one batch twice, run before the first gradient."""
    backbone = training.backbone(tmp_path)
    batches = training.batches(backbone, training.gathered(2), size=6, steps=2)
    model = training.encoding(backbone.model.requires_grad_(True)).train()
    assert backbone.model.config.hidden_dropout_prob > 0
    for others in ((), (1,), (0,)):
        gradients = []
        for kind in (Objective, Twice):
            torch.manual_seed(0)
            objective = kind(model, Aim("infonce", "cosine", 0.05), gradient_cache=4)
            features = [sides(batch) for batch in batches]
            losses = [objective(features[step], batches[step]["label"]) for step in (0, *others)]
            for loss in losses:
                model.zero_grad()
                loss.backward()
                gradients.append(gradient(model))
        for mine, theirs in zip(gradients[: len(losses)], gradients[len(losses) :], strict=True):
            torch.testing.assert_close(mine, theirs)


def test_flops_by_hand_and_by_the_library():
    from sentence_transformers.sparse_encoder.losses import FlopsLoss

    queries = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    passages = torch.tensor([[0.0, 1.0, 0.0], [0.0, 3.0, 2.0]])
    assert float(flops(queries)) == 2**2 + 0 + 1**2
    assert float(flops(passages)) == 0 + 2**2 + 1**2
    regulariser = Regulariser(0.5, 0.4, 0.0)
    assert float(regulariser.loss(queries, passages)) == pytest.approx(0.5 * 5 + 0.4 * 5)
    vectors = torch.rand(6, 40)
    theirs = FlopsLoss(torch.nn.Identity()).compute_loss_from_embeddings(vectors)
    torch.testing.assert_close(flops(vectors), theirs)


def test_the_ramp_is_quadratic():
    ramp = Regulariser(0.5, 0.4, 1 / 3)
    shares = [ramp.share(step, 12) for step in range(12)]
    assert shares == [0, 1 / 16, 1 / 4, 9 / 16, *[1] * 8]
    assert Regulariser(0.5, 0.4, 0.0).share(0, 12) == 1


def test_the_ramp_is_that_of_the_library():
    from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import (
        SpladeRegularizerWeightSchedulerCallback,
    )
    from sentence_transformers.sparse_encoder.losses import (
        SparseMultipleNegativesRankingLoss,
        SpladeLoss,
    )
    from transformers import TrainerControl, TrainerState

    model = torch.nn.Identity()
    loss = SpladeLoss(model, SparseMultipleNegativesRankingLoss(model), 0.4, 0.5)
    theirs = SpladeRegularizerWeightSchedulerCallback(loss)
    state = TrainerState(max_steps=30)
    theirs.on_train_begin(None, state, TrainerControl())
    for step in range(30):
        state.global_step = step
        theirs.on_step_begin(None, state, TrainerControl())
        share = Regulariser(0.5, 0.4, 1 / 3).share(step, 30)
        assert loss.document_regularizer_weight == pytest.approx(0.4 * share)
        assert loss.query_regularizer_weight == pytest.approx(0.5 * share)


def test_vectors_are_those_of_embeddings_whatever_the_parts(tmp_path):
    from wellspring.embeddings import encode

    backbone = training.backbone(tmp_path)
    run = training.batches(backbone, training.gathered(), size=6)
    tokens = list(run.passage_tokens)
    expected = np.zeros((len(tokens), backbone.hidden), np.float32)
    for done in encode(backbone, tokens, "mean", False, 4096, 24):
        expected[done.rows] = done.vectors[-1]
    from wellspring.training.quality import vectors

    for budget in (0, 30):
        found = vectors(training.encoding(backbone.model, budget), tokens, backbone.padding)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("negatives", [0, 2])
def test_the_library_s_own_losses_agree(negatives):
    """An independent implementation, where nothing is masked."""
    from sentence_transformers import SentenceTransformer, losses
    from sentence_transformers.util import pairwise_dot_score

    rng = np.random.default_rng(negatives)
    queries, *groups = (
        torch.tensor(rng.normal(size=(5, 8)), dtype=torch.float32) for _ in range(2 + negatives)
    )
    passages = torch.cat(groups)
    labels = torch.full((5, len(passages)), C)
    labels[range(5), range(5)] = P
    model = SentenceTransformer(modules=[torch.nn.Identity()], device="cpu")
    theirs = losses.MultipleNegativesRankingLoss(model, scale=1 / 0.05)
    expected = theirs.compute_loss_from_embeddings([queries, *groups], None)
    scores = similarities(queries, passages, "cosine")
    assert float(infonce(scores, labels, 0.05)) == pytest.approx(float(expected), rel=1e-5)
    if not negatives:
        return
    teacher = torch.tensor(rng.normal(size=(5, 1 + negatives)), dtype=torch.float32)
    own = torch.stack([pairwise_dot_score(queries, each) for each in groups], dim=1)
    margins = losses.MarginMSELoss(model)
    expected = margins.compute_loss_from_embeddings(
        [queries, *groups], teacher[:, :1] - teacher[:, 1:]
    )
    assert float(margin_mse(own, teacher)) == pytest.approx(float(expected), rel=1e-5)
    divergences = losses.DistillKLDivLoss(model, temperature=1.0)
    expected = divergences.compute_loss_from_embeddings([queries, *groups], teacher)
    assert float(divergence(own, teacher)) == pytest.approx(float(expected), rel=1e-5)
