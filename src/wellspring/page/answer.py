"""The question and its answer: what the probes say first, the published claims, the cautions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from wellspring.findings.claims import CLAIMS, Activity
from wellspring.findings.table import CONTROLS
from wellspring.findings.verdicts import (
    CONTRADICTED,
    DEPENDS,
    EQUIVALENT,
    NOT_TESTABLE,
    SUPPORTED,
)
from wellspring.page.definitions import MEANINGS
from wellspring.page.panels import Settings, Tables
from wellspring.page.words import (
    Group,
    Listing,
    Statement,
    Tone,
    difference,
    ended,
    estimate,
    listed,
    number,
    p_value,
    percent,
    percent_difference,
    significance,
    stop,
)
from wellspring.plurals import counted, form

BEST = "interaction"
"""The probe that can use the query; it is told beside the one that figures show."""
TOLD = 6
"""Retrievers and datasets that are told in sentences; the table holds all."""
TESTED = "sign-flip max-T"
ALONE = (
    "The interval is of this cell alone, not adjusted for other layers and passage counts. The "
    "tests of differences from controls are."
)
FOREMOST = "random-counterpart"

Row = Mapping[str, Any]


def question(retrievers: list[str]) -> str:
    """The study's question."""
    if len(retrievers) == 1:
        return f"Where does the knowledge of {retrievers[0]} come from?"
    return "Where does the knowledge of these retrievers come from?"


def lede(retrievers: list[str], pairs: Mapping[str, str], datasets: list[str]) -> str:
    """What the page tells, in three sentences."""
    compared = [f"{name} with {pairs[name]}" for name in retrievers if name in pairs]
    against = f" This study compares {listed(compared, 4)}, layer by layer." if compared else ""
    return (
        "Did contrastive fine-tuning add knowledge to the retriever, or does it use what its "
        f"language model already knew?{against} The texts are those of {listed(datasets)}."
    )


def probed(tables: Tables, settings: Settings) -> tuple[list[Group], str]:
    """What the probes say at the last layer and the fewest passages, for a few retrievers.

    A group a retriever, dataset and probe. Each difference names what it is against. A sentence
    names the retrievers and datasets of which only the table tells; it is empty where there are
    none.
    """
    if "findings" not in tables:
        return [], ""
    findings = tables["findings"]
    accuracies = findings.filter(finding="accuracy", measure="accuracy")
    further = {name for names in settings.twins.values() for name in names[1:]}
    every = accuracies.select("dataset", "retriever").unique().rows()
    # The retriever that the study names first is told first.
    named = {name: at for at, name in enumerate(settings.pairs)}
    every.sort(key=lambda place: (place[0], named.get(place[1], len(named)), place[1]))
    every = [place for place in every if place[1] not in further]
    own = [place for place in every if place[1] in settings.pairs]
    groups: list[Group] = []
    told: set[tuple[str, str]] = set()
    for dataset, retriever in own or every:
        if len(told) == TOLD:
            break
        here = _groups(findings.filter(dataset=dataset, retriever=retriever), settings)
        groups += here
        if here:
            told.add((dataset, retriever))
    # A counterpart is told beside the retriever that is set against it.
    told |= {(dataset, settings.pairs.get(retriever, "")) for dataset, retriever in told}
    untold: dict[str, list[str]] = {}
    for dataset, retriever in every:
        if (dataset, retriever) not in told:
            untold.setdefault(retriever, []).append(dataset)
    places = [f"{name} on {listed(some, len(some))}" for name, some in untold.items()]
    return groups, f"Only the table below tells of {'; '.join(places)}." if places else ""


def _groups(rows: pl.DataFrame, settings: Settings) -> list[Group]:
    """The groups of a retriever on a dataset."""
    groups = []
    for probe in dict.fromkeys((settings.probe, BEST)):
        of_probe = rows.filter(probe=probe)
        if (cell := _cell(of_probe)) is not None:
            groups.append(_told(of_probe, cell, settings))
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
    layer = ""
    if cell["layer"] is not None:
        deepest = cell["layer"] == settings.depths.get(cell["retriever"])
        layer = f", layer {cell['layer']} ({'the last' if deepest else 'the last probed'})"
    heading = (
        f"{cell['retriever']} on {cell['dataset']}: probe {cell['probe']}{layer}, "
        f"{counted(cell['passages'], 'passage')}"
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
    samples = counted(cell["samples"], "test sample")
    behind = f"{samples} of {counted(cell['queries'], 'distinct query', 'distinct queries')}"
    # Each seed may test samples of its own, and several seeds the same ones.
    seeds = f" of {cell['seeds']} seeds" if (cell["seeds"] or 0) > 1 else ""
    sentence = (
        f"The positive passage is ranked first in a share of "
        f"{estimate(cell['estimate'], cell['low'], cell['high'])} of the tests{seeds}, "
        f"on {behind}. Chance is {number(chance)}."
    )
    sources = settings.sources("findings", "estimate", "low", "high", "samples", "queries")
    return Statement(verdict, tone, sentence, (ALONE,), sources)


def _compared(row: Row, rows: pl.DataFrame, settings: Settings) -> Statement:
    """A tested difference from the counterpart or from another probe.

    rows: of all cells of the same retriever and probe.
    """
    probe = row["compared_probe"]
    if probe is None:
        whom, meaning = row["compared_with"], "its counterpart"
    else:
        whom, meaning = probe, MEANINGS.get((row["probe"], probe), "a control")
    verdict, tone = significance(row, whom)
    sentence = (
        f"Against {whom} ({meaning}) the difference of accuracy − chance is "
        f"{difference(row['estimate'], row['low'], row['high'])}, {p_value(row['p_adjusted'])} "
        "adjusted for all layers and passage counts."
    )
    more = ""
    if not row["significant"] and row["detectable"] is not None:
        visible = number(row["detectable"])
        more = (
            f"With 80 % power, the interval of this comparison alone would exclude 0 for a true "
            f"difference of {visible}."
        )
    columns = ("estimate", "low", "high", "p_adjusted", "significant", "detectable")
    sources = settings.sources("findings", *columns)
    elsewhere = _elsewhere(row, rows) if probe is None else ""
    return Statement(verdict, tone, sentence, tuple(filter(None, [more, elsewhere])), sources)


def _elsewhere(row: Row, rows: pl.DataFrame) -> str:
    """What the same comparison finds in all cells, of which the last layer is one."""
    same = rows.filter(
        pl.col("compared_probe").is_null(),
        finding=row["finding"],
        measure=row["measure"],
        test=row["test"],
        compared_with=row["compared_with"],
    )
    if same.height < 2:
        return ""
    significant = same.filter("significant")
    of_cells = f"of the {same.height} cells of layers and passage counts"
    if significant.is_empty():
        return f"The difference is significant in none {of_cells}."
    largest = significant.sort(pl.col("estimate").abs(), "layer").row(-1, named=True)
    value = difference(largest["estimate"], largest["low"], largest["high"])
    return (
        f"The difference is significant in {significant.height} {of_cells}. The largest of these "
        f"is {value}, at layer {largest['layer']} with {counted(largest['passages'], 'passage')}."
    )


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


RELATIVE = {claim.number for claim in CLAIMS if isinstance(claim.parts[0], Activity)}
"""Claims whose estimate is a change as a share of the counterpart's level."""


def _claim(row: Row, settings: Settings) -> Statement:
    number_, verdict = row["claim"], row["on_this_pair"]
    ends = row["estimate"], row["low"], row["high"]
    relative = number_ in RELATIVE
    scale = "relative change" if relative else "estimate"
    value = percent_difference(*ends) if relative else difference(*ends)
    if row["estimate"] is None:
        value = "not defined"
    sentence = (
        f"Claim {number_}: {row['statement']}. For {_pair(row)}: {verdict}. "
        f"At the published setting ({row['setting']}) the {scale} is {value}."
    )
    supporting, contradicting = row["supporting"], row["contradicting"]
    told = (
        f"Measured: {row['measured']}; {counted(row['clusters'], 'distinct text')}. "
        f"That setting alone says: {row['at_setting']}. {supporting} of "
        f"{_settings_of(row)} {form(supporting, 'supports', 'support')} "
        f"the claim and {contradicting} {form(contradicting, 'contradicts', 'contradict')} "
        "it, tested together."
    )
    if row["detectable"] is not None:
        visible = percent(row["detectable"]) if relative else number(row["detectable"])
        kind = "A relative change" if relative else "An effect"
        told += f" {kind} of {visible} would be seen at 80 % power."
    more = [told]
    if row["reason"]:
        more.append(f"The published claim itself: {row['verdict']}, because {row['reason']}.")
    if row["confounded"]:
        more.append(stop(f"what else differed there: {row['confounded']}"))
    columns = ("estimate", "low", "high", "on_this_pair", "verdict", "reason")
    return Statement(
        verdict, tone_of(verdict), sentence, tuple(more), settings.sources("claims", *columns)
    )


def _settings_of(row: Row) -> str:
    """How many settings were tested together, and how many of them are distinct."""
    settings, distinct = row["settings"], row["distinct_settings"]
    if distinct == settings:
        return counted(settings, "setting")
    again = settings - distinct
    same = f"{form(again, 'has', 'have')} the same number for every text as another one"
    return f"{counted(distinct, 'distinct setting')} ({again} of {settings} {same})"


def _pair(row: Row) -> str:
    """What a claim is asked of."""
    on = f" on {row['dataset']}" if row["dataset"] else ""
    side = f", {row['side']} side" if row["side"] else ""
    attribution = f", attribution {row['attribution']}" if row["attribution"] else ""
    return f"{row['retriever']} against {row['compared_with']}{on}{side}{attribution}"


def tone_of(verdict: str) -> Tone:
    """The tone of a verdict on a claim."""
    if verdict in (SUPPORTED, EQUIVALENT):
        return "for"
    if verdict == CONTRADICTED:
        return "against"
    return "mixed" if verdict.startswith(DEPENDS) else "open"


def untestable(tables: Tables, settings: Settings) -> Listing | None:
    """What could not be asked, of which pair, and why: a row a claim and reason."""
    if "claims" not in tables:
        return None
    table = tables["claims"]
    asked = set(table.filter(pl.col("settings") > 0)["claim"])
    unasked = table.filter(pl.col("settings") == 0)
    if unasked.is_empty():
        return None
    rows = []
    for (claim, reason), some in unasked.group_by("claim", "reason", maintain_order=True):
        pairs = [_pair(row) for row in some.iter_rows(named=True) if row["retriever"]]
        rows.append(
            (
                str(claim),
                stop(some["statement"][0]),
                "; ".join(dict.fromkeys(pairs)) or "–",
                stop(str(reason or "")),
            )
        )
    never, partly = (len(set(unasked["claim"]) - asked), len(set(unasked["claim"]) & asked))
    parts = []
    if never:
        verb = form(never, "is", "are")
        parts.append(f"{counted(never, 'published claim')} {verb} {NOT_TESTABLE}")
    if partly:
        rest = counted(partly, "published claim")
        parts.append(f"{rest} {form(partly, 'is', 'are')} not testable on some pair or dataset")
    return Listing(
        "; ".join(parts),
        ("claim", "says", "of", "why not"),
        tuple(rows),
        sources=settings.sources("claims", "claim", "statement", "reason"),
    )


def cautions(tables: Tables, settings: Settings) -> list[Statement]:
    """What to be careful of: equal sentences about several sides once, and first of all that a
    counterpart cannot say what the study asks."""
    if "cautions" not in tables:
        return []
    statements = []
    table = tables["cautions"].sort(pl.col("caution") != FOREMOST, maintain_order=True)
    # A name is written as it is.
    named = tuple(settings.encoders)
    keys = ["caution", "sentence"]
    for (caution, told), rows in table.group_by(keys, maintain_order=True):
        where, sentence = _where(rows), str(told)
        statements.append(
            Statement(
                str(caution).replace("-", " "),
                "mixed",
                ended(sentence) if sentence.startswith(named) else stop(sentence),
                (f"About: {where}.",) if where else (),
                settings.sources("cautions", "value", "limit", "sentence"),
            )
        )
    return statements


def _where(rows: pl.DataFrame) -> str:
    """What rows are about: what they share, then each combination of the rest."""
    places = rows.select("dataset", "retriever", "attribution", "side").unique(maintain_order=True)
    shared = [name for name in places.columns if places[name].n_unique() == 1]
    several = [name for name in places.columns if name not in shared]
    parts = [f"{name} {places[name][0]}" for name in shared if places[name][0] is not None]
    if len(several) == 1 and not places[several[0]].has_nulls():
        parts.append(f"{several[0]} {listed(places[several[0]], places.height)}")
    elif several:
        for row in places.select(several).iter_rows(named=True):
            told = [f"{name} {value}" for name, value in row.items() if value is not None]
            parts.append(" with ".join(told) or "the rest")
    return "; ".join(parts)
