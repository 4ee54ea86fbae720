"""Neuron attribution against the step-by-step loop, and against itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from tests.support.attributing import (
    LENGTHS,
    batch,
    gathered,
    loop,
    output_gradients,
    partners,
    texts_of,
)
from tests.support.checkpoints import make
from wellspring.attributions import suffix, targets
from wellspring.attributions.fused import Method, attribute, scores
from wellspring.attributions.quadrature import gauss_legendre, paper
from wellspring.embeddings import encode
from wellspring.errors import ModelError, WellspringError
from wellspring.models.architecture import BUILTIN, sublayer
from wellspring.models.load import load

DECODERS = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi", "phi3"}


def check_against_loop(backbone, pooling, layer, quadrature, tolerance, target, value):
    names = tuple(backbone.architecture.sublayers)
    ids, mask = batch(backbone)
    found = scores(backbone, ids, mask, target, Method(pooling, quadrature, layer, names))
    for name in names:
        for text, length in enumerate(LENGTHS):
            alone = ids[text : text + 1, :length]
            given = (backbone, alone, pooling, lambda v, t=text: value(v, t), layer, name)
            absolute, signed = (array.numpy() for array in loop(*given, quadrature))
            largest = absolute.max()
            assert largest > 0
            for ours, theirs in (
                (found[name].absolute[text], absolute),
                (found[name].signed[text], signed),
            ):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * largest)


def length_of(vector, text):
    return vector.norm()


@pytest.mark.parametrize("name", BUILTIN)
def test_a_padded_batch_equals_the_loop_over_texts_alone(loaded, name):
    # Gemma 2's attention takes its softmax in float32, where float64's mask is infinite.
    backbone = loaded(name, double=name != "gemma2")
    # Norms and attention of the decoders and T5 go through float32 in any case.
    tolerance = 1e-10 if name in {"bert", "dpr", "distilbert", "mpnet", "roberta"} else 5e-6
    pooling = "eos" if name in DECODERS else "mean"
    check_against_loop(
        backbone, pooling, 2, gauss_legendre(3), tolerance, targets.norm(), length_of
    )


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("layer", [1, 3])
def test_the_first_and_the_last_block_equal_the_loop(loaded, name, layer):
    # One position is read: the last block runs on it alone from its attention on.
    found = partners()
    check_against_loop(
        loaded(name, double=name != "gemma2"),
        "eos" if name in DECODERS else "cls",
        layer,
        gauss_legendre(3),
        5e-6,
        targets.cosine(found),
        lambda vector, text: cosine_similarity(vector.double(), found[text], dim=0),
    )


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_float32_equals_the_loop_at_the_published_rule(loaded, name):
    backbone = loaded(name, double=False)
    check_against_loop(backbone, "mean", 2, paper(), 1e-5, targets.norm(), length_of)


def test_a_real_decoder_equals_the_loop(shared):
    backbone = load(shared("models/stories260k"), "llama", 5)
    rule = gauss_legendre(4)
    check_against_loop(backbone, "eos", 3, rule, 1e-5, targets.norm(), length_of)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_margin_equals_its_definition(loaded, similarity):
    positives = partners()
    negatives = [partners(count, 32) + 1 for count in (1, 2, 4)]

    def s(vector, others):
        return (
            cosine_similarity(vector, others, dim=-1) if similarity == "cosine" else others @ vector
        )

    def value(vector, text):
        return s(vector, positives[text]) - s(vector, negatives[text]).mean()

    target = targets.margin(positives, negatives, similarity)
    check_against_loop(loaded("bert"), "mean", 2, gauss_legendre(3), 1e-10, target, value)


def test_a_dot_product_equals_its_definition(loaded):
    found = partners()
    target = targets.dot(found)
    given = (loaded("bert"), "cls", 2, gauss_legendre(3), 1e-10, target)
    check_against_loop(*given, lambda vector, text: vector @ found[text])


def test_the_padded_mean_counts_padding(loaded):
    backbone = loaded("bert")
    ids, mask = batch(backbone)
    method = Method("cls", gauss_legendre(32), 2, ("output",))
    found = scores(backbone, ids, mask, targets.padded_mean_norm(), method)["output"]
    with torch.no_grad():
        length = backbone.states(ids, mask)[-1].mean(dim=1).norm(dim=1).numpy()
    np.testing.assert_allclose(found.full, length, rtol=1e-6)
    assert (abs(found.residual) < 1e-4 * abs(found.full - found.empty)).all()
    plain = scores(backbone, ids, mask, targets.norm(), replace(method, pooling="mean"))["output"]
    same = np.isclose(found.absolute, plain.absolute, rtol=1e-4).all(axis=1)
    assert same.tolist() == [True, False, False]


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet"])
def test_the_length_behind_the_pooler_equals_the_loop(loaded, name):
    backbone = loaded(name)
    pooler = backbone.model.pooler
    given = (backbone, "cls", 2, gauss_legendre(3), 1e-10, targets.pooler_norm())
    check_against_loop(*given, lambda vector, text: pooler(vector[None, None]).norm())
    # Whatever the pooling.
    method = Method("mean", gauss_legendre(32), 2, ("intermediate",))
    found = scores(backbone, *batch(backbone), targets.pooler_norm(), method)["intermediate"]
    with torch.no_grad():
        states = backbone.states(*batch(backbone))[-1]
        np.testing.assert_allclose(found.full, pooler(states).norm(dim=1).numpy(), rtol=1e-6)
    assert (abs(found.residual) < 1e-4 * abs(found.full - found.empty)).all()


def test_dprs_own_vector_is_the_first_tokens_state(loaded):
    backbone = loaded("dpr")
    method = Method("cls", gauss_legendre(3), 2, ("output",))
    through, plain = (
        scores(backbone, *batch(backbone), target, method)["output"]
        for target in (targets.pooler_norm(), targets.norm())
    )
    np.testing.assert_array_equal(through.absolute, plain.absolute)


def test_a_pooler_in_half_precision_gives_wide_lengths(loaded):
    backbone = loaded("bert")
    vectors = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(7))
    exact = backbone.model.pooler(vectors.double().flatten(0, 1)[:, None]).norm(dim=1)
    backbone.model.to(torch.bfloat16)
    target = targets.pooler_norm().bound(backbone)
    for found in (target.values(vectors), target.magnitude(vectors)):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.flatten().double(), exact, rtol=0.02, atol=0)


def test_a_pooler_that_is_not_the_checkpoints_is_an_error(tmp_path, loaded):
    method = Method("cls", gauss_legendre(3), 2, ("output",))
    with pytest.raises(ModelError, match="pooler-norm: ModernBertModel has no pooler"):
        gathered(loaded("modernbert"), [(5, 6)], targets.pooler_norm(), method)
    fresh = load(make(tmp_path, "BertForMaskedLM"), "bert", 2)
    assert fresh.fresh == ("pooler.dense.bias", "pooler.dense.weight")
    with pytest.raises(ModelError, match="the checkpoint has no weights for the pooler of Bert"):
        gathered(fresh, [(5, 6)], targets.pooler_norm(), method)
    gathered(fresh, [(5, 6)], targets.norm(), replace(method, pooling="mean"))


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_last_position_is_that_of_the_embeddings(tmp_path, side):
    backbone = load(make(tmp_path, "LlamaModel", side=side), "llama", 2)
    tokens = texts_of(backbone, (4, 9, 2, 12))
    (whole,) = encode(backbone, tokens, "last-position", length=14)
    expected = np.linalg.norm(whole.vectors, axis=-1)[-1][np.argsort(whole.rows)]
    for layer in (1, 2):
        method = Method("last-position", gauss_legendre(24), layer, ("intermediate", "output"))
        for done in attribute(
            backbone, tokens, targets.norm(), method, budget=400, widths=[14] * 4
        ):
            for found in done.scores.values():
                np.testing.assert_allclose(found.full, expected[done.rows], rtol=1e-5)
                assert (abs(found.residual) < 1e-3 * abs(found.full - found.empty)).all()


@pytest.mark.parametrize("pooling", ["cls", "mean", "eos"])
@pytest.mark.parametrize("name", ["bert", "dpr", "modernbert", "llama"])
def test_scores_and_bias_sum_to_the_change_of_the_target(loaded, name, pooling):
    backbone = loaded(name)
    names = tuple(backbone.architecture.sublayers)
    target = targets.dot(partners())
    found = scores(
        backbone, *batch(backbone), target, Method(pooling, gauss_legendre(32), 2, names)
    )
    coarse = scores(backbone, *batch(backbone), target, Method(pooling, paper(), 2, names))
    for sub in names:
        change = abs(found[sub].full - found[sub].empty)
        assert (abs(found[sub].residual) < 1e-4 * change.max()).all()
        assert abs(found[sub].residual).max() < abs(coarse[sub].residual).max()


@pytest.mark.parametrize("name", ["bert", "phi3"])
def test_signed_scores_with_the_bias_are_the_gradients_of_the_outputs(loaded, name):
    backbone = loaded(name)
    ids, mask = batch(backbone, (9,))
    rule = gauss_legendre(5)
    found = scores(backbone, ids, mask, targets.norm(), Method("mean", rule, 2, ("intermediate",)))
    found = found["intermediate"]
    expected = output_gradients(backbone, ids, mask, "mean", 2, "intermediate", rule).numpy()
    change = found.full - found.empty
    np.testing.assert_allclose(expected.sum() - change, found.residual[0], atol=1e-6 * change[0])
    if sublayer(backbone.model, backbone.architecture, 1, "intermediate")[0].bias is None:
        np.testing.assert_allclose(found.signed[0], expected, atol=1e-6 * found.absolute.max())


def test_requests_that_cannot_be_met_are_errors(loaded):
    backbone = loaded("bert")
    ids, mask = batch(backbone)
    for layer in (0, 4):
        with pytest.raises(ModelError, match=f"layer {layer}: the model has blocks 1 to 3"):
            suffix.record(backbone, ids, mask, layer, ["output"])
    with pytest.raises(ModelError, match="BertModel has no 'up', but intermediate, output"):
        suffix.record(backbone, ids, mask, 1, ["up"])
    method = Method("mean", gauss_legendre(2), 1, ("output",))
    with pytest.raises(WellspringError, match="a text has 131 positions, the model has 130"):
        gathered(backbone, [tuple([5] * 131)], targets.norm(), method)


def test_a_sublayer_that_is_called_in_pieces_is_an_error(tmp_path):
    folder = make(tmp_path, "BertModel", chunk_size_feed_forward=2)
    backbone = load(folder, "bert", 2)
    with pytest.raises(ModelError, match="chunk_size_feed_forward"):
        suffix.record(backbone, *batch(backbone), 1, ["intermediate"])


def test_the_model_is_left_as_it_was(loaded):
    backbone = loaded("bert")
    before = {name: set(vars(module)) for name, module in backbone.model.named_modules()}
    ids, mask = batch(backbone)
    states, found = suffix.record(backbone, ids, mask, 2, ["output"])
    again = found["output"](found["output"].z[None])[0]
    torch.testing.assert_close(again, states, rtol=1e-10, atol=1e-12)
    with pytest.raises(RuntimeError):
        found["output"](found["output"].z[None, :, :, 1:])
    assert before == {name: set(vars(module)) for name, module in backbone.model.named_modules()}
