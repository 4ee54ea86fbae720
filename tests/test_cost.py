"""What a study costs: counted FLOPs against formulas, bytes against a real shard, the page."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from wellspring import shards, specs
from wellspring.errors import ConfigError

PAPER = ROOT / "studies" / "paper.yaml"


@pytest.fixture(scope="module")
def cost():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.cost")


@pytest.fixture(scope="module")
def paper(cost):
    return cost.read([PAPER])


def by_hand(width: int, layers: int, hidden: int, inner: int, maps: int) -> int:
    """Twice the multiply-adds: four square projections, `maps` of the feed-forward network, and
    both products of attention."""
    linear = 2 * width * (4 * hidden**2 + maps * hidden * inner)
    return layers * (linear + 4 * width**2 * hidden)


def test_flops_of_a_tiny_bert_are_the_formula(cost):
    tiny = cost.Checkpoint("BertModel", sizes=(50, 16, 4, 40))
    pooler = 2 * 16 * 16
    expected = by_hand(7, 3, 16, 40, maps=2) + pooler
    assert cost.counted(tiny, "bert", 3, "cls", 7) == expected
    # The mean is a product with the mask, at each of the 4 layers.
    assert cost.counted(tiny, "bert", 3, "mean", 7) == expected + 4 * 2 * 7 * 16


def test_flops_of_a_tiny_llama_are_the_formula(cost):
    tiny = cost.Checkpoint("LlamaModel", sizes=(50, 16, 4, 40))
    assert cost.counted(tiny, "llama", 2, "eos", 9) == by_hand(9, 2, 16, 40, maps=3)


def test_the_real_llama_is_of_degree_two_in_the_width(cost):
    llama = cost.FACTS["Llama-2-7b-hf"]
    counts = [cost.counted(llama, "llama", 32, "eos", width) for width in cost.WIDTHS]
    curve = np.polyfit(cost.WIDTHS, counts, 2)
    direct = cost.counted(llama, "llama", 32, "eos", 300)
    assert np.polyval(curve, 300) == pytest.approx(direct, rel=1e-9)
    assert direct == by_hand(300, 32, 4096, 11008, maps=3)


def test_checkpoints_are_as_large_as_published(cost):
    # google-bert/bert-base-uncased's model.safetensors; Llama 2's two shards.
    assert cost.fetched("hub:x/bert-base-uncased@0", 12)[1:] == pytest.approx((0.440, 0.440), 1e-2)
    assert cost.fetched("hub:x/Llama-2-7b-hf@0", 32)[1] == pytest.approx(13.48, rel=1e-3)
    # Pickled weights are kept beside what they are converted to.
    assert cost.fetched("hub:x/contriever@0", 12)[1:] == pytest.approx((0.438, 0.876), rel=1e-2)


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_stored_bytes_are_those_of_a_real_shard(cost, tmp_path, storage):
    texts, layers, hidden = 2000, 4, 384
    path = tmp_path / "shard.parquet"
    vectors = np.random.default_rng(0).normal(size=(layers, texts, hidden))
    with shards.vectors(path, layers, hidden, storage, {}, {}) as writer:
        writer.write([f"{number:016x}" for number in range(texts)], vectors)
    expected = cost.stored(texts, layers, hidden, storage)
    assert path.stat().st_size == pytest.approx(expected, rel=0.02)


def test_texts_are_as_long_as_assumed_and_cut_as_they_are(cost, paper):
    spec = specs.encoding(paper, "bert-cls", "passage")
    found = cost.lengths((450, 0.3), 4.5, spec)
    assert (np.diff(found) <= 0).all() and found.mean() == pytest.approx(100 + 2, abs=1)
    assert np.log(found - 2).std() == pytest.approx(0.3, abs=0.02)
    assert cost.lengths((4500, 0.3), 4.5, spec).max() == spec.length == 512
    # "passage: " is written before each of Llama's.
    llama = specs.encoding(paper, "llama", "passage")
    assert cost.lengths((441, 0.3), 4.5, llama).mean() == pytest.approx(100 + 2, abs=1)


def test_dropped_negatives_are_no_texts(cost, paper):
    kept = cost.FACTS["nq"].texts(paper.datasets["nq"])
    questions, others = 69_639, 6_515
    assert kept == {"query": questions + others, "passage": 5 * questions + round(8.4 * others)}
    assert cost.FACTS["nq"].texts(None)["passage"] > 10 * kept["passage"]


def test_the_grid_is_the_planned_one(cost, paper):
    """As many jobs as the dry run in test_studies.py."""
    probing, encoders = paper.study.probe, paper.encoders.keys() - {"minilm", "minilm-random"}
    pairs = [(name, dataset) for name in encoders for dataset in probing.datasets]
    assert sum(cost.embedding(paper, *pair)[2] for pair in pairs) == 7 * 2 * 2 * 4
    pairs = [(name, dataset) for name in probing.retrievers for dataset in probing.datasets]
    assert sum(cost.probes(paper, *pair)[2] for pair in pairs) == 1152


def test_half_the_kinds_cost_less(cost, paper):
    fewer = paper.study.probe.model_copy(update={"kinds": ["concat", "cosine"]})
    study = paper.study.model_copy(update={"probe": fewer})
    small = cost.probes(paper.model_copy(update={"study": study}), "contriever", "nq")
    n, train = np.array([2, 3, 4, 5]), 69_639 * (1 - 0.12 / 2)
    adds = 2 * ((n**2 - 1) * train).sum()
    assert small[3] == pytest.approx(2 * adds * 768 * 13 * 3 * 60 / 1e15)
    assert small[3] < cost.probes(paper, "contriever", "nq")[3] / 2


def test_what_is_unknown_is_named(cost, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("models: {bert: {source: 'hub:me/mine@main'}}\n")
    with pytest.raises(ConfigError, match=r"me/mine@main: .* add it to FACTS"):
        cost.report(cost.read([PAPER, overlay]))


def test_the_page_holds_what_the_command_prints(cost, paper):
    page = Path(ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    assert cost.report(paper) in page, "put the output of `python -m benchmarks.cost` there"
