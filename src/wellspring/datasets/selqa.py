"""Format `selqa`: SelQA's JSON: one array of objects, read one at a time.

An object's `question`, `candidates` (the sentences of a section) and `answers` (indices into them,
from 0) are read.
"""

from __future__ import annotations

from typing import Any

from wellspring.datasets import arrays
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    as_index,
    content_field,
    list_field,
    texts_field,
)
from wellspring.errors import SourceError


def read(source: Source) -> Records:
    """Reads every file in bounded memory; a text's id is the hash of the text.

    The answers are positives, the other candidates hard negatives; questions that are repeated are
    put together. Raises SourceError for what cannot be read and for an answer that is none of the
    candidates, with line, record and field.
    """
    collector = Collector()
    for split, path in source.files.items():
        for location, record in arrays.objects(path):
            sentences = texts_field(record, "candidates", location)
            answers = _answers(record, len(sentences), location)
            collector.example(
                query=content_field(record, "question", location),
                positives=[sentences[index] for index in answers],
                negatives=[text for index, text in enumerate(sentences) if index not in answers],
                split=split,
            )
    return collector.records(source.name)


def _answers(record: dict[str, Any], candidates: int, location: str) -> list[int]:
    answers = []
    for position, value in enumerate(list_field(record, "answers", location)):
        answer = as_index(value, f"answers[{position}]", location)
        if not 0 <= answer < candidates:
            raise SourceError(
                f"{location}: field 'answers[{position}]' is {answer}: there are {candidates} "
                "candidates, counted from 0"
            )
        answers.append(answer)
    return answers
