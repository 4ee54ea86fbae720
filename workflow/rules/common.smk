"""What the rules share at parse time: the checked configuration, its slices, and the targets."""

import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from wellspring import config as configuration, fingerprint, specs, targets
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
    figure=rf"layer-accuracy(\.{configuration.SLUG})?|similarity",
    checkpoint=configuration.SLUG,
    file=r"[a-z]+(\.[a-z0-9]+)*",


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


def architecture_code(step, model):
    # What the configuration defines stands in the slice, not in a module.
    name = study.models[model].architecture
    return fingerprint.code(step, None if name in study.architectures else name)


def model_code(wildcards):
    return architecture_code("model", wildcards.model)


def embed_code(wildcards):
    return architecture_code("embed", study.encoders[wildcards.encoder].model)


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


def layer_memory(wildcards, input):
    """MB for a job that works on one layer of its shards, which hold all of them."""
    return 1500 + int(8 * input.size_mb / (study.depth(wildcards.retriever) + 1))


def layer_runtime(wildcards, input):
    """Minutes for the same."""
    return 60 + int(input.size_mb / (study.depth(wildcards.retriever) + 1) / 10)


def published_files(wildcards=None):
    return targets.published_files(study)


def figure_options(wildcards):
    return targets.figure_options(study, wildcards.figure, drawn_probe)
