"""A corpus that is encoded and dropped is searched as one that is stored."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.support.checkpoints import bert
from wellspring import embeddings
from wellspring.models.load import load
from wellspring.retrieval.ranking import Ranking, merged
from wellspring.retrieval.search import search
from wellspring.retrieval.streaming import encoded

LAYERS, K = (0, 1, 2), 7


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """How texts are encoded, their tokens, and their vectors as they would be stored."""
    backbone = load(bert(tmp_path_factory.mktemp("model"), layers=2), "bert", 2)
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{rng.integers(30)}" for _ in range(rng.integers(1, 9))) for _ in range(90)]
    tokens = embeddings.tokenise(backbone.tokenizer, texts, "{text}", 16, "mean")
    encode = partial(embeddings.encode, backbone, pooling="mean", normalise=True, storage="float16")
    return encode, tokens, whole(encode, tokens)


def whole(encode, tokens) -> np.ndarray:
    vectors = np.empty((len(LAYERS), len(tokens), 32), np.float16)
    for batch in encode(tokens):
        vectors[:, batch.rows] = batch.vectors
    return vectors


def same(found: dict[int, Ranking], expected: dict[int, Ranking]) -> None:
    """A batch of other texts moves a vector's last bit: float16 hides nearly all of that."""
    for layer in LAYERS:
        np.testing.assert_allclose(found[layer].scores, expected[layer].scores, atol=2e-3)
        agree = [
            len(set(ours) & set(theirs))
            for ours, theirs in zip(found[layer].documents, expected[layer].documents, strict=True)
        ]
        assert np.mean(agree) >= K - 0.5


@pytest.mark.parametrize("size", [90, 40, 7])
def test_a_stream_is_searched_as_a_whole(corpus, size):
    encode, tokens, vectors = corpus
    queries = {layer: vectors[layer, :5] for layer in LAYERS}
    stored = [(np.arange(len(tokens)), dict(enumerate(vectors)))]
    expected = search(queries, stored, K)
    starts = range(0, len(tokens), size)
    ids = [str(number) for number in range(len(tokens))]
    windows = [(ids[at : at + size], tokens[at : at + size]) for at in starts]
    same(search(queries, encoded(windows, encode, LAYERS), K), expected)
    # Cut off behind the first window, and gone on with from there.
    first = search(queries, encoded(windows[:1], encode, LAYERS), K)
    rest = search(queries, encoded(windows[1:], encode, LAYERS, first=size), K)
    parts = {layer: merged([first[layer], rest[layer]], K) for layer in LAYERS}
    same(parts, expected)
