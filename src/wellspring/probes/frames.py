"""How the results of the probes of one name become rows of a job's frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.probes import metrics
from wellspring.probes.data import ProbeData, ProbeResult, ProbeSettings
from wellspring.probes.portions import CODES, SIZES, Measured
from wellspring.probes.training import Fit

SAMPLES = {
    "probe": pl.String,
    "seed": pl.Int64,
    "sample_id": pl.String,
    "query_id": pl.String,
    "correct": pl.Float32,
    "chance": pl.Float32,
}
CURVES = {
    "probe": pl.String,
    "seed": pl.Int64,
    "epoch": pl.Int64,
    "train_loss": pl.Float64,
    "validation_loss": pl.Float64,
    "validation_accuracy": pl.Float64,
}


@dataclass(frozen=True)
class Outcome:
    """The results of the probes of one name, for R seeds and S samples."""

    name: str
    credit: np.ndarray
    """float32 [R, S]."""
    chance: np.ndarray
    """float32 [R, S], true of the test samples."""
    label: str = "ok"
    """`constant` where every passage looks alike."""
    fit: Fit | None = None
    """The fit of a trained kind."""
    code: Measured | None = None
    """The first seed's online code, where one was asked for."""
    scorers: list[str] | None = None
    """The lexical scorer of each seed, of a lexical kind."""


def result(own: Outcome, constant: int, data: ProbeData, settings: ProbeSettings) -> ProbeResult:
    """The frames of one probe, in the order of seeds and samples.

    constant: dimensions that tell nothing, among the vectors that it reads.
    """
    ids = np.asarray(data.sample_ids), np.asarray(data.query_ids)
    samples, rows, curves = [], [], [pl.DataFrame(schema=CURVES)]
    for r, seed in enumerate(settings.seeds):
        split, credit, chance, fit = (
            data.split[r],
            own.credit[r],
            own.chance[r],
            own.fit,
        )
        test = split == "test"
        columns = ids[0][test], ids[1][test], credit[test], chance[test]
        samples.append(_frame(SAMPLES, own.name, seed, *columns))
        row = metrics.row(credit, chance, split, ids[1], fit.curve(r) if fit else {})
        scorer = own.scorers[r] if own.scorers else None
        told = {"constant_features": constant, "label": own.label, "scorer": scorer}
        rows.append({"probe": own.name, "seed": seed} | row | told)
        if fit:
            end = fit.epochs[r]
            lines = fit.train_loss, fit.validation_loss, fit.validation_accuracy
            epochs = np.arange(1, end + 1)
            curves.append(
                _frame(CURVES, own.name, seed, epochs, *(line[r, :end] for line in lines))
            )
    codes, sizes = pl.DataFrame(schema=CODES), []
    if own.code:
        code = own.code
        codes = _frame(
            CODES, own.name, settings.seeds[0], *(each[code.samples] for each in ids), code.bits
        )
        rows[0] |= {"code_length": code.bits.mean(), "uniform_length": code.uniform}
        whole = {"portion": 1.0, "train_samples": len(code.samples)}
        sizes = [rows[0] | size for size in (*code.sizes, whole)] if code.sizes else []
    return ProbeResult(
        samples=pl.concat(samples),
        metrics=pl.DataFrame(rows, metrics.METRICS),
        curves=pl.concat(curves),
        codes=codes,
        sizes=pl.DataFrame([{name: size[name] for name in SIZES} for size in sizes], SIZES),
    )


def _frame(schema: dict, name: str, seed: int, *columns: np.ndarray) -> pl.DataFrame:
    """The columns in the order of the schema, after those of the probe and the seed."""
    values = dict(zip(list(schema)[2:], columns, strict=True))
    frame = pl.DataFrame(values).select(
        pl.lit(name).alias("probe"), pl.lit(seed, pl.Int64).alias("seed"), pl.all()
    )
    return frame.cast(schema)
