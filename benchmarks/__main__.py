"""`python -m benchmarks`: every benchmark, in one table."""

from benchmarks import embeddings, measure, probes, workflow

measure.show([*embeddings.main(), *probes.main(), *workflow.main(whole=True)])
