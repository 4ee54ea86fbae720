"""Format `msmarco`: MS MARCO's question answering release (v1.1) as Parquet, read in batches.

`query` and `passages` of each row are read: a struct of lists, in which `is_selected` says of each
`passage_text` whether an annotator used it for the answer: 1 is a positive, 0 a hard negative.
"""

from __future__ import annotations

from wellspring.datasets import parquet
from wellspring.datasets.records import (
    Collector,
    Records,
    Source,
    as_object,
    content_field,
    list_field,
    present,
    texts_field,
)
from wellspring.errors import SourceError

COLUMNS = ["query", "passages.is_selected", "passages.passage_text"]


def read(source: Source) -> Records:
    """Reads every file in bounded memory; a text's id is the hash of the text.

    The passages of a repeated query are put together. A query without a selected passage is
    dropped and counted. Option `max_negatives`: keep that many hard negatives of a query, chosen by
    hash (None: all). Raises SourceError for what cannot be read, with row and column.
    """
    collector = Collector(source.options.get("max_negatives"))
    for split, path in source.files.items():
        for location, row in parquet.rows(path, COLUMNS):
            query = content_field(row, "query", location)
            inner = f"{location}: passages"
            passages = as_object(present(row, "passages", location), inner)
            selected = list_field(passages, "is_selected", inner)
            texts = texts_field(passages, "passage_text", inner)
            if len(selected) != len(texts):
                raise SourceError(
                    f"{inner}: is_selected has {len(selected)} values, passage_text {len(texts)}"
                )
            for index, flag in enumerate(selected):
                if flag not in (0, 1):
                    raise SourceError(
                        f"{inner}: field 'is_selected[{index}]' must be 0 or 1, found {flag!r}"
                    )
            collector.example(
                query=query,
                positives=[text for text, flag in zip(texts, selected, strict=True) if flag],
                negatives=[text for text, flag in zip(texts, selected, strict=True) if not flag],
                split=split,
            )
    return collector.records(source.name)
