"""The benchmarks of a GPU, tried with tiny models on the processor."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tests.support.paths import ROOT
from wellspring import embeddings

LIMITS = {"matrix": 64, "copied": 1 << 16}


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.gpu")


def test_texts_have_the_tokens_asked_for(gpu):
    backbone = gpu.fresh(gpu.SMALL[0], "cpu")
    lengths = [3, 128, 17, 64]
    tokens = embeddings.tokenise(
        backbone.tokenizer, gpu.texts(backbone, lengths), "{text}", 512, "mean"
    )
    assert list(map(len, tokens)) == lengths


def test_lengths_are_those_of_the_costs(gpu):
    found = gpu.as_long_as("msmarco", "passage", 1000, 4.5, 512)
    assert found.mean() == pytest.approx(428 / 4.5 + 2, abs=1)
    assert not (np.diff(found) <= 0).all()


def test_an_error_is_the_largest_of_a_layer(gpu):
    exact = np.array([[3.0, 4.0], [0.0, 1.0]])
    found = np.array([[3.0, 4.0], [0.0, 1.5]])
    assert gpu.apart(found, exact) == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embeddings", "attributions"])
def test_what_a_card_is_timed_with(gpu, name):
    benchmark = importlib.import_module(f"benchmarks.{name}")
    rows = benchmark.on_card(4, 1, "cpu", gpu.SMALL, **LIMITS)
    assert {row["benchmark"] for row in rows} == {"gpu", name}


@pytest.mark.slow
def test_what_a_card_is_checked_with(gpu):
    rows = {row["measure"]: row["value"] for row in gpu.main("cpu", small=True)}
    assert float(rows["vectors, float32: largest error"]) < 1e-6
    assert float(rows["scores, float32, as torch is: runs of 3 that differ"]) == 0
