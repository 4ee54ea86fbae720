"""The files that a study ends with, and what its figures show: read by the Snakefile."""

from __future__ import annotations

import json
import shlex

from wellspring import specs
from wellspring.config import Config


def study_folder(config: Config) -> str:
    """Where the outcome of a study goes."""
    return f"results/studies/{config.study.name}"


def probe_files(config: Config) -> list[str]:
    """Every probe job of the study."""
    probing = config.study.probe
    return [
        f"results/probes/{retriever}/{dataset}/layer-{layer:02d}/passages-{passages}.parquet"
        for retriever in probing.retrievers
        for dataset in probing.datasets
        for layer in config.layers(retriever)
        for passages in sorted(probing.passages)
    ]


def similarity_files(config: Config) -> list[str]:
    """A comparison for every retriever that is compared, on every dataset."""
    return [
        f"{study_folder(config)}/findings/similarity/{retriever}/{dataset}.parquet"
        for retriever in config.pairs()
        for dataset in config.study.probe.datasets
    ]


def qrels_files(config: Config) -> list[str]:
    """The judgements of every dataset."""
    return [f"results/datasets/{dataset}/qrels.parquet" for dataset in config.study.probe.datasets]


def findings_files(config: Config) -> list[str]:
    """The study's table, and its comparison with published curves where it names some."""
    names = ["findings.csv", *("published.csv" for _ in published_files(config))]
    return [f"{study_folder(config)}/findings/{name}" for name in names]


def published_files(config: Config) -> list[str]:
    """The file of published curves, where the study names one."""
    return [config.study.published.source] if config.study.published else []


def figure_files(config: Config) -> list[str]:
    """The figures of the study, by dataset."""
    pairs, probing = config.pairs(), config.study.probe
    names = [f"layer-accuracy.{group}" for group in config.groups()] or ["layer-accuracy"]
    # A counterpart stands in the figure of the retriever that is set against it.
    alone = [name for name in probing.retrievers if name not in pairs.values()]
    names += [f"controls/{name}" for name in alone]
    if pairs:
        names.append("similarity")
    return [
        f"{study_folder(config)}/figures/{dataset}/{name}.{kind}"
        for dataset in probing.datasets
        for name in names
        for kind in ("png", "pdf")
    ]


def figure_options(config: Config, figure: str, probe: str) -> str:
    """The arguments of `wellspring figure` for a figure's name: its kind, or kind.group."""
    kind, _, group = figure.partition(".")
    options = ["--retrievers", ",".join(config.groups()[group])] if group else []
    if kind == "layer-accuracy" and config.study.published:
        curves = specs.published(config, probe).curves
        options += ["--published", config.study.published.source, "--curves", json.dumps(curves)]
    return shlex.join([kind, *options])
