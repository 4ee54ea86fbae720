"""Format `squad`: SQuAD's JSON: articles with paragraphs, paragraphs with questions.

{"data": [{"paragraphs": [{"context", "qas": [{"question", "answers", "is_impossible"}]}]}]}. A
question's positive is its paragraph, its hard negatives are the other paragraphs of the article. An
article's title is not read: all that a question chooses from shares it. An article of a single
paragraph gives no negatives. Two files with the same questions, as of two languages, may stand for
the two sides: the questions of one are asked for the paragraphs of the other, by their `id`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from wellspring.datasets import arrays
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    as_index,
    content_field,
    kind,
    list_field,
    objects_field,
    present,
    text_field,
)
from wellspring.errors import SourceError

ASKED = "questions"
"""The part of a source that holds the questions, where `passages` holds the paragraphs."""
Span = tuple[int, int]
"""First character and the one behind the last."""


def read(source: Source) -> Records:
    """Reads every file; a text's id is the hash of the text.

    Where `source.files` has `passages` and `questions`, the words of a question of the first file
    are those that the second has for its id; a question that it lacks is dropped and counted.

    Options: `max_negatives`, keep that many hard negatives of a question, chosen by hash (None:
    all); `passage_words`, cut each paragraph into the fewest passages of at most so many words,
    their lengths as equal as can be (None: whole). The passage that holds most of the first answer
    is then the positive; one that holds the rest of it is neither positive nor negative.

    Repairs: a question that has no answer or is marked impossible is dropped. Where paragraphs are
    cut: an answer that does not stand at its `answer_start` is looked for, and the occurrence
    nearest to it taken (a sixth of COVID-QA's answers are off by a few characters); where its text
    is nowhere in the paragraph, the question is dropped. Raises SourceError for what cannot be
    read, with location and field.
    """
    collector = Collector(source.options.get("max_negatives"))
    files = dict(source.files)
    wordings = _wordings(files.pop(ASKED)) if ASKED in files else None
    for split, path in files.items():
        document = arrays.document(path)
        published = split if wordings is None else None
        for location, article in objects_field(document, "data", str(path)):
            _article(
                article,
                location,
                published,
                source.options.get("passage_words"),
                collector,
                wordings,
            )
    return collector.records(source.name)


def _wordings(path: Path) -> dict[str, str]:
    """The words of every question, by its id."""
    questions = {}
    for location, article in objects_field(arrays.document(path), "data", str(path)):
        for where, paragraph in objects_field(article, "paragraphs", location):
            for place, entry in objects_field(paragraph, "qas", where):
                words = content_field(entry, "question", place)
                questions[text_field(entry, "id", place)] = words
    return questions


@dataclass(frozen=True)
class _Paragraph:
    location: str
    entry: dict[str, Any]
    context: str
    spans: list[Span]
    """Where its passages lie."""

    def passages(self) -> list[str]:
        return [self.context[start:end] for start, end in self.spans]


def _article(
    article: dict[str, Any],
    location: str,
    split: str | None,
    words: int | None,
    collector: Collector,
    wordings: dict[str, str] | None,
) -> None:
    """Adds an article's questions; `wordings` of another file stand for their own words."""
    paragraphs = []
    for where, entry in objects_field(article, "paragraphs", location):
        context = content_field(entry, "context", where)
        paragraphs.append(_Paragraph(where, entry, context, pieces(context, words)))
    for paragraph in paragraphs:
        own = paragraph.passages()
        others = [
            text for other in paragraphs if other is not paragraph for text in other.passages()
        ]
        for where, entry in objects_field(paragraph.entry, "qas", paragraph.location):
            question = content_field(entry, "question", where)
            if _unanswered(entry, where):
                collector.counts["questions_without_answer_dropped"] += 1
                continue
            if wordings is not None:
                question = wordings.get(text_field(entry, "id", where))
            if question is None:
                collector.counts["questions_that_the_other_file_lacks_dropped"] += 1
                continue
            whole = (0, len(paragraph.context))
            span = _answer(entry, paragraph.context, where, collector) if words else whole
            if span is None:
                collector.counts["questions_whose_answer_is_not_there_dropped"] += 1
                continue
            shared = [overlap(span, piece) for piece in paragraph.spans]
            best = shared.index(max(shared))
            beside = [own[n] for n, part in enumerate(shared) if not part and n != best]
            collector.counts["answers_cut_by_passages"] += sum(part > 0 for part in shared) > 1
            collector.example(question, [own[best]], beside + others, split)


def pieces(context: str, words: int | None) -> list[Span]:
    """The spans of a paragraph's passages: cut at white space, with nearly equal word counts."""
    if words is None:
        return [(0, len(context))]
    spans = [match.span() for match in re.finditer(r"\S+", context)]
    count = -(-len(spans) // words)
    edges = [len(spans) * piece // count for piece in range(count + 1)] if count else []
    return [(spans[a][0], spans[b - 1][1]) for a, b in pairwise(edges)]


def overlap(one: Span, other: Span) -> int:
    """How many characters two spans share."""
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def _unanswered(entry: dict[str, Any], location: str) -> bool:
    impossible = entry.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise SourceError(
            f"{location}: field 'is_impossible' must be true or false, found {kind(impossible)}"
        )
    return impossible or not list_field(entry, "answers", location, optional=True)


def _answer(
    entry: dict[str, Any], context: str, location: str, collector: Collector
) -> Span | None:
    """The span of the first answer; None where the paragraph lacks it."""
    where, answer = objects_field(entry, "answers", location)[0]
    text = text_field(answer, "text", where)
    start = as_index(present(answer, "answer_start", where), "answer_start", where)
    begin = nearest(text, context, start)
    if begin is None or not text.strip():
        return None
    collector.counts["answers_found_elsewhere"] += begin != start
    return begin, begin + len(text)


def nearest(text: str, context: str, start: int) -> int | None:
    """Where the occurrence of a text begins that is nearest to `start`; the earlier of two."""
    start = min(max(start, 0), len(context))
    before = context.rfind(text, 0, start + len(text))
    after = context.find(text, start)
    starts = [begin for begin in (before, after) if begin >= 0]
    return min(starts, key=lambda begin: abs(begin - start), default=None)
