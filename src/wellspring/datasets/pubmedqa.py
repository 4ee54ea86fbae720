"""Format `pubmedqa`: PubMedQA's JSON: {pmid: {"QUESTION", "CONTEXTS": [texts], "LONG_ANSWER"}}.

A question is a paper's title, its contexts are the paper's abstract without the conclusion, its
long answer is the conclusion (Jin et al. 2019). The source has no negatives.
"""

from __future__ import annotations

from wellspring.datasets import arrays
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    as_object,
    content_field,
    texts_field,
)


def read(source: Source) -> Records:
    """Reads every file; a text's id is the hash of the text.

    Option `passage`: a question's passage is "contexts" (the default), joined by spaces, or
    "long-answer"; with "long-answer-among-contexts" its contexts are its hard negative. Raises
    SourceError for what cannot be read, with record and field.
    """
    collector = Collector()
    wanted = source.options.get("passage", "contexts")
    for split, path in source.files.items():
        for pmid, value in arrays.document(path).items():
            location = f"{path}: record {pmid!r}"
            record = as_object(value, location)
            question = content_field(record, "QUESTION", location)
            texts = {}
            if wanted != "long-answer":
                texts["contexts"] = " ".join(texts_field(record, "CONTEXTS", location))
            if wanted != "contexts":
                texts["answer"] = content_field(record, "LONG_ANSWER", location)
            positive, *negatives = reversed(texts.values())
            collector.example(question, [positive], negatives, split)
    return collector.records(source.name)
