"""A GPU against the processor: vectors, scores, bytes, and memory that runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.attributing import gathered, texts_of
from tests.support.checkpoints import bert, llama, make
from wellspring import embeddings
from wellspring.attributions import targets
from wellspring.attributions.fused import Method, attribute
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.models import placement
from wellspring.models.load import load

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

LENGTHS = (12, 7, 3, 30, 1, 25, 12, 19)


@pytest.fixture(autouse=True)
def settings():
    """Each test leaves torch as it was."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    precision = torch.get_float32_matmul_precision()
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_float32_matmul_precision(precision)
    torch.cuda.set_per_process_memory_fraction(1.0)


def vectors(backbone, tokens, pooling, budget):
    out = np.full((backbone.layers + 1, len(tokens), backbone.hidden), np.nan, np.float32)
    splits = 0
    for done in embeddings.encode(backbone, tokens, pooling, budget=budget, length=32):
        out[:, done.rows], splits = done.vectors, splits + done.splits
    return out, splits


@pytest.mark.parametrize("pooling", ["mean", "cls", "eos", "last-position"])
@pytest.mark.parametrize("kind", [bert, llama])
def test_vectors_of_both_devices_agree(tmp_path, kind, pooling):
    folder, name = kind(tmp_path), kind.__name__
    ours, theirs = (load(folder, name, 2, device=device) for device in ("cuda", "cpu"))
    tokens = texts_of(theirs, LENGTHS)
    for budget in (40, 10_000):
        found, _ = vectors(ours, tokens, pooling, budget)
        np.testing.assert_allclose(found, vectors(theirs, tokens, pooling, budget)[0], atol=1e-5)


@pytest.mark.parametrize("tolerance", [None, 1e-3])
@pytest.mark.parametrize("pooling", ["mean", "eos"])
@pytest.mark.parametrize("name", ["bert", "llama", "t5", "modernbert"])
def test_scores_of_both_devices_agree(tmp_path, name, pooling, tolerance):
    from wellspring.models.architecture import builtin

    placement.reproducible()
    folder = make(tmp_path, next(iter(builtin(name).classes)), layers=2)
    ours, theirs = (load(folder, name, 2, device=device) for device in ("cuda", "cpu"))
    rule = gauss_legendre(1 if tolerance else 4)
    for layer in (1, 2):
        method = Method(pooling, rule, layer, ("output",), tolerance)
        found, exact = (
            gathered(each, texts_of(theirs, LENGTHS), targets.norm(), method, budget=300)[0]
            for each in (ours, theirs)
        )
        np.testing.assert_allclose(found, exact, atol=2e-4 * exact.max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_runs_give_the_same_bytes(tmp_path, dtype):
    placement.reproducible()
    backbone = load(bert(tmp_path, layers=3, hidden=256), "bert", 3, dtype, "cuda")
    tokens = texts_of(backbone, [128 - number % 40 for number in range(256)])
    method = Method("mean", gauss_legendre(8), 1, ("intermediate",))

    def run():
        scores = {}
        for done in attribute(backbone, tokens, targets.norm(), method, 65_536):
            scores |= zip(done.rows, done.scores["intermediate"].absolute, strict=True)
        found, _ = vectors(backbone, tokens, "mean", 8192)
        return found, np.stack([scores[row] for row in range(len(tokens))])

    first = run()
    for _ in range(3):
        for one, other in zip(first, run(), strict=True):
            assert one.tobytes() == other.tobytes()


def test_float32_is_float32_where_a_container_says_otherwise(tmp_path):
    torch.set_float32_matmul_precision("high")
    placement.reproducible()
    a, b = (torch.randn(512, 512) for _ in range(2))
    exact = a.double() @ b.double()
    error = ((a.cuda() @ b.cuda()).cpu() - exact).norm() / exact.norm()
    assert error < 1e-6


def test_what_does_not_fit_on_the_card_is_halved(tmp_path):
    backbone = load(bert(tmp_path, layers=2, hidden=256), "bert", 2, device="cuda")
    tokens = texts_of(backbone, [100 - number % 50 for number in range(4000)])
    whole, splits = vectors(backbone, tokens, "mean", 2**20)
    assert splits == 0
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 5e8) / total)
    found, splits = vectors(backbone, tokens, "mean", 2**20)
    assert splits > 0
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_a_model_on_a_card_and_the_processor(tmp_path):
    folder = bert(tmp_path, layers=3)
    places = {"embeddings": 0, "encoder.layer.0": 0, "pooler": "cpu"}
    places |= {"encoder.layer.1": "cpu", "encoder.layer.2": 0}
    spread = load(folder, "bert", 3, device="cuda", device_map=places)
    whole = load(folder, "bert", 3)
    tokens = texts_of(whole, LENGTHS)
    found, _ = vectors(spread, tokens, "mean", 40)
    np.testing.assert_allclose(found, vectors(whole, tokens, "mean", 40)[0], atol=1e-5)
    method = Method("mean", gauss_legendre(4), 1, ("output",))
    scores = [gathered(each, tokens, targets.norm(), method)[0] for each in (spread, whole)]
    np.testing.assert_allclose(*scores, atol=1e-4 * scores[1].max())


def test_probes_of_both_devices_agree():
    from tests.support import probing
    from wellspring import probes

    data = probing.for_seeds(probing.relational(count=600), 2)
    chosen = probing.settings("concat", "interaction", "cosine")
    ours, theirs = (probes.run(data, 3, chosen, device) for device in ("cuda", "cpu"))
    differ = ours.samples["correct"].to_numpy() != theirs.samples["correct"].to_numpy()
    assert differ.mean() < 0.01
