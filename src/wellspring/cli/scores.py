"""Stored scores of a side: every file checked, then streamed for all layers at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from wellspring import shards, specs
from wellspring.errors import StaleArtefact

Files = dict[int, list[Path]]
"""Layer to the shards of its scores."""

ScoreSets = dict[tuple[int, str], np.ndarray]
"""Layer and sub-layer to absolute scores [texts, neurons], float32."""

ORIGIN = ("weights", "partner", "texts")

CHUNK = 128 << 20
"""Bytes of scores that are held at once."""


def checked(
    folder: Path,
    attribution: specs.AttributionSpec | specs.Held,
    layers: Sequence[int],
    **same: object,
) -> Files:
    """The files of a side, after checking that all stem from this slice and from one model.

    same: what their identities must hold beside, as `weights` or `texts`.
    """
    files: Files = {}
    digest = attribution.spec if isinstance(attribution, specs.Held) else attribution.digest
    for layer in layers:
        names = [shards.shard_name(shard) for shard in range(attribution.shards)]
        files[layer] = [folder / f"layer-{layer:02d}" / name for name in names]
        for shard, path in enumerate(files[layer]):
            expected = {"step": "attributions", "layer": layer, "shard": shard, **same}
            found = shards.check(path, digest, **expected)
            same = {key: found.identity[key] for key in ORIGIN}
    return files


def origin(files: Files) -> dict[str, object]:
    """The model and the texts that all of a side's files stem from."""
    identity = shards.provenance(next(iter(files.values()))[0]).identity
    return {key: identity[key] for key in ORIGIN}


def stream(files: Files, sublayers: Sequence[str]) -> Iterator[tuple[list[str], ScoreSets]]:
    """Ids and scores of some texts at a time, in every layer and sub-layer."""
    first = pq.read_schema(next(iter(files.values()))[0])
    width = sum(first.field(f"{name}_scores").type.list_size for name in sublayers)
    rows = max(1, CHUNK // (4 * width * len(files)))
    columns = ["text_id", *(f"{name}_{kind}" for name in sublayers for kind in ("scale", "scores"))]
    for shard in zip(*files.values(), strict=True):
        with ExitStack() as opened:
            readers = [shards.batches(path, columns, rows) for path in shard]
            for reader in readers:
                opened.callback(reader.close)
            for batches in zip(*readers, strict=True):
                ids = batches[0].column("text_id").to_pylist()
                for path, batch in zip(shard, batches, strict=True):
                    if batch.column("text_id").to_pylist() != ids:
                        raise StaleArtefact(
                            f"{path}: holds other texts than {shard[0]}; {shards.mend(path)}"
                        )
                yield (
                    ids,
                    {
                        (layer, name): _absolute(batch, name)
                        for layer, batch in zip(files, batches, strict=True)
                        for name in sublayers
                    },
                )


def first(files: Files, sublayers: Sequence[str], texts: int) -> tuple[list[str], ScoreSets]:
    """Ids and scores of the first so many texts."""
    ids: list[str] = []
    held: dict[tuple[int, str], list[np.ndarray]] = {}
    for some, scores in stream(files, sublayers):
        missing = texts - len(ids)
        ids.extend(some[:missing])
        for key, values in scores.items():
            held.setdefault(key, []).append(values[:missing])
        if len(ids) == texts:
            break
    return ids, {key: np.concatenate(values) for key, values in held.items()}


def completeness(files: Files, sublayers: Sequence[str]) -> pl.DataFrame:
    """What the quadrature misses of each text, in the columns of `activations.TEXTS`: |residual| as
    a share of the sub-layer's largest score."""
    frames = []
    for layer, paths in files.items():
        for name in sublayers:
            # Not of the change, which may be near zero where scores of both signs are large.
            value = pl.col(f"{name}_residual").abs() / pl.col(f"{name}_scale")
            frames.append(
                pl.scan_parquet(paths).select(
                    "text_id",
                    layer=pl.lit(layer, pl.Int64),
                    sublayer=pl.lit(name),
                    measure=pl.lit("residual"),
                    normaliser=pl.lit(None, pl.String),
                    left_out=pl.lit(None, pl.Int64),
                    threshold=pl.lit(None, pl.Float64),
                    value=value.cast(pl.Float64).fill_nan(None),
                )
            )
    return pl.concat(frames).collect()


def _absolute(batch: Mapping, name: str) -> np.ndarray:
    scale = batch.column(f"{name}_scale").to_numpy()
    return shards.matrix(batch.column(f"{name}_scores")).astype(np.float32) * scale[:, None]
