"""Stored scores of a side: a shard's columns, and all shards checked and read together.

A quiet text keeps its row, so that rows mean the same texts in every layer; its scale is 0 in the
sub-layers where it is quiet. Readers leave it out in all layers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from wellspring import activations, shards, specs
from wellspring.artefacts.attributions import AttributionShard
from wellspring.attributions.scores import NUMBERS
from wellspring.errors import StaleArtefact, WellspringError
from wellspring.plurals import counted, form

ScoreSets = dict[tuple[int, str], np.ndarray]
"""Layer and sub-layer to scores [texts, neurons], float32."""

VECTORS = ("scores", "signed")
Kind = Literal["scores", "signed"]
"""Absolute scores, or signed ones."""

QUIET = "quiet_texts"
"""The fact of a shard that lists the ids of its quiet texts."""

NORMS = ("norm", "pooler-norm", "padded-mean-norm")
"""Targets that are a length."""

ORIGIN = ("weights", "partner", "texts", "paraphrases")

CHUNK = 128 << 20
"""Bytes of scores that are held at once."""


def schema(neurons: Mapping[str, int], whole: specs.AttributionSpec) -> pa.Schema:
    """A shard's columns; neurons: the width of each sub-layer."""
    fields = [("text_id", pa.string())]
    if whole.partner:
        fields.append(("partner_id", pa.string()))
    fields.append(("full", pa.float32()))
    if whole.padding:
        fields.append(("positions", pa.int32()))
    if whole.tolerance:
        fields += [(f"{name}_points", pa.int32()) for name in neurons]
    for name, width in neurons.items():
        fields += [(f"{name}_{kind}", pa.float32()) for kind in NUMBERS]
        fields += [(f"{name}_{kind}", shards.fixed("float16", width)) for kind in VECTORS]
    return pa.schema(fields)


@dataclass(frozen=True)
class Stored:
    """A side's scores, of which every file was checked."""

    files: dict[int, list[Path]]
    """Layer to the shards of its scores."""
    quiet: frozenset[str]
    """Ids of the texts that are quiet in a layer, and are therefore left out in all."""

    @property
    def texts(self) -> int:
        """How many texts there are, quiet ones among them."""
        return sum(pq.read_metadata(path).num_rows for path in next(iter(self.files.values())))

    def at(self, layer: int) -> Stored:
        """The same of one layer alone."""
        return replace(self, files={layer: self.files[layer]})


def checked(
    folder: Path,
    attribution: specs.AttributionSpec | specs.AttributionSummary,
    layers: Sequence[int],
    **same: object,
) -> Stored:
    """The files of a side, after checking that all stem from this slice and from one model.

    same: what their identities must hold beside, as `weights` or `texts`.
    """
    files: dict[int, list[Path]] = {}
    quiet: set[str] = set()
    short = isinstance(attribution, specs.AttributionSummary)
    digest = attribution.spec if short else attribution.digest
    for layer in layers:
        names = [shards.shard_name(shard) for shard in range(attribution.shards)]
        files[layer] = [folder / f"layer-{layer:02d}" / name for name in names]
        for shard, path in enumerate(files[layer]):
            where = {"layer": layer, "shard": shard}
            provenance = AttributionShard.check(path, digest, **where, **same)
            same = {key: provenance.identity[key] for key in ORIGIN}
            quiet.update(provenance.facts.get(QUIET, []))
    return Stored(files, frozenset(quiet))


def origin(stored: Stored) -> dict[str, Any]:
    """The model and the texts that all of a side's files stem from."""
    identity = shards.provenance(next(iter(stored.files.values()))[0]).identity
    return {key: identity[key] for key in ORIGIN}


def stream(
    stored: Stored, sublayers: Sequence[str], kind: Kind = "scores"
) -> Iterator[tuple[list[str], ScoreSets]]:
    """Ids and scores of some texts at a time, in every layer and sub-layer; no quiet texts."""
    first = pq.read_schema(next(iter(stored.files.values()))[0])
    width = sum(first.field(f"{name}_{kind}").type.list_size for name in sublayers)
    rows = max(1, CHUNK // (4 * width * len(stored.files)))
    columns = ["text_id", *(f"{name}_{part}" for name in sublayers for part in ("scale", kind))]
    for shard in zip(*stored.files.values(), strict=True):
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
                kept = [row for row, id_ in enumerate(ids) if id_ not in stored.quiet]
                yield (
                    [ids[row] for row in kept],
                    {
                        (layer, name): _scaled(batch, name, kind)[kept]
                        for layer, batch in zip(stored.files, batches, strict=True)
                        for name in sublayers
                    },
                )


def first(
    stored: Stored, sublayers: Sequence[str], texts: int, kind: Kind = "scores"
) -> tuple[list[str], ScoreSets]:
    """Ids and scores of the first so many texts that are not quiet."""
    ids: list[str] = []
    parts: dict[tuple[int, str], list[np.ndarray]] = {}
    for some, scores in stream(stored, sublayers, kind):
        missing = texts - len(ids)
        ids.extend(some[:missing])
        for key, values in scores.items():
            parts.setdefault(key, []).append(values[:missing])
        if len(ids) == texts:
            break
    return ids, {key: np.concatenate(values) for key, values in parts.items()}


def positions(stored: Stored) -> dict[str, int]:
    """The positions that each text was padded to; empty where no score depends on it."""
    paths = next(iter(stored.files.values()))
    if "positions" not in pq.read_schema(paths[0]).names:
        return {}
    columns = ["text_id", "positions"]
    tables = (pl.DataFrame(shards.read(path, columns)) for path in paths)
    return dict(pl.concat(tables).iter_rows())


def quality(stored: Stored, sublayers: Sequence[str]) -> pl.DataFrame:
    """How far a text's scores can be trusted, as `activations.quality` measures it."""
    for path in chain.from_iterable(stored.files.values()):
        # The columns that are read here; vectors are large.
        fields = pq.read_schema(path)
        shards.sound(path, [f.name for f in fields if not pa.types.is_fixed_size_list(f.type)])
    frames = [
        activations.quality(
            pl.scan_parquet(paths).filter(~pl.col("text_id").is_in(list(stored.quiet))), layer, name
        )
        for layer, paths in stored.files.items()
        for name in sublayers
    ]
    return pl.concat(frames).collect()


def said(stored: Stored) -> Iterator[str]:
    """A line for the log where texts are left out."""
    if stored.quiet:
        yield (
            f"{len(stored.quiet)} of {counted(stored.texts, 'text')} "
            f"{form(len(stored.quiet), 'is', 'are')} quiet in some layer and left out in "
            f"all: {', '.join(sorted(stored.quiet))}"
        )


def too_quiet(where: str, quiet: Collection[str], texts: int, target: str) -> WellspringError:
    """The error where more texts are quiet than may be, or all of them; where: begins it."""
    why = ""
    if target in NORMS:
        why = "the length of a vector behind a norm layer is nearly constant: "
    more = ", or raise the attribution's quiet" if len(quiet) < texts else ""
    shown = ", ".join(sorted(quiet)[:3]) + (", …" if len(quiet) > 3 else "")
    return WellspringError(
        f"{where} {len(quiet)} of {counted(texts, 'text')} {form(len(quiet), 'is', 'are')} quiet "
        f"({shown}): the target changes by no more than rounding when the weights are scaled from "
        f"zero: {why}attribute the target cosine or margin, or use dtype float32{more}"
    )


def _scaled(batch: pa.RecordBatch, name: str, kind: Kind) -> np.ndarray:
    scale = batch.column(f"{name}_scale").to_numpy()
    return shards.matrix(batch.column(f"{name}_{kind}")).astype(np.float32) * scale[:, None]
