"""similarity, findings and published: from vectors and probe outcomes to tables."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import polars as pl
from pydantic import BaseModel, Field, ValidationError, model_validator

from wellspring import shards, specs
from wellspring.cli import grids
from wellspring.cli.probes import load_side
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step
from wellspring.errors import ConfigError, SourceError, StaleArtefact

if TYPE_CHECKING:
    from wellspring.findings.similarity import Similarity

SIMILARITY = {
    "layer": pl.Int64,
    "side": pl.String,
    "measure": pl.String,
    "whose": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "samples": pl.Int64,
}
"""The columns of a similarity table; `whose`: both, retriever or counterpart."""


@click.command()
@click.argument("texts", type=FILE)
@click.argument("table", type=FILE)
@click.option("--query", type=FOLDER, required=True, help="Folder of the query shards.")
@click.option("--passage", type=FOLDER, required=True, help="Folder of the passage shards.")
@click.option("--other-query", type=FOLDER, required=True, help="The counterpart's query shards.")
@click.option("--other-passage", type=FOLDER, required=True, help="Its passage shards.")
@options
def similarity(
    texts: Path,
    table: Path,
    query: Path,
    passage: Path,
    other_query: Path,
    other_passage: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Compare two retrievers' vectors of TEXTS, layer by layer, into TABLE."""
    from wellspring.findings.similarity import chosen, compare

    wanted = specs.SimilaritySpec.read(spec)
    with step("similarity", None, code, log) as messages:
        digests = shards.check(texts, step="texts").identity["texts"]
        sides = {
            "query": ((query, wanted.query), (other_query, wanted.other_query)),
            "passage": ((passage, wanted.passage), (other_passage, wanted.other_passage)),
        }
        rows = []
        with messages.track(len(sides) * len(wanted.layers), "layers") as bar:
            for side, both in sides.items():
                for layer in wanted.layers:
                    (ids, mine), (other_ids, theirs) = (
                        load_side(folder, encoding, wanted.shards, digests[side], layer)
                        for folder, encoding in both
                    )
                    some = chosen(ids, wanted.texts, wanted.seed)
                    found = compare(_picked(ids, mine, some), _picked(other_ids, theirs, some))
                    rows.extend(_rows(layer, side, found))
                    bar.advance(1)
        frame = pl.DataFrame(rows, schema=SIMILARITY, orient="row")
        identity = {"step": "similarity", "spec": wanted.model_dump(mode="json"), "texts": digests}
        made = shards.Provenance(identity, circumstances("similarity", None, "numpy"))
        shards.write(table, frame.to_arrow(), made)


def _picked(ids: Sequence[str], vectors: np.ndarray, wanted: Sequence[str]) -> np.ndarray:
    row = {text_id: position for position, text_id in enumerate(ids)}
    return vectors[[row[text_id] for text_id in wanted]]


def _rows(layer: int, side: str, found: Similarity) -> Iterator[tuple]:
    for measure, whose, interval in (
        ("cka", "both", found.cka),
        ("anisotropy", "retriever", found.own),
        ("anisotropy", "counterpart", found.other),
    ):
        ends = (end.item() for end in (interval.estimate, interval.low, interval.high))
        yield (layer, side, measure, whose, *ends, found.texts)


@click.command()
@click.argument("probes", type=FOLDER)
@click.argument("similarities", type=FOLDER)
@click.argument("parquet", type=FILE)
@click.argument("csv", type=FILE)
@click.argument("training", type=FILE)
@options
def findings(
    probes: Path,
    similarities: Path,
    parquet: Path,
    csv: Path,
    training: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Test the outcomes under PROBES; write PARQUET and CSV, and what became of the TRAINING."""
    from wellspring.findings.table import Settings, build

    wanted = specs.FindingsSpec.read(spec)
    with step("findings", None, code, log) as messages:
        settings = Settings(wanted.alpha, wanted.permutations, wanted.seed)
        compared = _similarities(similarities, wanted)
        tables, fits = [], []
        for (dataset, _), probed in grids.together(wanted.probed).items():
            cells = [cell for grid in probed for cell in grids.probe_files(probes, grid)]
            # Lazy: a retriever's outcomes are read when their turn comes.
            outcomes = pl.concat([grids.located(path, **where) for path, where in cells])
            names = pl.col("retriever").is_in([grid.retriever for grid in probed])
            of_dataset = None if compared is None else compared.filter(names, dataset=dataset)
            codes = pl.concat(
                [
                    grids.located(path.with_suffix(".codes.parquet"), **where)
                    for path, where in cells
                ]
            )
            tables.append(build(outcomes, of_dataset, wanted.pairs, settings, codes))
            fits.extend(_metrics(path, where) for path, where in cells)
            messages.say(f"{dataset}: {len(cells)} probe jobs, {len(tables[-1])} findings")
        table = pl.concat(tables)
        identity = {"step": "findings", "spec": wanted.model_dump(mode="json")}
        made = shards.Provenance(identity, circumstances("findings", None, "scipy", "polars"))
        shards.write_text(training, pl.concat(fits).write_csv())
        shards.write_text(csv, table.write_csv(float_precision=6))
        shards.write(parquet, table.to_arrow(), made)


def _metrics(path: Path, where: dict) -> pl.DataFrame:
    found = pl.from_arrow(shards.read(path.with_suffix(".metrics.parquet")))
    columns = [pl.lit(value).alias(name) for name, value in where.items()]
    return found.select(*columns, pl.all())


def _similarities(folder: Path, wanted: specs.FindingsSpec) -> pl.DataFrame | None:
    """All similarity tables; a counterpart's own rows are named as its own."""
    frames = []
    for retriever, datasets in wanted.similarities.items():
        other = wanted.pairs[retriever]
        for dataset, digest in datasets.items():
            path = folder / retriever / f"{dataset}.parquet"
            shards.check(path, digest, step="similarity")
            theirs = pl.col("whose") == "counterpart"
            frames.append(
                pl.from_arrow(shards.read(path))
                .with_columns(
                    dataset=pl.lit(dataset),
                    retriever=pl.when(theirs).then(pl.lit(other)).otherwise(pl.lit(retriever)),
                    compared_with=pl.when(pl.col("whose") == "both").then(pl.lit(other)),
                )
                .drop("whose")
            )
    # Two retrievers may share a counterpart, whose own rows then come twice.
    return pl.concat(frames).unique(maintain_order=True) if frames else None


class Point(BaseModel):
    """A line of a file of published curves."""

    dataset: str = Field(min_length=1)
    retriever: str = Field(min_length=1)
    passages: int = Field(ge=2, lt=1_000)
    layer: int = Field(ge=0, lt=1_000)
    correct: int = Field(ge=0, lt=1 << 40)
    samples: int = Field(ge=2, lt=1 << 40)

    @model_validator(mode="after")
    def _possible(self) -> Point:
        if self.correct > self.samples:
            raise ValueError(f"{self.correct} of {self.samples} samples cannot be correct")
        return self


@click.command()
@click.argument("findings", type=FILE)
@click.argument("curves", type=FILE)
@click.argument("compared", type=FILE)
@options
def published(
    findings: Path, curves: Path, compared: Path, spec: str, code: str | None, log: Path | None
) -> None:
    """Set FINDINGS against the published CURVES (CSV); write the differences to COMPARED (CSV)."""
    from wellspring.findings.published import compare

    wanted = specs.PublishedSpec.read(spec)
    with step("published", None, code, log) as messages:
        study = shards.check(findings, step="findings").identity["spec"]["study"]
        if study != wanted.study:
            raise StaleArtefact(f"{findings}: is of study {study}: name {wanted.study}'s file")
        table = pl.from_arrow(shards.read(findings))
        found = compare(table, read_published(curves), wanted.curves, wanted.pairs, wanted.probe)
        if found.is_empty():
            raise ConfigError(
                f"{curves}: has no point of the study's datasets, retrievers and layers; "
                "datasets must have the names that they have there, curves say whose is whose"
            )
        messages.say(f"{len(found)} published curves compared")
        shards.write_text(compared, found.write_csv(float_precision=6))


def read_published(path: Path) -> pl.DataFrame:
    """The points of published curves, a row each, in the columns of `Point`.

    Raises SourceError with file, line and field for what is malformed or stands there twice.
    """
    from wellspring.datasets.records import lines

    names = list(Point.model_fields)
    rows = lines(path)
    place, header = next(rows, (f"{path}:1", ""))
    if header.split(",") != names:
        raise SourceError(f"{place}: expected the columns {','.join(names)}, found {header!r}")
    points: dict[tuple, Point] = {}
    for place, line in rows:
        point = _point(place, line, names)
        key = (point.dataset, point.retriever, point.passages, point.layer)
        if key in points:
            raise SourceError(f"{place}: this point stands further up already: {line}")
        points[key] = point
    if not points:
        raise SourceError(f"{path}: holds no points")
    return pl.DataFrame([point.model_dump() for point in points.values()])


def _point(place: str, line: str, names: list[str]) -> Point:
    try:
        (cells,) = csv.reader([line], strict=True)
        return Point(**dict(zip(names, cells, strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            message = first["msg"].removeprefix("Value error, ")
            raise SourceError(f"{place}: {message}") from None
        raise SourceError(
            f"{place}: field '{first['loc'][0]}': {first['msg']}, found {first['input']!r}"
        ) from None
    except (csv.Error, ValueError):
        raise SourceError(f"{place}: expected {len(names)} fields, found {line!r}") from None
