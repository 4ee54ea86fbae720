"""What every format gives: texts, judgements and a count of each repair; and how fields are read.

Repairs are counted, never silent. A file that cannot be trusted (malformed JSON, a missing field,
a value of another type, bytes that are not UTF-8) is a `SourceError` that names file, line and
field. What published data really holds is repaired:

- null stands for an empty text;
- an empty passage is dropped, with its judgements; so is an empty query;
- a text or a judgement that is listed twice counts once (the highest grade stays);
- a text that is both a positive and a hard negative of one query is a positive;
- a query without a judgement, or without a positive one, is dropped.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from wellspring import randomness
from wellspring.config.vocabulary import Side
from wellspring.errors import SourceError

TEXTS = pl.Schema({"text_id": pl.String, "side": pl.String, "text": pl.String})
JUDGEMENTS = pl.Schema(
    {"query_id": pl.String, "text_id": pl.String, "grade": pl.Int32, "split": pl.String}
)
# Python objects take several times the room of the same rows in a frame.
ROWS_HELD = 100_000
# It decides which hard negatives are chosen where a source has more than are asked for.
SEED = 42
# Hard negatives of an example that are kept for each one asked for. All of them would be gigabytes
# of text; without spares, those that are another example's positives would leave too few.
HELD = 3


@dataclass(frozen=True)
class Source:
    """What a format reads from."""

    files: dict[str | None, Path]
    """Published split to file or folder; one key, None, where the source publishes no split."""
    name: str
    """The dataset's name, for messages."""
    options: dict[str, Any] = field(default_factory=dict)
    """The format's own options, already validated."""


@dataclass(frozen=True)
class Records:
    """A dataset as its source has it: nothing sampled, nothing split."""

    texts: pl.DataFrame
    """text_id, side ("query", "passage", or "paraphrase": another wording of the query with this
    id), text; unique in (text_id, side), sorted by side (in this order) and text_id, so the order
    of the source leaves no trace."""
    judgements: pl.DataFrame
    """query_id, text_id, grade (above 0: positive, 0: hard negative), split (null: none is
    published); unique in (query_id, text_id, split), in the order of the source."""
    counts: dict[str, int]
    """The sizes `queries`, `passages`, `positives`, `hard_negatives`, the `judgements_read` before
    any repair, and every repair that was made with the number of its cases."""
    warnings: tuple[str, ...] = ()
    """What a user should know of the repairs, a line each."""


def text_id(text: str) -> str:
    """The id of a text that has none of its own: 16 hex digits that depend on the text alone."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def titled(title: str, text: str) -> str:
    """A passage as encoders read it: title, space, text; the text alone where there is no title."""
    return f"{title.strip()} {text.strip()}".strip()


class Rows:
    """Rows of a table that become frames as they come."""

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._pending: list[tuple[Any, ...]] = []
        self._frames = [pl.DataFrame(schema=schema)]

    def append(self, *row: Any) -> None:
        """Adds one row, its values in the order of the schema."""
        self._pending.append(row)
        if len(self._pending) == ROWS_HELD:
            self._flush()

    def frame(self) -> pl.DataFrame:
        """All rows so far."""
        self._flush()
        return pl.concat(self._frames)

    def _flush(self) -> None:
        self._frames.append(pl.DataFrame(self._pending, schema=self._schema, orient="row"))
        self._pending = []


class Collector:
    """Gathers the examples of a source whose texts are known by themselves, not by ids.

    `max_negatives`: keep so many hard negatives of a query (in each published split), chosen by
    hash; None keeps all. The same are chosen whatever the order of the examples. To bound memory,
    an example is cut to three times as many, by the same hash, as it comes, and a query to
    `max_negatives` once all positives are known: a query most of whose kept negatives are positives
    of its other examples may get fewer than it could.
    """

    def __init__(self, max_negatives: int | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._limit = max_negatives
        self._seen: dict[Side, set[str]] = {"query": set(), "passage": set()}
        self._paraphrases: dict[str, str] = {}
        self._texts = Rows(TEXTS)
        self._judgements = Rows(JUDGEMENTS)

    def example(
        self,
        query: str,
        positives: list[str],
        negatives: list[str],
        split: str | None,
        paraphrases: Sequence[str] = (),
    ) -> None:
        """Adds a query with its passages; of all its paraphrases the first by hash is kept."""
        self.counts["judgements_read"] += len(positives) + len(negatives)
        query = query.strip()
        if not query:
            self.counts["empty_queries_dropped"] += 1
            return
        graded: dict[str, int] = {}
        for grade, texts in ((1, positives), (0, negatives)):
            for text in map(str.strip, texts):
                if not text:
                    self.counts["empty_passages_dropped"] += 1
                elif graded.get(text, grade) > grade:
                    self.counts["negatives_that_are_positives_dropped"] += 1
                elif text in graded:
                    self.counts["duplicate_judgements_dropped"] += 1
                else:
                    graded[text] = grade
        query_id = self._once("query", query)
        for wording in map(str.strip, paraphrases):
            if wording and wording != query:
                first = self._paraphrases.setdefault(query_id, wording)
                self._paraphrases[query_id] = min(first, wording, key=text_id)
        hard = [text_id(text) for text, grade in graded.items() if not grade]
        surplus = set(_surplus(query_id, hard, self._limit and HELD * self._limit))
        for text, grade in graded.items():
            if grade or not surplus or text_id(text) not in surplus:
                self._judgements.append(query_id, self._once("passage", text), grade, split)

    def records(self, name: str) -> Records:
        """All that was gathered; SourceError where no query of the dataset has a positive."""
        for query_id, wording in self._paraphrases.items():
            self._texts.append(query_id, "paraphrase", wording)
        texts, judgements = self._texts.frame(), self._judgements.frame()
        return repaired(name, texts, judgements, self.counts, max_negatives=self._limit)

    def _once(self, side: Side, text: str) -> str:
        identity = text_id(text)
        if identity in self._seen[side]:
            self.counts["duplicate_texts_merged"] += 1
        else:
            self._seen[side].add(identity)
            self._texts.append(identity, side, text)
        return identity


def repaired(
    name: str,
    texts: pl.DataFrame,
    judgements: pl.DataFrame,
    counts: Counter[str],
    unjudged: bool = False,
    max_negatives: int | None = None,
    warnings: tuple[str, ...] = (),
) -> Records:
    """The records of the dataset `name`, without repetitions and queries that cannot be used.

    texts and judgements as in `Records`, in the order of the source; texts unique in (text_id,
    side); every judgement names two of them. counts: the repairs made so far, added to here.
    `unjudged` passages stay, as those of a corpus do; `max_negatives` as in `Collector`. Raises
    SourceError where no query has a positive passage.
    """
    queries = texts.filter(pl.col("side") == "query")
    passages = texts.filter(pl.col("side") == "passage")
    paraphrases = texts.filter(pl.col("side") == "paraphrase")
    silent = queries.join(judgements, left_on="text_id", right_on="query_id", how="anti").height
    counts["queries_without_judgement_dropped"] += silent
    judgements = _unique(judgements, counts)
    if judgements.is_empty():
        raise SourceError(f"dataset {name}: no query has a positive passage")
    judgements = _limited(judgements, max_negatives)
    queries = queries.join(judgements, left_on="text_id", right_on="query_id", how="semi")
    paraphrases = paraphrases.join(queries, on="text_id", how="semi")
    if not unjudged:
        passages = passages.join(judgements, on="text_id", how="semi")
    positives = (judgements["grade"] > 0).sum()
    sizes = {
        "queries": queries.height,
        "passages": passages.height,
        "positives": positives,
        "hard_negatives": judgements.height - positives,
        "judgements_read": counts.pop("judgements_read", 0),
    }
    if paraphrases.height:
        sizes["paraphrases"] = paraphrases.height
    return Records(
        texts=pl.concat([part.sort("text_id") for part in (queries, passages, paraphrases)]),
        judgements=judgements,
        counts=sizes | {repair: count for repair, count in sorted(counts.items()) if count},
        warnings=warnings,
    )


def _unique(judgements: pl.DataFrame, counts: Counter[str]) -> pl.DataFrame:
    """One row a judgement, none of a query that has no positive."""
    pair = ["query_id", "text_id"]
    highest = pl.col("grade").max()
    clear = judgements.filter((pl.col("grade") > 0) | (highest.over(pair) == 0))
    counts["negatives_that_are_positives_dropped"] += judgements.height - clear.height
    once = clear.filter(pl.col("grade") == highest.over([*pair, "split"])).unique(
        [*pair, "split"], keep="first", maintain_order=True
    )
    counts["duplicate_judgements_dropped"] += clear.height - once.height
    barren = once.filter(highest.over("query_id") == 0)
    counts["queries_without_positive_dropped"] += barren["query_id"].n_unique()
    return once.join(barren, on="query_id", how="anti", maintain_order="left")


def _surplus(query_id: str, hard: list[str], limit: int | None) -> list[str]:
    """The hard negatives of a query beyond the first `limit` in the order of a hash.

    A negative beyond the limit among a few is beyond it among all: an example may be cut alone.
    """
    if limit is None or len(hard) <= limit:
        return []
    return randomness.shuffled(SEED, hard, query_id)[limit:]


def _limited(judgements: pl.DataFrame, limit: int | None) -> pl.DataFrame:
    """At most `limit` hard negatives of a query in a split."""
    if limit is None:
        return judgements
    triple = ["query_id", "split", "text_id"]
    hard = judgements.filter(pl.col("grade") == 0).group_by(triple[:2]).agg("text_id")
    crowded = hard.filter(pl.col("text_id").list.len() > limit)
    rows = [
        (query_id, split, text)
        for query_id, split, texts in crowded.iter_rows()
        for text in _surplus(query_id, texts, limit)
    ]
    surplus = pl.DataFrame(rows, schema=dict.fromkeys(triple, pl.String), orient="row")
    return judgements.join(surplus, on=triple, how="anti", nulls_equal=True, maintain_order="left")


def text_field(value: dict[str, Any], name: str, location: str, missing: str | None = None) -> str:
    """The text in a field; `missing` (where it is given) stands for an absent or null one."""
    if value.get(name) is None and missing is not None:
        return missing
    return as_text(present(value, name, location), name, location)


def content_field(value: dict[str, Any], name: str, location: str) -> str:
    """The text in a field; null stands for an empty text, which is dropped and counted."""
    return as_content(present(value, name, location), name, location)


def texts_field(
    value: dict[str, Any], name: str, location: str, optional: bool = False
) -> list[str]:
    """The list of texts in a field; empty where the field is absent and `optional`."""
    return [
        as_content(item, f"{name}[{index}]", location)
        for index, item in enumerate(list_field(value, name, location, optional))
    ]


def passages_field(
    value: dict[str, Any], name: str, location: str, optional: bool = False
) -> list[str]:
    """The passages of a list of objects with `text` and perhaps `title`; as `texts_field`."""
    return [
        titled(text_field(item, "title", inner, missing=""), content_field(item, "text", inner))
        for inner, item in objects_field(value, name, location, optional)
    ]


def objects_field(
    value: dict[str, Any], name: str, location: str, optional: bool = False
) -> list[tuple[str, dict[str, Any]]]:
    """The objects of the list in a field, each with its location ("…: name[index]")."""
    inner = [
        (f"{location}: {name}[{index}]", item)
        for index, item in enumerate(list_field(value, name, location, optional))
    ]
    return [(where, as_object(item, where)) for where, item in inner]


def list_field(
    value: dict[str, Any], name: str, location: str, optional: bool = False
) -> list[Any]:
    """The list in a field; empty where the field is absent and `optional`."""
    if optional and name not in value:
        return []
    items = present(value, name, location)
    if not isinstance(items, list):
        raise SourceError(f"{location}: field '{name}' must be a list, found {kind(items)}")
    return items


def present(value: dict[str, Any], name: str, location: str) -> Any:
    """What is in a field; SourceError where it is absent."""
    if name not in value:
        raise SourceError(f"{location}: field '{name}' is missing")
    return value[name]


def as_object(value: Any, location: str) -> dict[str, Any]:
    """The value, which must be an object."""
    if not isinstance(value, dict):
        raise SourceError(f"{location}: expected an object, found {kind(value)}")
    return value


def as_text(value: Any, name: str, location: str) -> str:
    """The value of the field `name`, which must be a text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise SourceError(f"{location}: field '{name}' must be a text, found {kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SourceError(
            f"{location}: field '{name}' holds half of a surrogate pair, which is no text"
        ) from None
    return value


def as_content(value: Any, name: str, location: str) -> str:
    """The same, where null stands for an empty text."""
    return "" if value is None else as_text(value, name, location)


def as_index(value: Any, name: str, location: str) -> int:
    """The value of the field `name`, which must be a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise SourceError(f"{location}: field '{name}' must be a whole number, found {kind(value)}")
    return value


def kind(value: Any) -> str:
    """What JSON calls the type of a value; other types (of Parquet) have their Python names."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
