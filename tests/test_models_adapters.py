"""PEFT adapters: merged and checked; refused where they are for something else."""

from __future__ import annotations

import json

import numpy as np
import peft
import pytest
import torch
import transformers
from checkpoints import WORDS, bert, llama
from safetensors.torch import load_file, save_file

from wellspring import embeddings
from wellspring.errors import ModelError
from wellspring.models import weights
from wellspring.models.load import load

# RepLLaMA's: every projection but k.
TARGETS = ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXTS = [" ".join(WORDS[:9]), "w3", " ".join(WORDS[20:50])]


def adapt(base, folder, head=False, zero=False, **options):
    """A LoRA adapter with random weights on a base, as published ones lie in their folder."""
    kind = transformers.AutoModelForCausalLM if head else transformers.AutoModel
    settings = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": TARGETS}
    task = "CAUSAL_LM" if head else "FEATURE_EXTRACTION"
    config = peft.LoraConfig(**{**settings, "task_type": task, **options})
    torch.manual_seed(3)
    model = peft.get_peft_model(kind.from_pretrained(base), config)
    for name, value in model.named_parameters():
        if "lora_B" in name and not zero:
            torch.nn.init.normal_(value, std=0.2)
    model.save_pretrained(folder)
    return folder


def vectors(backbone):
    tokens = embeddings.tokenise(backbone.tokenizer, TEXTS, "{text}", 32, "eos")
    found = np.full((backbone.layers + 1, len(TEXTS), backbone.hidden), np.nan, np.float32)
    for done in embeddings.encode(backbone, tokens, "eos"):
        found[:, done.rows] = done.vectors
    return tokens, found


@pytest.mark.parametrize("head", [False, True], ids=["backbone", "below a head"])
def test_a_merged_adapter_equals_peft_beside_the_weights(tmp_path, head):
    base = llama(tmp_path / "base")
    folder = adapt(base, tmp_path / "adapter", head)
    tokens, found = vectors(load(base, "llama", 2, adapter=folder))
    kind = transformers.AutoModelForCausalLM if head else transformers.AutoModel
    oracle = peft.PeftModel.from_pretrained(kind.from_pretrained(base), folder).eval()
    for row, ids in enumerate(tokens):
        with torch.no_grad():
            states = oracle(torch.tensor([ids]), output_hidden_states=True).hidden_states
        expected = torch.stack([state[0, -1] for state in states]).numpy()
        np.testing.assert_allclose(found[:, row], expected, atol=1e-5)
    _, plain = vectors(load(base, "llama", 2))
    assert np.abs(plain[-1] - found[-1]).max() > 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": [*TARGETS, "lm_head"]},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"]},
    ],
)
def test_what_an_adapter_changes_in_a_head_is_left_out(tmp_path, options):
    base = llama(tmp_path / "base")
    folder = adapt(base, tmp_path / "adapter", head=True, **options)
    tokens, found = vectors(load(base, "llama", 2, adapter=folder))
    oracle = peft.PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(base), folder
    ).eval()
    with torch.no_grad():
        states = oracle(torch.tensor([tokens[0]]), output_hidden_states=True).hidden_states
    np.testing.assert_allclose(found[-1, 0], states[-1][0, -1].numpy(), atol=1e-5)


@pytest.mark.parametrize("content", ["{}", "[1]", "3", "{", '{"peft_type": "PREFIX_TUNING"}'])
def test_a_kind_of_adapter_that_cannot_be_merged(tmp_path, content):
    base = llama(tmp_path / "base")
    folder = adapt(base, tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"adapter_config\.json: (peft_type is|cannot be read)"):
        load(base, "llama", 2, adapter=folder)


def test_an_adapter_that_changes_nothing(tmp_path):
    base = llama(tmp_path / "base")
    folder = adapt(base, tmp_path / "adapter", zero=True)
    with pytest.raises(ModelError, match="the adapter changes nothing"):
        load(base, "llama", 2, adapter=folder)


def test_an_adapter_whose_modules_match_nothing(tmp_path):
    folder = adapt(llama(tmp_path / "llama"), tmp_path / "adapter")
    with pytest.raises(ModelError, match="does not fit the model"):
        load(bert(tmp_path / "bert"), "bert", 2, adapter=folder)


def test_an_adapter_of_a_deeper_base(tmp_path):
    folder = adapt(llama(tmp_path / "deep", layers=3), tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"for another model; left over: .*layers\.2"):
        load(llama(tmp_path / "base"), "llama", 2, adapter=folder)


def _edit(folder, edit):
    path = folder / "adapter_model.safetensors"
    held = load_file(path)
    edit(held)
    path.unlink()
    save_file(held, path)


def test_an_adapter_of_another_width_or_with_a_weight_missing(tmp_path):
    base = llama(tmp_path / "base")
    name = "base_model.model.layers.1.mlp.down_proj.lora_A.weight"
    folder = adapt(base, tmp_path / "a")
    _edit(folder, lambda held: held.update({name: torch.ones(4, 7)}))
    with pytest.raises(ModelError, match=r"another shape \(\[4, 7\] in the adapter, \[4, 48\]"):
        load(base, "llama", 2, adapter=folder)
    folder = adapt(base, tmp_path / "b")
    _edit(folder, lambda held: held.pop(name))
    with pytest.raises(ModelError, match=f"missing: {name}"):
        load(base, "llama", 2, adapter=folder)


def test_a_truncated_adapter(tmp_path):
    base = llama(tmp_path / "base")
    folder = adapt(base, tmp_path / "adapter")
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="the adapter cannot be read"):
        load(base, "llama", 2, adapter=folder)


def test_half_precision_merges_within_its_rounding(tmp_path):
    base = llama(tmp_path / "base")
    folder = adapt(base, tmp_path / "adapter")
    _, exact = vectors(load(base, "llama", 2, adapter=folder))
    _, rough = vectors(load(base, "llama", 2, "bfloat16", adapter=folder))
    assert np.abs(exact[-1] - rough[-1]).max() < 0.1 * np.abs(exact[-1]).max()


def pickled(folder, name="model.safetensors"):
    """Make a safetensors checkpoint one of *.bin files."""
    held = load_file(folder / name)
    (folder / name).unlink()
    name = name.replace(".safetensors", ".bin")
    torch.save(held, folder / ("pytorch_model.bin" if name == "model.bin" else name))


def test_pickled_weights_are_stored_as_safetensors(tmp_path):
    base = llama(tmp_path / "base")
    _, expected = vectors(load(base, "llama", 2))
    pickled(base)
    weights.convert(base, tmp_path / "stored")
    assert not list((tmp_path / "stored").glob("*.bin"))
    _, found = vectors(load(tmp_path / "stored", "llama", 2))
    np.testing.assert_array_equal(found, expected)


def test_pickled_shards_keep_their_index(tmp_path):
    base = llama(tmp_path / "base")
    _, expected = vectors(load(base, "llama", 2))
    held = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    names = sorted(held)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        # The layout of before 2020 can be read too.
        torch.save(
            {name: held[name] for name in part},
            base / file,
            _use_new_zipfile_serialization=number == 1,
        )
        places |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": places}
    (base / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    weights.convert(base, tmp_path / "stored")
    _, found = vectors(load(tmp_path / "stored", "llama", 2))
    np.testing.assert_array_equal(found, expected)


class _Evil:
    def __reduce__(self):
        import os

        return os.abort, ()


@pytest.mark.parametrize("content", [_Evil(), {"a": _Evil()}, {"a": 3}, [torch.ones(2)]])
def test_a_pickle_with_more_than_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
        weights.convert(tmp_path, tmp_path / "stored")
    assert not list((tmp_path / "stored").glob("*.safetensors"))


def test_a_pointer_and_a_web_page_are_no_weights(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    for content, message in (
        ("version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
        ("<!doctype html>", "no file of weights"),
        ("", "cannot be read"),
    ):
        path.write_text(content)
        with pytest.raises(ModelError, match=message) as caught:
            weights.convert(tmp_path, tmp_path / "stored")
        assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", ["{}", "[]", '{"weight_map": [1]}', "{"])
def test_a_malformed_index(tmp_path, content):
    (tmp_path / "pytorch_model.bin.index.json").write_text(content)
    with pytest.raises(ModelError, match="is no index of weights"):
        weights.convert(tmp_path, tmp_path / "stored")


def test_a_truncated_pickle(tmp_path):
    torch.save({"a": torch.ones(1000)}, tmp_path / "pytorch_model.bin")
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelError, match="cannot be read: it is cut"):
        weights.convert(tmp_path, tmp_path / "stored")
