"""The question and its answer: what the probes say first, the published claims, the cautions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from wellspring.findings.table import CONTROLS
from wellspring.findings.verdicts import (
    CONTRADICTED,
    DEPENDS,
    EQUIVALENT,
    NOT_TESTABLE,
    SUPPORTED,
)
from wellspring.page.panels import Settings, Tables
from wellspring.page.words import (
    Group,
    Listing,
    Statement,
    Tone,
    difference,
    estimate,
    listed,
    number,
    p_value,
    stop,
)

BEST = "interaction"
"""The probe that can use the query; it is told beside the one that figures show."""
TOLD = 6
"""Retrievers and datasets that are told in sentences; the table holds all."""
TESTED = "sign-flip max-T"

Row = Mapping[str, Any]


def question(retrievers: list[str]) -> str:
    """The study's question."""
    if len(retrievers) == 1:
        return f"Where does the knowledge of {retrievers[0]} come from?"
    return "Where does the knowledge of these retrievers come from?"


def lede(retrievers: list[str], pairs: Mapping[str, str], datasets: list[str]) -> str:
    """What the page tells, in two sentences."""
    compared = [f"{name} with {pairs[name]}" for name in retrievers if name in pairs]
    against = f" It compares {listed(compared, 4)}, layer by layer." if compared else ""
    return (
        "Did contrastive fine-tuning add knowledge to the retriever, or does it use what its "
        f"language model already knew?{against} The texts are those of {listed(datasets)}."
    )


def probed(tables: Tables, settings: Settings) -> list[Group]:
    """What the probes say at the last layer and the fewest passages, for a few retrievers.

    A group a retriever, dataset and probe. Each difference names what it is against.
    """
    if "findings" not in tables:
        return []
    findings = tables["findings"]
    further = [name for names in settings.twins.values() for name in names[1:]]
    compared = [name for name in settings.pairs if name not in further]
    accuracies = findings.filter(finding="accuracy", measure="accuracy")
    own = accuracies.filter(pl.col("retriever").is_in(compared))
    places = (
        (accuracies if own.is_empty() else own)
        .select("dataset", "retriever")
        .unique()
        .sort("dataset", "retriever")
    )
    groups = []
    for dataset, retriever in places.head(TOLD).iter_rows():
        for probe in dict.fromkeys((settings.probe, BEST)):
            rows = findings.filter(dataset=dataset, retriever=retriever, probe=probe)
            if (cell := _cell(rows)) is not None:
                groups.append(_told(rows, cell, settings))
    return groups


def _cell(rows: pl.DataFrame) -> Row | None:
    """The accuracy at the last layer and the fewest passages."""
    accuracies = rows.filter(finding="accuracy", measure="accuracy")
    if accuracies.is_empty():
        return None
    last = accuracies.sort(["passages", "layer"], descending=[False, True], nulls_last=True)
    return last.row(0, named=True)


def _told(rows: pl.DataFrame, cell: Row, settings: Settings) -> Group:
    """The statements about one cell."""
    here = rows.filter(
        pl.col("layer").eq_missing(pl.lit(cell["layer"], pl.Int64)), passages=cell["passages"]
    )
    layer = "" if cell["layer"] is None else f", layer {cell['layer']} (the last)"
    heading = (
        f"{cell['retriever']} on {cell['dataset']}: probe {cell['probe']}{layer}, "
        f"{cell['passages']} passages"
    )
    statements = [_against_chance(here, cell, settings)]
    tested = here.filter(pl.col("finding").is_in(["difference", "control"]), test=TESTED)
    tested = tested.filter(measure="difference")
    order = {names: at for at, names in enumerate(CONTROLS)}
    found = sorted(
        tested.iter_rows(named=True),
        key=lambda row: order.get((row["probe"], row["compared_probe"]), -1),
    )
    statements += [_compared(row, rows, settings) for row in found]
    return Group(heading, tuple(statements))


def _against_chance(here: pl.DataFrame, cell: Row, settings: Settings) -> Statement:
    measures = {
        row["measure"]: row for row in here.filter(finding="accuracy").iter_rows(named=True)
    }
    above, chance = measures["above_chance"], measures["chance"]["estimate"]
    verdict, tone = _side(
        above["low"],
        above["high"],
        "above chance",
        "below chance",
        "not distinguishable from chance",
    )
    samples, queries = cell["samples"], cell["queries"]
    behind = f"{samples:,} test samples of {queries:,} distinct queries"
    seeds = f", drawn over {cell['seeds']} seeds" if (cell["seeds"] or 0) > 1 else ""
    sentence = (
        f"The positive passage is ranked first for "
        f"{estimate(cell['estimate'], cell['low'], cell['high'])} of {behind}{seeds}. "
        f"Chance is {number(chance)}."
    )
    sources = settings.sources("findings", "estimate", "low", "high", "samples", "queries")
    return Statement(verdict, tone, sentence, sources=sources)


def _compared(row: Row, rows: pl.DataFrame, settings: Settings) -> Statement:
    """A tested difference from the counterpart or from another probe."""
    probe = row["compared_probe"]
    if probe is None:
        whom, meaning = row["compared_with"], "its counterpart"
    else:
        whom, meaning = probe, MEANINGS.get((row["probe"], probe), "a control")
    if not row["significant"]:
        verdict, tone = "no significant difference", "open"
    elif row["estimate"] > 0:
        verdict, tone = f"above {whom}", "for"
    else:
        verdict, tone = f"below {whom}", "against"
    sentence = (
        f"Against {whom} ({meaning}) the difference in accuracy above chance is "
        f"{difference(row['estimate'], row['low'], row['high'])}, {p_value(row['p_adjusted'])} "
        "adjusted for all layers and passage counts."
    )
    more = ""
    if not row["significant"] and row["detectable"] is not None:
        visible = number(row["detectable"])
        more = f"A single interval would show a difference of {visible} at 80 % power."
    columns = ("estimate", "low", "high", "p_adjusted", "significant", "detectable")
    sources = settings.sources("findings", *columns)
    return Statement(verdict, tone, sentence, tuple(filter(None, [more])), sources)


MEANINGS = {
    ("interaction", "shuffled-query"): "the same probe with another sample's query",
    ("concat", "passage-scorer"): "a probe that reads passages alone",
    ("concat", "random-label"): "the same probe on random targets",
    ("passage-scorer", "random-label-passage-scorer"): "the same probe on random targets",
    ("interaction", "random-label-interaction"): "the same probe on random targets",
    ("bilinear", "random-label-bilinear"): "the same probe on random targets",
    ("interaction", "cosine"): "the cosine of the same vectors, without training",
    ("cosine", "lexical"): "the lexical floor",
    ("interaction", "lexical"): "the lexical floor",
    ("concat", "interaction"): "the probe that can use the query",
}
"""What each control of `wellspring.findings.table.CONTROLS` is, in words."""


def _side(
    low: float | None, high: float | None, above: str, below: str, neither: str
) -> tuple[str, Tone]:
    """Where an interval lies beside 0."""
    if low is not None and low > 0:
        return above, "for"
    if high is not None and high < 0:
        return below, "against"
    return neither, "open"


def claims(tables: Tables, settings: Settings) -> list[Statement]:
    """A sentence for each published claim on each pair that could be measured."""
    if "claims" not in tables:
        return []
    measured = tables["claims"].filter(pl.col("settings") > 0)
    return [_claim(row, settings) for row in measured.iter_rows(named=True)]


def _claim(row: Row, settings: Settings) -> Statement:
    side = f", {row['side']} side, attribution {row['attribution']}" if row["side"] else ""
    on = f" on {row['dataset']}" if row["dataset"] else ""
    where = f"{row['retriever']} against {row['compared_with']}{on}{side}"
    number_, verdict = row["claim"], row["on_this_pair"]
    setting = f"At the published setting ({row['setting']}) the estimate is "
    sentence = (
        f"Claim {number_}: {row['statement']}. For {where}: {verdict}. {setting}"
        f"{difference(row['estimate'], row['low'], row['high'])}."
    )
    more = [
        f"Measured: {row['measured']}; {row['clusters']:,} distinct texts. "
        f"That setting alone says: {row['at_setting']}. {row['supporting']} of {row['settings']} "
        f"settings support the claim and {row['contradicting']} contradict it, tested together. "
        f"An effect of {number(row['detectable'])} would be seen at 80 % power."
    ]
    if row["reason"]:
        more.append(f"The published claim itself: {row['verdict']}, because {row['reason']}.")
    if row["confounded"]:
        more.append(stop(f"what else differed there: {row['confounded']}"))
    columns = ("estimate", "low", "high", "on_this_pair", "verdict", "reason")
    return Statement(
        verdict, tone_of(verdict), sentence, tuple(more), settings.sources("claims", *columns)
    )


def tone_of(verdict: str) -> Tone:
    """The tone of a verdict on a claim."""
    if verdict in (SUPPORTED, EQUIVALENT):
        return "for"
    if verdict == CONTRADICTED:
        return "against"
    return "mixed" if verdict.startswith(DEPENDS) else "open"


def untestable(tables: Tables, settings: Settings) -> Listing | None:
    """The claims that no pair of the study could be asked about, with the reason."""
    if "claims" not in tables:
        return None
    table = tables["claims"]
    asked = set(table.filter(pl.col("settings") > 0)["claim"])
    rows = []
    unasked = table.filter(~pl.col("claim").is_in(list(asked)))
    for (claim,), some in unasked.group_by("claim", maintain_order=True):
        statement = stop(some["statement"][0])
        rows.append(
            (
                str(claim),
                statement,
                stop("; ".join(some["reason"].drop_nulls().unique(maintain_order=True))),
            )
        )
    if not rows:
        return None
    return Listing(
        f"Published claims that are {NOT_TESTABLE}",
        ("claim", "says", "why not"),
        tuple(rows),
        sources=settings.sources("claims", "claim", "statement", "reason"),
    )


def cautions(tables: Tables, settings: Settings) -> list[Statement]:
    """What to be careful of: equal sentences about several sides once."""
    if "cautions" not in tables:
        return []
    table, statements = tables["cautions"], []
    # A name is written as it is.
    named = tuple(settings.encoders)
    keys = ["caution", "sentence"]
    for (caution, told), rows in table.group_by(keys, maintain_order=True):
        where, sentence = "; ".join(_where(rows)), str(told)
        statements.append(
            Statement(
                str(caution).replace("-", " "),
                "mixed",
                sentence if sentence.startswith(named) else stop(sentence),
                (f"About: {where}.",) if where else (),
                settings.sources("cautions", "value", "limit", "sentence"),
            )
        )
    return statements


def _where(rows: pl.DataFrame) -> Iterator[str]:
    for name in ("dataset", "retriever", "attribution", "side"):
        values = rows[name].drop_nulls().unique(maintain_order=True).to_list()
        if values:
            yield f"{name} {listed(values)}"
