"""Format `beir`: a folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv.

A passage is its title, a space and its text. The ids are the source's own. Repairs beside those of
`records`: a judgement of a query or passage that is not there is dropped (published qrels have
some), up to a share of them that can be set, and a grade below 0 (TREC marks junk so) counts as 0.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from pathlib import Path

import polars as pl

from wellspring.datasets.records import (
    JUDGEMENTS,
    TEXTS,
    Records,
    Rows,
    Side,
    Source,
    lines,
    objects,
    repaired,
    text_field,
    titled,
)
from wellspring.errors import SourceError

HEADER = ["query-id", "corpus-id", "score"]
LOST = 0.01
PLACED = pl.Schema({**TEXTS, "place": pl.String})


def read(source: Source) -> Records:
    """Reads the folder under the key None of `source.files`, with all its qrels files.

    With several qrels files each one's name is its split; a single one publishes none. Options:
    `judged_only`, leave out the passages that no query judges; `lost_judgements`, the largest share
    of judgements that may name a query or passage that is not there. Raises SourceError for what
    cannot be read, for an id that has two texts, and where more judgements are lost.
    """
    folder = source.files[None]
    judged_only = source.options.get("judged_only", False)
    counts: Counter[str] = Counter()
    judgements = _qrels(folder / "qrels", counts)
    wanted = set(judgements["text_id"]) if judged_only else None
    queries = _texts(folder / "queries.jsonl", "query", None, counts)
    passages = _texts(folder / "corpus.jsonl", "passage", wanted, counts)
    known = _fitting(judgements, queries, passages, "unknown", counts)
    sides = (("query_id", queries, "queries.jsonl"), ("text_id", passages, "corpus.jsonl"))
    warnings = tuple(
        _lost(folder, file, name, judgements, texts)
        for name, texts, file in sides
        if not judgements[name].is_in(texts["text_id"].implode()).all()
    )
    _check_lost(source, judgements, known, warnings)
    judgements = known
    queries, passages = _filled(queries, "queries", counts), _filled(passages, "passages", counts)
    judgements = _fitting(judgements, queries, passages, "empty", counts)
    texts = pl.concat([queries, passages])
    return repaired(
        source.name, texts, judgements, counts, unjudged=not judged_only, warnings=warnings
    )


def _qrels(folder: Path, counts: Counter[str]) -> pl.DataFrame:
    """The judgements of all files; their split is null where there is one file."""
    paths = sorted(folder.glob("*.tsv"))
    if not paths:
        raise SourceError(f"{folder}: no qrels: expected a file for each split, such as test.tsv")
    rows = Rows(JUDGEMENTS)
    for path in paths:
        split = path.stem if len(paths) > 1 else None
        for index, (place, line) in enumerate(lines(path)):
            cells = line.split("\t")
            if index == 0 and cells != HEADER:
                raise SourceError(
                    f"{place}: expected the header {' '.join(HEADER)}, separated by tabs"
                )
            if index == 0:
                continue
            if len(cells) != len(HEADER):
                raise SourceError(
                    f"{place}: expected {len(HEADER)} fields separated by tabs, found {len(cells)}"
                )
            query, passage, grade = cells[0], cells[1], _grade(cells[2], place)
            counts["negative_grades_raised_to_0"] += grade < 0
            rows.append(query, passage, max(grade, 0), split)
    frame = rows.frame()
    counts["judgements_read"] = frame.height
    return frame


def _lost(folder: Path, file: str, name: str, judgements: pl.DataFrame, texts: pl.DataFrame) -> str:
    """How many judgements name an id that the file does not hold, with two ids of each side: first
    those that look alike."""
    noun = "query" if name == "query_id" else "passage"
    lost = judgements.join(texts, left_on=name, right_on="text_id", how="anti")
    named, unknown = set(judgements[name]), set(lost[name])
    alike = {_bare(identity) for identity in unknown}
    ids = (text_field(line, "_id", place) for place, line in objects(folder / file))
    held = ((_bare(identity) not in alike, identity) for identity in ids if identity not in named)
    there = [identity for _, identity in heapq.nsmallest(2, set(held))]
    alike = {_bare(identity) for identity in there}
    missing = sorted(unknown, key=lambda identity: (_bare(identity) not in alike, identity))[:2]
    examples = f", which holds {_quoted(there)}" if there else ""
    return (
        f"{folder / 'qrels'}: {lost.height:,} of {judgements.height:,} judgements "
        f"({100 * lost.height / judgements.height:.1f} %) are lost: their {noun} "
        f"ids, such as {_quoted(missing)}, are not in {file}{examples}"
    )


def _bare(identity: str) -> str:
    """An id without what different writings of it differ in: case, zeros and punctuation."""
    return re.sub(r"[\W_0]+", "", identity).casefold()


def _quoted(names: list[str]) -> str:
    return " and ".join(map(repr, names))


def _check_lost(
    source: Source, judgements: pl.DataFrame, known: pl.DataFrame, warnings: tuple[str, ...]
) -> None:
    """Raises SourceError where more judgements are lost than may be."""
    if judgements.is_empty():
        raise SourceError(f"{source.files[None] / 'qrels'}: holds no judgement")
    limit = source.options.get("lost_judgements", LOST)
    lost, total = judgements.height - known.height, judgements.height
    if known.is_empty():
        raise SourceError(
            f"{'; '.join(warnings)}; are the columns of qrels {', '.join(HEADER)}, in this order?"
        )
    if lost / total > limit:
        enough = -(-10_000 * lost // total) / 10_000
        raise SourceError(
            f"{'; '.join(warnings)}; repair the ids, or set datasets.{source.name}.lost_judgements "
            f"(now {limit}) to {enough} to go on without these judgements"
        )


def _grade(cell: str, place: str) -> int:
    try:
        grade = int(cell)
    except ValueError:
        grade = None
    if grade is None or abs(grade) > 1000:
        raise SourceError(f"{place}: field 'score' must be a small whole number, found {cell!r}")
    return grade


def _texts(path: Path, side: Side, wanted: set[str] | None, counts: Counter[str]) -> pl.DataFrame:
    """The texts of one file, each once; of the ids only the `wanted`, where given."""
    rows = Rows(PLACED)
    for place, line in objects(path):
        identity = text_field(line, "_id", place)
        if wanted is None or identity in wanted:
            text = text_field(line, "text", place)
            if side == "passage":
                text = titled(text_field(line, "title", place, missing=""), text)
            rows.append(identity, side, text.strip(), place)
    texts = rows.frame()
    first = texts.unique("text_id", keep="first", maintain_order=True)
    if first.height < texts.height:
        original = texts.join(first, on="text_id", how="left", maintain_order="left")
        other = original.filter(pl.col("text") != pl.col("text_right"))
        if other.height:
            identity, place, earlier = other.select("text_id", "place", "place_right").row(0)
            raise SourceError(
                f"{place}: field '_id' repeats {identity!r} of line "
                f"{earlier.rpartition(':')[2]} with another text"
            )
        counts["duplicate_texts_dropped"] += texts.height - first.height
    return first.drop("place")


def _filled(texts: pl.DataFrame, noun: str, counts: Counter[str]) -> pl.DataFrame:
    """The texts that are not empty."""
    filled = texts.filter(pl.col("text") != "")
    counts[f"empty_{noun}_dropped"] += texts.height - filled.height
    return filled


def _fitting(
    judgements: pl.DataFrame,
    queries: pl.DataFrame,
    passages: pl.DataFrame,
    reason: str,
    counts: Counter[str],
) -> pl.DataFrame:
    """The judgements whose query and passage are among these."""
    asked = judgements.join(
        queries, left_on="query_id", right_on="text_id", how="semi", maintain_order="left"
    )
    both = asked.join(passages, on="text_id", how="semi", maintain_order="left")
    counts[f"judgements_of_{reason}_queries_dropped"] += judgements.height - asked.height
    counts[f"judgements_of_{reason}_passages_dropped"] += asked.height - both.height
    return both
