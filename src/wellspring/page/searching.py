"""What searches of the whole corpus say: the last layer beside words and beside the counterpart,
the best layer, and fusion with words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from wellspring.page.panels import Settings, Tables
from wellspring.page.words import (
    Group,
    Statement,
    Tone,
    difference,
    estimate,
    listed,
    number,
    p_value,
    significance,
    stop,
)
from wellspring.plurals import counted

TOLD = 6
"""Retrievers and datasets that are told in sentences; the table holds all."""
ENDS = ("estimate", "low", "high")

Row = Mapping[str, Any]


def groups(tables: Tables, settings: Settings) -> tuple[list[Group], str]:
    """A group for each retriever and dataset that is searched, by the first measure.

    Retrievers that are compared come first, and a counterpart is told beside them. The sentence
    names what only the table tells of; it is empty where there is nothing.
    """
    table = tables.get("retrieval")
    if table is None or table.is_empty():
        return [], ""
    table = table.filter(measure=table["measure"][0])
    further = {name for names in settings.twins.values() for name in names[1:]}
    vectors = table.filter(pl.col("retriever").is_not_null(), finding="value")
    every = vectors.select("dataset", "retriever").unique(maintain_order=True).rows()
    own = [place for place in every if place[1] in settings.pairs and place[1] not in further]
    places = own or every
    told = [
        _group(table.filter(dataset=dataset, retriever=name), settings)
        for dataset, name in places[:TOLD]
    ]
    left = [f"{name} on {dataset}" for dataset, name in places[TOLD:]]
    untold = f"Only the charts below tell of the searches of {listed(left, len(left))}."
    return told, untold if left else ""


def _group(rows: pl.DataFrame, settings: Settings) -> Group:
    """What a retriever finds in a dataset."""
    values = rows.filter(finding="value", ranker="vectors").sort("layer")
    last = values.row(-1, named=True)
    deepest = last["layer"] == settings.depths.get(last["retriever"])
    which = "the last" if deepest else "the last searched"
    heading = (
        f"{last['retriever']} on {last['dataset']}: search of the whole corpus, "
        f"{last['measure']}, layer {last['layer']} ({which})"
    )
    return Group(heading, tuple(_statements(rows, values, last, settings)))


def _statements(
    rows: pl.DataFrame, values: pl.DataFrame, last: Row, settings: Settings
) -> Iterator[Statement]:
    here = rows.filter(layer=last["layer"])
    terms = rows.filter(ranker="terms")
    for own in [last, *terms.filter(finding="value").iter_rows(named=True)]:
        of_own = (here if own is last else terms).filter(ranker=own["ranker"])
        for row in of_own.filter(finding="difference").iter_rows(named=True):
            yield _compared(row, own, row["compared_with"], "its counterpart", settings)
        for row in of_own.filter(finding="control").iter_rows(named=True):
            yield _compared(row, own, row["scorer"], "the best lexical scorer", settings)
    for row in here.filter(finding="control", ranker="fusion").iter_rows(named=True):
        yield _fused(row, settings)
    yield from _best(values, last, settings)


def _compared(row: Row, own: Row, whom: str, meaning: str, settings: Settings) -> Statement:
    """The last layer, or the terms, against something else."""
    verdict, tone = significance(row, whom)
    by_terms = own["ranker"] == "terms"
    found = estimate(*(own[end] for end in ENDS))
    sentence = (
        f"{row['measure']} {'by terms ' if by_terms else ''}is {found} on "
        f"{counted(own['queries'], 'query', 'queries')}. Against {whom} ({meaning}) the difference "
        f"is {difference(*(row[end] for end in ENDS))}, {p_value(row['p_adjusted'])}"
        f"{'' if by_terms else ' adjusted for all layers'}."
    )
    more = ""
    if not row["significant"] and row["detectable"] is not None:
        more = (
            "With 80 % power, the interval of this comparison alone would exclude 0 for a true "
            f"difference of {number(row['detectable'])}."
        )
    return Statement(verdict, tone, sentence, (more,) if more else (), _sources(settings))


def _fused(row: Row, settings: Settings) -> Statement:
    verdict, tone = significance(row, "the vectors alone")
    sentence = (
        f"Fusion of the last layer with {row['scorer']} changes {row['measure']} by "
        f"{difference(*(row[end] for end in ENDS))}, {p_value(row['p_adjusted'])}."
    )
    return Statement(verdict, tone, sentence, (), _sources(settings))


def _best(values: pl.DataFrame, last: Row, settings: Settings) -> Iterator[Statement]:
    """Which layer would have been the best embedding; nothing where one layer is searched."""
    chosen = values.filter(pl.col("chosen").is_not_null())
    if values.height < 2 or chosen.is_empty():
        return
    row = chosen.row(0, named=True)
    held_out = row["chosen"] == "validation"
    tone: Tone = "open" if held_out else "mixed"
    how = "on validation queries" if held_out else "on the queries that it is judged by"
    found = estimate(*(row[end] for end in ENDS))
    if row["layer"] == last["layer"]:
        verdict, sentence = "the last layer is best", f"it was chosen as the best {how}"
    else:
        verdict = f"layer {row['layer']} is best"
        sentence = (
            f"layer {row['layer']} was chosen as the best {how}, with {row['measure']} {found}"
        )
    more = () if held_out else ("Such a choice looks better than it is.",)
    yield Statement(verdict, tone, stop(sentence), more, _sources(settings))


def _sources(settings: Settings):
    return settings.sources("retrieval", *ENDS, "p_adjusted", "significant")
