"""run-file, measure: files of other tools."""

from __future__ import annotations

import re
from pathlib import Path

import click
import polars as pl

from wellspring import shards
from wellspring.artefacts.retrieval import LexicalRun, Run, TermRun
from wellspring.cli.step import FILE
from wellspring.config.study import MEASURE, MEASURES
from wellspring.errors import WellspringError, about
from wellspring.plurals import counted


@click.command()
@click.argument("run", type=FILE)
@click.argument("file", type=FILE)
@click.option("--layer", type=click.IntRange(min=0), help="Of a search; the last where left out.")
@click.option("--scorer", help="Of a lexical run; the first where left out.")
def run_file(run: Path, file: Path, layer: int | None, scorer: str | None) -> None:
    """Write one layer or one scorer of RUN, a run.parquet below results/, as a TREC run FILE."""
    from wellspring.artefacts import lookup
    from wellspring.retrieval.trec import written

    _, artefact = lookup.located(run)
    if not isinstance(artefact, Run | TermRun | LexicalRun):
        raise WellspringError(f"{run}: is no run: name a run.parquet below results/")
    # Terms rank alone.
    table = type(artefact).read(run).with_columns(ranker=pl.lit("terms"))
    searched = isinstance(artefact, Run)
    column, chosen = ("layer", layer) if searched else ("scorer", scorer)
    if isinstance(artefact, TermRun):
        column, chosen = "ranker", None
    held = table[column].unique(maintain_order=True).to_list()
    if chosen is None:
        chosen = held[-1 if searched else 0] if held else None
    if chosen not in held:
        raise WellspringError(
            f"{run}: has no {column} {chosen}; it has {', '.join(map(str, held)) or 'none'}"
        )
    name = artefact.dataset if isinstance(artefact, LexicalRun) else artefact.retriever
    rows = table.filter(pl.col(column) == chosen)
    with about(run):
        lines = "".join(f"{line}\n" for line in written(rows, f"{name}-{chosen}"))
    shards.write_text(file, lines)
    click.echo(f"{file}: {column} {chosen}, {counted(len(rows), 'line')}")


@click.command()
@click.argument("run", type=FILE)
@click.argument("qrels", type=FILE)
@click.option("--measure", "measures", multiple=True, default=MEASURES, show_default=True)
def measure(run: Path, qrels: Path, measures: tuple[str, ...]) -> None:
    """Measure a TREC run file RUN by the judgements QRELS, in TREC's layout or in BEIR's.

    Equal scores count in the order of the ids; the range is that of all their orders.
    """
    from wellspring.retrieval.evaluation import evaluate
    from wellspring.retrieval.trec import read_qrels, read_run

    for name in measures:
        if not re.fullmatch(MEASURE, name):
            raise WellspringError(f"--measure {name}: is not of the form {MEASURE}")
    found, judgements = read_run(run), read_qrels(qrels)
    queries = set(found.frame["query_id"]), set(judgements["query_id"])
    metrics = evaluate(found.frame, judgements, list(dict.fromkeys(measures)))
    click.echo(f"{counted(len(queries[1]), 'judged query', 'judged queries')}")
    if found.unsorted:
        click.echo(
            f"{counted(found.unsorted, 'query', 'queries')} not in the order of scores: sorted"
        )
    for count, said in (
        (len(queries[1] - queries[0]), "judged, but not in the run: counted as 0"),
        (len(queries[0] - queries[1]), "in the run, but not judged: left out"),
    ):
        if count:
            click.echo(f"{counted(count, 'query', 'queries')} {said}")
    means = metrics.group_by("measure", maintain_order=True).agg(
        pl.col("value", "best", "worst", "judged").mean()
    )
    for name, value, best, worst in means["measure", "value", "best", "worst"].iter_rows():
        spread = f" ({worst:.4f} to {best:.4f} by the order of equal scores)" * (best > worst)
        click.echo(f"{name} {value:.4f}{spread}")
    click.echo(f"judged@10 {means['judged'].first() or 0:.4f}")
