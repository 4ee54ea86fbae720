"""What the workflow asks of Slurm, beside what Snakemake's plugin does."""
