"""What the rules share at parse time: the checked configuration, its slices, and the targets."""

import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from wellspring import config as configuration, fingerprint, specs
from wellspring.errors import ConfigError

# Jobs find `wellspring` beside the Python that runs Snakemake, activated or not; an environment
# that Snakemake itself makes (--sdm) comes with its own.
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')

try:
    # Snakemake lists the Snakefile's own file last and lets it lose against the others.
    own = Path(workflow.basedir) / "config.yaml"
    files = [own, *(path for path in map(Path, workflow.configfiles) if path != own)]
    study = configuration.parse(configuration.anchor(config, files))
    configuration.check_places(study)
except ConfigError as error:
    raise WorkflowError(f"the configuration cannot be used:\n{error}") from None

probing = study.study.probe
# The published probe where it is among the kinds, or the first one that depends on the layer.
drawn_probe = "concat"
if drawn_probe not in probing.kinds:
    drawn_probe = next(kind for kind in probing.kinds if kind != "bm25")
study_folder = f"results/studies/{study.study.name}"


wildcard_constraints:
    model=configuration.SLUG,
    encoder=configuration.SLUG,
    retriever=configuration.SLUG,
    dataset=configuration.SLUG,
    study=configuration.SLUG,
    side="query|passage",
    shard=r"\d{3}",
    layer=r"\d{2}",
    passages=r"\d+",
    figure="layer-accuracy|similarity",


def slice_of(make, *names):
    """A function for `params.spec`: the slice of the configuration that a job uses."""

    @cache
    def text(*values):
        return make(study, *values).canonical()

    def of_job(wildcards):
        return text(*(getattr(wildcards, name) for name in names))

    return of_job


def source_files(wildcards):
    return specs.source_files(study, wildcards.dataset)


def checkpoint_files(wildcards):
    return specs.checkpoint_files(study, wildcards.model)


def texts_code(wildcards):
    return fingerprint.code("texts", study.datasets[wildcards.dataset].format)


def model_code(wildcards):
    return fingerprint.code("model", study.models[wildcards.model].architecture)


def embed_code(wildcards):
    model = study.encoders[wildcards.encoder].model
    return fingerprint.code("embed", study.models[model].architecture)


def encoder_model(wildcards):
    return f"results/models/{study.encoders[wildcards.encoder].model}/model.json"


def side_folder(side, other=False):
    """A function of the job: where a side of its retriever (or of the other one) is embedded."""

    def of_job(wildcards):
        name = wildcards.retriever
        retriever = study.retrievers[study.retrievers[name].compared_with if other else name]
        return f"results/embeddings/{retriever.encoders[side]}/{wildcards.dataset}/{side}"

    return of_job


def side_shards(side, other=False):
    """A function of the job: the shards in that folder."""
    folder = side_folder(side, other)

    def of_job(wildcards):
        count = study.datasets[wildcards.dataset].shards
        return [f"{folder(wildcards)}/shard-{shard:03d}.parquet" for shard in range(count)]

    return of_job


def probe_files():
    """Every probe job of the study."""
    return [
        f"results/probes/{retriever}/{dataset}/layer-{layer:02d}/passages-{passages}.parquet"
        for retriever in probing.retrievers
        for dataset in probing.datasets
        for layer in study.layers(retriever)
        for passages in sorted(probing.passages)
    ]


def similarity_files():
    """A comparison for every retriever that is compared, on every dataset."""
    return [
        f"{study_folder}/findings/similarity/{retriever}/{dataset}.parquet"
        for retriever in study.pairs()
        for dataset in probing.datasets
    ]


def qrels_files():
    return [f"results/datasets/{dataset}/qrels.parquet" for dataset in probing.datasets]


def figure_files():
    """The figures of the study, by dataset."""
    pairs = study.pairs()
    # A counterpart stands in the figure of the retriever that is set against it.
    alone = [name for name in probing.retrievers if name not in pairs.values()]
    names = ["layer-accuracy", *(f"controls/{name}" for name in alone)]
    if pairs:
        names.append("similarity")
    return [
        f"{study_folder}/figures/{dataset}/{name}.{kind}"
        for dataset in probing.datasets
        for name in names
        for kind in ("png", "pdf")
    ]
