# Where does a dense retriever's knowledge come from? From config.yaml to results/studies/.
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from wellspring import config as configuration
from wellspring.errors import ConfigError

min_version("9.27")

if set("{}") & set(workflow.basedir):
    raise WorkflowError(f"{workflow.basedir}: Snakemake fills in braces: move the checkout")
try:
    # Snakemake would name neither the file nor the line.
    configuration.read(Path(workflow.basedir, "config.yaml"))
except ConfigError as error:
    raise WorkflowError(f"the configuration cannot be used:\n{error}") from None


configfile: f"{workflow.basedir}/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/embeddings.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/retrieval.smk"
include: "workflow/rules/attributions.smk"
include: "workflow/rules/findings.smk"
include: "workflow/rules/figures.smk"


rule all:
    default_target: True
    input:
        everything,
