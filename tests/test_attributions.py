"""Neuron attribution against the step-by-step loop, and against itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from attributing import loop, output_gradients
from checkpoints import bert, make
from torch.nn.functional import cosine_similarity

from wellspring.attributions import suffix, targets
from wellspring.attributions.fused import Method, attribute, scores
from wellspring.attributions.quadrature import gauss_legendre, paper
from wellspring.embeddings import encode
from wellspring.errors import ModelError, WellspringError
from wellspring.models.architecture import BUILTIN, blocks, builtin, sublayer
from wellspring.models.load import load

LENGTHS = (12, 7, 3)
DECODERS = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi", "phi3"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A tiny model of 3 blocks of each architecture, made once."""
    made = {}

    def get(name, double=True):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            named = next(iter(builtin(name).classes))
            made[name] = load(make(folder, named, layers=3), name, 3)
        made[name].model.to(torch.float64 if double else torch.float32)
        return made[name]

    return get


def batch(backbone, lengths=LENGTHS):
    draw = torch.Generator().manual_seed(5)
    ids = torch.randint(5, 60, (len(lengths), max(lengths)), generator=draw)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return ids.masked_fill(mask == 0, backbone.padding), mask


def partners(texts=3, hidden=32):
    draw = torch.Generator().manual_seed(6)
    return torch.randn(texts, hidden, generator=draw, dtype=torch.float64)


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
        for done in attribute(backbone, tokens, targets.norm(), method, budget=400, length=14):
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


def test_nothing_below_the_sublayer_runs_twice(loaded, monkeypatch):
    backbone = loaded("bert")
    parts = ("attention.self.query", "intermediate.dense", "output.dense")
    weights = {
        id(block.get_submodule(part).weight): (number, part)
        for number, block in enumerate(blocks(backbone.model, backbone.architecture), start=1)
        for part in parts
    }
    rows = dict.fromkeys(weights.values(), 0)
    real = torch.nn.functional.linear

    def linear(value, weight, bias=None):
        if id(weight) in weights:
            rows[weights[id(weight)]] += value.shape[:-2].numel()
        return real(value, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    method = Method("mean", gauss_legendre(4), 2, ("intermediate", "output"))
    scores(backbone, *batch(backbone), targets.norm(), method)
    texts, again = 3, 3 + 3 * 4  # F(0), then every point
    assert rows == {
        **{(1, part): texts for part in parts},
        (2, "attention.self.query"): texts,
        (2, "intermediate.dense"): texts,
        (2, "output.dense"): texts + again,
        **{(3, part): texts + 2 * again for part in parts},
    }


def test_points_in_several_passes_give_the_same(loaded):
    backbone = loaded("modernbert")
    method = Method("mean", gauss_legendre(5), 2, ("intermediate", "output", "up"))
    whole = scores(backbone, *batch(backbone), targets.norm(), method)
    parts = scores(backbone, *batch(backbone), targets.norm(), method, at_once=2)
    for name in method.sublayers:
        np.testing.assert_allclose(parts[name].absolute, whole[name].absolute, rtol=1e-9)


def gathered(backbone, tokens, target, method, **options):
    """Absolute scores in the order of the texts, and the number of batches and splits."""
    out, parts, splits = {}, 0, 0
    for done in attribute(backbone, tokens, target, method, **options):
        parts, splits = parts + 1, splits + done.splits
        out.update(zip(done.rows, done.scores["output"].absolute, strict=True))
    return np.stack([out[row] for row in range(len(tokens))]), parts, splits


def texts_of(backbone, lengths):
    ids, mask = batch(backbone, lengths)
    return [tuple(row[kept.bool()].tolist()) for row, kept in zip(ids, mask, strict=True)]


def test_every_text_keeps_its_place_and_partner_in_any_batch(loaded):
    backbone = loaded("bert")
    tokens = texts_of(backbone, (4, 9, 2, 12, 9))
    target = targets.cosine(partners(5))
    method = Method("mean", gauss_legendre(3), 1, ("output",))
    once, parts, _ = gathered(backbone, tokens, target, method)
    assert parts == 1
    for budget, expected in ((1, 5), (60, 3)):
        found, parts, splits = gathered(backbone, tokens, target, method, budget=budget)
        assert (parts, splits) == (expected, 0)
        np.testing.assert_allclose(found, once, rtol=1e-8, atol=1e-12)
    alone = [
        scores(
            backbone,
            torch.tensor([ids]),
            torch.ones(1, len(ids), dtype=torch.long),
            target.select([row]),
            method,
        )["output"].absolute[0]
        for row, ids in enumerate(tokens)
    ]
    np.testing.assert_allclose(np.stack(alone), once, rtol=1e-8, atol=1e-12)


def test_another_method_runs_through_the_same_batches(loaded):
    backbone = loaded("bert")
    tokens = texts_of(backbone, (4, 9, 2))
    method = Method("mean", gauss_legendre(3), 1, ("output",))
    asked = []

    def doubled(*given):
        asked.append(given)
        found = scores(*given)["output"]
        return {"output": replace(found, absolute=2 * found.absolute)}

    once, *_ = gathered(backbone, tokens, targets.norm(), method, budget=27)
    twice, parts, _ = gathered(backbone, tokens, targets.norm(), method, budget=27, scorer=doubled)
    assert parts == len(asked) == 2
    np.testing.assert_allclose(twice, 2 * once)


def test_what_does_not_fit_into_memory_is_halved(loaded, monkeypatch):
    backbone = loaded("bert")
    tokens = texts_of(backbone, (4, 9, 2, 12))
    method = Method("mean", gauss_legendre(4), 1, ("output",))
    whole, *_ = gathered(backbone, tokens, targets.norm(), method)
    real = suffix.Suffix.__call__

    def limited(fits):
        def call(self, z):
            if z.shape[:2].numel() > fits:
                raise torch.OutOfMemoryError("no memory")
            return real(self, z)

        return call

    monkeypatch.setattr(suffix.Suffix, "__call__", limited(2))
    found, _, splits = gathered(backbone, tokens, targets.norm(), method)
    # Four texts to one (3 splits), and each one's four points to two.
    assert splits == 3 + 4
    np.testing.assert_allclose(found, whole, rtol=1e-8, atol=1e-12)
    monkeypatch.setattr(suffix.Suffix, "__call__", limited(0))
    with pytest.raises(WellspringError, match="text 3, of 12 tokens, does not fit into memory"):
        gathered(backbone, tokens, targets.norm(), method)


def test_a_text_without_signal_is_an_error(tmp_path, loaded):
    # Fresh layer norms give every state the same length.
    silent = load(bert(tmp_path, hidden=48), "bert", 2)
    method = Method("cls", gauss_legendre(4), 2, ("output",))
    with pytest.raises(WellspringError, match=r"layer 2, output: text 1 has no signal"):
        gathered(silent, [(5, 6), (5, 6, 7)], targets.norm(), method)
    gathered(silent, [(5, 6), (5, 6, 7)], targets.norm(), replace(method, pooling="mean"))
    # One text of many: its partner is nothing.
    backbone = loaded("bert", double=False)
    found = partners(3)
    found[2] = 0
    with pytest.raises(WellspringError, match="text 2 has no signal"):
        gathered(backbone, texts_of(backbone, LENGTHS), targets.dot(found), method)


def test_a_target_whose_ends_are_equal_by_chance_has_a_signal(loaded):
    backbone = loaded("bert")
    tokens, method = texts_of(backbone, (7,)), Method("cls", gauss_legendre(8), 2, ("output",))
    ids = torch.tensor(tokens)
    linear, _ = sublayer(backbone.model, backbone.architecture, 1, "output")
    kept = [part.data for part in (linear.weight, linear.bias)]
    full = backbone.states(ids, torch.ones_like(ids))[-1][:, 0]
    linear.weight.data, linear.bias.data = map(torch.zeros_like, kept)
    moved = full - backbone.states(ids, torch.ones_like(ids))[-1][:, 0]
    linear.weight.data, linear.bias.data = kept
    across = partners(1).double()
    across -= (across @ moved.T) / (moved @ moved.T) * moved
    ((_, found),) = [
        part
        for done in attribute(backbone, tokens, targets.dot(across), method)
        for part in done.scores.items()
    ]
    assert abs(found.full - found.empty) < 1e-13
    absolute, _ = loop(
        backbone, ids, "cls", lambda v: v @ across[0], 2, "output", method.quadrature
    )
    np.testing.assert_allclose(found.absolute[0], absolute, rtol=1e-10)


def test_scores_that_are_not_finite_are_an_error(loaded):
    backbone = loaded("bert")
    found = partners(3)
    found[1] = torch.nan
    method = Method("cls", gauss_legendre(2), 2, ("output",))
    with pytest.raises(WellspringError, match="scores of text 1 are not finite"):
        scores(backbone, *batch(backbone), targets.dot(found), method)


def test_requests_that_cannot_be_met_are_errors(loaded):
    backbone = loaded("bert")
    ids, mask = batch(backbone)
    for layer in (0, 4):
        with pytest.raises(ModelError, match=f"layer {layer}: the model has blocks 1 to 3"):
            suffix.record(backbone, ids, mask, layer, ["output"])
    with pytest.raises(ModelError, match="'up': the model's architecture has intermediate, output"):
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
