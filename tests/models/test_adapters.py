"""PEFT adapters: merged and checked; refused where they are for something else."""

from __future__ import annotations

import json
import warnings

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support.checkpoints import WORDS, bert, llama, make
from wellspring import embeddings
from wellspring.errors import ModelError
from wellspring.models import adapters, weights
from wellspring.models.architecture import builtin
from wellspring.models.load import load, skeleton

# RepLLaMA's: every projection but k.
TARGETS = ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXTS = [" ".join(WORDS[:9]), "w3", " ".join(WORDS[20:50])]


def adapt(base, folder, kind="AutoModel", zero=False, method=peft.LoraConfig, **options):
    """An adapter with random weights, trained below that class, as published ones lie in their
    folder; LoRA unless told."""
    settings = {"target_modules": TARGETS}
    if method is peft.LoraConfig:
        settings |= {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1}
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(whole(base, kind), method(**{**settings, **options}))
        for name, value in model.named_parameters():
            if value.requires_grad and not ("lora_A" in name or zero):
                value.data.add_(torch.randn_like(value), alpha=0.2)
        model.save_pretrained(folder)
    return folder


def whole(base, kind):
    options = {"pad_token_id": 0} if kind.startswith("Llama") else {}
    return getattr(transformers, kind).from_pretrained(base, dtype=torch.float32, **options)


def vectors(backbone):
    tokens = embeddings.tokenise(backbone.tokenizer, TEXTS, "{text}", 32, "eos")
    found = np.full((backbone.layers + 1, len(TEXTS), backbone.hidden), np.nan, np.float32)
    for done in embeddings.encode(backbone, tokens, "eos"):
        found[:, done.rows] = done.vectors
    return tokens, found


LLAMA, BERT, XLM = "LlamaForCausalLM", "BertForMaskedLM", "XLMRobertaForMaskedLM"
QUERY = {"target_modules": ["query"]}
DENSE = {"target_modules": ["query", "dense"]}
CASES = {
    "of a backbone": ("LlamaModel", {"alpha_pattern": {"layers.0.self_attn.q_proj": 64}}),
    "below a head": (LLAMA, {"task_type": "CAUSAL_LM"}),
    "below another head": ("LlamaForSequenceClassification", {"task_type": "SEQ_CLS"}),
    "scale of a module": (LLAMA, {"alpha_pattern": {"model.layers.0.self_attn.q_proj": 64}}),
    "scale by a pattern": (LLAMA, {"alpha_pattern": {r"^model\.layers\.[1]\.mlp\.up_proj": 64}}),
    "scale of what is not adapted": (LLAMA, {"alpha_pattern": {"k_proj": 64, "q_proj": 32}}),
    "rank of a module": (LLAMA, {"rank_pattern": {"model.layers.1.self_attn.v_proj": 2}}),
    "modules by a pattern": (LLAMA, {"target_modules": r"model\.layers\.\d\.mlp\.(up|down)_proj"}),
    "all linear modules": (LLAMA, {"target_modules": "all-linear"}),
    "modules in full": (LLAMA, {"target_modules": ["model.layers.1.self_attn.q_proj", "up_proj"]}),
    "some layers": (LLAMA, {"layers_to_transform": [1]}),
    "some layers of a list": (LLAMA, {"layers_to_transform": [1], "layers_pattern": "layers"}),
    "modules excluded": (LLAMA, {"exclude_modules": ["model.layers.0.self_attn.q_proj"]}),
    "a head excluded": (LLAMA, {"exclude_modules": ["lm_head"]}),
    "a layer excluded": (LLAMA, {"exclude_modules": r"model\.layers\.0\..*"}),
    "parameters": (
        LLAMA,
        {
            "target_modules": [],
            "target_parameters": ["self_attn.q_proj.weight"],
            "lora_dropout": 0,
        },
    ),
    "the head, too": (
        LLAMA,
        {"target_modules": [*TARGETS, "lm_head"], "alpha_pattern": {"lm_head": 3}},
    ),
    "the embedding, too": (LLAMA, {"target_modules": [*TARGETS, "embed_tokens"]}),
    "modules trained whole": (LLAMA, {"modules_to_save": ["lm_head", "embed_tokens", "norm"]}),
    "single tokens": (LLAMA, {"trainable_token_indices": [5, 6]}),
    "rank-stabilised": (LLAMA, {"use_rslora": True}),
    "weight-decomposed": (LLAMA, {"use_dora": True}),
    "LoHa": (
        LLAMA,
        {"method": peft.LoHaConfig, "alpha_pattern": {"model.layers.0.self_attn.q_proj": 64}},
    ),
    "LoKr": (LLAMA, {"method": peft.LoKrConfig}),
    "IA3": (LLAMA, {"method": peft.IA3Config, "feedforward_modules": ["down_proj"]}),
    "AdaLoRA": (LLAMA, {"method": peft.AdaLoraConfig, "init_r": 4, "total_step": 10}),
    "BERT": (BERT, {**QUERY, "alpha_pattern": {"bert.encoder.layer.1.attention.self.query": 64}}),
    "BERT without the pooler that we have": (BERT, DENSE),
    "BERT with its biases": (BERT, {**DENSE, "bias": "all"}),
    "BERT, its backbone": ("BertModel", DENSE),
    "BERT below another head": ("BertForSequenceClassification", {**DENSE, "task_type": "SEQ_CLS"}),
    "XLM-RoBERTa": (XLM, {**DENSE, "alpha_pattern": {"roberta.encoder.layer.1.output.dense": 64}}),
    "T5 with its decoder": (
        "T5ForConditionalGeneration",
        {
            "target_modules": ["q", "v"],
            "alpha_pattern": {"decoder.block.0.layer.0.SelfAttention.q": 9},
        },
    ),
    "DPR": ("DPRQuestionEncoder", QUERY),
}
FAMILIES = {
    "Llama": ("llama", LLAMA),
    "Bert": ("bert", BERT),
    "XLMR": ("roberta", XLM),
    "T5": ("t5", "T5ForConditionalGeneration"),
    "DPR": ("dpr", "DPRQuestionEncoder"),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Gives a tiny checkpoint with its head, made once, and its architecture."""
    made = {}

    def get(kind, **options):
        family = next(name for name in FAMILIES if kind.startswith(name))
        key = (family, *options)
        if key not in made:
            architecture, named = FAMILIES[family]
            folder = make(tmp_path_factory.mktemp(family), named, **options)
            made[key] = folder, architecture
        return made[key]

    return get


def last_states(model, ids):
    with torch.no_grad():
        return model(ids, torch.ones_like(ids), output_hidden_states=True).hidden_states[-1]


def check_against_peft(base, architecture, kind, folder):
    """Our states are those of PEFT on the class that the adapter was trained below."""
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = peft.PeftModel.from_pretrained(whole(base, kind), folder).eval().get_base_model()
    expected = last_states(oracle.get_encoder() if kind.startswith("T5") else oracle, ids)
    found, bare = (
        load(base, architecture, 2, adapter=adapter).states(ids, torch.ones_like(ids))[-1]
        for adapter in (folder, None)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (bare - expected).abs().max() > 0.05


@pytest.mark.parametrize(("kind", "options"), CASES.values(), ids=CASES)
def test_an_adapter_does_what_it_does_in_peft(tmp_path, bases, kind, options):
    base, architecture = bases(kind)
    folder = adapt(base, tmp_path, kind, **options)
    check_against_peft(base, architecture, kind, folder)
    # The step `model` checks the same without weights.
    adapters.fit(skeleton(base, architecture), folder, builtin(architecture).unused)


def test_an_adapted_embedding_that_the_head_shares(tmp_path, bases):
    base, architecture = bases(LLAMA, tie_word_embeddings=True)
    folder = adapt(base, tmp_path, LLAMA, target_modules=["q_proj", "embed_tokens"])
    check_against_peft(base, architecture, LLAMA, folder)


def test_a_scale_of_no_module_is_an_error(tmp_path, bases):
    """Left out, it would give another model than the one that was trained."""
    base, architecture = bases(LLAMA)
    folder = adapt(base, tmp_path, LLAMA)
    edit_adapter(folder, alpha_pattern={"model.layers.0.self_attn.q_prj": 64})
    with pytest.raises(ModelError, match=r"alpha_pattern keys did not match .*q_prj") as caught:
        load(base, architecture, 2, adapter=folder)
    assert "\n" not in str(caught.value)


def edit_adapter(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base"),
        ({"init_lora_weights": "olora"}, "init_lora_weights is 'olora', which changes the base"),
        ({"peft_type": "ADALORA", "rank_pattern": {"a": [True]}}, "ranks were allocated"),
        ({"alora_invocation_tokens": [5]}, "behind certain tokens alone"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "it repeats layers"),
        ({"of_a_later_peft": 3}, r"cannot be read \(Unexpected keyword arguments .'of_a_later_p"),
        ({"r": "four"}, "does not fit the model"),
        ({"alpha_pattern": {"(": 3}}, r"does not fit the model \(missing \)"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_one_line(tmp_path, bases, values, message):
    base, architecture = bases(LLAMA)
    folder = adapt(base, tmp_path, LLAMA)
    edit_adapter(folder, **values)
    with pytest.raises(ModelError, match=message) as caught:
        load(base, architecture, 2, adapter=folder)
    assert "\n" not in str(caught.value)


def test_an_unset_option_of_a_later_peft_does_no_harm(tmp_path, bases):
    base, architecture = bases(LLAMA)
    folder = adapt(base, tmp_path, LLAMA)
    edit_adapter(folder, of_a_later_peft=None)
    assert load(base, architecture, 2, adapter=folder).merged < 1e-5


def test_an_adapter_of_two_models(tmp_path, bases):
    base, architecture = bases(LLAMA)
    folder = adapt(base, tmp_path, LLAMA)

    def double(held):
        held |= {name.replace(".model.model", ".model.other"): held[name].clone() for name in held}

    _edit(folder, double)
    with pytest.raises(ModelError, match=r"changes several models: model, other"):
        load(base, architecture, 2, adapter=folder)


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
