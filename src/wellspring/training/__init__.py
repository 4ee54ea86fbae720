"""Training: pairs of a dataset, and the objectives, batches and account of a run."""
