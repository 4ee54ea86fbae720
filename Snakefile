# Where does a dense retriever's knowledge come from? From config.yaml to results/studies/.
from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/embeddings.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/attributions.smk"
include: "workflow/rules/findings.smk"
include: "workflow/rules/figures.smk"


rule all:
    default_target: True
    input:
        everything,
