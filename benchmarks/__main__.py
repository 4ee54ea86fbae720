"""`python -m benchmarks`: every benchmark, in one table."""

from benchmarks import (
    attributions,
    calibration,
    embeddings,
    inspection,
    measure,
    probes,
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
        *training.main(),
        *inspection.main(),
        *workflow.main(whole=True),
        *slurm.main(),
        *validity.main(),
        *calibration.main(),
    ]
)
