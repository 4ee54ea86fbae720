"""What commands that search share: which queries are asked, their vectors, the passages' ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.cli.step import Job
from wellspring.errors import about
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.progress import Progress
    from wellspring.retrieval.run import Asked

B = TypeVar("B", bound=tuple)


def asked(
    job: Job, texts: Path, qrels: Path, spec: specs.RankSpec | specs.MatchSpec
) -> tuple[Asked, pl.DataFrame, dict[str, Any]]:
    """The judgements of the queries that are asked, what these must not find, and what a search of
    them stands for. The log counts what must not be found."""
    from wellspring.retrieval import run as runs

    asked, identity = judged(texts, qrels, spec)
    whole = pl.scan_parquet(shards.sound(texts))
    own = runs.own(whole.filter(pl.col("text_id").is_in(asked.queries)).collect(), asked)
    if len(own):
        job.say(
            f"{counted(len(own), 'query', 'queries')} found in the corpus under the same id: "
            "left out of what they find"
        )
    return asked, own, identity


def judged(
    texts: Path, qrels: Path, spec: specs.RankSpec | specs.MatchSpec | specs.ScanSpec
) -> tuple[Asked, dict[str, Any]]:
    """The judgements of the queries that are asked, and what a search of them stands for."""
    from wellspring.retrieval import run as runs

    digests = Texts.check(texts).identity["texts"]
    judged = Qrels.check(qrels, spec.qrels, texts=digests).identity["judgements"]
    with about(qrels):
        asked = runs.asked(Qrels.read(qrels), spec.queries)
    return asked, {"texts": digests, "judgements": judged}


def ids(texts: Path, side: specs.Side) -> pl.Series:
    """Those of all texts of a side, in their order."""
    table = pl.scan_parquet(shards.sound(texts, ["text_id", "side"]))
    return table.filter(pl.col("side") == side).select("text_id").collect()["text_id"]


def vectors(
    folder: Path,
    spec: specs.SearchSpec | specs.ScanSpec,
    digests: Mapping[str, str],
    chosen: np.ndarray,
) -> dict[int, np.ndarray]:
    """float32 vectors [asked queries, hidden] at each layer, in the order of their ids."""
    vectors: dict[int, np.ndarray] = {}
    row = np.cumsum(chosen) - 1
    for positions, block in EmbeddingShard.blocks(
        folder, spec.query, spec.shards, digests, spec.layers
    ):
        kept = chosen[positions]
        for layer, of_layer in block.items():
            if layer not in vectors:
                vectors[layer] = np.empty((chosen.sum(), of_layer.shape[1]), np.float32)
            vectors[layer][row[positions[kept]]] = of_layer[kept]
    return vectors


def watched(blocks: Iterable[B], bar: Progress) -> Iterator[B]:
    """The blocks; the bar counts their rows, whose positions come first."""
    for block in blocks:
        yield block
        bar.advance(len(block[0]))
