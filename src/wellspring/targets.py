"""The files that a study ends with, and what its figures show: read by the Snakefile."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping

from wellspring import specs
from wellspring.config import Config

SIDES = ("query", "passage")


def study_folder(config: Config) -> str:
    """Where the outcome of a study goes."""
    return f"results/studies/{config.study.name}"


def probe_files(config: Config) -> list[str]:
    """Every probe job of the study."""
    return [
        f"results/probes/{retriever}/{dataset}/layer-{layer:02d}/passages-{count}.parquet"
        for retriever, dataset, layers, passages, _ in config.probed()
        for layer in layers
        for count in passages
    ]


def similarity_files(config: Config) -> list[str]:
    """A comparison for every retriever that is compared, on every dataset."""
    return [
        f"{study_folder(config)}/findings/similarity/{retriever}/{dataset}.parquet"
        for dataset in config.probed_datasets()
        for retriever in config.pairs(dataset)
    ]


def qrels_files(config: Config) -> list[str]:
    """The judgements of every dataset."""
    return [f"results/datasets/{dataset}/qrels.parquet" for dataset in config.datasets_used()]


def activation_files(config: Config) -> list[str]:
    """The active neurons of every attributed side, text by text."""
    return [f"results/activations/{place}.texts.parquet" for place in _attributed(config)]


def ablation_files(config: Config) -> list[str]:
    """What ablation does to every attributed side."""
    return [f"results/ablations/{place}.parquet" for place in _attributed(config)]


def agreement_files(config: Config) -> list[str]:
    """The rank correlations of every attributed retriever's scores."""
    return [
        f"{study_folder(config)}/findings/agreement/{retriever}/{dataset}.parquet"
        for retriever, dataset in config.agreeing()
    ]


def _attributed(config: Config) -> Iterator[str]:
    """attribution/encoder/dataset/side, each once, whatever the retrievers that share it."""
    places = (
        f"{attribution}/{encoder}/{dataset}/{side}"
        for attribution, retriever, dataset, _ in config.attributed()
        for side, encoder in config.retrievers[retriever].encoders.items()
    )
    yield from dict.fromkeys(places)


def findings_files(config: Config) -> list[str]:
    """The study's tables: of its probes, of its attributions, of the claims."""
    names = ["findings.csv", "claims.csv", "cautions.csv"]
    return [f"{study_folder(config)}/findings/{name}" for name in names] + compared_files(config)


def compared_files(config: Config) -> list[str]:
    """Those of the tables that some studies have: beside published curves, and of attributions."""
    names = ["published.csv" for _ in published_files(config)]
    names += ["decentralisation.parquet"] if config.attributed() else []
    return [f"{study_folder(config)}/findings/{name}" for name in names]


def samples_files(config: Config) -> list[str]:
    """The samples of every dataset."""
    return [f"results/datasets/{dataset}/samples.parquet" for dataset in config.datasets_used()]


def published_files(config: Config) -> list[str]:
    """The file of published curves, where the study names one."""
    return [config.study.published.source] if config.study.published else []


def figure_files(config: Config) -> list[str]:
    """The figures of the study, by dataset."""
    return [
        f"{study_folder(config)}/figures/{dataset}/{name}.{kind}"
        for dataset in config.probed_datasets()
        for name in _figures(config, dataset)
        for kind in ("png", "pdf")
    ]


def _figures(config: Config, dataset: str) -> list[str]:
    """The figures of a dataset's probes."""
    pairs = config.pairs(dataset)
    shown = [n for n in config.probed_retrievers(dataset) if not config.is_further_draw(n)]
    counterparts = _counterparts(config, pairs)
    names = [f"layer-accuracy.{group}" for group in config.groups(dataset)] or ["layer-accuracy"]
    # A counterpart stands in the figure of the retriever that is set against it.
    names += [f"controls/{name}" for name in shown if name not in counterparts]
    return [*names, *(["similarity"] if pairs else [])]


def _counterparts(config: Config, pairs: Mapping[str, str]) -> set[str]:
    """The retrievers that stand in another one's figures. Further draws of a twin have none."""
    return {other for name, other in pairs.items() if not config.is_further_draw(name)}


def attribution_figure_files(config: Config) -> list[str]:
    """The figures of the study's attributions. A counterpart stands in those of the retriever that
    is set against it, and so do further draws of a twin; those of a change need a counterpart."""
    pairs = config.attributed_pairs()
    counterparts = _counterparts(config, pairs)
    shown = [
        (attribution, retriever, dataset)
        for attribution, retriever, dataset, _ in config.attributed()
        if not config.is_further_draw(retriever)
        and (retriever not in counterparts or retriever in pairs)
    ]
    compared = [*(f"{kind}/{side}" for kind in ("heat", "change") for side in SIDES), "sweep"]
    names = [
        f"{dataset}/{attribution}/{retriever}/{name}"
        for attribution, retriever, dataset in shown
        for name in (*(compared if retriever in pairs else []), "concentration", "sanity-checks")
    ]
    names += dict.fromkeys(
        f"{dataset}/fidelity/{retriever}"
        for _, retriever, dataset in shown
        if config.removing(config.retrievers[retriever].query, dataset)
    )
    return [
        f"{study_folder(config)}/figures/{name}.{kind}" for name in names for kind in ("png", "pdf")
    ]


def drawing_options(
    config: Config, drawing: str, attribution: str, retriever: str, dataset: str
) -> str:
    """The options of `wellspring figure` for a figure of attributions."""
    setting = ""
    if drawing != "sanity-checks":
        shown = ("normaliser", "excluded_outliers", "threshold")
        setting = map_options(config, attribution, retriever, dataset, *shown)
    return f"{setting} {twin_options(config)}".strip()


def twin_options(config: Config) -> str:
    """The option of `wellspring figure` that names random twins with several draws."""
    return shlex.join(["--twins", json.dumps(config.twins())]) if config.twins() else ""


def map_options(config: Config, attribution: str, retriever: str, dataset: str, *names: str) -> str:
    """The options of `wellspring heatmap` that say which activity is drawn, or these of them."""
    block = config.attributing(attribution, config.retrievers[retriever].query, dataset)
    maps = block.maps.model_dump()
    maps = {key: value for key, value in maps.items() if not names or key in names}
    options = ((f"--{key.replace('_', '-')}", str(value)) for key, value in maps.items())
    return shlex.join(word for option in options for word in option)


def figure_options(config: Config, figure: str, dataset: str) -> str:
    """The arguments of `wellspring figure` for a figure's name: its kind, or kind.group."""
    kind, _, group = figure.partition(".")
    options = ["--retrievers", ",".join(config.groups(dataset)[group])] if group else []
    if kind == "layer-accuracy" and config.study.published:
        curves = specs.published(config, config.drawn_probe()).curves
        options += ["--published", config.study.published.source, "--curves", json.dumps(curves)]
    return f"{shlex.join([kind, *options])} {twin_options(config)}".strip()
