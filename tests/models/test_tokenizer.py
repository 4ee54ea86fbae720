"""Tokenizers: as their files say, at both ends too, and refused where they are not."""

from __future__ import annotations

import json
import shutil

import pytest
import tokenizers
import transformers

from tests.models.test_command import encoding
from tests.support.checkpoints import WORDS, bert, llama, make, word_tokenizer
from wellspring import embeddings
from wellspring.artefacts.checkpoints import advice
from wellspring.errors import ModelError, WellspringError
from wellspring.models import tokenizer as module
from wellspring.models.load import load


def edit(folder, name, change):
    """Change a JSON file of a checkpoint."""
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


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


def test_a_tokenizer_whose_files_are_missing(tmp_path):
    """transformers builds one of five special tokens where BERT's vocabulary is missing."""
    folder = bert(tmp_path)
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="the tokenizer has no vocabulary"):
        load(folder, "bert", 2)


@pytest.mark.parametrize("text", ["{", '{"a": 1}'])
@pytest.mark.parametrize("maker", [bert, llama])
def test_a_tokenizer_that_cannot_be_read(tmp_path, maker, text):
    folder = maker(tmp_path)
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match="the tokenizer cannot be read") as caught:
        load(folder, maker.__name__, 2)
    assert "\n" not in str(caught.value)


def follows_its_file(folder, architecture, texts):
    """The loaded model's tokenizer splits texts as tokenizer.json says; gives the notes."""
    backbone = load(folder, architecture, 2)
    exact = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    exact.no_padding()
    exact.no_truncation()
    for text in (*texts, *module.PROBES):
        assert backbone.tokenizer(text)["input_ids"] == exact.encode(text).ids, text
    return backbone.notes


def test_a_tokenizer_that_transformers_rebuilds_otherwise(tmp_path):
    """For Qwen 2 the class is fixed: a tokenizer of words becomes one that drops every word."""
    folder = make(tmp_path, "Qwen2Model")
    word_tokenizer(folder, ["<pad>", "<s>", "</s>", "<unk>"], "<s> $A", unk_token="<unk>")
    rebuilt = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(rebuilt).__name__ == "Qwen2Tokenizer" and "w1" not in rebuilt.tokenize("w1 w2")
    (note,) = follows_its_file(folder, "qwen2", ["w1 w2 w3"])
    assert "builds another normalizer and pre_tokenizer and model for Qwen2Tokenizer" in note


@pytest.mark.parametrize("option", ["lowercase", "strip_accents"])
def test_a_tokenizer_that_is_read_otherwise_than_it_is_written(tmp_path, option):
    folder = bert(tmp_path)
    path = folder / "tokenizer.json"
    written = json.loads(path.read_text())
    written["normalizer"][option] = False
    path.write_text(json.dumps(written))
    with pytest.raises(ModelError, match=rf"as BertTokenizer with another {option}"):
        load(folder, "bert", 2)


def qwen(folder, change):
    """A Qwen 2, whose class builds normalizer and pre_tokenizer itself, and a changed file."""
    edit(make(folder, "Qwen2Model"), "tokenizer.json", change)
    return folder


def numbers_by_three(content):
    rule = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    rule["Regex"] = rule["Regex"].replace(r"\p{N}|", r"\p{N}{1,3}|")
    content["model"]["vocab"] |= {"12": 257, "123": 258}
    content["model"]["merges"] += [["1", "2"], ["12", "3"]]


def accents_as_they_are(content):
    content["normalizer"] = None


def begun_with_a_space(content):
    """As Llama 2's file has it: also where a text begins with one."""
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [prepend, replace]}
    content["pre_tokenizer"] = None


@pytest.mark.parametrize(
    ("change", "text", "piece"),
    [
        (numbers_by_three, "in 123456 days", "pre_tokenizer"),
        (accents_as_they_are, "cafe\u0301", "normalizer"),
    ],
)
def test_what_plain_sentences_do_not_show(tmp_path, change, text, piece):
    folder = qwen(tmp_path, change)
    exact = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    rebuilt = transformers.AutoTokenizer.from_pretrained(folder)
    for sentence in module.PROBES[:2]:
        assert exact.encode(sentence).ids == rebuilt(sentence)["input_ids"]
    assert exact.encode(text).ids != rebuilt(text)["input_ids"]
    (note,) = module.read(folder, 300)[1]
    assert f"builds another {piece} for Qwen2Tokenizer than tokenizer.json has" in note
    tokenizer, _ = module.read(folder, 300)
    assert tokenizer(text)["input_ids"] == exact.encode(text).ids


def test_a_text_that_begins_with_white_space(tmp_path):
    flagged(tmp_path, "LlamaTokenizer")
    edit(tmp_path, "tokenizer.json", begun_with_a_space)
    rebuilt = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer, (note,) = module.read(tmp_path, 1000)
    assert rebuilt.tokenize(" a") == ["\u2581", "a"] != tokenizer.tokenize(" a")
    assert tokenizer.tokenize(" a") == ["\u2581", "\u2581", "a"]
    assert tokenizer.tokenize("a") == rebuilt.tokenize("a") == ["\u2581", "a"]
    assert "normalizer and pre_tokenizer" in note and tokenizer(" a")["input_ids"][0] == 1


def test_a_rule_of_the_vocabulary_that_long_words_show(tmp_path):
    folder = bert(tmp_path)
    edit(folder, "tokenizer.json", lambda c: c["model"].update(max_input_chars_per_word=50))
    (note,) = follows_its_file(folder, "bert", ["b" * 51])
    assert "builds another model for BertTokenizer" in note
    assert follows_its_file(bert(tmp_path / "plain"), "bert", []) == ()


def test_pieces_are_compared_with_their_options():
    def made(words, **options):
        model = tokenizers.models.WordPiece({word: id_ for id_, word in enumerate(words)})
        built = tokenizers.Tokenizer(model)
        built.normalizer = tokenizers.normalizers.BertNormalizer(**options)
        return built

    def differing(*pair):
        return {piece: set(keys) for piece, keys in module._differing(*pair).items()}

    one, bare = made(["lowercase", "b"]), made(["lowercase", "b"])
    bare.normalizer = None
    assert differing(one, made(["lowercase", "b"])) == {}
    assert differing(one, made(["b", "lowercase"])) == {"model": {"vocab"}}
    assert differing(one, made(["lowercase", "b"], lowercase=False)) == {
        "normalizer": {"lowercase"}
    }
    assert differing(one, bare) == {"normalizer": set()}


def flagged(folder, named, **flags):
    """A Llama whose tokenizer.json puts a begin token before a text and nothing behind."""
    llama(folder)
    letters = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters += ["\u2581", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = {token: id_ for id_, token in enumerate(letters)}
    built = transformers.LlamaTokenizer(vocab=vocabulary, merges=[], add_bos_token=True)
    built.save_pretrained(folder)
    edit(folder, "tokenizer_config.json", lambda c: c.update(flags, tokenizer_class=named))
    return module.read(folder, 1000)


@pytest.mark.parametrize("named", ["LlamaTokenizerFast", "LlamaTokenizer"])
@pytest.mark.parametrize("begin", [None, True, False])
@pytest.mark.parametrize("end", [None, True, False])
def test_flags_are_obeyed_where_the_named_class_obeys_them(tmp_path, named, begin, end):
    """As transformers 4 does, for which such checkpoints were trained (e5-mistral is one)."""
    flags = {"add_bos_token": begin, "add_eos_token": end}
    flags = {name: value for name, value in flags.items() if value is not None}
    tokenizer, notes = flagged(tmp_path, named, **flags)
    (found,) = embeddings.tokenise(tokenizer, ["abc"], "{text}", 16, "mean")
    plain = tokenizer("abc", add_special_tokens=False)["input_ids"]
    first, last = ([] if begin is False else [1]), ([2] if end else [])
    assert list(found) == [*first, *plain, *last]
    assert len(notes) == (begin is False or end is True)
    if end and begin is not False:
        assert "says add_eos_token: true, tokenizer.json does otherwise: texts follow" in notes[0]


def test_flags_of_a_class_that_reads_its_file_alone_are_told(tmp_path):
    folder = llama(tmp_path)
    assert load(folder, "llama", 2).notes == ()
    edit(folder, "tokenizer_config.json", lambda c: c.update(add_eos_token=True))
    backbone = load(folder, "llama", 2)
    (found,) = embeddings.tokenise(backbone.tokenizer, ["w1"], "{text}", 16, "mean")
    assert found[0] == 1 and 2 not in found
    (note,) = backbone.notes
    assert "says add_eos_token: true" in note and "the only one that TokenizersBackend" in note
    assert next(advice(encoding(), backbone)) == note


def test_a_special_token_behind_the_embedding_is_refused_in_a_text_alone(tmp_path):
    """Gemma 3's tokenizers have one, for images; a padding token may be added behind, too."""
    backbone = load(llama(tmp_path, pad="<pad>"), "llama", 2)
    (note,) = backbone.notes
    assert note.startswith("the model does not embed <pad>")
    tokens = embeddings.tokenise(backbone.tokenizer, WORDS[:3], "{text}", 12, "mean")
    assert len(list(embeddings.encode(backbone, tokens, "mean"))) == 1
    tokens = embeddings.tokenise(backbone.tokenizer, ["w1 <pad>"], "{text}", 12, "mean")
    with pytest.raises(WellspringError, match=r"holds the token '<pad>', id 65, .* embeds 65 ids"):
        list(embeddings.encode(backbone, tokens, "mean"))
    tokens = embeddings.tokenise(backbone.tokenizer, ["w1"], "{text}", 12, "last-position")
    with pytest.raises(WellspringError, match="the padding token '<pad>', id 65, lies beyond"):
        list(embeddings.encode(backbone, tokens, "last-position", length=12))
