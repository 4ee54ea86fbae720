"""Charts of whether attributions rank neurons alike, and as removing neurons does."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.figures.tables import with_shifted
from wellspring.page.attribution import PLACE, REGIONS, in_place
from wellspring.page.data import ordered, short, thinned
from wellspring.page.drawing import correlations, made
from wellspring.page.pairs import paired
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import ONE, of_pair

REMOVED = {
    "change": "change of the vector (size of the score)",
    "margin_change": "change of the margin (size of the score)",
    "length_change": "change of the length (size of the score)",
    "length_change-signed": "loss of length (signed score)",
}
INDEX = ["dataset", "retriever", "side", "sublayer", "region", "attribution", "other", "texts"]
HEADINGS = {
    "estimate": "rank correlation",
    "low": "from",
    "high": "to",
    "shifted": "with another text's",
    "texts": "texts",
}
ROW = {"step": 44, "for": "position"}
"""Pixels of a row."""


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Agreement with other scores, and with what removal does."""
    table = tables.get("decentralisation")
    if table is None:
        return []
    table = table.filter(pl.col("region").is_not_null()).drop_nulls("estimate")
    panels = []
    if not (agreement := table.filter(finding="agreement")).is_empty():
        panels.append(_agreement(agreement, settings))
    if not (fidelity := table.filter(finding="fidelity")).is_empty():
        panels.append(_fidelity(fidelity, settings))
    return panels


def _agreement(rows: pl.DataFrame, settings: Settings) -> Panel:
    """Two attributions agree with each other: a row serves both."""
    turned = rows.filter(pl.col("compared_with").is_null()).with_columns(
        attribution="other", other="attribution"
    )
    rows = pl.concat([rows, turned]).unique([*INDEX, "measure"], keep="first", maintain_order=True)
    rows = with_shifted(rows, INDEX).sort(
        *ordered("retriever", [*settings.pairs]),
        *in_place(*ordered("region", [*REGIONS]), "attribution", "other"),
        maintain_order=True,
    )
    data, left_out = thinned(short(rows), [])
    data = data.with_columns(pl.col("region").replace(REGIONS))
    return made(
        "agreement",
        "Do attributions rank neurons alike?",
        "Rank correlation over neurons of one attribution's scores with another's, or with the "
        "counterpart's: means over texts with 95 % intervals. The tick is the correlation with "
        "another text's scores, which agreement about a text must exceed.",
        data,
        {**PLACE, "region": "Blocks"},
        {},
        correlations(data, "other", ONE),
        {"other": "scores of", **HEADINGS},
        settings.sources("decentralisation", "estimate", "low", "high"),
        left_out,
        ROW,
    )


def _fidelity(rows: pl.DataFrame, settings: Settings) -> Panel:
    """Every attribution against what removal does."""
    rows = with_shifted(rows, INDEX).with_columns(measure=pl.lit("correlation"))
    rows = paired(rows, settings, "side", "sublayer", "region", "attribution", "other")
    rows = rows.sort(
        *in_place(*ordered("region", [*REGIONS]), *ordered("other", [*REMOVED]), "attribution"),
        maintain_order=True,
    )
    data, left_out = thinned(short(rows), [])
    data = data.with_columns(pl.col("region").replace(REGIONS), pl.col("other").replace(REMOVED))
    places = {name: label for name, label in PLACE.items() if name != "attribution"}
    return made(
        "fidelity",
        "Which attribution predicts what removal does?",
        "Rank correlation, over neurons, of scores with the effect of removing them one by one: "
        "means over texts with 95 % intervals; that of random twins is the range over them. The "
        "tick is the correlation with another text's effects.",
        data,
        {**places, "other": "Effect", "region": "Blocks"},
        {},
        correlations(data, "attribution", of_pair(data, settings.pairs)),
        {"attribution": "attribution", "line": "line", "name": "of", **HEADINGS},
        settings.sources("decentralisation", "estimate", "low", "high"),
        left_out,
        ROW,
    )
