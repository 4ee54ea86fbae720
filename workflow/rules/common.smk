"""What the rules share at parse time: the checked configuration, its slices, and the targets."""

import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from wellspring import config as configuration, fingerprint, inputs, specs, targets
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


wildcard_constraints:
    model=configuration.SLUG,
    encoder=configuration.SLUG,
    retriever=configuration.SLUG,
    dataset=configuration.SLUG,
    attribution=configuration.SLUG,
    study=configuration.SLUG,
    side="query|passage",
    shard=r"\d{3}",
    layer=r"\d{2}",
    passages=r"\d+",
    figure=rf"layer-accuracy(\.{configuration.SLUG})?|similarity",
    map="heat|change",
    drawing="concentration|sweep|sanity-checks",
    checkpoint=configuration.SLUG,
    file=r"[a-z]+(\.[a-z0-9]+)*",


ATTRIBUTED = ("attribution", "encoder", "dataset", "side")
DRAWN = ("attribution", "retriever", "dataset", "side")


def of_job(make, *names, **options):
    """A function of the job: what `make` gives for the study and these of its wildcards."""

    def made(wildcards):
        return make(study, *(getattr(wildcards, name) for name in names), **options)

    return made


def slice_of(make, *names):
    """A function for `params.spec`: the slice of the configuration that a job uses."""

    @cache
    def text(*values):
        return make(study, *values).canonical()

    def made(wildcards):
        return text(*(getattr(wildcards, name) for name in names))

    return made


def layer_memory(wildcards, input):
    """MB for a job that works on one layer of its shards, which hold all of them."""
    return 1500 + int(8 * input.size_mb / (study.depth(wildcards.retriever) + 1))


def layer_runtime(wildcards, input):
    """Minutes for the same."""
    return 60 + int(input.size_mb / (study.depth(wildcards.retriever) + 1) / 10)


def counted_memory(wildcards, input):
    """MB for counting: the measures of every text take a part of what its scores take."""
    return 4000 + int(input.size_mb / 2)
