"""What the rules share at parse time: the checked configuration and its plan of files."""

import shlex
import sys
from functools import cache
from os.path import commonpath
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

runs.carry_configuration(Path(workflow.basedir, "slurm", "bin"))

try:
    # Snakemake lists the Snakefile's own file last and lets it lose against the others.
    own = Path(workflow.basedir) / "config.yaml"
    files = [own, *(path for path in map(Path, workflow.configfiles) if path != own)]
    study = configuration.parse(configuration.anchor(config, files))
    configuration.check_paths(study)
    configuration.check_checkpoints(study, specs.fetched)
except ConfigError as error:
    raise WorkflowError(f"the configuration cannot be used:\n{error}") from None

# The configuration files that are read over config.yaml, as options of a command.
overlays = " ".join(shlex.join(["--configfile", artefacts.nearby(path)]) for path in files[1:])

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
    artefacts.record(study.study.name, configuration.anchor(config, files), files)
    artefacts.expect(workflow, logger.info)


onsuccess:
    runs.end(workflow)
    folder = f"results/studies/{study.study.name}"
    if Path(folder, "index.html").exists():
        options = f"{overlays} " if overlays else ""
        logger.info(
            f"The answer: {folder}/index.html. Figures: {folder}/figures, findings: {folder}/findings. "
            f"Report: snakemake {options}--report {folder}/report.html",
            extra={"answer": True},
        )


wildcard_constraints:
    **artefacts.WILDCARDS,


@cache
def replanned():
    """The files that are made again, asked once: what existing files say decides.

    Snakemake's own triggers look at dates and at its own notes, which a copied project lacks.
    """
    return artefacts.replan(workflow, plan, logger.info) if workflow.is_main_process else set()


def everything(wildcards):
    """What the study ends with."""
    replanned()
    return plan.paths(plan.ends())


def batches_of(kind):
    """A kind's files by the rule that makes them, several a job."""
    return artefacts.equipped(workflow, list(artefacts.batches(plan, kind)))


def files_of(batch):
    """What a job of a batch leaves, by name: it keeps the files that are there and still right.

    What is shared is shared whole: Snakemake links no file where one lies.
    """
    keep = str if shared else update
    return {name: keep(path) for name, path in batch.outputs().items()}


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


def option_of(name, folder=False):
    """--NAME with each of a job's inputs of that name, or with the folder that these share."""

    def option(wildcards, input):
        paths = input[name]
        if folder and paths:
            paths = [commonpath(str(Path(path).parent) for path in paths)]
        return shlex.join(part for path in paths for part in (f"--{name}", path))

    return option
