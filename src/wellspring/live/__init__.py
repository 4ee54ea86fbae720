"""What a person sees while Snakemake runs: how far it is, what runs now, and how it ended."""
