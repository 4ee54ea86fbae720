"""Format `jsonl`: lines of {"query": text, "pos": [texts], "neg": [texts], "paraphrases": [texts]};
other fields are ignored."""

from __future__ import annotations

from wellspring.datasets.files import objects
from wellspring.datasets.records import Collector, Records, Source, content_field, texts_field


def read(source: Source) -> Records:
    """Reads every file; `neg` and `paraphrases` (other wordings of the query) may be absent, the
    passages of a repeated query are put together. Option `max_negatives`: keep that many hard
    negatives of a query, chosen by hash (None: all).

    A text's id is the hash of the text. Raises SourceError for what cannot be read,
    with its location.
    """
    collector = Collector(source.options.get("max_negatives"))
    for split, path in source.files.items():
        for location, line in objects(path):
            collector.example(
                query=content_field(line, "query", location),
                positives=texts_field(line, "pos", location),
                negatives=texts_field(line, "neg", location, optional=True),
                split=split,
                paraphrases=texts_field(line, "paraphrases", location, optional=True),
            )
    return collector.records(source.name)
