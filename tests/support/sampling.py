"""What the tests of samples and splits share: planted judgements."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.support.formats import doc, folder, query
from wellspring.config import Negatives, Splits
from wellspring.datasets.records import JUDGEMENTS, TEXTS
from wellspring.datasets.samples import Sampling

Judgement = tuple[str, str, int, str | None]


def drawing(sampling: Sampling, **changes: object) -> Sampling:
    """The same with other settings of its negatives."""
    negatives = Negatives(**{**dict(sampling.negatives), **changes})
    return sampling.model_copy(update={"negatives": negatives})


def splitting(sampling: Sampling, **changes: object) -> Sampling:
    """The same with other settings of its splits."""
    return sampling.model_copy(update={"splits": Splits(**{**dict(sampling.splits), **changes})})


QUARTERS = Splits(test=0.25, validation=0.25)
PLAIN = Sampling(splits=QUARTERS)
BY_SAMPLE = splitting(PLAIN, by="sample")
MINED = drawing(PLAIN, mined="bm25", depth=6)
BY_CHARACTERS = drawing(MINED, mined="character-tfidf")
RANDOM = drawing(MINED, mined="random")


def apart(sampling: Sampling) -> Sampling:
    """The same with disjoint passages."""
    return splitting(sampling, passages="disjoint")


def tables(
    judgements: list[Judgement], text: dict[str, str] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Texts and judgements; a text is "text of ID" where `text` names no other."""
    text = text or {}
    ids = {(query, "query") for query, *_ in judgements}
    ids |= {(passage, "passage") for _, passage, *_ in judgements}
    rows = [(name, side, text.get(name, f"text of {name}")) for name, side in sorted(ids)]
    return (
        pl.DataFrame(rows, schema=TEXTS, orient="row"),
        pl.DataFrame(judgements, schema=JUDGEMENTS, orient="row"),
    )


def many(queries: int, split: str | None = None, prefix: str = "q") -> list[Judgement]:
    """Queries with two positives and six hard negatives each."""
    return [
        (f"{prefix}{n}", f"{prefix}{n}-{kind}{m}", grade, split)
        for n in range(queries)
        for kind, grade, count in (("p", 1, 2), ("n", 0, 6))
        for m in range(count)
    ]


def sizes(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame["split"].value_counts().iter_rows())


def argued(path: Path, queries: int = 120) -> Path:
    """A BEIR folder as ArguAna has it: every query is in the corpus too, under its own id; in some
    of them white space or case differs. The positive is another document of the same topic."""
    topics = [f"topic{n % 12} word{n % 5} claim" for n in range(queries)]
    forms = [str, str.title, lambda text: text.replace(" ", "  "), lambda text: f" {text}\t"]
    corpus, asked, qrels = [], [], []
    for n, topic in enumerate(topics):
        text = f"{topic} number{n} pro"
        asked.append(query(f"arg-{n:03}", text))
        corpus += [doc(f"arg-{n:03}", forms[n % 4](text)), doc(f"reply-{n:03}", f"{topic} con{n}")]
        qrels.append((f"arg-{n:03}", f"reply-{n:03}", 1))
    return folder(path, corpus, asked, test=qrels)


CHINESE = {
    f"q{n}": f"{subject}是什么意思？"
    for n, subject in enumerate(["光合作用", "股票市场", "苹果", "天气预报", "计算机", "音乐"])
}


def chinese() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Texts and judgements without spaces between words: a positive repeats its query's."""
    rows = [(name, f"{name}-p", 1, None) for name in CHINESE]
    text = {f"{name}-p": f"这里解释{asked}" for name, asked in CHINESE.items()}
    return tables(rows, CHINESE | text)


def foreign() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Texts and judgements: no query shares a word with any passage, but pieces of words."""
    rows = [(f"q{n}", f"q{n}-p", 1, None) for n in range(6)]
    text = {f"q{n}": f"query{n}" for n in range(6)} | {f"q{n}-p": f"queries{n}" for n in range(6)}
    return tables(rows, text)


def check_names(texts: pl.DataFrame, frame: pl.DataFrame) -> None:
    """Every text stands under the lowest id that has it."""
    ids = {"query": frame["query_id"]}
    ids["passage"] = pl.concat([frame["positive_id"], frame["negative_ids"].explode()])
    for side, used in ids.items():
        lowest = texts.filter(side=side).group_by("text").agg(pl.col("text_id").min())
        assert set(used) <= set(lowest["text_id"])


def check_apart(frame: pl.DataFrame) -> None:
    """No query and no candidate is in two splits."""
    listed = frame.select("split", text_id=pl.concat_list("positive_id", "negative_ids"))
    for found, name in ((listed.explode("text_id"), "text_id"), (frame, "query_id")):
        assert found.group_by(name).agg(pl.col("split").n_unique())["split"].eq(1).all()
