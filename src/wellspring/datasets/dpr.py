"""Format `dpr`: DPR's JSON, plain or gzip: one array of objects, read one at a time.

An object's `question`, `positive_ctxs` and `hard_negative_ctxs` (each with `title` and `text`) are
read; its `negative_ctxs` are not: they are random passages. A passage is its title, a space and
its text.
"""

from __future__ import annotations

from wellspring.datasets import arrays
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    content_field,
    passages_field,
)


def read(source: Source) -> Records:
    """Reads every file in bounded memory; the passages of a repeated question are put together.

    A text's id is the hash of the text. Option `max_negatives`: keep that many hard negatives of a
    question, chosen by hash (None: all). Raises SourceError for what cannot be read, with line,
    record and field.
    """
    collector = Collector(source.options.get("max_negatives"))
    for split, path in source.files.items():
        for location, record in arrays.objects(path):
            collector.example(
                query=content_field(record, "question", location),
                positives=passages_field(record, "positive_ctxs", location),
                negatives=passages_field(record, "hard_negative_ctxs", location, optional=True),
                split=split,
            )
    return collector.records(source.name)
