"""`python -m benchmarks`: every benchmark, in one table."""

from benchmarks import (
    attributions,
    calibration,
    comparisons,
    embeddings,
    inspection,
    measure,
    probes,
    retrieval,
    slurm,
    training,
    validity,
    workflow,
)

measure.show(
    [
        *embeddings.main(),
        *attributions.main(),
        *probes.main(),
        *retrieval.main(),
        *training.main(),
        *inspection.main(),
        *workflow.main(whole=True),
        *slurm.main(),
        *validity.main(),
        *calibration.main(),
        *comparisons.main(),
    ]
)
