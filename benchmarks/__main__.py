"""`python -m benchmarks`: every benchmark, in one table."""

from benchmarks import attributions, embeddings, measure, probes, workflow

measure.show([*embeddings.main(), *attributions.main(), *probes.main(), *workflow.main(whole=True)])
