"""Format `tevatron`: lines of {"query", "positive_passages": [...], "negative_passages": [...]}.

A passage is an object with `text` and perhaps `title`: it becomes title, space and text. `query_id`
and `docid` are not read: one text under two of them is one text.
"""

from __future__ import annotations

from wellspring.datasets.files import objects
from wellspring.datasets.records import Collector, Records, Source, content_field, passages_field


def read(source: Source) -> Records:
    """Reads every file, plain or gzip; `negative_passages` may be absent.

    A text's id is the hash of the text; the passages of a repeated query are put together. Option
    `max_negatives`: keep that many hard negatives of a query, chosen by hash (None: all). Raises
    SourceError for what cannot be read, with line and field.
    """
    collector = Collector(source.options.get("max_negatives"))
    for split, path in source.files.items():
        for location, line in objects(path):
            collector.example(
                query=content_field(line, "query", location),
                positives=passages_field(line, "positive_passages", location),
                negatives=passages_field(line, "negative_passages", location, optional=True),
                split=split,
            )
    return collector.records(source.name)
