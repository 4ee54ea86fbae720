"""Small material to learn from: made-up texts, and models with fresh weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tests.support import checkpoints
from wellspring.embeddings import tokenise
from wellspring.models.load import Backbone, load
from wellspring.sparse import SparseModel, on
from wellspring.training.batches import Batches
from wellspring.training.encoding import Encoding
from wellspring.training.examples import Examples, gather

LAYERS = 2


def samples(count: int = 24, negatives: int = 3, held: int = 6) -> pl.DataFrame:
    """Queries q0, q1, …; every fourth one has two positives. The last ones are validation's."""
    rows = []
    for number in range(count):
        for positive in range(2 if number % 4 == 0 else 1):
            given = [f"n{number}-{k}" for k in range(negatives)]
            rows.append(
                {
                    "sample_id": f"s{number}-{positive}",
                    "split": "validation" if number >= count - held else "train",
                    "query_id": f"q{number}",
                    "positive_id": f"p{number}-{positive}",
                    "negative_ids": given,
                }
            )
    return pl.DataFrame(rows)


def texts() -> pl.DataFrame:
    """All texts of `samples`."""
    frame = samples()
    passages = {*frame["positive_id"], *frame["negative_ids"].explode()}
    rows = [("query", each, text(each)) for each in sorted({*frame["query_id"]})]
    rows += [("passage", each, text(each)) for each in sorted(passages)]
    return pl.DataFrame(rows, ["side", "text_id", "text"], orient="row")


def text(name: str, seed: int = 0) -> str:
    """Some words of MiniLM's vocabulary, different for each name."""
    words = "stone river cloud forest engine violin market harbour winter bridge candle".split()
    rng = np.random.default_rng([seed, *name.encode()])
    return " ".join([*rng.choice(words, rng.integers(2, 12)), name])


def batches(
    backbone: Backbone, examples: Examples, size: int = 4, steps: int = 6, seed: int = 0
) -> Batches:
    """Batches of the made-up texts of these examples."""
    tokens = (
        tokenise(backbone.tokenizer, [text(each) for each in ids], "{text}", 24, "mean")
        for ids in (examples.query_ids, examples.passage_ids)
    )
    return Batches(examples, *tokens, size=size, steps=steps, seed=seed, padding=backbone.padding)


def backbone(folder: Path) -> Backbone:
    """A BERT of two blocks with fresh weights, as it is loaded."""
    if not (folder / "config.json").is_file():
        checkpoints.bert(folder, LAYERS)
    return load(folder, "bert", LAYERS)


def sparse(folder: Path) -> SparseModel:
    """The same BERT with a fresh vocabulary head."""
    return on(backbone(folder), folder, seed=0)


def gathered(negatives: int = 1) -> Examples:
    """The training examples of `samples`."""
    return gather(samples(), texts(), "train", negatives)


def encoding(model, tokens: int = 0) -> Encoding:
    """A model under training, with mean pooling."""
    return Encoding(model, "mean", tokens)


def is_tied(model) -> bool:
    """Whether a head's last map is the table of embeddings."""
    last = model.get_output_embeddings()
    return last is not None and last.weight is model.get_input_embeddings().weight
