"""figure, heatmap: pictures of what a study found, for print and for reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import polars as pl
from pydantic import TypeAdapter, ValidationError

from wellspring import shards
from wellspring.cli.step import FILE, logged, step
from wellspring.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OF_PROBES = ("layer-accuracy", "controls", "similarity")
OF_ATTRIBUTIONS = ("concentration", "sweep", "sanity-checks", "fidelity")
SHOWN = 4
"""Cautions that stand below a figure."""


def setting(command: Callable) -> Callable:
    """--normaliser, --excluded-outliers and --threshold: when a neuron counts as active."""
    for option in (
        click.option("--threshold", type=click.FloatRange(min=0), default=0.1, show_default=True),
        click.option(
            "--excluded-outliers", type=click.IntRange(min=0), default=0, show_default=True
        ),
        click.option("--normaliser", default="network-max", show_default=True),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name", type=click.Choice([*OF_PROBES, *OF_ATTRIBUTIONS]))
@click.argument("dataset")
@click.argument("findings", type=FILE)
@click.argument("pdf", type=FILE)
@click.argument("png", type=FILE)
@click.option("--retriever", help="Whose controls or attributions are drawn.")
@click.option("--attribution", help="Which attribution is drawn.")
@setting
@click.option("--retrievers", help="Whose accuracy is drawn: names with commas; all by default.")
@click.option("--published", type=FILE, help="Published curves (CSV) to draw beside the accuracy.")
@click.option("--curves", help="Which retriever has which published curve (JSON).")
@click.option("--cautions", type=FILE, help="The study's cautions (CSV), to print below.")
@click.option("--twins", help="Random twins that were drawn several times (JSON).")
@click.option("--probe", default="concat", show_default=True, help="Whose accuracy is drawn.")
@logged
def figure(
    name: str,
    dataset: str,
    findings: Path,
    pdf: Path,
    png: Path,
    retriever: str | None,
    attribution: str | None,
    normaliser: str,
    excluded_outliers: int,
    threshold: float,
    retrievers: str | None,
    published: Path | None,
    curves: str | None,
    cautions: Path | None,
    twins: str | None,
    probe: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Draw the figure NAME of DATASET from the table FINDINGS into PDF and PNG."""
    draws = _json(dict[str, list[str]], "--twins", twins) if twins else {}
    if name in OF_ATTRIBUTIONS:
        with step("decentralisation_figure", None, code, log):
            table = pl.from_arrow(shards.read(findings, step="decentralisation"))
            if retriever is None or (attribution is None and name != "fidelity"):
                raise click.UsageError(f"{name}: --retriever and --attribution say whose")

            from wellspring.figures.attributions import concentration, sweep
            from wellspring.figures.fidelity import fidelity
            from wellspring.figures.sanity_checks import sanity_checks

            whose = (table, dataset, attribution, retriever)
            beside = table.filter(retriever=retriever)["compared_with"].drop_nulls().unique()
            drawn_names = [retriever, *beside, *draws.get(retriever, [])]
            lines = _sentences(cautions, dataset, attribution, drawn_names)
            if name == "concentration":
                drawn = concentration(
                    *whose, normaliser, excluded_outliers, threshold, draws, lines
                )
            elif name == "sweep":
                drawn = sweep(*whose, normaliser, excluded_outliers, threshold, draws, lines)
            elif name == "sanity-checks":
                drawn = sanity_checks(*whose, lines)
            else:
                drawn = fidelity(table, dataset, retriever, lines)
            _save(drawn, pdf, png)
        return
    with step("figure", None, code, log):
        table = pl.from_arrow(shards.read(findings, step="findings"))

        from wellspring.figures import panels

        lines = _sentences(cautions, dataset)
        if name == "layer-accuracy":
            names = retrievers.split(",") if retrievers else None
            beside = None if published is None else _beside(published, curves)
            drawn = panels.layer_accuracy(table, dataset, probe, names, beside, draws, lines)
        elif name == "controls":
            if retriever is None:
                raise click.UsageError("controls: --retriever says whose")
            drawn = panels.controls(table, dataset, retriever, draws, lines)
        else:
            drawn = panels.similarity(table, dataset, draws, lines)
        _save(drawn, pdf, png)


@click.command()
@click.argument("name", type=click.Choice(["heat", "change"]))
@click.argument("counts", type=FILE)
@click.argument("counterpart", type=FILE)
@click.argument("pdf", type=FILE)
@click.argument("png", type=FILE)
@click.option("--names", required=True, help="The retriever and its counterpart, with a comma.")
@click.option("--dataset", required=True)
@click.option("--attribution", required=True)
@click.option("--side", type=click.Choice(["query", "passage"]), required=True)
@click.option("--cautions", type=FILE, help="The study's cautions (CSV), to print below.")
@setting
@click.option("--bins", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--statistic", type=click.Choice(["max", "mean"]), default="max", show_default=True)
@logged
def heatmap(
    name: str,
    counts: Path,
    counterpart: Path,
    pdf: Path,
    png: Path,
    names: str,
    dataset: str,
    attribution: str,
    side: str,
    cautions: Path | None,
    normaliser: str,
    excluded_outliers: int,
    threshold: float,
    bins: int,
    statistic: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Draw the active neurons COUNTS beside those of the COUNTERPART, or the change between them,
    into PDF and PNG."""
    with step("heatmap", None, code, log):
        drawn_setting = {
            "normaliser": normaliser,
            "excluded_outliers": excluded_outliers,
            "threshold": threshold,
        }
        tables = []
        for path in (counts, counterpart):
            shards.check(path, step="activations")
            # One setting of many is drawn; of a missing one the error names those that are held.
            held = pl.scan_parquet(path)
            some = held.filter(**drawn_setting).collect()
            tables.append(held.collect() if some.is_empty() else some)

        from wellspring.figures import heatmaps

        draw = heatmaps.heat_maps if name == "heat" else heatmaps.change_map
        retriever, _, other = names.partition(",")
        small = [f"dataset {dataset}, {side} side, attribution {attribution}"]
        small += _sentences(cautions, dataset, attribution, [retriever, other], side)
        options = {**drawn_setting, "bins": bins, "statistic": statistic, "small": small}
        drawn = draw(*tables, (retriever, other), **options)
        _save(drawn, pdf, png)


def _save(drawn: Figure, pdf: Path, png: Path) -> None:
    from wellspring.figures import style

    with shards.replacing(pdf) as pdf_part, shards.replacing(png) as png_part:
        style.save(drawn, pdf_part, png_part)


def _beside(published: Path, curves: str | None) -> pl.DataFrame:
    """The published points under our retrievers' names."""
    from wellspring.cli.findings import read_published
    from wellspring.findings.published import named

    if curves is None:
        raise click.UsageError("--published: --curves says which retriever has which curve")
    return named(read_published(published), _json(dict[str, str], "--curves", curves))


def _sentences(
    path: Path | None,
    dataset: str,
    attribution: str | None = None,
    retrievers: Sequence[str] = (),
    side: str | None = None,
) -> list[str]:
    """A study's cautions on a dataset, for one line each below a figure.

    attribution, retrievers, side: what a figure of attributions shows; without an attribution, or
    a side, all of them.
    """
    if path is None:
        return []
    from wellspring.findings.cautions import SCHEMA

    table = pl.read_csv(path, schema_overrides=SCHEMA)
    # A caution without a dataset or an attribution holds on all.
    table = table.filter(pl.col("dataset").is_null() | (pl.col("dataset") == dataset))
    about = pl.col("attribution")
    if not retrievers:
        chosen = table.filter(about.is_null())
    else:
        whose = pl.col("retriever")
        chosen = table.filter(whose.is_null() | whose.is_in(list(retrievers)))
        if attribution is not None:
            chosen = chosen.filter(about.is_null() | (about == attribution))
        if side is not None:
            chosen = chosen.filter(pl.col("side").is_null() | (pl.col("side") == side))
        # What concerns the drawn scores comes first.
        chosen = chosen.sort(about.is_null(), maintain_order=True)
    named = len(retrievers) > 1
    place = pl.concat_str(
        pl.col("retriever") if named else pl.lit(None, pl.String),
        pl.format("{} side", "side"),
        separator=", ",
        ignore_nulls=True,
    )
    where = pl.when(place == "").then(pl.lit("")).otherwise(pl.format(" ({})", place))
    lines = chosen.select(pl.format("caution{}: {}", where, "sentence")).to_series().to_list()
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"{more} more cautions: findings/cautions.csv"] if more > 0 else [])


def _json(kind: type, option: str, text: str) -> Any:
    """The value of an option that is written as JSON."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError:
        raise ConfigError(f"{option}: expected a JSON object, found {text}") from None
