"""Terms from texts to what is found by them: shards, the two commands, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from scipy.sparse import csr_array, random_array

from tests.cli.test_cli import run as command
from tests.support import checkpoints
from wellspring import shards, specs
from wellspring.artefacts import embeddings
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import TermShard
from wellspring.artefacts.retrieval import TermMetrics, TermRun, TermValidation
from wellspring.config import Splits
from wellspring.errors import ModelError, WellspringError

DIGESTS = {"query": "queries", "passage": "passages"}
QRELS = specs.QrelsSpec(splits=Splits())
TEXTS = {
    "query": ["where is the river", "a violin", "winter bridge candle"],
    "passage": [
        "the river runs below the bridge",
        "violin and engine",
        "a candle in winter",
        "the market at the harbour is open all winter",
        "stone",
    ],
}
VOCABULARY = {"words": 12, "digest": "d"}


def encoding(
    side: specs.Side, top_terms: int | str = "all", made_of: str = "logits"
) -> specs.TermsSpec:
    return specs.TermsSpec.model_validate(
        {
            **{"model": "splade", "architecture": "bert", "layers": 2, "side": side},
            **{"pooling": "mean", "template": "{text}", "length": 32, "normalise": False},
            **{
                "dtype": "float32",
                "storage": "float32",
                "top_terms": top_terms,
                "term_weights": made_of,
            },
        }
    )


def match_spec(
    top_terms: int | str = "all", count: int = 1, made_of: str = "logits"
) -> specs.MatchSpec:
    return specs.MatchSpec(
        queries="test",
        depth=4,
        measures=["MRR@10"],
        qrels=QRELS,
        query=encoding("query", top_terms, made_of),
        passage=encoding("passage", top_terms, made_of),
        shards=count,
    )


def ids(side: str, count: int) -> list[str]:
    return [f"{side[0]}{number}" for number in range(count)]


def write_dataset(folder, texts=TEXTS):
    """Texts, and judgements: query n is answered by passage n. The first query chooses."""
    rows = [(side, text) for side, own in texts.items() for text in own]
    names = [name for side, own in texts.items() for name in ids(side, len(own))]
    frame = pl.DataFrame(rows, ["side", "text"], orient="row").insert_column(
        0, pl.Series("text_id", names)
    )
    Texts.write(
        folder / "texts.parquet", frame, shards.Provenance({"step": "texts", "texts": DIGESTS})
    )
    count = len(texts["query"])
    judged = pl.DataFrame(
        {
            "split": ["validation", *["test"] * (count - 1)],
            "query_id": ids("query", count),
            "cluster": ids("query", count),
            "text_id": ids("passage", count),
            "grade": [1] * count,
        }
    )
    identity = {"step": "qrels", "spec": QRELS.model_dump(mode="json"), "texts": DIGESTS}
    Qrels.write(
        folder / "qrels.parquet", judged, shards.Provenance({**identity, "judgements": "j"})
    )


def write_terms(folder, side, weights, count=1, vocabulary=VOCABULARY):
    """Shards of a side, each with its texts in an order of its own."""
    rng = np.random.default_rng(0)
    for shard, rows in enumerate(np.array_split(np.arange(weights.shape[0]), count)):
        spec = specs.WeighSpec(encoding=encoding(side), shard=shard, shards=count)
        identity = {
            **{"step": "terms", "spec": spec.model_dump(mode="json"), "weights": "w"},
            **{"texts": DIGESTS[side], "vocabulary": vocabulary},
        }
        path = folder / side / shards.shard_name(shard)
        with TermShard.writing(path, shards.Provenance(identity)) as writer:
            for part in np.array_split(rng.permutation(rows), 3):
                writer.write([f"{side[0]}{row}" for row in part], weights[part])


def match(folder, spec):
    run = folder / "retrieval" / "splade" / "docs" / "terms" / "run.parquet"
    sides = (f"--{side}={folder / side}" for side in ("query", "passage"))
    dataset = (folder / "texts.parquet", folder / "qrels.parquet")
    command("match", *dataset, run, *sides, "--spec", spec.canonical())
    return run


def drawn(rows: int, seed: int) -> csr_array:
    made = random_array((rows, 12), density=0.4, rng=np.random.default_rng(seed), format="csr")
    return csr_array(made, dtype=np.float32)


def test_shards_hold_what_was_written_in_any_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "TEXTS", 2)
    # One text has no terms.
    weights = csr_array(drawn(9, 3).toarray() * (np.arange(9) != 4).astype(np.float32)[:, None])
    write_terms(tmp_path, "passage", weights, count=2)
    whole = np.full((9, 12), np.nan, np.float32)
    blocks = list(TermShard.blocks(tmp_path / "passage", encoding("passage"), 2, DIGESTS))
    assert len(blocks) > 2
    for positions, block in blocks:
        whole[positions] = block.toarray()
    np.testing.assert_array_equal(whole, weights.toarray())
    counts = TermShard.counts(tmp_path / "passage", encoding("passage"), 2, DIGESTS)
    assert (counts.texts, counts.terms) == (9, weights.nnz)
    assert counts.share == weights.nnz / (9 * 12)


def test_what_terms_find_is_a_dense_product_by_hand(tmp_path):
    texts = {"query": ["x"] * 5, "passage": ["x"] * 9}
    write_dataset(tmp_path, texts)
    queries, passages = drawn(5, 1), drawn(9, 2)
    write_terms(tmp_path, "query", queries, count=2)
    write_terms(tmp_path, "passage", passages, count=2)

    run = match(tmp_path, match_spec(count=2))

    found = TermRun.read(run)
    scores = queries.toarray() @ passages.toarray().T
    for query in range(1, 5):
        order = np.lexsort((np.arange(9), -scores[query]))[:4]
        order = [place for place in order if scores[query, place] > 0]
        own = found.filter(query_id=f"q{query}")
        assert own["document_id"].to_list() == [f"p{place}" for place in order]
        np.testing.assert_allclose(own["score"], scores[query, order], rtol=1e-6)
        assert own["rank"].to_list() == list(range(1, len(order) + 1))
    # The query of the validation split chooses, and is not asked.
    assert "q0" not in found["query_id"]
    metrics = TermMetrics.read(TermMetrics.beside(run))
    for query, value in metrics["query_id", "value"].iter_rows():
        place = found.filter(query_id=query, document_id=f"p{query[1:]}")["rank"].to_list()
        assert value == (1 / place[0] if place else 0)
    assert TermValidation.read(TermValidation.beside(run))["query_id"].to_list() == ["q0"]
    facts = shards.provenance(run).facts
    assert facts["terms_per_passage"] == round(passages.nnz / 9, 2)
    assert facts["query_weights_not_0"] == pytest.approx(queries.nnz / 60, rel=1e-3)


@pytest.mark.parametrize("other", [{"words": 11, "digest": "d"}, {"words": 12, "digest": "e"}])
def test_sides_of_two_vocabularies_are_refused(tmp_path, other):
    write_dataset(tmp_path, {"query": ["x"] * 2, "passage": ["x"] * 3})
    write_terms(tmp_path, "query", drawn(2, 1))
    write_terms(tmp_path, "passage", drawn(3, 2), vocabulary=other)
    line = (
        f"retrievers.splade: its queries are weights of 12 words, its passages of {other['words']} "
        "others: give both sides encoders with one vocabulary"
    )
    with pytest.raises(WellspringError, match=line):
        match(tmp_path, match_spec())


def described(folder, checkpoint):
    """The description of a checkpoint, as `model` makes it."""
    path = folder / "splade" / "model.json"
    spec = specs.ModelSpec(source=f"path:{checkpoint}", architecture="bert", layers=2)
    command("model", path, "--spec", spec.canonical())
    return path


@pytest.mark.parametrize("made_of", ["logits", "probabilities"])
def test_a_sparse_model_is_searched_from_its_texts_on(tmp_path, made_of):
    """A tiny BERT with its head for masked words: each text alone, by transformers."""
    folder = checkpoints.make(tmp_path / "checkpoint", "BertForMaskedLM")
    write_dataset(tmp_path)
    model = described(tmp_path, folder)
    for side in ("query", "passage"):
        spec = specs.WeighSpec(encoding=encoding(side, 300, made_of), shard=0, shards=1)
        shard = tmp_path / side / shards.shard_name(0)
        command("weigh", tmp_path / "texts.parquet", model, shard, "--spec", spec.canonical())

    own = transformers.AutoTokenizer.from_pretrained(folder)
    whole = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    dense: dict[str, np.ndarray] = {}
    for side, texts in TEXTS.items():
        rows = []
        for text in texts:
            with torch.no_grad():
                logits = whole(**own(text, return_tensors="pt")).logits[0].double()
            if made_of == "probabilities":
                logits = (logits.softmax(dim=-1) * logits.shape[-1]).log()
            logits = logits.numpy()
            row = np.log1p(np.maximum(logits.max(axis=0), 0))
            row[np.argsort(-row, kind="stable")[300:]] = 0
            rows.append(row)
        dense[side] = np.array(rows)
        stored = pl.read_parquet(tmp_path / side / shards.shard_name(0)).sort("text_id")
        for (terms, weights), row in zip(stored["terms", "weights"].iter_rows(), rows, strict=True):
            assert len(terms) == 300 and terms == sorted(terms)
            np.testing.assert_allclose(weights, row[terms], atol=1e-5)
    told = shards.provenance(tmp_path / "passage" / shards.shard_name(0))
    assert told.facts == {"texts": 5, "terms": 1500, "at_full_length": 0}
    assert told.identity["vocabulary"]["words"] == 30522
    found = TermRun.read(match(tmp_path, match_spec(300, made_of=made_of)))
    scores = dense["query"] @ dense["passage"].T
    for query in (1, 2):
        order = np.argsort(-scores[query])[:4]
        assert found.filter(query_id=f"q{query}")["document_id"].to_list() == [
            f"p{place}" for place in order
        ]


def test_a_checkpoint_without_a_head_gives_no_terms(tmp_path):
    model = described(tmp_path, checkpoints.bert(tmp_path / "checkpoint"))
    write_dataset(tmp_path)
    spec = specs.WeighSpec(encoding=encoding("query"), shard=0, shards=1)
    with pytest.raises(ModelError, match=r"models\.splade: its checkpoint has no vocabulary head"):
        command(
            *("weigh", tmp_path / "texts.parquet", model, tmp_path / "shard.parquet"),
            *("--spec", spec.canonical()),
        )
