"""The table of a study's probes: each against its counterpart, its controls, words and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from wellspring.config import LAYERLESS
from wellspring.findings.table import CONTROLS
from wellspring.page import definitions
from wellspring.page.answer import TESTED
from wellspring.page.panels import Choice, Settings, Source, Tables
from wellspring.page.words import Listing, bracket, number, signed
from wellspring.plurals import counted

MOST_ROWS = 2_500
"""More would make the page slow: layers are left out, and the page says which are kept."""
FLOOR = "lexical"

NAMES = {"passages": "N (passages)"}
"""Columns that are labelled otherwise."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A number with its interval, and what it is against where it is a difference."""

    value: str
    interval: str = ""
    mark: str = ""
    """`significant`, or empty."""
    against: str = ""


@dataclass(frozen=True)
class Line:
    """A row: where it stands, then its cells."""

    dataset: str
    retriever: str
    probe: str
    layer: str
    passages: str
    accuracy: Cell
    chance: str
    above: Cell
    counterpart: tuple[Cell, ...]
    twins: str
    controls: tuple[Cell, ...]
    floor: tuple[Cell, ...]


@dataclass(frozen=True)
class Summary:
    """The table, the choices that filter it, and what it leaves out."""

    lines: tuple[Line, ...]
    choices: tuple[Choice, ...]
    datasets: tuple[str, ...]
    has_twins: bool
    definitions: Listing
    left_out: str
    sources: tuple[Source, ...]


def build(tables: Tables, settings: Settings) -> Summary | None:
    """The table of all probes; None where nothing was probed."""
    if "findings" not in tables or (rows := _rows(tables["findings"], settings)).is_empty():
        return None
    accuracies = rows.filter(finding="accuracy", measure="accuracy")
    kept, left_out = _kept(accuracies)
    index = _index(rows)
    twins = _ranges(tables["findings"], settings)
    order = _order(accuracies["probe"].unique().to_list(), settings.probe)
    lines = sorted(
        (_line(row, index, twins) for row in kept.iter_rows(named=True)),
        key=lambda line: (
            line.dataset,
            line.retriever,
            order[line.probe],
            int(line.passages),
            -_depth(line),
        ),
    )
    columns = ("estimate", "low", "high", "test", "significant")
    return Summary(
        tuple(lines),
        _choices(lines, settings),
        tuple(dict.fromkeys(line.dataset for line in lines)),
        bool(twins),
        definitions.build(_named(lines)),
        left_out,
        settings.sources("findings", *columns),
    )


def _rows(findings: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Without further draws of twins and probes on random targets, which are controls."""
    further = [name for names in settings.twins.values() for name in names[1:]]
    return findings.filter(
        pl.col("finding").is_in(["accuracy", "difference", "control"]),
        ~pl.col("retriever").is_in(further),
        ~pl.col("probe").str.starts_with("random-label"),
    )


def _kept(accuracies: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The rows that the page holds, and which it leaves out, in words."""
    layers = sorted(accuracies["layer"].drop_nulls().unique().to_list())
    if accuracies.height <= MOST_ROWS or len(layers) < 3:
        return accuracies, ""
    quarters = sorted({layers[(len(layers) - 1) * part // 4] for part in range(5)})
    last = pl.col("layer") == pl.col("layer").max().over("dataset", "retriever")
    for chosen in (quarters, []):
        kept = accuracies.filter(pl.col("layer").is_null() | last | pl.col("layer").is_in(chosen))
        if kept.height <= MOST_ROWS:
            break
    which = f"layers {', '.join(map(str, chosen))} and the last one" if chosen else "the last layer"
    return kept, (
        f"The page holds {kept.height:,} of {accuracies.height:,} rows: {which} of each retriever. "
        "The file that is linked below holds all."
    )


Key = tuple[str, str, str, int | None, int]


def _key(row: Row) -> Key:
    return row["dataset"], row["retriever"], row["probe"], row["layer"], row["passages"]


def _index(rows: pl.DataFrame) -> dict[Key, list[Row]]:
    """Every row of a cell, by the cell."""
    index: dict[Key, list[Row]] = {}
    tested = pl.col("test").is_null() | (pl.col("test") == TESTED)
    for row in rows.filter(tested).iter_rows(named=True):
        index.setdefault(_key(row), []).append(row)
    return index


def _ranges(findings: pl.DataFrame, settings: Settings) -> dict[Key, str]:
    """The range of the accuracies of a random twin's draws, for the retriever it is set against."""
    accuracies = findings.filter(finding="accuracy", measure="accuracy")
    ranges: dict[Key, str] = {}
    cell = ["dataset", "probe", "layer", "passages"]
    for first, names in settings.twins.items():
        drawn = accuracies.filter(pl.col("retriever").is_in(list(names)))
        spread = drawn.group_by(cell).agg(low=pl.min("estimate"), high=pl.max("estimate"))
        for name in (name for name, other in settings.pairs.items() if other == first):
            for row in spread.iter_rows(named=True):
                text = (
                    f"{number(row['low'])} to {number(row['high'])} ({counted(len(names), 'draw')})"
                )
                ranges[_key({**row, "retriever": name})] = text
    return ranges


def _line(row: Row, index: Mapping[Key, Sequence[Row]], twins: Mapping[Key, str]) -> Line:
    cell = index[_key(row)]
    measures = {each["measure"]: each for each in cell if each["finding"] == "accuracy"}
    differences = [each for each in cell if each["measure"] == "difference" and each["test"]]
    order = {names: at for at, names in enumerate(CONTROLS)}
    controls = sorted(
        (each for each in differences if each["finding"] == "control"),
        key=lambda each: order.get((each["probe"], each["compared_probe"]), 0),
    )
    return Line(
        dataset=row["dataset"],
        retriever=row["retriever"],
        probe=row["probe"],
        layer="any" if row["layer"] is None else str(row["layer"]),
        passages=str(row["passages"]),
        accuracy=Cell(number(row["estimate"]), bracket(row["low"], row["high"])),
        chance=number(measures["chance"]["estimate"]) if "chance" in measures else "–",
        above=_above(measures.get("above_chance")),
        counterpart=tuple(
            _cell(each, each["compared_with"])
            for each in differences
            if each["finding"] == "difference"
        ),
        twins=twins.get(_key(row), ""),
        controls=tuple(
            _cell(each, each["compared_probe"])
            for each in controls
            if each["compared_probe"] != FLOOR
        ),
        floor=tuple(_cell(each, FLOOR) for each in controls if each["compared_probe"] == FLOOR),
    )


def _above(row: Row | None) -> Cell:
    if row is None:
        return Cell("–")
    outside = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
    mark = "interval excludes 0" if outside else ""
    return Cell(signed(row["estimate"]), bracket(row["low"], row["high"]), mark)


def _cell(row: Row, against: str) -> Cell:
    mark = "significant" if row["significant"] else ""
    return Cell(signed(row["estimate"]), bracket(row["low"], row["high"]), mark, against)


def _order(probes: Sequence[str], first: str) -> dict[str, int]:
    """The published probe first, those without layers last."""
    ordered = sorted(probes, key=lambda name: (name != first, name in LAYERLESS, name))
    return {name: at for at, name in enumerate(ordered)}


def _named(lines: Sequence[Line]) -> set[str]:
    """The probes and controls that the table names."""
    against = {cell.against for line in lines for cell in (*line.controls, *line.floor)}
    return against | {line.probe for line in lines}


def _depth(line: Line) -> int:
    return -1 if line.layer == "any" else int(line.layer)


def _choices(lines: Sequence[Line], settings: Settings) -> tuple[Choice, ...]:
    """Controls that hide rows: empty stands for all, `last` for each retriever's last layer.

    The table begins with the retriever that is compared, at its last layer.
    """
    choices = []
    for column in ("dataset", "retriever", "probe", "layer", "passages"):
        values = list(dict.fromkeys(getattr(line, column) for line in lines))
        initial = ""
        if column == "retriever":
            initial = next((name for name in values if name in settings.pairs), "")
        if column == "layer":
            layers = sorted(int(value) for value in values if value != "any")
            values, initial = ["last", *map(str, layers)], "last"
        if len(values) > 1:
            choices.append(Choice(column, NAMES.get(column, column), ("", *values), initial))
    return tuple(choices)
