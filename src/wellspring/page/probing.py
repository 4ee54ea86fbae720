"""Charts of the probes: accuracy and code length over layers, and the differences with their
tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import polars as pl

from wellspring.config import LAYERLESS
from wellspring.config.vocabulary import ProbeKind
from wellspring.page.data import INTERVAL, as_text, counted_in, ordered, outermost, short, thinned
from wellspring.page.drawing import LAYERS, along, curves, judged, level_at, levels, made, up
from wellspring.page.pairs import chosen, paired
from wellspring.page.panels import Panel, Settings, Tables
from wellspring.page.series import CHANCE, LEXICAL, ONE, UNINFORMED, Series, of_pair

CELL = ("probe", "passages", "layer")
CHOICES = {
    "dataset": "Dataset",
    "retriever": "Retriever",
    "passages": "Passages (N)",
    "probe": "Probe",
}
HEADINGS = {
    "line": "line",
    "name": "of",
    "layer": "layer",
    "estimate": "accuracy",
    "low": "from",
    "high": "to",
    "tested": "test split",
}
PROBES = get_args(ProbeKind)
BETWEEN_N = (
    "Passage counts between the smallest and the largest are left out.",
    outermost("passages"),
)
BETWEEN_LAYERS = (
    "Layers between the first and the last are left out.",
    outermost("retriever", "layer"),
)
FEWER = [
    BETWEEN_N,
    (
        "Only the published probe, interaction and cosine are shown.",
        pl.col("probe").is_in(["concat", "interaction", "cosine"]),
    ),
]


def build(tables: Tables, settings: Settings) -> Sequence[Panel]:
    """Accuracy of one probe, all probes on one scale, differences, and code length."""
    findings = tables.get("findings")
    if findings is None or findings.filter(finding="accuracy").is_empty():
        return []
    findings = findings.with_columns(
        tested=pl.format(
            "{} of {}, {}",
            counted_in("samples", "sample", "samples"),
            counted_in("queries", "query", "queries"),
            counted_in("seeds", "seed", "seeds"),
        )
    )
    builders = (_accuracy, _probes, _differences, _codes)
    return [panel for builder in builders for panel in builder(findings, settings)]


def _accuracies(findings: pl.DataFrame, measure: str = "accuracy") -> pl.DataFrame:
    columns = ("dataset", "retriever", *CELL, "measure", *INTERVAL, "tested")
    return findings.filter(finding="accuracy", measure=measure).select(columns)


def _accuracy(findings: pl.DataFrame, settings: Settings) -> list[Panel]:
    """A retriever against its counterpart."""
    accuracies = _accuracies(findings)
    lines = paired(accuracies.filter(~pl.col("probe").is_in(LAYERLESS)), settings, *CELL)
    data, left_out = _shown(pl.concat([lines, _levels(findings, lines)], how="diagonal"))
    series, y = of_pair(data, settings.pairs), up("accuracy")
    return [
        made(
            "accuracy",
            "Accuracy over layers",
            "How often a probe ranks the positive passage first among N. Bands, and bars where a "
            "point stands alone, are 95 % intervals over queries; a band between thin lines is the "
            "range over random twins. Level lines are the best lexical scorer and what guessing "
            "earns. A line breaks where layers were not measured.",
            data,
            CHOICES,
            {"probe": settings.probe},
            [*curves(along("layer", LAYERS), y, series), *levels("layer", y, series)],
            HEADINGS,
            settings.sources("findings", *INTERVAL),
            left_out,
        )
    ]


def _shown(rows: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The rows of a chart over layers in the order of its choices, and what was left out."""
    rows = rows.sort(*ordered("probe", PROBES), "dataset", "passages", maintain_order=True)
    data, left_out = thinned(short(rows.drop("measure")), FEWER)
    return data.with_columns(as_text("passages")), left_out


def _levels(findings: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The lexical floor and chance beside the lines, a row for each of their choices."""
    where = ["dataset", "retriever", "passages"]
    cells = lines.select(*where, "probe").unique(maintain_order=True)
    words = _accuracies(findings).filter(probe="lexical").unique(where, maintain_order=True)
    floor = cells.join(words.drop("probe", "layer"), on=where).with_columns(
        line=pl.lit(LEXICAL), name=pl.lit("the best lexical scorer")
    )
    means = _accuracies(findings, "chance").group_by(*where, "probe").agg(pl.mean("estimate"))
    chance = cells.join(means, on=[*where, "probe"]).with_columns(
        line=pl.lit(CHANCE), name=pl.lit("guessing")
    )
    return pl.concat([floor, chance], how="diagonal")


def _probes(findings: pl.DataFrame, settings: Settings) -> list[Panel]:
    """All probes of one retriever on one scale."""
    accuracies = _accuracies(findings)
    names = accuracies["retriever"].unique(maintain_order=True).to_list()
    first = chosen(settings, names)
    mean = pl.col("estimate").mean()
    where = ["dataset", "retriever", "passages"]
    chance = (
        _accuracies(findings, "chance")
        .group_by(where, maintain_order=True)
        .agg(mean)
        .with_columns(probe=pl.lit(CHANCE))
    )
    accuracies = accuracies.filter(pl.col("probe").is_in(PROBES))
    level = ("lexical", CHANCE, *LAYERLESS)
    every = tuple(dict.fromkeys([*(name for name in PROBES if name not in level), *level]))
    rows = pl.concat([accuracies.drop("measure"), chance], how="diagonal").sort(
        *ordered("retriever", [*first, *(name for name in names if name not in first)]),
        *ordered("probe", every),
        "dataset",
        "passages",
        maintain_order=True,
    )
    data, left_out = thinned(short(rows), [BETWEEN_N])
    data = data.with_columns(as_text("passages"))
    series, y = Series.of(data, "probe", every, level=level), up("accuracy")
    headings = {"probe": "probe", **HEADINGS}
    return [
        made(
            "probes",
            "Every probe on one scale",
            "The probes and controls of one retriever; those on random targets of other probes are "
            "left to the chart above. Bands are 95 % intervals over queries. Scorers of words and "
            "chance have no layers and are level lines.",
            data,
            {name: CHOICES[name] for name in where},
            {},
            [*curves(along("layer", LAYERS), y, series), *levels("layer", y, series, named=False)],
            {name: title for name, title in headings.items() if name in data.columns},
            settings.sources("findings", *INTERVAL),
            left_out,
            height=380,
        )
    ]


def _differences(findings: pl.DataFrame, settings: Settings) -> list[Panel]:
    """Differences from the counterpart and from controls, with their tests."""
    compared = findings.filter(
        pl.col("finding").is_in(["difference", "control"]),
        pl.col("retriever").is_in(chosen(settings, findings["retriever"].unique())),
        measure="difference",
        test="sign-flip max-T",
    )
    if compared.is_empty():
        return []
    against = pl.format("{} − {}", "probe", "compared_probe")
    counterpart = pl.format("{}: retriever − counterpart", "probe")
    rows = compared.sort(
        pl.col("finding") != "difference",
        *ordered("probe", PROBES),
        "retriever",
        "dataset",
        "passages",
        "layer",
        maintain_order=True,
    ).select(
        *("dataset", "retriever", "passages", "layer", *INTERVAL, "p_adjusted", "detectable"),
        "tested",
        comparison=pl.when(pl.col("compared_probe").is_null()).then(counterpart).otherwise(against),
        significant=pl.when("significant").then(pl.lit("yes")).otherwise(pl.lit("no")),
    )
    data, left_out = thinned(short(rows), [BETWEEN_N])
    data = data.with_columns(as_text("passages"))
    x, y = along("layer", LAYERS), up("difference of accuracy − chance", "+,~r")
    named = {**CHOICES, "comparison": "Difference"}
    named.pop("probe")
    return [
        made(
            "differences",
            "Differences and their tests",
            "Differences between a retriever and its counterpart under one probe, or between two "
            "probes of a retriever. Bars are 95 % intervals over queries. A full point is "
            "significant (sign-flip max-T over all layers and N of the comparison), a hollow one "
            "is not.",
            data,
            named,
            {"comparison": f"{settings.probe}: retriever − counterpart"},
            [level_at(0), *judged(x, y, ONE, "datum.significant === 'yes'")],
            {
                "comparison": "difference",
                "layer": "layer",
                "estimate": "estimate",
                "low": "from",
                "high": "to",
                "p_adjusted": "adjusted p",
                "significant": "significant",
                "detectable": "smallest one seen at 80 % power",
                "tested": "test split",
            },
            settings.sources("findings", *INTERVAL, "p_adjusted", "detectable"),
            left_out,
        )
    ]


def _codes(findings: pl.DataFrame, settings: Settings) -> list[Panel]:
    """How many bits a training sample costs."""
    codes = findings.filter(finding="code", measure="code_length").select(
        "dataset", "retriever", *CELL, "measure", *INTERVAL, "tested"
    )
    if codes.is_empty():
        return []
    lines = paired(codes, settings, *CELL)
    uniform = (
        lines.select("dataset", "retriever", "passages", "probe")
        .unique(maintain_order=True)
        .with_columns(
            estimate=pl.col("passages").log(2), line=pl.lit(UNINFORMED), name=pl.lit("log2 N")
        )
    )
    data, left_out = _shown(pl.concat([lines, uniform], how="diagonal"))
    series, y = of_pair(data, settings.pairs), up("bits a training sample")
    return [
        made(
            "code-length",
            "Code length over layers",
            "Bits that a training sample costs when the probe is learnt online (first seed): the "
            "fewer, the more easily the relation is found. Bands are 95 % intervals over queries "
            "with the fits as given; a band between thin lines is the range over random twins. The "
            "level line is a probe that knows nothing (log2 N).",
            data,
            CHOICES,
            {"probe": settings.probe},
            [*curves(along("layer", LAYERS), y, series), *levels("layer", y, series)],
            {**HEADINGS, "estimate": "bits", "tested": "coded samples"},
            settings.sources("findings", *INTERVAL),
            left_out,
        )
    ]
