"""Collections of the package ir_datasets, an optional dependency, as archives of the BEIR layout.

The package knows hundreds of collections by name, fetches their files, checks them, and keeps them
in a folder of its own (IR_DATASETS_HOME). What of it a study reads is written once, so no later
step needs the package or a network.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any

from wellspring.atomic import replacing
from wellspring.errors import DownloadError

NEEDED = ("docs", "queries", "qrels")
DATE = (1980, 1, 1, 0, 0, 0)
"""The same texts give the same bytes."""


def export(name: str, path: Path, advance: Callable[[int], object]) -> dict[str, int]:
    """Write the collection `name` to `path`: corpus.jsonl, queries.jsonl and qrels/all.tsv.

    A text is what ir_datasets says stands for it (`default_text`: of a document with a title,
    both). `advance` gets the number of texts that were written. Gives the counts of documents,
    queries and judgements. Raises DownloadError where the package or one of its own optional
    dependencies is not installed, where it knows no such collection or a part of it, and where it
    cannot fetch it.
    """
    dataset = _loaded(name)
    counts: Counter[str] = Counter()

    def lines(noun: str, rows: Iterable[Any], line: Callable[[Any], str]) -> Iterator[bytes]:
        for row in rows:
            counts[noun] += 1
            advance(noun != "judgements")
            yield line(row).encode()

    try:
        with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
            for member, noun, rows, line in (
                ("corpus.jsonl", "documents", dataset.docs_iter, _document),
                ("queries.jsonl", "queries", dataset.queries_iter, _query),
                ("qrels/all.tsv", "judgements", dataset.qrels_iter, _judgement),
            ):
                with _member(archive, member) as stream:
                    if noun == "judgements":
                        stream.write(b"query-id\tcorpus-id\tscore\n")
                    stream.writelines(lines(noun, rows(), line))
    except DownloadError:
        raise
    except Exception as error:
        # Its many readers raise what they like; each of them is of a source that cannot be had.
        reason = shorten(str(error), 400) or type(error).__name__
        raise DownloadError(f"ir_datasets cannot read {name}: {reason}") from error
    return dict(counts)


def _loaded(name: str) -> Any:
    try:
        import ir_datasets
    except ImportError:
        raise DownloadError(
            f"{name}: format ir_datasets needs the package of this name: "
            "pip install 'wellspring[ir-datasets]'"
        ) from None
    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise DownloadError(
            f"ir_datasets has no collection {name!r}: https://ir-datasets.com lists them"
        ) from None
    lacking = [part for part in NEEDED if not dataset.has(part)]
    if lacking:
        below = sorted(
            each
            for each in ir_datasets.registry
            if each.startswith(f"{name}/") and all(ir_datasets.load(each).has(p) for p in NEEDED)
        )
        more = f"; {', '.join(below[:8])} have all" if below else ""
        raise DownloadError(f"ir_datasets has {name} without {' and '.join(lacking)}{more}")
    return dataset


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    info = zipfile.ZipInfo(name, DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)


def _text(row: Any) -> str:
    if hasattr(row, "default_text"):
        return row.default_text()
    if hasattr(row, "text"):
        return row.text
    raise DownloadError(
        f"ir_datasets does not say what the text of its {type(row).__name__} is, which has "
        f"{', '.join(row._fields)}: write it as format beir"
    )


def _document(row: Any) -> str:
    return json.dumps({"_id": row.doc_id, "text": _text(row)}, ensure_ascii=False) + "\n"


def _query(row: Any) -> str:
    return json.dumps({"_id": row.query_id, "text": _text(row)}, ensure_ascii=False) + "\n"


def _judgement(row: Any) -> str:
    return f"{row.query_id}\t{row.doc_id}\t{int(row.relevance)}\n"
