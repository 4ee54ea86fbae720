"""How far words alone come in a source: is there room above them?

`python -m benchmarks.ceilings FORMAT PATH [KEY=VALUE …]`: the source is read with these keys of its
format, all its passages are ranked for all its queries by BM25 (no stemming, 33 stop words,
k1 .9, b .4) and by tf-idf over pieces of words, and nDCG@10 is printed.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from wellspring.config.vocabulary import Scorer
from wellspring.datasets.records import Source
from wellspring.retrieval import evaluation, words

SCORERS: tuple[Scorer, ...] = ("bm25", "character-tfidf")
MEASURE = "nDCG@10"


def measured(format: str, path: Path, **options: str) -> dict[str, float]:
    """Counts of queries and passages, and the mean of the measure by scorer."""
    reader = importlib.import_module(f"wellspring.datasets.{format}")
    records = reader.read(Source(files={None: path}, name=path.stem, options=options))
    judgements = records.judgements.select("query_id", "grade", document_id="text_id").unique()
    queries = sorted(set(judgements["query_id"]))
    runs = words.search(records.texts, queries, SCORERS, depth=10)
    counts = {name: records.counts[name] for name in ("queries", "passages")}
    values = {
        scorer: evaluation.evaluate(run, judgements, [MEASURE])["value"].mean()
        for scorer, run in runs.items()
    }
    return counts | values


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format")
    parser.add_argument("path", type=Path)
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    options = dict(option.split("=", 1) for option in given.options)
    for name, value in measured(given.format, given.path, **options).items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{MEASURE} {name}: {value:.3f}")


if __name__ == "__main__":
    main()
