"""How much of what a study is tested on stands in what its models learned from."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

TEXTS = 20_000
"""Whose pieces are held at once."""
COMMON = 1000
"""Training texts of a piece, of those that are held at once, that a test text is compared with."""
SCHEMA = {"side": pl.String, "texts": pl.Int64, "exact": pl.Int64, "near": pl.Int64}


def leakage(
    texts: pl.DataFrame,
    samples: pl.DataFrame,
    learned_texts: pl.DataFrame,
    learned_samples: pl.DataFrame,
    words: int,
    near: float,
) -> pl.DataFrame:
    """Test texts that stand in training texts, word for word or nearly.

    texts, samples: of the dataset that is tested on; the others of the one that was learned from,
    which may be the same. Its training queries and the passages that answer them are looked at;
    case, punctuation and spaces do not count. words: of a piece. near: two texts are nearly the
    same where their pieces have at least this Jaccard similarity; a text of fewer words is one
    piece.

    Returns the columns of SCHEMA, a row a side: the test split's texts, how many stand there word
    for word, and how many of the others nearly.
    """
    rows = []
    for side, column in (("query", "query_id"), ("passage", "positive_id")):
        tested = _written(texts, samples, side, column, "test")
        trained = _written(learned_texts, learned_samples, side, column, "train")
        exact = tested.join(trained.select("written").unique(), on="written", how="semi")
        rest = tested.join(exact.select("id"), on="id", how="anti")
        alike = _alike(rest, trained, words, near)
        rows.append({"side": side, "texts": tested.height, "exact": exact.height, "near": alike})
    return pl.DataFrame(rows, SCHEMA)


def _written(
    texts: pl.DataFrame, samples: pl.DataFrame, side: str, column: str, split: str
) -> pl.DataFrame:
    """`id` and `written`: the words of a side's texts in a split, in lower case."""
    ids = samples.filter(pl.col("split") == split).select(id=column).unique()
    own = texts.filter(pl.col("side") == side).select(id="text_id", written="text")
    words = pl.col("written").str.to_lowercase().str.extract_all(r"\w+").list.join(" ")
    return own.join(ids, on="id", how="semi").with_columns(words).sort("id")


def _pieces(texts: pl.DataFrame, words: int) -> pl.DataFrame:
    """`row` and `piece`: the distinct pieces of each text."""
    split = texts.select("row", word=pl.col("written").str.split(" ")).explode("word")
    following = [pl.col("word").shift(-step).over("row") for step in range(words)]
    joined = pl.concat_str(following, separator=" ")
    # A text of fewer words has no whole piece.
    whole = split.select("row", piece=joined).drop_nulls()
    short = texts.join(whole, on="row", how="anti").select("row", piece="written")
    pieces = pl.concat([whole, short])
    return pieces.with_columns(pl.col("piece").hash(seed=0)).unique()


def _numbered(texts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    numbered = texts.with_row_index("row")
    for start in range(0, texts.height, TEXTS):
        yield numbered.slice(start, TEXTS)


def _alike(tested: pl.DataFrame, trained: pl.DataFrame, words: int, near: float) -> int:
    """How many tested texts are nearly one that was learned from."""
    if tested.is_empty() or trained.is_empty():
        return 0
    own = pl.concat([_pieces(part, words) for part in _numbered(tested)])
    sizes = own.group_by("row").len("own")
    alike: list[pl.Series] = []
    for part in _numbered(trained.unique("written", maintain_order=True)):
        theirs = _pieces(part, words).rename({"row": "other"})
        # Pairs are looked for by the first texts of each piece, and compared by all pieces.
        first = theirs.sort("other").filter(pl.int_range(pl.len()).over("piece") < COMMON)
        pairs = own.join(first, on="piece").select("row", "other").unique()
        both = pairs.join(own, on="row").join(theirs, on=["other", "piece"], how="semi")
        counted = both.group_by("row", "other").len("both")
        their_sizes = theirs.group_by("other").len("theirs")
        jaccard = pl.col("both") / (pl.col("own") + pl.col("theirs") - pl.col("both"))
        measured = counted.join(sizes, on="row").join(their_sizes, on="other")
        alike.append(measured.filter(jaccard >= near)["row"])
    return pl.concat(alike).n_unique()
