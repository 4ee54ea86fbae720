"""What each probe and control is, for a reader who sees its name for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wellspring.config.vocabulary import ProbeKind
from wellspring.page.words import Listing, stop

FLOOR = "the lexical floor: each seed's own validation samples choose the scorer that ranks best"
"""What the probe `lexical` is."""

DEFINITIONS: Mapping[ProbeKind, str] = {
    "concat": "one linear layer over the vectors of the query and of all N passages side by side, "
    "as published; no term multiplies query and passage",
    "passage-scorer": "one linear score of each passage by itself, without the query",
    "interaction": "a linear score of the passage, of its cosine with the query, and of their "
    "products dimension by dimension",
    "bilinear": "a low-rank bilinear score: each dimension of the query can meet each of the "
    "passage",
    "shuffled-query": "interaction with another sample's query, in training and in tests",
    "random-label": "a trained probe on random targets, which it can find only by remembering "
    "passages; a longer name ends in the probe, the short one stands for concat",
    "cosine": "the cosine of the query's and the passage's vectors, without training",
    "cosine-standardised": "the same cosine after each dimension is standardised on the training "
    "split",
    "bm25": "BM25 over words, without vectors",
    "word-tfidf": "the cosine of tf-idf weights of words, without vectors",
    "character-tfidf": "the cosine of tf-idf weights of pieces of words, without vectors",
    "character-bm25": "BM25 over pieces of words, without vectors",
    "lexical": FLOOR,
}

MEANINGS = {
    ("interaction", "shuffled-query"): "the same probe with another sample's query",
    ("concat", "passage-scorer"): "a probe that reads passages alone",
    ("concat", "random-label"): "the same probe on random targets",
    ("passage-scorer", "random-label-passage-scorer"): "the same probe on random targets",
    ("interaction", "random-label-interaction"): "the same probe on random targets",
    ("bilinear", "random-label-bilinear"): "the same probe on random targets",
    ("interaction", "cosine"): "the cosine of the same vectors, without training",
    ("cosine", "lexical"): FLOOR,
    ("interaction", "lexical"): FLOOR,
    ("concat", "interaction"): "the probe that can use the query",
}
"""What each control of `wellspring.findings.table.CONTROLS` is, in words."""


def build(names: Iterable[str]) -> Listing:
    """The probes and controls of these names, a row each."""
    kinds = {"random-label" if name.startswith("random-label") else name for name in names}
    rows = [(kind, stop(text)) for kind, text in DEFINITIONS.items() if kind in kinds]
    return Listing("What each probe and control is", ("probe", "what it is"), tuple(rows))
