"""Format `hotpotqa`: HotpotQA's JSON: one array of objects, read one at a time.

An object's `question`, its `context` (pairs of a title and a list of sentences) and the titles in
its `supporting_facts` (pairs of a title and a sentence's index) are read. A passage is its title, a
space and its sentences, which carry their own spaces.
"""

from __future__ import annotations

from typing import Any

from wellspring.datasets import arrays
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    as_text,
    content_field,
    kind,
    list_field,
    titled,
)
from wellspring.errors import SourceError


def read(source: Source) -> Records:
    """Reads every file in bounded memory; a text's id is the hash of the text.

    Paragraphs whose title a supporting fact names are positives, the others (distractors) are hard
    negatives. Repair: a supporting title without a paragraph, as in the release whose paragraphs
    were retrieved, is counted and dropped. Raises SourceError for what cannot be read, with line,
    record and field.
    """
    collector = Collector()
    for split, path in source.files.items():
        for location, record in arrays.objects(path):
            question = content_field(record, "question", location)
            supporting = {title for title, _ in _pairs(record, "supporting_facts", location)}
            paragraphs = [
                (
                    title,
                    titled(title, "".join(_sentences(sentences, f"context[{index}]", location))),
                )
                for index, (title, sentences) in enumerate(_pairs(record, "context", location))
            ]
            lost = supporting - {title for title, _ in paragraphs}
            collector.counts["supporting_titles_without_paragraph"] += len(lost)
            collector.example(
                query=question,
                positives=[text for title, text in paragraphs if title in supporting],
                negatives=[text for title, text in paragraphs if title not in supporting],
                split=split,
            )
    return collector.records(source.name)


def _pairs(record: dict[str, Any], name: str, location: str) -> list[tuple[str, Any]]:
    """The pairs of a title and something else in a field."""
    pairs = []
    for index, pair in enumerate(list_field(record, name, location)):
        if not isinstance(pair, list) or len(pair) != 2:
            raise SourceError(f"{location}: field '{name}[{index}]' must be a list of two values")
        pairs.append((as_text(pair[0], f"{name}[{index}][0]", location), pair[1]))
    return pairs


def _sentences(value: Any, name: str, location: str) -> list[str]:
    if not isinstance(value, list):
        raise SourceError(f"{location}: field '{name}[1]' must be a list, found {kind(value)}")
    return [as_text(item, f"{name}[1][{index}]", location) for index, item in enumerate(value)]
