"""What `wellspring inspect` shows of the content of files: read in parts, of bounded size."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from wellspring import shards
from wellspring.artefacts import provenance
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.reading import read_samples, read_texts
from wellspring.findings.difficulty import hardest
from wellspring.findings.similarity import chosen
from wellspring.inspection import Section, neurons, outcomes, tables, vectors
from wellspring.inspection.sections import shortened
from wellspring.plurals import counted
from wellspring.randomness import shuffled

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from wellspring.artefacts.attributions import AttributionShard
    from wellspring.artefacts.embeddings import EmbeddingShard
    from wellspring.artefacts.probes import ProbeOutcomes

ROWS = 1000
"""Rows of a sample: texts among which neighbours are looked for."""
BYTES = 192 << 20
"""Bytes of a file that are read; of a larger one some row groups stand for all."""
HEAD = 5
"""Rows, texts, samples or neurons that are shown."""
LIT = 3
"""Texts that are shown of a neuron."""
SEED = 0


@dataclass(frozen=True)
class Groups:
    """The row groups of a file that are read."""

    numbers: Sequence[int]
    rows: int
    """How many stand in them."""
    of: int
    """How many stand in the file."""

    @classmethod
    def of_file(cls, file: pq.ParquetFile) -> Groups:
        """All, where they are small; else so many that are drawn by (seed, number)."""
        stored = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        numbers, read = [], 0
        for number in shuffled(SEED, [str(number) for number in range(len(stored))], "groups"):
            size = stored[int(number)].total_byte_size
            if not numbers or read + size <= BYTES:
                numbers.append(int(number))
                read += size
        rows = sum(stored[number].num_rows for number in numbers)
        return cls(sorted(numbers), rows, file.metadata.num_rows)

    def note(self, noun: str, sampled: int | None = None) -> str:
        """How much of the file stands behind a table."""
        count = self.rows if sampled is None else sampled
        if count == self.of:
            return f"all {self.of:,} {noun}"
        groups = counted(len(self.numbers), "row group")
        where = "" if self.rows == self.of else f", drawn from {groups}"
        return f"a sample of {count:,} of {self.of:,} {noun}{where}"


def content(path: Path) -> Iterator[Section]:
    """A file of any kind: a table's rows and columns, what a JSON file says, a picture's size."""
    if path.suffix == ".parquet":
        yield from _table(path)
    elif path.suffix == ".json":
        stored = json.loads(path.read_text(encoding="utf-8"))
        own = {k: v for k, v in stored.items() if k not in provenance.PARTS}
        yield Section("content", "Content", list(leaves(own)))
    elif path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            rows = [{"width": image.width, "height": image.height, "unit": "pixels"}]
            yield Section("picture", "Picture", rows)


def leaves(content: Any, name: str = "") -> Iterator[dict[str, object]]:
    """The values of nested mappings, a row each, with their names joined by dots."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield {"name": name, "value": content if not isinstance(content, list) else str(content)}


def _table(path: Path) -> Iterator[Section]:
    with shards.opened(path) as file:
        groups = Groups.of_file(file)
        if not groups.of:
            yield Section("head", "Rows", [], "there are none")
            return
        table = _frame(file.read_row_groups(list(groups.numbers)))
    first = table.head(HEAD).iter_rows(named=True)
    shown = [{name: _cell(value) for name, value in row.items()} for row in first]
    yield Section("head", "First rows", shown, f"of {groups.of:,}")
    for name, title, rows in (
        ("numbers", "Columns of numbers", list(tables.numbers(table))),
        ("words", "Columns of words", list(tables.words(table))),
    ):
        if rows:
            yield Section(name, title, rows, groups.note("rows"))


def embeddings(shard: EmbeddingShard, results: Path) -> Iterator[Section]:
    """Lengths and anisotropy of every layer, and the neighbours of the first texts at the last."""
    path = shard.at(results)
    identity = shards.provenance(path).identity
    with shards.opened(path) as file:
        layers = [name for name in file.schema_arrow.names if name != "text_id"]
        groups = Groups.of_file(file)
        ids, rows = _drawn(file, groups)
        spreads, sample = [], np.empty((0, 0))
        for name in layers:
            lengths, sample = _layer(file, groups, name, rows)
            spreads.append(_spread(name, vectors.spread(lengths, sample)))
    note = f"{groups.note('texts')}; anisotropy: {groups.note('texts', len(ids))}"
    yield Section("layers", "Vectors of each layer", spreads, note)
    if len(ids) > 1:
        first = range(min(HEAD, len(ids)))
        nearest, cosines = vectors.neighbours(sample, first)
        named = [ids[row] for row in (*first, *nearest)]
        texts = _texts(results, shard.dataset, shard.side, named, (shard, identity.get("texts")))
        yield Section(
            "neighbours",
            f"First texts and their nearest neighbours at {layers[-1]}",
            [
                {
                    "text_id": ids[row],
                    "text": shortened(texts.get(ids[row])),
                    "neighbour_id": ids[other],
                    "neighbour": shortened(texts.get(ids[other])),
                    "cosine": float(cosine),
                }
                for row, other, cosine in zip(first, nearest, cosines, strict=True)
            ],
            groups.note("texts", len(ids)),
        )


def scan(path: Path) -> Iterator[Section]:
    """Of each layer: how many queries found how many passages, and how good these are."""
    rows = []
    for group in shards.row_groups(path, ["layer", "documents", "scores"]):
        documents, scores = (shards.matrix(group[name]) for name in ("documents", "scores"))
        found = documents >= 0
        rows.append(
            {
                "layer": group["layer"][0].as_py(),
                "queries": len(found),
                "passages_max": int(found.sum(1).max()),
                "score_min": float(scores[found].min(initial=np.inf)),
                "score_max": float(scores[found].max(initial=-np.inf)),
            }
        )
    yield Section("layers", "What was found at each layer", rows, "of the passages of one shard")


def _spread(layer: str, spread: vectors.Spread) -> dict[str, object]:
    alike = spread.anisotropy
    return {
        "layer": layer,
        "norm_mean": spread.mean,
        "norm_min": spread.low,
        "norm_max": spread.high,
        "not_finite": spread.broken,
        "anisotropy": float(alike.estimate[0]),
        "low": float(alike.low[0]),
        "high": float(alike.high[0]),
    }


def _drawn(file: pq.ParquetFile, groups: Groups) -> tuple[list[str], list[np.ndarray]]:
    """Ids of the sampled texts, drawn by (seed, id), in the order of the file; and their rows in
    each of the groups."""
    by_group = [
        file.read_row_group(number, ["text_id"])["text_id"].to_pylist() for number in groups.numbers
    ]
    kept = set(chosen([each for ids in by_group for each in ids], ROWS, SEED))
    rows = [
        np.array([row for row, each in enumerate(ids) if each in kept], np.int64)
        for ids in by_group
    ]
    return [ids[row] for ids, own in zip(by_group, rows, strict=True) for row in own], rows


def _layer(
    file: pq.ParquetFile, groups: Groups, name: str, rows: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The norms of a layer's vectors, and the vectors of the sampled rows, as stored."""
    lengths, sampled = [], []
    for number, own in zip(groups.numbers, rows, strict=True):
        block = shards.matrix(file.read_row_group(number, [name])[name])
        if len(block) != file.metadata.row_group(number).num_rows:
            raise pa.ArrowInvalid(f"{name} does not have a vector for every text")
        lengths.append(vectors.norms(block))
        sampled.append(block[own])
    return np.concatenate(lengths), np.concatenate(sampled)


def probe(job: ProbeOutcomes, results: Path) -> Iterator[Section]:
    """Accuracy by probe, and the hardest samples."""
    with shards.opened(job.at(results)) as file:
        table = _frame(file.read())
    rows = outcomes.accuracies(table).to_dicts()
    yield Section("accuracy", "Accuracy of each probe", rows, "means over seeds")
    hard = hardest(table, SEED, job.dataset).head(HEAD)
    samples = _samples(results, job.dataset, hard["sample_id"].to_list())
    queries, passages = (
        _texts(results, job.dataset, side, [each[column] for each in samples.values()])
        for side, column in (("query", "query_id"), ("passage", "positive_id"))
    )
    shown = []
    for row in hard.iter_rows(named=True):
        sample = samples.get(row["sample_id"], {})
        query = shortened(queries.get(sample.get("query_id", "")))
        positive = shortened(passages.get(sample.get("positive_id", "")))
        shown.append({**row, "query": query, "positive": positive})
    note = "correct: mean credit over probes and seeds, without random and lexical controls"
    yield Section("hardest", "Hardest samples", shown, note)


def scores(shard: AttributionShard, results: Path) -> Iterator[Section]:
    """The neurons with the largest scores, and the texts that light them."""
    path = shard.at(results)
    identity = shards.provenance(path).identity
    with shards.opened(path) as file:
        groups = Groups.of_file(file)
        sublayers = [
            name.removesuffix("_scores")
            for name in file.schema_arrow.names
            if name.endswith("_scores")
        ]
        tops = {name: _top(file, groups, name) for name in sublayers}
    named = {text for _, top in tops.values() for each in top for text, _ in each.texts}
    digest = identity.get("texts", {}).get(shard.side)
    texts = _texts(results, shard.dataset, shard.side, named, (shard, digest))
    for name, (count, top) in tops.items():
        rows = [
            {
                "neuron": each.neuron,
                "mean_share": each.mean,
                "text_id": text_id,
                "share": share,
                "text": shortened(texts.get(text_id)),
            }
            for each in top
            for text_id, share in each.texts
        ]
        note = (
            f"{groups.note('texts')}, {groups.rows - count} of them quiet and left out; share: "
            "absolute score over the text's largest one in the sub-layer"
        )
        yield Section(f"{name}_neurons", f"Top neurons of the sub-layer {name}", rows, note)


def _top(file: pq.ParquetFile, groups: Groups, sublayer: str) -> tuple[int, list[neurons.Neuron]]:
    """How many texts have a signal, and the neurons with the largest scores."""
    columns = ["text_id", f"{sublayer}_scale", f"{sublayer}_scores"]
    # Arrow passes over columns that are not there.
    if missing := set(columns) - set(file.schema_arrow.names):
        raise pa.ArrowInvalid(f"has no {min(missing)}")
    width = file.schema_arrow.field(columns[-1]).type.list_size
    tally = neurons.Tally(width, LIT)
    rows = max(1, (16 << 20) // (4 * width))
    for batch in file.iter_batches(rows, list(groups.numbers), columns):
        ids, scale, shares = batch.columns
        loud = np.flatnonzero(np.from_dlpack(scale) > 0)
        named = [ids[row].as_py() for row in loud.tolist()]
        tally.add(named, shards.matrix(shares)[loud])
    return tally.count, tally.top(HEAD)


def _texts(
    results: Path,
    dataset: str,
    side: str,
    ids: Collection[str],
    made: tuple[Artefact, str | None] | None = None,
) -> dict[str, str]:
    """`read_texts`, as far as the dataset's texts are at hand."""
    if not ids or not Texts(dataset).at(results).exists():
        return {}
    return read_texts(results, dataset, side, ids, made)


def _samples(results: Path, dataset: str, ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Sample to its row, as far as the samples are at hand."""
    if not Samples(dataset).at(results).exists():
        return {}
    rows = read_samples(results, dataset, ids).iter_rows(named=True)
    return {row["sample_id"]: row for row in rows}


def _frame(table: pa.Table) -> pl.DataFrame:
    """The table for polars, without columns of vectors; raises ArrowInvalid where it is damaged."""
    table.validate(full=True)
    small = [field.name for field in table.schema if not pa.types.is_fixed_size_list(field.type)]
    return pl.DataFrame(table.select(small).replace_schema_metadata())


def _cell(value: object) -> object:
    """A value as it is shown: the beginning of a text or a list."""
    if isinstance(value, str):
        return shortened(value)
    return shortened(str(value)) if isinstance(value, list) else value
