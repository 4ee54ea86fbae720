"""Every class in the registry against transformers, a text at a time, without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from tests.support.checkpoints import SAVED_AS, WORDS, edit_config, llama, make
from wellspring import embeddings
from wellspring.config import models as catalogue
from wellspring.errors import ModelError, WellspringError
from wellspring.models import sources
from wellspring.models.architecture import BUILTIN, Architecture, Sublayer, builtin, sublayer
from wellspring.models.load import describe, load
from wellspring.pooling import pool

CLASSES = [(name, named) for name in BUILTIN for named in builtin(name).classes]
DECODERS = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi", "phi3"}
TEXTS = [
    " ".join(WORDS[:23]),
    "w7 w8",
    "w9",
    "w1 w2 w3 w4",
    " ".join(reversed(WORDS[20:32])),
    "w1 w2 w3 unknown w1",
]


def oracle(folder, named):
    """The checkpoint as transformers has it under the very class that was saved."""
    kind = getattr(transformers, SAVED_AS.get(named, named))
    model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return model.get_encoder() if named.startswith("T5") else model


def one_by_one(model, token_ids, pick):
    """States [layers + 1, texts, hidden] of each text alone; pick: tokens → its vector."""
    found = []
    with torch.no_grad():
        for ids in token_ids:
            output = model(torch.tensor([ids]), output_hidden_states=True)
            last = getattr(output, "last_hidden_state", None)
            assert last is None or torch.equal(last, output.hidden_states[-1])
            found.append(torch.stack([pick(state[0]) for state in output.hidden_states]))
    return torch.stack(found, dim=1).numpy()


def vectors(backbone, tokens, pooling, **options):
    out = np.full((backbone.layers + 1, len(tokens), backbone.hidden), np.nan, np.float32)
    for done in embeddings.encode(backbone, tokens, pooling, **options):
        out[:, done.rows] = done.vectors
    return out


PICK = {"cls": lambda s: s[0], "eos": lambda s: s[-1], "mean": lambda s: s.mean(0)}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("name", "named"), CLASSES)
def test_all_layers_equal_transformers(tmp_path, name, named, side):
    folder = make(tmp_path, named, side=side)
    backbone = load(folder, name, 2)
    assert backbone.tokenizer.padding_side == side
    model = oracle(folder, named)
    poolings = ["mean", "eos" if name in DECODERS or name == "t5" else "cls"]
    for pooling in poolings:
        tokens = embeddings.tokenise(backbone.tokenizer, TEXTS, "{text}", 20, pooling)
        assert len({len(ids) for ids in tokens}) > 3
        # In one batch, and in several.
        for budget in (1000, 45):
            found = vectors(backbone, tokens, pooling, budget=budget)
            np.testing.assert_allclose(
                found, one_by_one(model, tokens, PICK[pooling]), atol=1e-5, rtol=0
            )


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_decoder_padded_on_either_side_equals_one_text_at_a_time(tmp_path, name):
    named = next(iter(builtin(name).classes))
    folder = make(tmp_path, named)
    backbone, model = load(folder, name, 2), oracle(folder, named)
    ids = backbone.tokenizer(TEXTS)["input_ids"]
    for side in ("left", "right"):
        batch = backbone.tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt")
        mask = batch["attention_mask"]
        assert mask[:, 0].all() == (side == "right")
        with torch.inference_mode():
            states = backbone.states(batch["input_ids"], mask)
        for pooling in ("eos", "mean"):
            found = torch.stack([pool(state, mask, pooling) for state in states]).numpy()
            expected = one_by_one(model, ids, PICK[pooling])
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BUILTIN)
def test_sublayers_have_the_widths_of_the_network(tmp_path, name):
    known = builtin(name)
    backbone = load(make(tmp_path, next(iter(known.classes))), name, 2)
    linears = set()
    for block in range(2):
        wide, rows = sublayer(backbone.model, known, block, "intermediate")
        assert wide.in_features == 32 and len(range(*rows.indices(wide.out_features))) == 48
        narrow, every = sublayer(backbone.model, known, block, "output")
        assert (narrow.in_features, narrow.out_features, every) == (48, 32, slice(0, 32))
        linears |= {wide, narrow}
        if "up" in known.sublayers:
            linear, others = sublayer(backbone.model, known, block, "up")
            assert linear.in_features == 32
            assert linear is not wide or (rows.stop, others.stop) == (others.start, 96)
    assert len(linears) == 4


GATED = [name for name in BUILTIN if "up" in builtin(name).sublayers]


@pytest.mark.parametrize("name", [*GATED, "t5"])
def test_the_intermediate_rows_are_the_activated_ones(tmp_path, name):
    """A gate of zero closes a gated network whatever `up` is; the other way round it is not so:
    the activation of a gate of −100 is zero, an `up` of −100 is far from it."""
    known = builtin(name)
    options = {"feed_forward_proj": "gated-gelu"} if name == "t5" else {}
    model = load(make(tmp_path, next(iter(known.classes)), **options), name, 2).model
    gate, rows = sublayer(model, known, 0, "intermediate")
    narrow, _ = sublayer(model, known, 0, "output")
    seen = []
    # What reaches the output sub-layer when the intermediate rows all say −100.
    gate.register_forward_hook(
        lambda *parts: parts[-1].index_fill(-1, torch.arange(rows.start, rows.stop), -100.0)
    )
    narrow.register_forward_pre_hook(lambda _, parts: seen.append(parts[0]))
    with torch.inference_mode():
        model(input_ids=torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3))
    assert torch.equal(seen[0], torch.zeros_like(seen[0]))


def test_every_class_that_is_loaded_may_be_named_itself():
    """Fresh weights are saved by the class without its head, and load again."""
    for name in BUILTIN:
        classes = builtin(name).classes
        assert set(classes.values()) <= set(classes), name


def test_a_context_encoder_is_loaded_with_its_weights_and_automodel_does_not(tmp_path):
    folder = make(tmp_path, "DPRContextEncoder")
    saved = transformers.DPRContextEncoder.from_pretrained(folder).state_dict()
    ours = load(folder, "dpr", 2).model
    assert type(ours).__name__ == "DPRContextEncoder"
    torch.testing.assert_close(ours.state_dict(), saved, rtol=0, atol=0)
    published = transformers.AutoModel.from_pretrained(folder)
    assert type(published).__name__ == "DPRQuestionEncoder"
    name = "bert_model.encoder.layer.1.output.dense.weight"
    theirs = published.state_dict()[f"question_encoder.{name}"]
    trained = saved[f"ctx_encoder.{name}"]
    assert abs(np.corrcoef(theirs.flatten(), trained.flatten())[0, 1]) < 0.1
    again = transformers.AutoModel.from_pretrained(folder).state_dict()[f"question_encoder.{name}"]
    assert not torch.equal(theirs, again)


def test_a_padding_token_in_a_dpr_text_is_read_like_any_other(tmp_path):
    """Without a mask DPR would drop it: the text's vector would depend on its batch."""
    backbone = load(make(tmp_path, "DPRQuestionEncoder"), "dpr", 2)
    tokens = [(101, 2000, 0, 2001, 102), (101, 102)]
    together = vectors(backbone, tokens, "cls")[:, 0]
    alone = vectors(backbone, tokens[:1], "cls")[:, 0]
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "named", "reason"),
    [
        ("dpr", "DPRReader", "reads a question and a passage together"),
        ("gemma3", "Gemma3ForConditionalGeneration", "reads images"),
    ],
)
def test_a_refused_class_says_why(tmp_path, name, named, reason):
    folder = make(tmp_path, next(iter(builtin(name).classes)))
    edit_config(folder, architectures=[named])
    with pytest.raises(ModelError, match=f"names the class {named}: .*{reason}"):
        load(folder, name, 2)
    with pytest.raises(ModelError, match=named):
        describe(folder, name)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_checkpoint_is_described_from_its_config_alone(tmp_path, name):
    folder = make(tmp_path, next(iter(builtin(name).classes)), layers=1)
    (folder / "model.safetensors").unlink()
    assert describe(folder, name) == (1, 32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", BUILTIN)
def test_half_precision_stays_close(tmp_path, name, dtype):
    folder = make(tmp_path, next(iter(builtin(name).classes)))
    tokens = [(1, *range(5, 20)), (1, 9, 4)]
    exact, rough = (
        vectors(load(folder, name, 2, kind), tokens, "mean")
        for kind in (
            "float32",
            dtype,
        )
    )
    cosine = (exact * rough).sum(-1) / np.linalg.norm(exact, axis=-1)
    assert (cosine / np.linalg.norm(rough, axis=-1) > 0.995).all()
    assert not np.array_equal(exact, rough)


@pytest.mark.parametrize("activation", ["relu", "gated-gelu"])
def test_t5_in_both_its_forms(tmp_path, activation):
    """A plain network has `wi`, a gated one `wi_0`; the whole model's decoder is left over."""
    named = "T5ForConditionalGeneration"
    folder = make(tmp_path, named, feed_forward_proj=activation, tie_word_embeddings=False)
    backbone = load(folder, "t5", 2)
    tokens = [(5, 6, 7, 1), (8, 1)]
    found = vectors(backbone, tokens, "mean")
    expected = one_by_one(oracle(folder, named), tokens, PICK["mean"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", BUILTIN)
def test_fresh_weights_of_every_architecture(tmp_path, name):
    named = list(builtin(name).classes)[-1]
    base = make(tmp_path / "base", named)
    sources.make_random(base, tmp_path / "fresh", name, 0)
    trained, fresh = load(base, name, 2), load(tmp_path / "fresh", name, 2)
    tokens = [(1, *range(5, 20))]
    assert trained.tokenizer.get_vocab() == fresh.tokenizer.get_vocab()
    assert not np.allclose(vectors(trained, tokens, "mean"), vectors(fresh, tokens, "mean"))


ELECTRA = Architecture(
    classes={"ElectraModel": "ElectraModel", "ElectraForPreTraining": "ElectraModel"},
    blocks="encoder.layer",
    sublayers={
        "intermediate": Sublayer(path="intermediate.dense"),
        "output": Sublayer(path="output.dense"),
    },
    unused=(r"^discriminator_predictions\.",),
)


def electra(folder):
    return make(folder, "ElectraForPreTraining", embedding_size=32)


def test_an_architecture_of_the_users_own(tmp_path):
    folder = electra(tmp_path)
    backbone = load(folder, ELECTRA, 2)
    assert describe(folder, ELECTRA) == (2, 32) and backbone.architecture is ELECTRA
    tokens = [(5, 6, 7, 8), (9, 6)]
    model = transformers.ElectraModel.from_pretrained(folder).eval()
    expected = one_by_one(model, tokens, PICK["mean"])
    np.testing.assert_allclose(vectors(backbone, tokens, "mean"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": "encoder.layers"}, r"blocks: 'encoder\.layers' does not lead"),
        ({"blocks": "encoder.layer.0"}, r"blocks: 'encoder\.layer\.0' does not lead"),
        (
            {"sublayers": {"output": Sublayer(path="output.LayerNorm")}},
            r"sublayers\.output: 'output\.LayerNorm' does not lead from block 0 \(ElectraLayer\)",
        ),
        (
            {"sublayers": {"intermediate": Sublayer(path="intermediate.wide")}},
            r"sublayers\.intermediate: 'intermediate\.wide' does not lead",
        ),
        ({"classes": {"ElectraForPreTraining": "ElektraModel"}}, "no model class ElektraModel"),
        ({"classes": {"ElectraForPreTraining": "pipeline"}}, "no model class pipeline"),
        ({"classes": {"ElectraModel": "ElectraModel"}}, "names the class ElectraForPreTraining"),
        ({"unused": ()}, "unexpected keys: discriminator_predictions"),
    ],
)
def test_a_wrong_entry_of_an_architecture_is_named(tmp_path, change, message):
    wrong = Architecture(**{**vars(ELECTRA), **change})
    with pytest.raises(ModelError, match=message):
        load(electra(tmp_path), wrong, 2)


def test_halves_of_an_odd_number_of_rows():
    block = torch.nn.Module()
    block.linear, model = torch.nn.Linear(2, 3), torch.nn.Module()
    model.blocks = torch.nn.ModuleList([block])
    wrong = Architecture({}, "blocks", {"up": Sublayer(path="linear", rows="second-half")})
    with pytest.raises(ModelError, match="has 3 rows, which has no halves"):
        sublayer(model, wrong, 0, "up")


def test_an_unknown_built_in_name():
    with pytest.raises(ModelError, match=r"no architecture is called 'load'.*bert"):
        builtin("load")


@pytest.mark.parametrize("pad", [None, "</s>", "<unk>"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_token_that_a_llama_pads_with_changes_nothing(tmp_path, pad, side):
    backbone = load(llama(tmp_path, pad=pad, side=side), "llama", 2)
    assert backbone.tokenizer.pad_token == pad
    assert backbone.padding == {None: 0, "</s>": 2, "<unk>": 0}[pad]
    tokens = embeddings.tokenise(backbone.tokenizer, TEXTS, "query: {text}</s>", 12, "eos")
    assert all(ids[-1] == 2 for ids in tokens)
    expected = one_by_one(oracle(tmp_path, "LlamaForCausalLM"), tokens, PICK["eos"])
    np.testing.assert_allclose(vectors(backbone, tokens, "eos"), expected, atol=1e-5)


def test_a_tokenizer_without_an_end_token_cannot_pool_at_it(tmp_path):
    backbone = load(llama(tmp_path, eos=None), "llama", 2)
    with pytest.raises(WellspringError, match="tokenizer has no end token"):
        embeddings.tokenise(backbone.tokenizer, TEXTS, "{text}", 12, "eos")
    assert embeddings.tokenise(backbone.tokenizer, TEXTS, "{text}", 12, "mean")


@pytest.mark.parametrize(
    ("named", "positions"),
    [("BertModel", 130), ("RobertaModel", 128), ("MPNetModel", 128), ("DistilBertModel", 130)],
)
def test_a_text_longer_than_the_positions_is_one_line(tmp_path, named, positions):
    architecture = named.removesuffix("Model").lower()
    backbone = load(make(tmp_path, named), architecture, 2)
    assert backbone.positions == positions
    fits, beyond = ([(5,) * length] for length in (positions, positions + 1))
    assert len(list(embeddings.encode(backbone, fits, "mean"))) == 1
    with pytest.raises(WellspringError, match=f"the model has {positions} positions: lower"):
        list(embeddings.encode(backbone, beyond, "mean"))


def test_rotary_models_have_no_table_of_positions(tmp_path):
    assert load(make(tmp_path, "LlamaModel"), "llama", 2).positions is None


def test_a_text_without_any_token_still_has_one(tmp_path):
    backbone = load(make(tmp_path, "Qwen2Model"), "qwen2", 2)
    for pooling in ("mean", "cls", "eos"):
        tokens = embeddings.tokenise(backbone.tokenizer, [""], "{text}", 8, pooling)
        assert len(tokens[0]) == 1
        (done,) = embeddings.encode(backbone, tokens, pooling)
        assert np.isfinite(done.vectors).all()


def test_the_configuration_knows_which_blocks_are_gated():
    assert set(catalogue.GATED) == set(GATED)
