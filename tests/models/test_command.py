"""`wellspring model`: what it stores beside model.json, and what it refuses in one line."""

from __future__ import annotations

import json
import re

import pytest
import torch
from click.testing import CliRunner
from safetensors import SafetensorError
from safetensors.torch import load_file

from tests.models.test_adapters import adapt, pickled
from tests.support.checkpoints import WORDS, bert, edit_config, llama
from wellspring import specs
from wellspring.artefacts.checkpoints import architecture, verify
from wellspring.cli import cli
from wellspring.config import SLUG, Architecture
from wellspring.errors import ModelError, StaleArtefact, WellspringError
from wellspring.models import weights
from wellspring.models.load import load

ELECTRA = Architecture(
    classes={"BertModel": "BertModel"},
    unused=["^pooler"],
    blocks="encoder.layer",
    sublayers={
        "intermediate": {"path": "intermediate.dense"},
        "output": {"path": "output.dense"},
    },
)


def describe(folder, **spec):
    """Run the command on a spec; gives model.json as an object."""
    fields = {"architecture": "llama", "layers": 2, **spec}
    wanted = specs.ModelSpec(**fields)
    description = folder / "results" / "models" / "m" / "model.json"
    command = [
        "model",
        str(description),
        "--spec",
        wanted.canonical(),
        "--log",
        str(folder / "log"),
    ]
    done = CliRunner().invoke(cli, command)
    if done.exception:
        assert not description.exists()
        raise done.exception
    return description


def test_nothing_of_an_earlier_source_stays(tmp_path):
    """A tokenizer that is left over would be hashed, and used."""
    first, second = bert(tmp_path / "first"), bert(tmp_path / "second")
    for folder in (first, second):
        pickled(folder)
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (second / name).unlink(missing_ok=True)
    spec = {"architecture": "bert"}
    describe(tmp_path, source=f"path:{first}", **spec)
    description = describe(tmp_path, source=f"path:{second}", **spec)
    assert not (description.parent / "tokenizer.json").exists()


def test_an_adapter_among_the_weights_is_not_applied_unasked(tmp_path):
    base = llama(tmp_path / "base")
    adapt(base, base)
    with pytest.raises(ModelError, match="holds an adapter: name that under adapter"):
        describe(tmp_path, source=f"path:{base}")


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    base = llama(tmp_path / "base")
    pickled(base)

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(ModelError, match=r"models\.m: .*No space left on device"):
        describe(tmp_path, source=f"path:{base}")


def encoding(**changes):
    fields = {
        "model": "m",
        "architecture": "llama",
        "layers": 2,
        "side": "query",
        "pooling": "eos",
        "template": "{text}",
        "length": 16,
        "normalise": False,
        "dtype": "float32",
        "storage": "float32",
    }
    return specs.EncodingSpec(**{**fields, **changes})


def test_pickled_weights_and_adapters_are_stored_beside_the_description(tmp_path):
    base = llama(tmp_path / "base")
    adapter = adapt(base, tmp_path / "adapter")
    pickled(base)
    pickled(adapter, "adapter_model.safetensors")
    description = describe(tmp_path, source=f"path:{base}", adapter=f"path:{adapter}")
    found = verify(description, encoding())
    assert found.checkpoint == description.parent
    assert found.adapter == description.parent / "adapter"
    backbone = load(found.checkpoint, "llama", 2, adapter=found.adapter)
    assert 0 <= backbone.merged < 1e-5
    # The user's own folder is left as it was.
    assert not list(base.glob("*.safetensors")) and not list(adapter.glob("*.safetensors"))
    again = describe(tmp_path, source=f"path:{base}", adapter=f"path:{adapter}")
    assert verify(again, encoding()).digest == found.digest


def test_what_can_be_used_where_it_lies_is_not_copied(tmp_path):
    base = llama(tmp_path / "base")
    description = describe(tmp_path, source=f"path:{base}")
    assert verify(description, encoding()).checkpoint == base
    assert [path.name for path in description.parent.iterdir()] == ["model.json"]


def test_the_adapter_is_part_of_the_digest(tmp_path):
    base = llama(tmp_path / "base")
    adapter = adapt(base, tmp_path / "adapter")
    plain = verify(describe(tmp_path, source=f"path:{base}"), encoding()).digest
    description = describe(tmp_path, source=f"path:{base}", adapter=f"path:{adapter}")
    assert verify(description, encoding()).digest != plain
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(StaleArtefact, match="is not the file that"):
        verify(description, encoding())


def test_a_description_that_lost_a_part_is_told_in_one_line(tmp_path):
    base = llama(tmp_path / "base")
    description = describe(tmp_path, source=f"path:{base}")
    whole = json.loads(description.read_text())
    for text, said in (
        ("{", "Invalid JSON"),
        (json.dumps(whole | {"digest": None}), "digest: Input should be a valid string"),
        (json.dumps({"digest": whole["digest"]}), "identity: Field required"),
    ):
        description.write_text(text)
        with pytest.raises(StaleArtefact, match=rf"cannot be read \({said}.*forcerun") as caught:
            verify(description, encoding())
        assert "\n" not in str(caught.value)
    description.unlink()
    with pytest.raises(StaleArtefact, match=r"cannot be read .*forcerun"):
        verify(description, encoding())


def test_an_architecture_of_the_configuration(tmp_path):
    base = bert(tmp_path / "base")
    spec = {"architecture": "mine", "definition": ELECTRA}
    description = describe(tmp_path, source=f"path:{base}", **spec)
    wanted = encoding(**spec)
    found = verify(description, wanted)
    assert load(found.checkpoint, architecture(wanted), 2).hidden == 32
    with pytest.raises(StaleArtefact, match="describes another model"):
        verify(description, encoding(architecture="mine"))


def hub_adapter(tmp_path, base="someone/else"):
    """A base and an adapter as the hub's local copies lie, the adapter made for `base`."""
    sources = {name: f"hub:a/{name}@{'0' * 40}" for name in ("base", "adapter")}
    places = {
        name: tmp_path / "results/models/hub" / specs.checkpoint(source)
        for name, source in sources.items()
    }
    llama(places["base"])
    adapt(places["base"], places["adapter"])
    path = places["adapter"] / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base}))
    return {"source": sources["base"], "adapter": sources["adapter"]}


def test_what_the_hub_gave_is_found_by_its_revision(tmp_path):
    spec = hub_adapter(tmp_path, base="a/base")
    found = verify(describe(tmp_path, **spec), encoding())
    load(found.checkpoint, "llama", 2, adapter=found.adapter)


def break_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def evil_weights(folder):
    no_weights(folder)
    torch.save({"a": 3}, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "spec", "message"),
    [
        (None, {"layers": 3}, r"models\.m\.layers: the checkpoint has 2 layers, the configurat"),
        (None, {"architecture": "bert"}, "config.json names the class LlamaForCausalLM, which"),
        (
            None,
            {"adapter": "path:nowhere"},
            "models.m: path:nowhere: nowhere is not a folder",
        ),
        (break_tokenizer, {}, "models.m: .* holds no tokenizer"),
        (no_weights, {}, r"models.m: .* holds no \*\.safetensors weights"),
        (evil_weights, {}, "pytorch_model.bin: a is a int, not a tensor"),
        (lambda folder: (folder / "config.json").write_text("{"), {}, "models.m: .*config.json"),
        (
            lambda folder: edit_config(folder, architectures=[]),
            {},
            r"names no class: write the one .* knows [BL]",
        ),
        (
            lambda folder: edit_config(folder, quantization_config={"quant_method": "gptq"}),
            {},
            "models.m: .*the weights are quantised",
        ),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_one_line(tmp_path, damage, spec, message):
    base = llama(tmp_path / "base")
    if damage:
        damage(base)
    with pytest.raises(ModelError, match=message) as caught:
        describe(tmp_path, source=f"path:{base}", **spec)
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_shape_is_refused_before_any_embedding(tmp_path):
    base, deep = llama(tmp_path / "base"), llama(tmp_path / "deep", layers=3)
    adapter = adapt(deep, tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"models\.m: .*the adapter is for another model"):
        describe(tmp_path, source=f"path:{base}", adapter=f"path:{adapter}")


def test_an_adapter_for_another_base(tmp_path):
    with pytest.raises(ModelError, match=r"is for the base someone/else, the source is a/base"):
        describe(tmp_path, **hub_adapter(tmp_path))


def test_a_random_twin_of_what_only_has_pickled_weights(tmp_path):
    base = llama(tmp_path / "base")
    trained = load_file(base / "model.safetensors")
    pickled(base)
    wanted = specs.ModelSpec(source=f"path:{base}", architecture="llama", layers=2)
    description = describe(tmp_path, source="random", seed=0, base=wanted)
    fresh = load_file(description.parent / "model.safetensors")
    name = "layers.0.mlp.down_proj.weight"
    assert fresh[name].shape == trained[f"model.{name}"].shape
    assert not torch.equal(fresh[name], trained[f"model.{name}"])


def test_eos_pooling_without_an_end_token_is_one_line(tmp_path):
    from wellspring import embeddings

    backbone = load(llama(tmp_path, eos=None), "llama", 2)
    with pytest.raises(WellspringError, match="the tokenizer has no end token"):
        embeddings.tokenise(backbone.tokenizer, WORDS[:2], "{text}", 8, "eos")


def test_a_hub_checkpoint_has_one_folder_and_no_two_share_one():
    one = specs.checkpoint("hub:Org/Name_x@" + "a" * 40)
    assert one == specs.checkpoint("hub:Org/Name_x@" + "a" * 40)
    others = ["hub:org/name_x@", "hub:Org/Name-x@", "hub:Orb/Name_x@"]
    assert len({one, *(specs.checkpoint(name + "a" * 40) for name in others)}) == 4
    assert re.fullmatch(SLUG, one) and len(one) <= 64
