"""Format `scienceqa`: ScienceQA as problems.json ({id: problem}) or as Parquet, a problem a row.

A problem has a `question`, its `choices`, the index of the right one (`answer`), a `hint` (words
that the question is about), a `lecture`, an `image`, and, in problems.json, its `split`. The set
has no passages of its own (Lu et al. 2022), so retrieval is constructed: see `read`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wellspring.datasets import arrays, parquet
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    as_index,
    as_object,
    content_field,
    present,
    text_field,
    texts_field,
)
from wellspring.errors import SourceError

SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""How problems.json writes the published splits."""
COLUMNS = ["question", "choices", "answer", "hint", "lecture"]
PICTURES = ("image", "image.path", "image.bytes")
"""Columns any of which holds something where a problem has a picture; a set without has none."""


def read(source: Source) -> Records:
    """Reads every file; a text's id is the hash of the text.

    A query is a problem's hint, a space and its question. Option `passage`: with "lecture" (the
    default) the corpus is every lecture, once, and the problem's own is relevant; with "option" it
    is every answer option of every problem, once: the right one is relevant, the problem's others
    are its hard negatives. Option `max_negatives` as of other formats.

    Problems with a picture are left out and counted; without a lecture, a problem has no positive
    in the first case, and is dropped. Raises SourceError for what cannot be read, with record and
    field.
    """
    collector = Collector(source.options.get("max_negatives"))
    lectures = source.options.get("passage", "lecture") == "lecture"
    for split, path in source.files.items():
        for location, problem, own_split in _problems(path):
            if problem.get("image"):
                collector.counts["questions_with_a_picture_dropped"] += 1
                continue
            question = content_field(problem, "question", location)
            hint = text_field(problem, "hint", location, missing="")
            if lectures:
                right, wrong = content_field(problem, "lecture", location), []
            else:
                right, wrong = _options(problem, location)
            query = f"{hint.strip()} {question}".strip() if question.strip() else ""
            collector.example(query, [right], wrong, split or own_split)
    return collector.records(source.name)


def _problems(path: Path) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """The location of each problem, the problem, and the split that it names itself."""
    if path.suffix == ".parquet":
        there = parquet.columns(path)
        pictures = [parquet.present(path, name) for name in PICTURES if name in there]
        for (location, row), *held in zip(parquet.rows(path, COLUMNS), *pictures, strict=True):
            yield location, {**row, "image": any(held)}, None
        return
    for name, value in arrays.document(path).items():
        location = f"{path}: record {name!r}"
        problem = as_object(value, location)
        split = text_field(problem, "split", location, missing="") or None
        if split is not None and split not in SPLITS:
            raise SourceError(
                f"{location}: field 'split' must be one of {', '.join(SPLITS)}, found {split!r}"
            )
        yield location, problem, SPLITS[split] if split else None


def _options(problem: dict[str, Any], location: str) -> tuple[str, list[str]]:
    """The right option and the others."""
    options = texts_field(problem, "choices", location)
    answer = as_index(present(problem, "answer", location), "answer", location)
    if not 0 <= answer < len(options):
        raise SourceError(
            f"{location}: field 'answer' is {answer}: there are {len(options)} choices, counted "
            "from 0"
        )
    return options[answer], [text for n, text in enumerate(options) if n != answer]
