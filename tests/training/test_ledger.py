"""FLOPs counted from shapes against those that PyTorch's counter sees, and the account of a run."""

from __future__ import annotations

import json
import logging
import re
from functools import partial

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

from tests.support.checkpoints import make, tiny
from wellspring.errors import ModelError, WellspringError
from wellspring.models.architecture import BUILTIN, builtin
from wellspring.training.ledger import (
    Attention,
    Block,
    Flops,
    Ledger,
    Linear,
    Network,
    Stage,
    count,
    energy,
    similarity,
    trained_in_full,
)
from wellspring.training.shapes import shapes

CLASSES = [next(iter(builtin(name).classes)) for name in BUILTIN]
REQUIRED = ["BertModel", "LlamaModel", "DistilBertModel", "MPNetModel", "T5EncoderModel"]
REQUIRED += ["ModernBertModel", "GemmaModel"]
BIASED = ["BertModel", "DistilBertModel", "MPNetModel"]
MODES = ["full", "lora-4", "lora-16", "last-block"]
CASES = [(named, mode) for named in REQUIRED for mode in MODES]
CASES += [(named, "biases") for named in BIASED]
DENSE = r"(query|key|value|dense|[qkvo]|[qkvo]_proj|[qkv]_lin|out_lin|Wqkv|attn\.Wo|qkv_proj)"
"""The targets of LoRA: attention's maps, and BERT's feed-forward network as well."""

# PyTorch's counter knows the attention kernels of GPUs. That of processors is not in its registry
# (torch 2.13) and would count as nothing: it does what flash attention does.
FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
KERNELS = {FORWARD: sdpa_flop.__wrapped__, BACKWARD: sdpa_backward_flop.__wrapped__}


def build(named: str, mode: str = "full", attention: str = "eager", layers: int = 2, **options):
    """A tiny model with fresh weights, of which the mode's part is trained.

    Eager attention is made of products that the counter sees, on every device.
    """
    kind = getattr(transformers, named)
    config = tiny(kind.config_class, 100, layers, options)
    config._attn_implementation, config.use_cache = attention, False
    torch.manual_seed(0)
    return train(kind(config), mode)


def train(model: nn.Module, mode: str) -> nn.Module:
    if mode.startswith("lora"):
        targets = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and re.search(rf"(^|\.){DENSE}$", name)
        ]
        rank = int(mode.removeprefix("lora-"))
        model = get_peft_model(model, LoraConfig(r=rank, target_modules=targets, lora_dropout=0.1))
    elif mode == "last-block":
        model.requires_grad_(False)
        blocks(model)[-1].requires_grad_(True)
    elif mode == "biases":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    return model.train()


def blocks(model: nn.Module) -> nn.ModuleList:
    return next(module for module in model.modules() if isinstance(module, nn.ModuleList))


def seen(model: nn.Module, rows: int, tokens: int, kernels=None) -> tuple[int, int]:
    """What PyTorch's counter sees of a forward pass, and of it and its backward pass."""
    ids = torch.full((rows, tokens), 5)
    with FlopCounterMode(display=False, custom_mapping=kernels) as counter:
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward, counter.get_total_flops()


def close(counted: int, oracle: int) -> bool:
    """Ten times closer than a budget needs: what is left is poolers and rotary tables."""
    return counted == pytest.approx(oracle, rel=0.005)


@pytest.mark.parametrize(("named", "mode"), CASES)
def test_a_step_is_counted_as_pytorch_counts_it(named, mode):
    model = build(named, mode)
    counted = count(shapes(model), 5, 24)
    forward, both = seen(model, 5, 24)
    assert close(counted.forward, forward)
    assert close(counted.total, both)
    assert counted.recomputation == 0


@pytest.mark.parametrize("mode", ["full", "lora-4", "last-block"])
@pytest.mark.parametrize("named", REQUIRED)
def test_checkpointed_blocks_run_again(named, mode):
    """MPNet has no checkpointing of its own: the blocks are wrapped as the other classes do it."""
    model = build(named, mode)
    for block in blocks(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    counted = count(shapes(model), 5, 24, checkpointed=True)
    assert close(counted.total, seen(model, 5, 24)[1])
    assert 0 < counted.recomputation <= counted.forward


@pytest.mark.parametrize("mode", ["full", "last-block"])
def test_transposed_maps_are_counted(mode):
    """GPT-2's, whose class keeps inputs × outputs."""
    model = build("GPT2Model", mode)
    assert close(count(shapes(model), 5, 24).total, seen(model, 5, 24)[1])


@pytest.mark.parametrize("mode", ["full", "lora-4"])
@pytest.mark.parametrize("named", CLASSES)
def test_every_architecture_is_counted(named, mode):
    model = build(named, mode)
    counted = count(shapes(model), 3, 10)
    forward, both = seen(model, 3, 10)
    # DPR's and BERT's poolers run once a text: one of these ten tokens.
    assert counted.forward == pytest.approx(forward, rel=0.01)
    assert counted.total == pytest.approx(both, rel=0.01)


@pytest.mark.parametrize("mode", ["full", "lora-4", "last-block"])
@pytest.mark.parametrize("named", ["BertModel", "LlamaModel", "ModernBertModel", "Qwen3Model"])
def test_a_kernel_computes_the_scores_again(named, mode):
    model = build(named, mode, attention="sdpa", **quiet(named))
    counted = count(shapes(model), 5, 100)
    forward, both = seen(model, 5, 100, KERNELS)
    assert close(counted.forward, forward) and close(counted.total, both)
    eager = count(shapes(build(named, mode)), 5, 100)
    assert counted.forward == eager.forward and counted.backward > eager.backward


def quiet(named: str) -> dict:
    """No dropout inside attention, for which the kernel of processors is not taken."""
    return {"attention_probs_dropout_prob": 0.0} if named == "BertModel" else {}


@pytest.mark.parametrize("mode", ["full", "last-block"])
@pytest.mark.parametrize(
    "named",
    ["BertForMaskedLM", "DistilBertForMaskedLM", "ModernBertForMaskedLM", "LlamaForCausalLM"],
)
def test_a_vocabulary_head_is_one_more_linear_map(named, mode):
    model = build(named, mode)
    counted = count(shapes(model), 5, 24)
    forward, both = seen(model, 5, 24)
    assert close(counted.forward, forward) and close(counted.total, both)
    assert shapes(model).above[-1].parts[-1].outputs == 100


@settings(max_examples=20)
@given(
    rows=st.integers(1, 9),
    tokens=st.integers(4, 120),
    rank=st.integers(1, 40),
    named=st.sampled_from(["DistilBertModel", "LlamaModel"]),
)
def test_any_batch_and_rank(rows, tokens, rank, named):
    model = build(named, f"lora-{rank}")
    counted = count(shapes(model), rows, tokens)
    forward, both = seen(model, rows, tokens)
    assert close(counted.forward, forward) and close(counted.total, both)


def test_attention_of_the_lowest_block_has_only_the_gradients_that_are_needed():
    """LoRA on values alone: no score of the first block needs a gradient."""
    model = build("LlamaModel")
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["v_proj"])).train()
    assert close(count(shapes(model), 2, 120).total, seen(model, 2, 120)[1])


def test_the_library_s_own_checkpointing_of_an_adapted_model():
    """With re-entrance off, and with the embeddings' outcome made to need a gradient."""
    model = build("LlamaModel", "lora-4")
    plain = count(shapes(model), 5, 24)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
    counted = count(shapes(model), 5, 24, checkpointed=True)
    assert counted.backward > plain.backward
    assert close(counted.total, seen(model, 5, 24)[1])


def test_a_module_that_is_trained_beside_lora_is_counted_once():
    model = build("BertForMaskedLM")
    config = LoraConfig(r=4, target_modules=["query"], modules_to_save=["transform"])
    model = get_peft_model(model, config).train()
    assert close(count(shapes(model), 5, 24).total, seen(model, 5, 24)[1])


def test_gradient_caching_as_the_library_does_it(tmp_path):
    """sentence-transformers' cached loss, in mini-batches: encoder and similarity."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
    )
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    folder = make(tmp_path / "model", "LlamaModel")
    encoder = Transformer(str(folder), model_kwargs={"attn_implementation": "eager"})
    model = SentenceTransformer(modules=[encoder, Pooling(32)], device="cpu").train()
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=4)
    sides = [
        {"input_ids": torch.full((8, tokens), 5), "attention_mask": torch.ones(8, tokens).long()}
        for tokens in (6, 17)
    ]
    with FlopCounterMode(display=False) as counter:
        loss(sides, None).backward()
    network = shapes(model[0])
    counted = similarity(8, 8, 32)
    for tokens in (6, 17):
        counted += count(network, 8, tokens, cached=True)
    assert close(counted.total, counter.get_total_flops())
    assert counted.recomputation == counted.forward - similarity(8, 8, 32).forward


def test_the_similarity_of_a_batch():
    queries, passages = torch.randn(7, 32, requires_grad=True), torch.randn(21, 32)
    with FlopCounterMode(display=False) as counter:
        (queries @ passages.requires_grad_().T).sum().backward()
    assert similarity(7, 21, 32).total == counter.get_total_flops()
    assert similarity(7, 21, 32) == Flops(2 * 7 * 21 * 32, 4 * 7 * 21 * 32)


def test_counts_by_hand():
    """One token: a product of a vector with a matrix of 3 × 5."""
    assert Linear(3, 5).forward(1, 1) == 2 * 15
    assert Linear(3, 5).backward(1, 1, carried=True) == 4 * 15
    assert Linear(3, 5, trained=False).backward(1, 1, carried=False) == 0
    # LoRA: two maps, 3 × 2 and 2 × 5, and of the frozen weight the gradient of the input alone.
    adapted = Linear(3, 5, trained=False, rank=2)
    assert adapted.forward(1, 1) == 2 * (15 + 6 + 10)
    assert adapted.backward(1, 1, carried=True) == 2 * (15 + 2 * 6 + 2 * 10)
    assert adapted.backward(1, 1, carried=False) == 2 * (6 + 2 * 10)
    # Two rows of seven tokens: scores and weighted values, each 7 × 7 × 4 for each of three heads.
    assert Attention(3, 4).forward(2, 7) == 2 * 2 * (2 * 3 * 7 * 7 * 4)


def frozen(*stages: Stage) -> Network:
    return Network((Block(tuple(stages)),))


def test_nothing_below_the_lowest_trained_parameter_has_a_backward_pass():
    low, high = Linear(4, 4, trained=False), Linear(4, 4)
    assert count(frozen(Stage((low,)), Stage((high,))), 1, 1).backward == 2 * 16
    # The other way round, the weight's gradient comes down through the frozen map.
    assert count(frozen(Stage((high,)), Stage((low,))), 1, 1).backward == 4 * 16
    assert count(frozen(Stage((low,))), 1, 1, checkpointed=True) == Flops(32)
    # A trained norm below a frozen map costs the gradient of the map's input.
    assert count(frozen(Stage(other=True), Stage((low,))), 1, 1).backward == 2 * 16


def test_what_lora_saves():
    """The partial training is held against the same network, trained in full."""
    full, adapted = (shapes(build("MPNetModel", mode)) for mode in ("full", "lora-4"))
    assert trained_in_full(adapted) == trained_in_full(full)
    assert count(trained_in_full(adapted), 5, 24) == count(full, 5, 24)
    assert count(adapted, 5, 24).total < count(full, 5, 24).total


def test_a_module_without_blocks_is_refused_in_one_line():
    with pytest.raises(ModelError, match="Linear has no transformers configuration"):
        shapes(nn.Linear(2, 2))
    bare = build("BertModel")
    bare.encoder.layer = nn.ModuleList()
    with pytest.raises(ModelError, match="BertModel has no list of transformer blocks"):
        shapes(bare)
    odd = build("BertModel")
    odd.encoder.layer[0].attention.output.dense = nn.Identity()
    with pytest.raises(ModelError, match="BertLayer is no block of one attention"):
        shapes(odd)


def spend(ledger: Ledger, flops: int) -> Ledger:
    return ledger.after({"encoder": Flops(flops)}, pairs=4, tokens=30, padded_tokens=40)


def test_a_ledger_adds_steps():
    first = spend(Ledger(), 100)
    ledger = first.after(
        {"encoder": Flops(1, 2, 3), "similarity": Flops(10, 20)},
        pairs=6,
        tokens=50,
        padded_tokens=60,
    )
    assert ledger == Ledger(
        {"encoder": Flops(101, 2, 3), "similarity": Flops(10, 20)}, 2, 10, 80, 100
    )
    assert first == spend(Ledger(), 100)
    stored = json.loads(json.dumps(ledger.as_json()))
    assert stored["total_flops"] == ledger.total == 136
    assert stored["flops"]["similarity"] == {"forward": 10, "backward": 20, "recomputation": 0}


@given(
    sizes=st.lists(st.integers(10, 100), min_size=200, max_size=200),
    budget=st.integers(1000, 1900),
)
@settings(max_examples=50)
def test_a_run_ends_within_five_per_cent_of_its_budget(sizes, budget):
    """Steps of unequal sizes, none above a tenth of the budget."""
    ledger = Ledger()
    for size in sizes:
        if not ledger.steps_within(budget, size):
            break
        ledger = spend(ledger, size)
    assert ledger.steps < 200
    assert abs(ledger.total - budget) <= 0.05 * budget


def test_a_budget_below_one_step_is_refused_in_one_line():
    with pytest.raises(WellspringError, match=r"budget_flops: 1e\+09 operations") as error:
        Ledger().steps_within(1e9, 2_000_000_000)
    assert "\n" not in str(error.value) and "raise the budget" in str(error.value)
    assert Ledger().steps_within(1e9, 1_000_000_000)
    assert not spend(Ledger(), 1_000_000_000).steps_within(1e9, 2_000_000_000)


def test_a_processor_tells_no_energy():
    assert energy("cpu") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_s_energy_grows():
    before = energy("cuda")
    matrix = torch.randn(8192, 8192, device="cuda")
    for _ in range(100):
        matrix = torch.nn.functional.normalize(matrix @ matrix)
    torch.cuda.synchronize()
    after = energy("cuda")
    assert before is None or 0 < before < after
