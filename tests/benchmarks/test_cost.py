"""What a study costs: counted FLOPs against formulas, bytes against a real shard, the page."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tests.support.paths import ROOT
from wellspring import shards, specs
from wellspring.attributions import fused, quadrature, targets
from wellspring.errors import ConfigError
from wellspring.models.architecture import builtin
from wellspring.models.load import Backbone

PAPER = ROOT / "studies" / "paper.yaml"


@pytest.fixture(scope="module")
def cost():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.cost")


@pytest.fixture(scope="module")
def facts(cost):
    return importlib.import_module("benchmarks.cost_facts")


@pytest.fixture(scope="module")
def grid(cost):
    return importlib.import_module("benchmarks.cost_attributions")


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


@pytest.mark.slow
def test_the_real_llama_is_of_degree_two_in_the_width(cost, facts):
    llama = facts.FACTS["Llama-2-7b-hf"]
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
    with shards.vectors(path, layers, hidden, storage, shards.Provenance({})) as writer:
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


def test_dropped_negatives_are_no_texts(facts, paper):
    kept = facts.FACTS["nq"].texts(paper.datasets["nq"])
    questions, others = 69_639, 6_515
    assert kept == {"query": questions + others, "passage": 5 * questions + round(12.35 * others)}
    assert facts.FACTS["nq"].texts(None)["passage"] > 10 * kept["passage"]


@pytest.mark.slow
def test_the_grid_is_the_planned_one(cost, paper):
    """As many jobs as the dry run in test_studies.py."""
    encoders = paper.encoders.keys() - {"minilm", "minilm-random", "minilm-tuned"}
    pairs = [(name, dataset) for name in encoders for dataset in paper.probed_datasets()]
    assert sum(cost.embedding(paper, *pair)[2] for pair in pairs) == 7 * 2 * 2 * 4
    assert sum(cost.probes(paper, *grid[:2])[2] for grid in paper.probed()) == 1152


def test_half_the_kinds_cost_less(cost, paper):
    (block,) = paper.study.probe
    fewer = block.model_copy(update={"kinds": ["concat", "cosine"], "portions": []})
    study = paper.study.model_copy(update={"probe": [fewer]})
    small = cost.probes(paper.model_copy(update={"study": study}), "contriever", "nq")
    n, train = np.array([2, 3, 4, 5]), 69_639 * (1 - 0.12 / 2)
    adds = 2 * ((n**2 - 1) * train).sum()
    assert small[3] == pytest.approx(2 * adds * 768 * 13 * 3 * 60 / 1e15)
    assert small[3] < cost.probes(paper, "contriever", "nq")[3] / 2
    # A portion adds a fit of one seed, and its look at the whole validation split.
    half = study.model_copy(update={"probe": [fewer.model_copy(update={"portions": [0.5]})]})
    more = cost.probes(paper.model_copy(update={"study": half}), "contriever", "nq")
    assert more[3] / small[3] == pytest.approx(1 + (0.5 * 0.88 + 0.06) / 0.94 / 3)


def test_what_is_unknown_is_named(cost, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("models: {bert: {source: 'hub:me/mine@main'}}\n")
    with pytest.raises(ConfigError, match=r"me/mine@main: .* add it to FACTS"):
        cost.report(cost.read([PAPER, overlay]))


def tiny(kind: str, architecture: str, layers: int) -> Backbone:
    sizes = {
        "vocab_size": 50,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "intermediate_size": 192,
    }
    known = getattr(transformers, kind)
    config = known.config_class(**sizes, num_hidden_layers=layers, attn_implementation="eager")
    torch.manual_seed(0)
    fewer = {"add_pooling_layer": False} if kind == "BertModel" else {}
    model = known(config, **fewer).eval().requires_grad_(False)
    device = torch.device("cpu")
    return Backbone(model, None, builtin(architecture), layers, 64, 0, None, device)


class Flops(TorchDispatchMode):
    """torch's own counts; FlopCounterMode's hooks on modules refuse `autograd.grad`."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=made)
        return made


@pytest.mark.parametrize(
    ("kind", "architecture", "pooling"),
    [("BertModel", "bert", "cls"), ("BertModel", "bert", "mean"), ("LlamaModel", "llama", "eos")],
)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_attributing_takes_the_flops_of_the_formula(grid, kind, architecture, pooling, layer):
    backbone, texts, width = tiny(kind, architecture, 3), 2, 11
    ids = torch.arange(texts * width).reshape(texts, width) + 3
    rule, sublayers = quadrature.gauss_legendre(8), ("intermediate", "output")
    method = fused.Method(pooling, rule, layer, sublayers)
    # The length of what comes from a fresh norm would be constant.
    target = targets.dot(torch.randn(texts, 64, generator=torch.Generator().manual_seed(0)))
    with Flops() as counter:
        fused.scores(backbone, ids, torch.ones_like(ids), target, method)
    form = grid.Shape(3, 64, 192, 4 * 64**2, gated=kind == "LlamaModel")
    expected = sum(form.scored(list(sublayers), 8, layer, width, alone=pooling != "mean"))
    # What the formula leaves out: the pooled mean, Llama's angles, the bias's share.
    assert expected < counter.total / texts < 1.03 * expected


def test_a_middle_layer_by_hand(grid):
    """A BERT of 3 blocks (hidden 2, inner 5), block 2 of 3, a text of 7 tokens, 4 points, mean."""
    form = grid.Shape(3, 2, 5, 4 * 2**2, gated=False)
    linear, attention, network = 2 * 7 * (16 + 20), 4 * 7 * 7 * 2, 2 * 7 * 10
    ahead, back = linear + attention, linear + 2 * attention
    record = 3 * ahead
    intermediate = 5 * (ahead + network) + 4 * (back + network)
    output = 5 * ahead + 4 * back
    found = form.scored(["intermediate", "output"], 4, 2, 7, alone=False)
    assert found == (record + intermediate + output, 2 * network)
    # CLS: the last block's network takes one token, and so do its own sub-layers.
    one = form.scored(["intermediate", "output"], 4, 3, 7, alone=True)
    assert one == (record + 9 * 2 * 10, 2 * 2 * 10)


def test_the_published_way_is_480_passes_of_a_bert_text(grid):
    bert = grid.Shape(12, 768, 3072, 4 * 768**2, gated=False)
    ahead = by_hand(100, 12, 768, 3072, maps=2)
    back = ahead + 12 * 4 * 100**2 * 768
    assert bert.published(2, 12, 100) == 480 * (ahead + back)
    llama = grid.Shape(32, 4096, 11008, 4 * 4096**2, gated=True)
    ahead = by_hand(100, 32, 4096, 11008, maps=3)
    assert llama.published(2, 32, 100) == 64 * 20 * (2 * ahead + 32 * 4 * 100**2 * 4096)


def test_shapes_are_those_of_the_checkpoints(grid, facts):
    bert, llama = (facts.FACTS[name] for name in ("bert-base-uncased", "Llama-2-7b-hf"))
    assert grid.shape(bert, "bert", 12) == grid.Shape(12, 768, 3072, 4 * 768**2, False)
    assert grid.shape(llama, "llama", 32) == grid.Shape(32, 4096, 11008, 4 * 4096**2, True)


@pytest.mark.parametrize(
    ("kind", "dtype", "gated"),
    [
        ("BertModel", "float32", False),
        ("LlamaModel", "bfloat16", True),
        ("LlamaModel", "float32", True),
    ],
)
def test_a_block_keeps_the_bytes_of_the_formula(grid, kind, dtype, gated):
    def kept(layers: int) -> int:
        known = getattr(transformers, kind)
        sizes = dict(zip(("hidden_size", "intermediate_size"), (64, 160), strict=True))
        config = known.config_class(**sizes, num_attention_heads=4, num_hidden_layers=layers)
        number = getattr(torch, dtype)
        with torch.device("meta"):
            model = known(config).eval().to(number).requires_grad_(False)
            start = torch.empty(1, 9, 64, dtype=number, requires_grad=True)
        held = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            held.append(tensor)
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            held += model(inputs_embeds=start, output_hidden_states=True).hidden_states
        stores = {tensor.untyped_storage()._cdata: tensor for tensor in held}
        weights = {
            part.untyped_storage()._cdata for part in [*model.parameters(), *model.buffers()]
        }
        # Off a GPU attention keeps its own matrices, cut by head; and a norm a number a token.
        rows = [t for key, t in stores.items() if key not in weights and t.shape[:2] == (1, 9)]
        return sum(t.untyped_storage().nbytes() for t in rows if t.shape[-1] > 1)

    size = 4 if dtype == "float32" else 2
    form = grid.Shape(2, 64, 160, 4 * 64**2, gated)
    assert (kept(3) - kept(2)) / 9 + 4 * 64 * size == form.kept(size)


def test_stored_bytes_are_those_of_a_real_shard_of_scores(grid, tmp_path):
    texts, widths = 2000, {"intermediate": 384, "output": 96}
    fields = [("text_id", pa.string())]
    columns = [[f"{number:016x}" for number in range(texts)]]
    random = np.random.default_rng(0)
    for name, width in widths.items():
        fields += [(f"{name}_{kind}", pa.float32()) for kind in ("scale", "residual", "change")]
        fields += [
            (f"{name}_{kind}", shards.fixed("float16", width)) for kind in ("scores", "signed")
        ]
        columns += [random.random(texts, np.float32) for _ in range(3)]
        columns += [random.random((texts, width)).astype(np.float16) for _ in range(2)]
    path = tmp_path / "shard.parquet"
    with shards.stream(path, pa.schema(fields), shards.Provenance({})) as writer:
        writer.write(columns)
    expected = texts * grid.stored(sum(widths.values()), len(widths))
    assert path.stat().st_size == pytest.approx(expected, rel=0.02)


def test_rows_of_the_tables_by_hand(grid, paper, facts):
    # 15 thresholds, with and without the outlier; 480 neurons in each of 6 layers.
    counts, measures = 6 * 480 * 30, 100 * 6 * 2 * 34
    each = facts.GIVEN.rows
    block = paper.attributed()[0].block
    assert grid.tabled(block, 100, 6, 2, 480) == counts * each[0] + measures * each[1]


def rows_of(grid, config, attribution: str, **changes) -> list[dict]:
    """The rows of one attribution's table, with its entry changed."""
    entry = config.attributions[attribution].model_copy(update=changes)
    catalogue = config.attributions | {attribution: entry}
    config = config.model_copy(update={"attributions": catalogue})
    places = [place for place in grid.places(config) if place[0] == attribution]
    names = grid.SCORES.split(", ")
    return [dict(zip(names, grid.scores(config, place), strict=True)) for place in places]


def test_a_side_is_the_test_splits(grid, facts, paper):
    assert facts.FACTS["nq"].tested() == {"query": 6_515, "passage": round(8.35 * 6_515)}
    row = rows_of(grid, paper, "norm")[1]
    assert (row["encoder"], row["dataset"], row["side"]) == ("bert-cls", "nq", "passage")
    assert row["texts"] == 54_400
    per_text = 12 * (4 * (3072 + 768) + 2 * 12 + 4 + 20)
    assert row["score GB"] == pytest.approx(54_400 * per_text / 1e9)
    peak = (row["pass PFLOP"] + row["product PFLOP"]) * 1e15 / 51e12 / 3600
    assert row["attribution h min"] == pytest.approx(peak / 0.91)
    assert row["attribution h max"] == pytest.approx(peak / 0.77)
    assert row["published h min"] == pytest.approx(
        row["published PFLOP"] * 1e15 / (0.91 * 51e12) / 3600
    )
    # More texts than are sorted together cost in proportion.
    half = rows_of(grid, paper, "norm", texts=27_200)[1]
    assert half["pass PFLOP"] == pytest.approx(row["pass PFLOP"] / 2)


def test_each_attribution_is_of_its_own_encoders(grid, paper):
    found = [place[:2] for place in grid.places(paper)]
    berts = ["bert-cls", "dpr-question", "dpr-context", "bert-mean", "contriever"]
    pairs = {("norm", name): 4 for name in berts}
    assert Counter(found) == pairs | {("norm-float32", name): 4 for name in ("llama", "repllama")}


@pytest.mark.parametrize(
    ("attribution", "texts", "window", "rows"),
    [
        ("norm", "all", 4096, 65_536),
        ("norm-float32", 500, 500, 65_536 * 12 * 768 // (32 * 4096)),
        # Two float16 numbers for each of 11,008 + 4,096 neurons, in 128 MiB.
        ("norm-float32", "all", 2**27 // (4 * 15_104), 65_536 * 12 * 768 // (32 * 4096)),
    ],
)
def test_texts_are_batched_as_the_step_does(
    grid, paper, monkeypatch, attribution, texts, window, rows
):
    seen, cut = set(), grid.embeddings.batches

    def spied(widths, budget):
        seen.add((len(widths), budget))
        return cut(widths, budget)

    monkeypatch.setattr(grid.embeddings, "batches", spied)
    rows_of(grid, paper, attribution, texts=texts)
    assert seen == {(window, rows // 8)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_of_the_first_block_by_hand(grid, paper, dtype):
    entry = paper.attributions["norm-float32"].model_copy(update={"dtype": dtype})
    catalogue = paper.attributions | {"norm-float32": entry}
    config = paper.model_copy(update={"attributions": catalogue})
    found = grid.memory(config, ("norm-float32", "llama", "nq", "passage"))
    assert found[:3] == ("norm-float32", "llama", dtype)
    weights, kilobytes, rows, default, fitting = found[3:]
    # RMS norms in float32, q, k, v, attention's output and the state (in float32 the next norm's
    # input), gate, its activation and up.
    size, states = (4, 4) if dtype == "float32" else (2, 5)
    each = 2 * 4 * 4096 + size * (states * 4096 + 3 * 11008)
    assert kilobytes == each / 1e3 and weights == pytest.approx(6.607 * size, abs=0.01)
    row = 32 * each + 11008 * (4 + size)
    assert rows == 65_536 * 12 * 768 * 4 // (32 * 4096 * size)
    assert default == pytest.approx(weights + rows * row / 1e9)
    assert 0 <= 80e9 - weights * 1e9 - fitting * row < row


def test_jobs_of_the_attributions_are_the_planned_ones(grid, paper):
    # Five BERTs of 12 blocks and two Llamas of 32; 2 datasets, 2 sides, a shard; 4 pairs.
    assert dict(grid.jobs(paper)) == {
        "attribute": (5 * 12 + 2 * 32) * 2 * 2,
        "activations": 7 * 2 * 2,
        "ablate": 7 * 2 * 2,
        "agreement": 4 * 2,
        "decentralisation": 1,
        "heatmap": 4 * 2 * 2 * 2,
        "drawing": 4 * 2 * 3,
    }


def test_what_is_not_counted_is_refused(cost, grid, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("attributions: {norm: {method: conductance}}\n")
    config = cost.read([PAPER, overlay])
    with pytest.raises(ConfigError, match=r"attributions\.norm: .* counts method weights"):
        grid.scores(config, grid.places(config)[0])


@pytest.mark.slow
def test_the_pages_hold_what_the_command_prints(cost, paper):
    names = ("cost", "cost-probing", "cost-attributing", "cost-assumptions")
    pages = "\n".join(Path(ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in names)
    starts = [pages.find(table.strip()) for table in cost.report(paper).split("\n\n")]
    assert -1 not in starts, "put the output of `python -m benchmarks.cost` there"
    assert starts == sorted(starts)


def test_the_page_of_retrieval_holds_what_its_command_prints(cost):
    table = importlib.import_module("benchmarks.cost_retrieval").report()
    assert table in Path(ROOT / "docs" / "retrieval-cost.md").read_text("utf-8")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_page_says_what_all_texts_of_the_llamas_would_cost(grid, paper, dtype):
    rows = rows_of(grid, paper, "norm-float32", texts="all", dtype=dtype)
    least, most = (sum(row[f"attribution h {end}"] for row in rows) for end in ("min", "max"))
    page = Path(ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    assert f"{least:,.0f} to {most:,.0f} GPU hours in {dtype}" in " ".join(page.split())
