"""Charts of what a whole corpus is searched with at every layer: beside words, beside fusion with
words, beside the counterpart, and beside the probe's accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.page.data import INTERVAL, short, thinned
from wellspring.page.drawing import LAYERS, along, curves, judged, level_at, levels, made, up
from wellspring.page.pairs import chosen, paired
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.probing import BETWEEN_LAYERS
from wellspring.page.series import FUSION, LEXICAL, ONE, PROBED, TERMS, of_pair

CHOICES = {"dataset": "Dataset", "retriever": "Retriever", "measure": "Measure"}
SAME = "same queries"
WARNED = "chosen on the queries that it is judged by: too good"


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """A measure of retrieval over layers, and its differences from the counterpart."""
    table = tables.get("retrieval")
    if table is None or table.is_empty():
        return []
    return [*_values(table, tables.get("findings"), settings), *_differences(table, settings)]


def _values(table: pl.DataFrame, findings: pl.DataFrame | None, settings: Settings) -> list[Panel]:
    columns = ("dataset", "retriever", "measure", "layer", *INTERVAL, "queries", "judged", "note")
    values = table.filter(finding="value").with_columns(
        note=pl.when(chosen=SAME)
        .then(pl.lit(f"best layer, {WARNED}"))
        .when(chosen="validation")
        .then(pl.lit("best layer on the validation queries"))
    )
    lines = paired(values.filter(ranker="vectors").select(columns), settings, "layer")
    cells = lines.select("dataset", "retriever", "measure").unique(maintain_order=True)
    floor = (
        values.filter(pl.col("chosen").is_not_null(), ranker="lexical")
        .select(*columns, name="scorer")
        .drop("retriever", "layer", "note")
        .join(cells, on=["dataset", "measure"])
        .with_columns(line=pl.lit(LEXICAL))
    )
    alone = {
        FUSION: ("fusion", pl.format("the last layer with {}", "scorer")),
        TERMS: ("terms", pl.lit("weights of words")),
    }
    levels_of_its_own = [
        values.filter(ranker=ranker)
        .select(*columns, name=name)
        .drop("layer", "note")
        .join(cells, on=["dataset", "retriever", "measure"])
        .with_columns(line=pl.lit(line))
        for line, (ranker, name) in alone.items()
    ]
    probed = _probed(findings, cells, settings)
    rows = pl.concat([lines, floor, *levels_of_its_own, probed], how="diagonal").with_columns(
        pl.col("note").fill_null("")
    )
    data, left_out = thinned(short(rows), [BETWEEN_LAYERS])
    series, y = of_pair(data, settings.pairs), up("value")
    return [
        made(
            "retrieval",
            "Retrieval at every layer",
            "What a search of the whole corpus by the vectors of one layer finds. Bands are 95 % "
            "intervals over queries; a band between thin lines is the range over random twins. "
            "Level lines are the best lexical scorer, its fusion with the last layer, and the "
            "terms of a sparse retriever, which it is made to be searched by. The "
            "probe's accuracy, at the most passages, has its own scale: compare the courses alone. "
            "A best layer that was chosen on the same queries looks better than it is.",
            data,
            CHOICES,
            {},
            [*curves(along("layer", LAYERS), y, series), *levels("layer", y, series)],
            {
                "line": "line",
                "name": "of",
                "layer": "layer",
                "estimate": "value",
                "low": "from",
                "high": "to",
                "queries": "queries",
                "judged": "judged of the first ten",
                "note": "note",
            },
            settings.sources("retrieval", *INTERVAL),
            left_out,
        )
    ]


def _probed(findings: pl.DataFrame | None, cells: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The accuracy of the probe that is drawn first, at the most passages, beside every measure."""
    if findings is None:
        return pl.DataFrame()
    accuracies = findings.filter(finding="accuracy", measure="accuracy", probe=settings.probe)
    most = pl.col("passages") == pl.col("passages").max().over("dataset", "retriever")
    return (
        accuracies.filter(most)
        .select(
            *("dataset", "retriever", "layer", *INTERVAL, "queries"),
            name=pl.format("{}, N = {}", "probe", "passages"),
            line=pl.lit(PROBED),
        )
        .join(cells, on=["dataset", "retriever"])
    )


def _differences(table: pl.DataFrame, settings: Settings) -> list[Panel]:
    """Less the counterpart's value, with the test."""
    rows = table.filter(
        pl.col("retriever").is_in(chosen(settings, table["retriever"].drop_nulls().unique())),
        finding="difference",
        ranker="vectors",
    ).select(
        *("dataset", "retriever", "compared_with", "measure", "layer", *INTERVAL),
        *("p_adjusted", "significant", "queries"),
    )
    if rows.is_empty():
        return []
    data, left_out = thinned(short(rows), [BETWEEN_LAYERS])
    return [
        made(
            "retrieval-differences",
            "Retrieval less the counterpart's",
            "Differences are paired by query. Bars are 95 % intervals. A full point is significant "
            "when the test corrects for all layers of the measure (sign flips, max-T).",
            data,
            CHOICES,
            {},
            [
                level_at(0),
                *judged(along("layer", LAYERS), up("difference"), ONE, "datum.significant"),
            ],
            {
                "compared_with": "from",
                "layer": "layer",
                "estimate": "difference",
                "low": "from",
                "high": "to",
                "p_adjusted": "p, adjusted",
                "queries": "queries",
            },
            settings.sources("retrieval", *INTERVAL, "p_adjusted"),
            left_out,
        )
    ]
