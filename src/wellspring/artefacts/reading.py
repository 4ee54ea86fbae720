"""The samples and texts of given ids, for what shows them: read in parts, of bounded size."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from wellspring import shards
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.errors import StaleArtefact


def read_texts(
    results: Path,
    dataset: str,
    side: str,
    ids: Collection[str],
    made: tuple[Artefact, str | None] | None = None,
) -> dict[str, str]:
    """Id to text, of a side's texts with these ids; row groups without any are passed.

    made: what was made from them, and the fingerprint that it knows of the side's texts. Raises
    StaleArtefact where they have another, since the ids then stand for other texts, and where the
    dataset's texts are missing or damaged.
    """
    path = Texts(dataset).at(results)
    stored = Texts.check(path).identity.get("texts", {}).get(side)
    artefact, digest = made or (None, None)
    if artefact and digest and stored and digest != stored:
        raise StaleArtefact(
            f"{artefact.at(results)}: was made from other {side} texts than those of {path}; make "
            f"one of them again: {shards.mend(path)}"
        )
    asked = pa.array(sorted(set(ids)), pa.string())
    texts: dict[str, str] = {}
    with shards.opened(path) as file:
        for number in range(file.num_row_groups):
            if len(texts) == len(asked):
                break
            keys = file.read_row_group(number, ["side", "text_id"])
            fits = pc.and_(pc.is_in(keys["text_id"], asked), pc.equal(keys["side"], side))
            if pc.any(fits).as_py():
                table = file.read_row_group(number, ["text_id", "text"]).filter(fits)
                texts.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return texts


def read_samples(results: Path, dataset: str, ids: Collection[str]) -> pl.DataFrame:
    """The samples with these ids; raises StaleArtefact where they are missing or damaged."""
    path = Samples(dataset).at(results)
    Samples.check(path)
    rows = pl.scan_parquet(shards.sound(path)).filter(pl.col("sample_id").is_in(list(ids)))
    return rows.collect()
