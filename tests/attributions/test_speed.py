"""What attribution runs, and how much at once: points, positions, rows, splits."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.paths import ROOT
from wellspring.attributions import suffix, targets
from wellspring.attributions.fused import Method, attribute, scores
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.models.architecture import blocks, builtin

LENGTHS = (12, 7, 3)
PARTS = ("attention.self.query", "intermediate.dense", "output.dense")


def texts(lengths=LENGTHS):
    draw = torch.Generator().manual_seed(5)
    return [tuple(torch.randint(5, 60, (length,), generator=draw).tolist()) for length in lengths]


def batch(lengths=LENGTHS):
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.zeros_like(mask)
    for row, text in zip(ids, texts(lengths), strict=True):
        row[: len(text)] = torch.tensor(text)
    return ids, mask


@pytest.fixture
def positions(loaded, monkeypatch):
    """Counts the positions that each map of a BERT takes: (block, part) → positions."""
    names = {
        id(block.get_submodule(part).weight): (number, part)
        for number, block in enumerate(blocks(loaded("bert").model, builtin("bert")), start=1)
        for part in PARTS
    }
    counted = Counter()
    real = torch.nn.functional.linear

    def linear(value, weight, bias=None):
        if id(weight) in names:
            counted[names[id(weight)]] += value.shape[:-1].numel()
        return real(value, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    return counted


@pytest.fixture
def called(monkeypatch):
    """The shapes [points, texts, positions] of each evaluation."""
    shapes = []
    real = suffix.Suffix.__call__

    def call(self, z):
        shapes.append(tuple(z.shape[:3]))
        return real(self, z)

    monkeypatch.setattr(suffix.Suffix, "__call__", call)
    return shapes


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_only_what_lies_above_the_sublayer_runs_again(loaded, positions, pooling):
    method = Method(pooling, gauss_legendre(4), 2, ("intermediate", "output"))
    scores(loaded("bert"), *batch(), targets.norm(), method)
    # F(0), then every point; under cls the last block's network takes one position a text.
    once, again = 3 * 12, 3 * (1 + 4)
    end = again if pooling == "cls" else 12 * again
    assert positions == {
        **{(1, part): once for part in PARTS},
        (2, PARTS[0]): once,
        (2, PARTS[1]): once,
        (2, PARTS[2]): once + 12 * again,
        (3, PARTS[0]): once + 2 * 12 * again,
        (3, PARTS[1]): once + 2 * end,
        (3, PARTS[2]): once + 2 * end,
    }


def test_the_last_block_runs_on_the_position_that_is_read(loaded, positions, called):
    method = Method("cls", gauss_legendre(4), 3, ("intermediate", "output"))
    scores(loaded("bert"), *batch(), targets.norm(), method)
    once, again = 3 * 12, 3 * (1 + 4)
    assert positions == {
        **{(number, part): once for number in (1, 2, 3) for part in PARTS[:2]},
        **{(number, PARTS[2]): once for number in (1, 2)},
        (3, PARTS[2]): once + again,
    }
    assert set(called) == {(1, 3, 1), (4, 3, 1)}


@pytest.mark.parametrize("pooling", ["cls", "eos", "last-position"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_what_is_not_known_to_be_the_attention_runs_whole(loaded, pooling, layer):
    backbone = loaded("bert")
    unknown = replace(backbone, architecture=replace(backbone.architecture, attention=None))
    method = Method(pooling, gauss_legendre(3), layer, ("intermediate", "output"))
    ours, whole = (scores(model, *batch(), targets.norm(), method) for model in (backbone, unknown))
    for name, found in ours.items():
        np.testing.assert_allclose(found.absolute, whole[name].absolute, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(found.residual, whole[name].residual, rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize("name", ["bert", "llama", "t5", "modernbert", "phi3"])
@pytest.mark.parametrize("pooling", ["mean", "eos"])
def test_a_tolerance_gives_each_text_its_own_points(loaded, called, name, pooling):
    backbone = loaded(name)
    method = Method(pooling, gauss_legendre(1), 1, tuple(backbone.architecture.sublayers))
    given = (backbone, *batch(), targets.norm())
    rules = [gauss_legendre(1)]
    for _ in range(4):
        rules.append(rules[-1].extended())
    fixed = {len(rule): scores(*given, replace(method, quadrature=rule)) for rule in rules}
    seen = set()
    for tolerance in (0.3, 0.05, 0.01):
        called.clear()
        found = scores(*given, replace(method, tolerance=tolerance))
        taken = sum(points * rows for points, rows, _ in called)
        # No point twice, and F(0) once.
        assert taken == sum(int(each.points.sum()) + len(each.points) for each in found.values())
        for sub, each in found.items():
            for text, points in enumerate(each.points):
                seen.add(int(points))
                by = {count: done[sub].absolute[text] for count, done in fixed.items()}
                np.testing.assert_allclose(each.absolute[text], by[points], rtol=1e-5, atol=1e-9)
                rest = fixed[points][sub].residual[text]
                np.testing.assert_allclose(each.residual[text], rest, rtol=1e-3, atol=1e-6)
                changes = {
                    count: np.abs(by[count] - by[count // 2]).max() / by[count].max()
                    for count in by
                    if 1 < count <= points
                }
                assert changes.pop(int(points)) <= tolerance or points == 31
                assert all(change > tolerance * (1 - 1e-4) for change in changes.values())
    assert len(seen) > 1


def test_a_smaller_tolerance_is_nearer_to_the_integral(loaded):
    given = (loaded("bert"), *batch(), targets.norm())
    method = Method("mean", gauss_legendre(1), 1, ("intermediate",))
    exact = scores(*given, replace(method, quadrature=gauss_legendre(48)))["intermediate"]
    last = np.inf
    for tolerance in (0.3, 0.01, 1e-5):
        found = scores(*given, replace(method, tolerance=tolerance))["intermediate"]
        error = np.abs(found.absolute - exact.absolute).max(axis=1) / exact.absolute.max(axis=1)
        assert error.max() < min(last, tolerance)
        last = error.max()


def test_rules_are_extended_whatever_type_numpy_gives_real_roots(monkeypatch):
    plain, roots = gauss_legendre(1).extended(), np.polynomial.legendre.legroots
    monkeypatch.setattr(
        "numpy.polynomial.legendre.legroots", lambda series: roots(series).astype(complex)
    )
    assert gauss_legendre(1).extended() == plain


def test_no_tolerance_asks_for_more_than_the_most_points(loaded):
    method = Method("mean", gauss_legendre(1), 1, ("intermediate",), 1e-300)
    found = scores(loaded("bert"), *batch(), targets.norm(), method)["intermediate"]
    assert found.points.tolist() == [31, 31, 31]


@pytest.mark.parametrize("tolerance", [None, 0.01])
@pytest.mark.parametrize("count", [6, 60])
def test_a_batch_holds_no_more_rows_than_the_budget(loaded, called, tolerance, count):
    lengths = [3 + number % 10 for number in range(count)]
    method = Method("mean", gauss_legendre(1 if tolerance else 4), 1, ("output",), tolerance)
    budget = 50
    done = list(attribute(loaded("bert"), texts(lengths), targets.norm(), method, budget))
    assert sorted(row for each in done for row in each.rows) == list(range(count))
    largest = max(points * rows * width for points, rows, width in called)
    # As much at once for ten times as many texts.
    assert budget // 2 < largest <= budget


def test_what_did_not_fit_once_is_not_tried_again(loaded, monkeypatch):
    tokens = texts([4] * 12)
    method = Method("mean", gauss_legendre(4), 1, ("output",))
    given = (loaded("bert"), tokens, targets.norm(), method, 4 * 4 * 4)
    whole = dict(rows_of(attribute(*given)))
    real, refused = suffix.Suffix.__call__, []

    def call(self, z):
        if z.shape[:2].numel() > 4:
            refused.append(z.shape)
            raise torch.OutOfMemoryError("no memory")
        return real(self, z)

    monkeypatch.setattr(suffix.Suffix, "__call__", call)
    done = list(attribute(*given))
    # Four texts to one; the other eight come one by one.
    assert sum(each.splits for each in done) == len(refused) == 3
    assert [len(each.rows) for each in done] == [1] * 12
    for row, absolute in rows_of(done):
        np.testing.assert_allclose(absolute, whole[row], rtol=1e-8, atol=1e-12)


def rows_of(done):
    for each in done:
        yield from zip(each.rows, each.scores["output"].absolute, strict=True)


def test_the_memory_of_a_decoder_from_its_shape(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    benchmark = importlib.import_module("benchmarks.attributions")
    need = [
        benchmark.peak_memory(benchmark.LLAMA, benchmark.LLAMA_PARAMETERS, rows) / 1e9
        for rows in (0, 1000, 2000)
    ]
    # 6.6 G weights of 2 bytes, and a product of 11,008 × 4,096 float32.
    assert need[0] == pytest.approx(13.21 + 0.18, abs=0.01)
    assert need[2] - need[1] == pytest.approx(need[1] - need[0])
    # 32 blocks × (5 × 4,096 + 3 × 11,008 of 2 bytes, two norms' inputs of 4) a row.
    blocks_ = 1000 * 32 * (2 * (5 * 4096 + 3 * 11008) + 8 * 4096) / 1e9
    assert need[1] - need[0] == pytest.approx(blocks_ + 1000 * 8 * 11008 / 1e9)
