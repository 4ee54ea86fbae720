"""What the rules share at parse time: the checked configuration and its plan of files."""

import os
import shlex
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from wellspring import artefacts, config as configuration, specs
from wellspring.errors import ClusterError, ConfigError
from wellspring.slurm import runs

# Jobs find `wellspring` beside the Python that runs Snakemake, activated or not. An environment that
# Snakemake itself makes (--sdm) holds the packages alone, and its Python runs this checkout's code.
if workflow.deployment_settings.deployment_method:
    source = shlex.quote(str(Path(workflow.basedir, "src")))
    shell.prefix(f'export PYTHONPATH={source}; wellspring() {{{{ python -m wellspring "$@"; }}}}; ')
else:
    shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')

# A job on a cluster whose Slurm is configured elsewhere: see the file that is put first.
if {"SLURM_CONF", "SLURM_JOB_ID"} <= os.environ.keys():
    os.environ["WELLSPRING_SLURM_CONF"] = os.environ["SLURM_CONF"]
    os.environ["PATH"] = f"{workflow.basedir}/slurm/bin:{os.environ['PATH']}"

try:
    # Snakemake lists the Snakefile's own file last and lets it lose against the others.
    own = Path(workflow.basedir) / "config.yaml"
    files = [own, *(path for path in map(Path, workflow.configfiles) if path != own)]
    study = configuration.parse(configuration.anchor(config, files))
    configuration.check_paths(study)
    configuration.check_checkpoints(study, specs.fetched)
except ConfigError as error:
    raise WorkflowError(f"the configuration cannot be used:\n{error}") from None

# What `--cache` shares between studies: steps whose files are all outputs, and filed under no study.
# Where it is off, Snakemake would warn of every such rule.
shared = "omit-software" if workflow.enable_cache else False

plan = artefacts.Plan(study)
kinds = SimpleNamespace(**{kind.__name__: kind for kind in artefacts.kinds()})


if workflow.is_main_process:
    for line in configuration.notes(study, [*map(configuration.read, files)]):
        logger.info(f"Note: {line}.")


onstart:
    try:
        runs.start(workflow, logger.warning)
    except ClusterError as error:
        raise WorkflowError(str(error)) from None
    artefacts.clear(workflow, replanned())


onsuccess:
    runs.end(workflow)
    folder = f"results/studies/{study.study.name}"
    # Other targets than the whole study leave no figures.
    if Path(folder, "figures").is_dir():
        overlays = " ".join(map(str, files[1:]))
        options = f"--configfile {overlays} " if overlays else ""
        logger.info(
            f"Figures: {folder}/figures, findings: {folder}/findings. "
            f"Report: snakemake {options}--report {folder}/report.html"
        )


wildcard_constraints:
    **artefacts.WILDCARDS,


@cache
def replanned():
    """Once, while Snakemake builds its graph: what existing files say decides what is made.

    Snakemake's own triggers look at dates and at its own notes, which a copied project lacks.
    Gives the files that are made again.
    """
    return artefacts.replan(workflow, plan, logger.info) if workflow.is_main_process else set()


def everything(wildcards):
    """What the study ends with."""
    replanned()
    return plan.paths(plan.ends())


def batches_of(kind):
    """A kind's files by the rule that makes them, several a job."""
    return list(artefacts.batches(plan, kind))


def files_of(batch):
    """What a job of a batch leaves, by name: it keeps the files that are there and still right."""
    return {name: update(path) for name, path in batch.outputs().items()}


def inputs_of(made):
    """What a job of a kind or a batch reads, by name. The date of a file that stays says nothing."""

    def inputs(wildcards):
        again = replanned()
        return {
            name: [path if path in again else ancient(path) for path in paths]
            for name, paths in plan.inputs(made.of(wildcards)).items()
        }

    return unpack(inputs)


def params_of(made):
    """A job's slice of the configuration and the code that it runs; the key that a kind's file
    stores, or a batch's files with their keys."""

    def spec(wildcards):
        return plan.spec_text(made.of(wildcards))

    def code(wildcards):
        return plan.code(made.of(wildcards))

    def key(wildcards):
        return plan.key(made.of(wildcards))

    own = {"files": made.options} if isinstance(made, artefacts.Batch) else {"key": key}
    return {"spec": spec, "code": code, **own}


def folder_of(name, above=0):
    """The folder of a job's inputs of a name, or one further up."""

    def folder(wildcards, input):
        return str(Path(input[name][0]).parents[above])

    return folder


def named_inputs(wildcards, input):
    """A job's inputs, each written as NAME=PATH."""
    return shlex.join(f"{name}={path}" for name, paths in input.items() for path in paths)


def option_of(name):
    """--NAME with a job's input of that name, where it has one."""

    def option(wildcards, input):
        return shlex.join([f"--{name}", *input[name]]) if input[name] else ""

    return option


@cache
def megabytes(*paths):
    """MB of files that many jobs read; an error, which Snakemake expects, where one is missing."""
    return sum(Path(path).stat().st_size for path in paths) / 1e6


def growing(amount, files=1):
    """An amount, or what a function of a job gives, for each of so many files, times the attempt: a
    retried job gets more."""

    def resource(wildcards, input, attempt):
        return attempt * files * (amount(wildcards, input) if callable(amount) else amount)

    return resource


def layer_memory(wildcards, input):
    """MB for a job that works on one layer of its shards, which hold all of them."""
    return 1500 + int(8 * megabytes(*input) / (study.depth(wildcards.retriever) + 1))


def layer_runtime(wildcards, input):
    """Minutes for the same."""
    return 60 + int(megabytes(*input) / (study.depth(wildcards.retriever) + 1) / 10)


def counted_memory(wildcards, input):
    """MB for counting: the measures of every text take a part of what its scores take."""
    return 4000 + int(megabytes(*input) / 2)


GPU_WEIGHTS = 200
"""MB of weights from which a job asks for a GPU: the six layers of MiniLM have 90, BERT-base 440."""


@cache
def bytes_of(model):
    """Bytes of a model's weights, known before the model is described."""
    return model.weights(study)


def weights(wildcards, input):
    """MB of the weights that a job loads, each model's once."""
    models = {model for path in input if (model := kinds.Model.find(path))}
    try:
        return sum(map(bytes_of, models)) / 1e6
    except FileNotFoundError as error:
        # Not fetched yet: Snakemake asks again once the input is there.
        raise FileNotFoundError(error.errno, error.strerror, input[0]) from None


def model_memory(wildcards, input):
    """MB for a job that loads models: as float32 they may take twice their files' size."""
    return 2500 + int(3 * weights(wildcards, input))


def ablation_memory(wildcards, input):
    """MB for the same with texts run again and again, and the samples' other vectors."""
    return 1500 + model_memory(wildcards, input)


def described_memory(wildcards, input):
    """MB for describing a model, or for drawing a fresh one."""
    return 2500 + int(3 * bytes_of(kinds.Model.of(wildcards)) / 1e6)


def gpus(wildcards, input):
    """How many GPUs a job asks for. `--resources gpu=N` says how many there are."""
    return int(weights(wildcards, input) >= GPU_WEIGHTS)


def site(name):
    """What the profile's default-resources say; None: nothing."""
    value = (workflow.resource_settings.default_resources or {}).get(name)
    return getattr(value, "raw", value)


def gpu_model(wildcards, input):
    """Slurm's name of the cards, where a job asks for one."""
    return site("gpu_type") if gpus(wildcards, input) else None


def gpu_partition(wildcards, input):
    """Where a job runs: cards may lie in a partition of their own."""
    own = site("gpu_partition") if gpus(wildcards, input) else None
    return own or site("slurm_partition")


ON_GPU = {"gpu": gpus, "gpu_model": gpu_model, "slurm_partition": gpu_partition}
