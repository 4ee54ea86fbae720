"""Ablation against edited weights, a network with planted neurons, and the effects' definitions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.attributions.test_toys import Block, Toy
from wellspring.attributions import fused, targets
from wellspring.attributions.ablation import (
    ablated,
    chosen,
    effects,
    layers_of,
    magnitudes_of,
    masks,
)
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.embeddings import encode
from wellspring.errors import WellspringError
from wellspring.models.architecture import Architecture, Sublayer, sublayer
from wellspring.models.load import Backbone
from wellspring.pooling import pool

NAMES = ("bert", "llama", "t5", "modernbert", "phi3")
TOKENS = [(5, 6, 7), (9, 8, 7, 6, 5, 11, 12), (40,), (5, 6, 7), (31, 32, 33, 34, 35)]


@pytest.fixture(scope="module")
def loaded(loaded):
    return partial(loaded, double=False, layers=2)


def drawn_masks(backbone):
    """A fifth of every sub-layer of every block, at random for each of TOKENS."""
    draw, found = np.random.default_rng(4), {}
    for layer in range(1, backbone.layers + 1):
        for name in backbone.architecture.sublayers:
            _, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
            found[layer, name] = draw.random((len(TOKENS), rows.stop - rows.start)) < 0.2
    return found


def edited(backbone, ids, pooling, masks, text):
    """The vector of one text by a model whose weights were set to zero."""
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    for (layer, name), zero in masks.items():
        linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
        for value in linear.parameters():
            value.data[rows][torch.from_numpy(zero[text])] = 0
    ids = torch.tensor([ids])
    vector = pool(backbone.states(ids, torch.ones_like(ids))[-1], torch.ones_like(ids), pooling)
    backbone.model.load_state_dict(before)
    return vector[0].detach().numpy()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_with_masks_equals_edited_weights_text_by_text(loaded, name):
    backbone = loaded(name)
    pooling = "eos" if "up" in backbone.architecture.sublayers else "mean"
    masks = drawn_masks(backbone)
    expected = [edited(backbone, ids, pooling, masks, row) for row, ids in enumerate(TOKENS)]
    found = ablated(backbone, TOKENS, pooling, masks)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)
    whole = ablated(backbone, TOKENS, pooling, {})
    assert (abs(found - whole).max(axis=1) > 1e-2).all()
    # Texts 0 and 3 are the same under two masks.
    assert abs(found[0] - found[3]).max() > 1e-2
    np.testing.assert_allclose(whole[0], whole[3], atol=1e-6)


def test_whole_vectors_are_those_of_encode(loaded):
    backbone = loaded("bert")
    for pooling, width in (("mean", None), ("last-position", 9)):
        widths = None if width is None else [width] * len(TOKENS)
        found = ablated(backbone, TOKENS, pooling, {}, widths=widths)
        for done in encode(backbone, TOKENS, pooling, length=width or 0):
            np.testing.assert_allclose(found[done.rows], done.vectors[-1], atol=1e-5)


@pytest.mark.parametrize("budget", [1, 10, 25])
def test_batches_do_not_matter(loaded, budget):
    backbone = loaded("modernbert")
    masks = drawn_masks(backbone)
    once = ablated(backbone, TOKENS, "mean", masks)
    np.testing.assert_allclose(ablated(backbone, TOKENS, "mean", masks, budget), once, atol=2e-6)


def test_what_does_not_fit_into_memory_is_halved(loaded, monkeypatch):
    backbone = loaded("bert")
    masks = drawn_masks(backbone)
    once = ablated(backbone, TOKENS, "mean", masks)
    real, fits, sizes = Backbone.states, 2, []

    def limited(self, ids, mask):
        if len(ids) > fits:
            raise torch.OutOfMemoryError("no memory")
        sizes.append(len(ids))
        return real(self, ids, mask)

    monkeypatch.setattr(Backbone, "states", limited)
    np.testing.assert_allclose(ablated(backbone, TOKENS, "mean", masks), once, atol=2e-6)
    assert sorted(sizes) == [1, 2, 2]
    fits = 0
    with pytest.raises(WellspringError, match="tokens does not fit into memory"):
        ablated(backbone, TOKENS, "mean", masks)


def test_the_model_is_left_as_it_was(loaded):
    backbone = loaded("bert")
    before = ablated(backbone, TOKENS, "mean", {})
    hooks = [len(module._forward_hooks) for module in backbone.model.modules()]
    with pytest.raises(RuntimeError):
        ablated(backbone, TOKENS, "mean", {(1, "output"): np.zeros((len(TOKENS), 3), bool)})
    ablated(backbone, TOKENS, "mean", drawn_masks(backbone))
    assert hooks == [len(module._forward_hooks) for module in backbone.model.modules()]
    np.testing.assert_array_equal(ablated(backbone, TOKENS, "mean", {}), before)


def planted():
    """Two linear blocks of 6 dimensions, of which the last reads 0 and 3 alone."""
    draw = torch.Generator().manual_seed(3)
    table = torch.randn(8, 6, generator=draw)
    first, last = nn.Linear(6, 6), nn.Linear(6, 6)
    for linear in (first, last):
        linear.weight.data = torch.eye(6) + 0.1 * torch.randn(6, 6, generator=draw)
    read = torch.tensor([1.0, 0, 0, 1, 0, 0])
    last.weight.data *= read * read[:, None]
    last.bias.data *= read
    model = Toy(table, *(Block(linear, nn.Identity()) for linear in (first, last)))
    known = Architecture({}, "stack", {"output": Sublayer(path="linear")})
    return Backbone(model.requires_grad_(False), None, known, 2, 6, 0, None, torch.device("cpu"))


def test_the_highest_neurons_of_a_planted_network_hold_the_vector_the_lowest_nothing():
    backbone, tokens = planted(), [(1, 2, 3), (4, 5), (6,)]
    found = np.zeros((3, 2, 6))
    for layer in (1, 2):
        method = fused.Method("mean", gauss_legendre(8), layer, ("output",))
        for done in fused.attribute(backbone, tokens, targets.norm(), method):
            found[done.rows, layer - 1] = done.scores["output"].absolute
    strata = layers_of(3, 2, 6)
    picks = chosen(found.reshape(3, 12), strata, ["a", "b", "c"], 4, seed=1, draws=2)
    whole = ablated(backbone, tokens, "mean", {})
    changes = {}
    for pick in picks:
        places = masks(pick.units, "output", [1, 2], 6)
        vectors = ablated(backbone, tokens, "mean", places)
        none = np.zeros((3, 0, 6))
        changes[pick.choice, pick.draw] = effects(whole, vectors, whole, none, "dot", "query")
    assert list(changes) == [
        *(("top", 0), ("random-as-top", 0), ("random-as-top", 1)),
        *(("bottom", 0), ("random-as-bottom", 0), ("random-as-bottom", 1)),
    ]
    top, bottom = changes["top", 0], changes["bottom", 0]
    np.testing.assert_array_equal(top.length_change, -1)
    np.testing.assert_array_equal(top.change, 1)
    np.testing.assert_allclose(bottom.change, 0, atol=1e-7)
    np.testing.assert_allclose(bottom.length_change, 0, atol=1e-7)
    # Two neurons of each layer hold everything: those that are drawn for them are among the rest.
    assert all(abs(changes["random-as-top", draw].length_change).max() < 1e-6 for draw in (0, 1))
    drawn = [changes["random-as-bottom", draw].length_change for draw in (0, 1)]
    assert -1 < np.mean(drawn) < -0.1


@st.composite
def choices(draw):
    """Scores and strata of three texts, and their choices of so many neurons."""
    neurons, seed = draw(st.integers(1, 20)), draw(st.integers(0, 5))
    layers, width = draw(st.integers(1, 4)), draw(st.integers(neurons, 30))
    random = np.random.default_rng(seed)
    scores = random.random((3, layers * width)).round(1)
    if 2 * neurons > layers * width:
        scores, layers = np.tile(scores, (1, 2)), 2 * layers
    # One layer may hold all of the highest.
    scores[:, :width] *= draw(st.sampled_from([1, 100]))
    strata = layers_of(3, layers, width)
    if draw(st.booleans()):
        sizes = random.random((3, layers, width)) * draw(st.sampled_from([1, 0]))
        strata = magnitudes_of(list(sizes.transpose(1, 0, 2)))
    return scores, strata, chosen(scores, strata, ["a", "b", "c"], neurons, seed, 2)


@given(choices())
def test_highest_and_lowest_neurons(given):
    scores, _, found = given
    top, bottom = found[0], found[3]
    assert [(pick.choice, pick.draw) for pick in (top, bottom)] == [("top", 0), ("bottom", 0)]
    neurons = top.units.shape[1]
    for text, own in enumerate(scores):
        ordered = np.sort(own)
        np.testing.assert_array_equal(np.sort(own[top.units[text]]), ordered[-neurons:])
        np.testing.assert_array_equal(np.sort(own[bottom.units[text]]), ordered[:neurons])
        assert not set(top.units[text]) & set(bottom.units[text])
    assert np.isnan([top.shared, bottom.shared]).all()


@given(choices())
def test_random_neurons_are_as_many_in_every_stratum(given):
    _, strata, found = given
    for place in (0, 3):
        held, *drawn = found[place : place + 3]
        for draw, pick in enumerate(drawn):
            assert (pick.choice, pick.draw) == (f"random-as-{held.choice}", draw)
            for text, levels in enumerate(strata):
                own, random = set(held.units[text]), set(pick.units[text])
                assert len(random) == len(own)
                both = 0
                for stratum in np.unique(levels):
                    there = set(np.flatnonzero(levels == stratum))
                    assert len(random & there) == len(own & there)
                    # The neurons themselves are taken where there are too few others.
                    both += max(0, 2 * len(own & there) - len(there))
                assert len(own & random) == both
                assert pick.shared[text] == pytest.approx(both / len(own))


def test_a_text_s_choices_are_its_own():
    scores, strata = np.random.default_rng(0).random((3, 40)).round(1), layers_of(3, 2, 20)
    every = chosen(scores, strata, ["a", "b", "c"], 6, 9, 3)
    alone = chosen(scores[1:2], strata[1:2], ["b"], 6, 9, 3)
    for ours, theirs in zip(every, alone, strict=True):
        np.testing.assert_array_equal(ours.units[1:2], theirs.units)
    again = chosen(scores[::-1], strata, ["c", "b", "a"], 6, 9, 3)
    for ours, theirs in zip(every, again, strict=True):
        np.testing.assert_array_equal(ours.units, theirs.units[::-1])


def test_more_of_the_highest_hold_the_fewer():
    scores, strata = np.random.default_rng(0).random((3, 50)).round(1), layers_of(3, 5, 10)
    small, large = (chosen(scores, strata, ["a", "b", "c"], count, 9, 1) for count in (4, 11))
    for place in (0, 2):
        for few, many in zip(small[place].units, large[place].units, strict=True):
            assert set(few) < set(many)


def test_random_choices_are_random():
    scores, strata = np.zeros((400, 20)), layers_of(400, 1, 20)
    ids = [str(text) for text in range(400)]
    picks = chosen(scores, strata, ids, 5, 9, 2)
    # Every score is the same: the highest and the lowest are random, too.
    for pick in picks:
        counts = np.bincount(pick.units.ravel(), minlength=20)
        assert abs(counts - 100).max() < 45
    assert (np.sort(picks[1].units) != np.sort(picks[2].units)).any(axis=1).mean() > 0.9
    other = chosen(scores, strata, ids, 5, 10, 2)
    assert (np.sort(picks[1].units) != np.sort(other[1].units)).any(axis=1).mean() > 0.9


def test_a_score_that_tells_the_layer_alone_has_no_contrast():
    """What a neuron does depends on its layer, and so do scores: matched neurons do as much, random
    ones of the network do less."""
    random, texts = np.random.default_rng(1), 200
    effects = np.concatenate([0.1 * random.random((texts, 60)), 1 + random.random((texts, 40))], 1)
    scores = np.concatenate([random.random((texts, 60)), 5 + random.random((texts, 40))], 1)
    ids, layers = [str(text) for text in range(texts)], np.repeat([0, 1], [60, 40])
    found = chosen(scores, np.tile(layers, (texts, 1)), ids, 10, 0, 2)
    sums = [np.take_along_axis(effects, pick.units, axis=1).sum(axis=1) for pick in found]
    top, random_as_top = sums[0], (sums[1] + sums[2]) / 2
    apart = top - random_as_top
    assert abs(apart.mean()) < 3 * apart.std() / texts**0.5
    assert top.mean() > 2 * effects.mean() * 10


def test_choices_that_would_overlap_are_an_error():
    strata = np.zeros((1, 10), int)
    chosen(np.zeros((1, 10)), strata, ["a"], 5, 0, 1)
    with pytest.raises(WellspringError, match="6 highest and as many lowest neurons, of 10"):
        chosen(np.zeros((1, 10)), strata, ["a"], 6, 0, 1)


@given(st.integers(1, 3), st.integers(10, 35), st.integers(0, 9))
def test_strata_of_magnitude_are_tenths_of_a_layer(layers, width, seed):
    sizes = np.random.default_rng(seed).random((layers, 2, width))
    strata = magnitudes_of(list(sizes))
    assert strata.shape == (2, layers * width)
    for layer, text in np.ndindex(layers, 2):
        own = strata[text, layer * width : (layer + 1) * width] - 10 * layer
        assert (np.diff(own[np.argsort(sizes[layer, text])]) >= 0).all()
        counts = np.bincount(own, minlength=10)
        assert len(counts) == 10 and np.ptp(counts) <= 1


def test_masks_have_a_place_for_every_unit():
    found = masks(np.array([[0, 5], [3, 4]]), "output", [2, 7], 3)
    assert list(found) == [(2, "output"), (7, "output")]
    assert found[2, "output"].tolist() == [[True, False, False], [False, False, False]]
    assert found[7, "output"].tolist() == [[False, False, True], [True, True, False]]


def vectors_of(seed, texts=3, hidden=4):
    draw = np.random.default_rng(seed)
    negatives = [draw.normal(size=(count, hidden)) for count in (2, 0, 3)]
    return *draw.normal(size=(3, texts, hidden)).astype(np.float32), negatives


@given(
    st.integers(0, 99), st.sampled_from(["cosine", "dot"]), st.sampled_from(["query", "passage"])
)
def test_effects_are_their_definitions(seed, similarity, side):
    whole, vectors, partners, negatives = vectors_of(seed)
    found = effects(whole, vectors, partners, negatives, similarity, side)

    def s(a, b):
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b) if similarity == "cosine" else 1)

    for text, others in enumerate(negatives):
        v, w, partner = (array[text].astype(float) for array in (vectors, whole, partners))
        cosine = v @ w / np.linalg.norm(v) / np.linalg.norm(w)
        assert found.change[text] == pytest.approx(1 - cosine, abs=1e-9)
        length = np.linalg.norm(v) / np.linalg.norm(w) - 1
        assert found.length_change[text] == pytest.approx(length, abs=1e-9)
        for own, margin, first in (
            (v, found.margin[text], found.first[text]),
            (w, found.margin_before[text], found.first_before[text]),
        ):
            if not len(others):
                assert np.isnan(margin) and np.isnan(first)
                continue
            pair = (own, partner) if side == "query" else (partner, own)
            scores = [s(pair[0], other) for other in others]
            assert margin == pytest.approx(s(*pair) - np.mean(scores), abs=1e-9)
            assert first == (s(*pair) > max(scores))
    assert ((found.change >= 0) & (found.change <= 2) & (found.length_change >= -1)).all()


@given(st.integers(0, 99), st.sampled_from(["cosine", "dot"]), st.floats(0.1, 9))
def test_nothing_changes_where_nothing_is_ablated(seed, similarity, scale):
    whole, _, partners, negatives = vectors_of(seed)
    same = effects(whole, whole, partners, negatives, similarity, "query")
    np.testing.assert_allclose(same.change, 0, atol=1e-12)
    np.testing.assert_array_equal(same.length_change, 0)
    np.testing.assert_array_equal(same.margin, same.margin_before)
    np.testing.assert_array_equal(same.first, same.first_before)
    longer = effects(whole, scale * whole, partners, negatives, "cosine", "query")
    np.testing.assert_allclose(longer.change, 0, atol=1e-9)
    np.testing.assert_allclose(longer.length_change, scale - 1, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(longer.margin, longer.margin_before, atol=1e-6)


@given(st.integers(1, 5), st.integers(0, 4), st.sampled_from(["cosine", "dot"]))
def test_equal_candidates_share_the_first_rank(copies, others, similarity):
    draw = np.random.default_rng(copies + 10 * others)
    query = draw.normal(size=(1, 33)).astype(np.float32)
    negatives = np.vstack(
        [query.repeat(copies, axis=0), -abs(draw.normal(size=(others, 1))) * query]
    )
    found = effects(query, -query, query, [negatives], similarity, "query")
    assert found.first_before.tolist() == [1 / (1 + copies)]
    # Turned round, the query has its copies last: others win, or all are copies and still tie.
    assert found.first.tolist() == [0 if others else 1 / (1 + copies)]


@given(st.integers(0, 99), st.sampled_from([1e-3, 1e-5, 1e-7]))
def test_a_change_far_below_a_float_s_last_digit_of_one_is_seen(seed, size):
    draw = np.random.default_rng(seed)
    whole = draw.normal(size=(1, 384)).astype(np.float32)
    moved = (whole + size * draw.normal(size=(1, 384))).astype(np.float32)
    found = effects(whole, moved, whole, [np.zeros((0, 384))], "cosine", "query").change
    wide = [array.astype(np.longdouble)[0] for array in (whole, moved)]
    a, b = (vector / np.sqrt((vector**2).sum()) for vector in wide)
    assert found.item() == pytest.approx(float(((a - b) ** 2).sum() / 2), rel=1e-6)


def test_a_vector_of_zeros_is_like_nothing():
    whole = np.ones((1, 3), dtype=np.float32)
    found = effects(whole, 0 * whole, whole, [np.eye(3)[:2]], "cosine", "query")
    assert (found.change.item(), found.length_change.item()) == (1, -1)
    # It is equally far from all three candidates.
    assert (found.margin.item(), found.first.item()) == (0, 1 / 3)
